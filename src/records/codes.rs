//! Numbers of the protocol: operations, errors, create modes, events.

use std::fmt;

macro_rules! numbers {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(i32)]
        pub enum $name { $($(#[$vmeta])* $variant = $value,)* }

        impl $name {
            /// All of them, in order of definition.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The one with this number on the wire.
            pub fn from_i32(value: i32) -> Option<$name> {
                match value { $($value => Some($name::$variant),)* _ => None }
            }

            /// Its number on the wire.
            pub fn to_i32(self) -> i32 {
                self as i32
            }

            /// Its name, as ZooKeeper spells it.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

numbers! {
    /// What a request asks for, and the type of a transaction.
    OpCode {
        /// Server to client only: a watch event.
        Notification = 0 "notification",
        /// Create a znode; the reply has its path.
        Create = 1 "create",
        /// Delete a childless znode.
        Delete = 2 "delete",
        /// Stat of a znode, or a watch for its creation.
        Exists = 3 "exists",
        /// Data and stat.
        GetData = 4 "getData",
        /// Replace the data.
        SetData = 5 "setData",
        /// ACL and stat.
        GetAcl = 6 "getACL",
        /// Replace the ACL.
        SetAcl = 7 "setACL",
        /// Names of the children.
        GetChildren = 8 "getChildren",
        /// Wait until this server has caught up with the leader.
        Sync = 9 "sync",
        /// Sign of life.
        Ping = 11 "ping",
        /// Names of the children, and stat.
        GetChildren2 = 12 "getChildren2",
        /// Compare a version; only within a multi.
        Check = 13 "check",
        /// Several writes as one.
        Multi = 14 "multi",
        /// Create; the reply has path and stat.
        Create2 = 15 "create2",
        /// Change the ensemble's membership.
        Reconfig = 16 "reconfig",
        /// Ask whether a watch is set.
        CheckWatches = 17 "checkWatches",
        /// Remove watches of a path.
        RemoveWatches = 18 "removeWatches",
        /// Create a znode that goes when its last child has gone.
        CreateContainer = 19 "createContainer",
        /// The server's own removal of containers and expired znodes.
        DeleteContainer = 20 "deleteContainer",
        /// Create a znode with a time to live.
        CreateTtl = 21 "createTTL",
        /// Several reads in one request.
        MultiRead = 22 "multiRead",
        /// Add an identity to the connection.
        Auth = 100 "auth",
        /// Re-register one-shot watches.
        SetWatches = 101 "setWatches",
        /// A step of a SASL exchange.
        Sasl = 102 "sasl",
        /// Paths of the session's ephemeral znodes.
        GetEphemerals = 103 "getEphemerals",
        /// Number of descendants.
        GetAllChildrenNumber = 104 "getAllChildrenNumber",
        /// Re-register watches of all modes.
        SetWatches2 = 105 "setWatches2",
        /// Set a persistent watch.
        AddWatch = 106 "addWatch",
        /// The connection's identities.
        WhoAmI = 107 "whoAmI",
        /// Begin a session.
        CreateSession = -10 "createSession",
        /// End a session.
        CloseSession = -11 "closeSession",
        /// A refused write, as a transaction.
        Error = -1 "error",
    }
}

numbers! {
    /// What went wrong, as clients know it. No other number ever goes out: clients break on codes they do not know.
    ErrorCode {
        /// Nothing.
        Ok = 0 "Ok",
        /// Never sent.
        SystemError = -1 "SystemError",
        /// In a failed multi: an operation behind the failing one.
        RuntimeInconsistency = -2 "RuntimeInconsistency",
        /// The client lost its connection; never sent.
        ConnectionLoss = -4 "ConnectionLoss",
        /// The request could not be parsed.
        MarshallingError = -5 "MarshallingError",
        /// No such operation, or not on this server.
        Unimplemented = -6 "Unimplemented",
        /// The client's own time-out; never sent.
        OperationTimeout = -7 "OperationTimeout",
        /// A bad path, flag or number.
        BadArguments = -8 "BadArguments",
        /// No such session; never sent.
        UnknownSession = -12 "UnknownSession",
        /// The new configuration has no quorum.
        NewConfigNoQuorum = -13 "NewConfigNoQuorum",
        /// Another reconfiguration is under way.
        ReconfigInProgress = -14 "ReconfigInProgress",
        /// No such znode.
        NoNode = -101 "NoNode",
        /// The ACL refuses.
        NoAuth = -102 "NoAuth",
        /// The expected version is not the current one.
        BadVersion = -103 "BadVersion",
        /// Ephemeral znodes have no children.
        NoChildrenForEphemerals = -108 "NoChildrenForEphemerals",
        /// The znode is there already.
        NodeExists = -110 "NodeExists",
        /// The znode has children.
        NotEmpty = -111 "NotEmpty",
        /// The session is ending.
        SessionExpired = -112 "SessionExpired",
        /// The ACL given is not valid.
        InvalidAcl = -114 "InvalidACL",
        /// Authentication failed.
        AuthFailed = -115 "AuthFailed",
        /// The session lives on another connection by now.
        SessionMoved = -118 "SessionMoved",
        /// A write to a read-only server.
        NotReadOnly = -119 "NotReadOnly",
        /// A local session cannot own ephemerals.
        EphemeralOnLocalSession = -120 "EphemeralOnLocalSession",
        /// No such watch.
        NoWatcher = -121 "NoWatcher",
        /// Reconfiguration is switched off.
        ReconfigDisabled = -123 "ReconfigDisabled",
        /// The server requires authentication.
        SessionClosedRequireSaslAuth = -124 "SessionClosedRequireSaslAuth",
        /// A hard quota would be exceeded.
        QuotaExceeded = -125 "QuotaExceeded",
        /// Refused to protect the server.
        ThrottledOp = -127 "ThrottledOp",
    }
}

numbers! {
    /// What kind of znode a create makes: a number, not a set of bits.
    CreateMode {
        /// Stays until deleted.
        Persistent = 0 "persistent",
        /// Goes with its session.
        Ephemeral = 1 "ephemeral",
        /// Stays; a sequence number is appended.
        PersistentSequential = 2 "persistent sequential",
        /// Goes with its session; a sequence number is appended.
        EphemeralSequential = 3 "ephemeral sequential",
        /// Goes some time after its last child has gone.
        Container = 4 "container",
        /// Goes when it was unchanged and childless for its time to live.
        PersistentWithTtl = 5 "persistent with TTL",
        /// As before, with a sequence number.
        PersistentSequentialWithTtl = 6 "persistent sequential with TTL",
    }
}

impl CreateMode {
    /// Whether a sequence number is appended to the name.
    pub fn is_sequential(self) -> bool {
        matches!(
            self,
            CreateMode::PersistentSequential
                | CreateMode::EphemeralSequential
                | CreateMode::PersistentSequentialWithTtl
        )
    }

    /// Whether the znode belongs to a session.
    pub fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// Whether the znode has a time to live.
    pub fn is_ttl(self) -> bool {
        matches!(self, CreateMode::PersistentWithTtl | CreateMode::PersistentSequentialWithTtl)
    }
}

numbers! {
    /// What happened to a watched znode.
    EventType {
        /// It was created.
        Created = 1 "NodeCreated",
        /// It was deleted.
        Deleted = 2 "NodeDeleted",
        /// Its data was set.
        DataChanged = 3 "NodeDataChanged",
        /// A direct child was created or deleted.
        ChildrenChanged = 4 "NodeChildrenChanged",
    }
}
