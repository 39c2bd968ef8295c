"""What operations bring: stats, nodes, events, states, access control lists. All of them plain values.

>>> from zoarium import ACL, make_digest_acl, Permissions
>>> make_digest_acl("reader", "secret", read=True).perms == Permissions.READ
True
"""

from __future__ import annotations

from typing import NamedTuple

from . import _abi


class ZnodeStat(NamedTuple):
    """A znode's metadata, with kazoo's names for the fields."""

    #: The transaction that created it.
    czxid: int
    #: The transaction that set its data last.
    mzxid: int
    #: When it was created, ms since 1970.
    ctime: int
    #: When its data were set last, ms since 1970.
    mtime: int
    #: How often its data were set.
    version: int
    #: How often its children changed.
    cversion: int
    #: How often its ACL was set.
    aversion: int
    #: The session it goes with; 0 for none.
    ephemeralOwner: int
    #: Bytes of data.
    dataLength: int
    #: Direct children.
    numChildren: int
    #: The transaction that changed its children last.
    pzxid: int

    @property
    def acl_version(self) -> int:
        """How often its ACL was set."""
        return self.aversion

    @property
    def children_version(self) -> int:
        """How often its children changed."""
        return self.cversion

    @property
    def created(self) -> float:
        """When it was created, seconds since 1970."""
        return self.ctime / 1000.0

    @property
    def last_modified(self) -> float:
        """When its data were set last, seconds since 1970."""
        return self.mtime / 1000.0

    @property
    def owner_session_id(self) -> int | None:
        """The session it goes with; ``None`` for none."""
        return self.ephemeralOwner or None

    @property
    def creation_transaction_id(self) -> int:
        """The transaction that created it: what to fence with."""
        return self.czxid

    @property
    def last_modified_transaction_id(self) -> int:
        """The transaction that set its data last."""
        return self.mzxid

    @property
    def data_length(self) -> int:
        """Bytes of data."""
        return self.dataLength

    @property
    def children_count(self) -> int:
        """Direct children."""
        return self.numChildren


class Node(NamedTuple):
    """A znode as :meth:`Client.get` brings it: ``data, stat = zk.get(path)``."""

    #: ``None`` for null data, which is not the same as empty data.
    data: bytes | None
    #: Its metadata.
    stat: ZnodeStat


class EventType:
    """What became of a watched znode, with kazoo's words."""

    CREATED = "CREATED"
    DELETED = "DELETED"
    CHANGED = "CHANGED"
    CHILD = "CHILD"


EVENT_TYPES = {
    _abi.ZOA_EVENT_CREATED: EventType.CREATED,
    _abi.ZOA_EVENT_DELETED: EventType.DELETED,
    _abi.ZOA_EVENT_DATA: EventType.CHANGED,
    _abi.ZOA_EVENT_CHILDREN: EventType.CHILD,
}


class KeeperState:
    """A session's state in ZooKeeper's own words."""

    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    CONNECTED_RO = "CONNECTED_RO"
    EXPIRED_SESSION = "EXPIRED_SESSION"
    AUTH_FAILED = "AUTH_FAILED"
    CLOSED = "CLOSED"


KEEPER_STATES = {
    _abi.ZOA_CONNECTING: KeeperState.CONNECTING,
    _abi.ZOA_CONNECTED: KeeperState.CONNECTED,
    _abi.ZOA_CONNECTED_READ_ONLY: KeeperState.CONNECTED_RO,
    _abi.ZOA_SUSPENDED: KeeperState.CONNECTING,
    _abi.ZOA_EXPIRED: KeeperState.EXPIRED_SESSION,
    _abi.ZOA_AUTH_REFUSED: KeeperState.AUTH_FAILED,
    _abi.ZOA_ENDED: KeeperState.CLOSED,
}


class KazooState:
    """The three states that listeners are told of, as in kazoo."""

    #: Requests are answered.
    CONNECTED = "CONNECTED"
    #: The connection is lost, the session may live.
    SUSPENDED = "SUSPENDED"
    #: The session is over, or the client closed. Final, but for clients that begin a new session by themselves.
    LOST = "LOST"


STATES = {
    _abi.ZOA_CONNECTING: KazooState.SUSPENDED,
    _abi.ZOA_CONNECTED: KazooState.CONNECTED,
    _abi.ZOA_CONNECTED_READ_ONLY: KazooState.CONNECTED,
    _abi.ZOA_SUSPENDED: KazooState.SUSPENDED,
    _abi.ZOA_EXPIRED: KazooState.LOST,
    _abi.ZOA_AUTH_REFUSED: KazooState.LOST,
    _abi.ZOA_ENDED: KazooState.LOST,
}


class WatchedEvent(NamedTuple):
    """A change of a watched znode."""

    #: One of :class:`EventType`.
    type: str
    #: One of :class:`KeeperState`.
    state: str
    #: The znode that changed; under a recursive watch not the one watched.
    path: str
    #: The transaction that did it; -1 for what was caught up on after a reconnect.
    zxid: int = -1


class AddWatchMode:
    """How far a standing watch sees, with kazoo's numbers."""

    PERSISTENT = 0
    PERSISTENT_RECURSIVE = 1


class WatcherType:
    """Which watches to remove, with kazoo's numbers."""

    CHILDREN = 1
    DATA = 2
    ANY = 3


class Permissions:
    """What an ACL entry allows, to be joined with ``|``."""

    READ = _abi.ZOA_PERM_READ
    WRITE = _abi.ZOA_PERM_WRITE
    CREATE = _abi.ZOA_PERM_CREATE
    DELETE = _abi.ZOA_PERM_DELETE
    ADMIN = _abi.ZOA_PERM_ADMIN
    ALL = _abi.ZOA_PERM_ALL


class Id(NamedTuple):
    """Who: a scheme, and what it means by that."""

    #: ``"world"``, ``"auth"``, ``"digest"``, ``"ip"`` …
    scheme: str
    #: ``"anyone"`` for ``"world"``.
    id: str


class ACL(NamedTuple):
    """One entry of an access control list."""

    #: Bits of :class:`Permissions`.
    perms: int
    #: Who has them.
    id: Id

    @property
    def acl_list(self) -> list[str]:
        """The permissions by name."""
        if self.perms == Permissions.ALL:
            return ["ALL"]
        names = ("READ", "WRITE", "CREATE", "DELETE", "ADMIN")
        return [name for name in names if self.perms & getattr(Permissions, name)]


def make_acl(
    scheme: str,
    credential: str,
    read: bool = False,
    write: bool = False,
    create: bool = False,
    delete: bool = False,
    admin: bool = False,
    all: bool = False,
) -> ACL:
    """An entry for whom a scheme and credential name.

    >>> make_acl("ip", "127.0.0.1", read=True, write=True)
    ACL(perms=3, id=Id(scheme='ip', id='127.0.0.1'))
    """
    perms = Permissions.ALL if all else 0
    for wanted, bit in (
        (read, Permissions.READ),
        (write, Permissions.WRITE),
        (create, Permissions.CREATE),
        (delete, Permissions.DELETE),
        (admin, Permissions.ADMIN),
    ):
        perms |= bit if wanted else 0
    return ACL(perms, Id(scheme, credential))


def make_digest_acl_credential(username: str, password: str) -> str:
    """What scheme ``digest`` keeps of a user and password.

    >>> make_digest_acl_credential("super", "test")
    'super:D/InIHSb7yEEbrWz8b9l71RjZJU='
    """
    from base64 import b64encode
    from hashlib import sha1

    digest = b64encode(sha1(f"{username}:{password}".encode()).digest()).decode()
    return f"{username}:{digest}"


def make_digest_acl(
    username: str,
    password: str,
    read: bool = False,
    write: bool = False,
    create: bool = False,
    delete: bool = False,
    admin: bool = False,
    all: bool = False,
) -> ACL:
    """An entry for a user of scheme ``digest``."""
    credential = make_digest_acl_credential(username, password)
    return make_acl("digest", credential, read, write, create, delete, admin, all)


ANYONE_ID_UNSAFE = Id("world", "anyone")
AUTH_IDS = Id("auth", "")
#: Everybody may do everything: what a znode has when nothing else was said.
OPEN_ACL_UNSAFE = [ACL(Permissions.ALL, ANYONE_ID_UNSAFE)]
#: Whoever created it may do everything.
CREATOR_ALL_ACL = [ACL(Permissions.ALL, AUTH_IDS)]
#: Everybody may read.
READ_ACL_UNSAFE = [ACL(Permissions.READ, ANYONE_ID_UNSAFE)]


class Status(NamedTuple):
    """How a server is."""

    #: ``"standalone"``, ``"leading"``, ``"following"``, ``"observing"``, ``"looking"``, ``"read-only"``, ``"stopped"`` or
    #: ``"failed"``.
    role: str
    #: Its number in the ensemble.
    server_id: int
    #: The epoch of its last transaction.
    epoch: int
    #: Its last transaction.
    last_zxid: int
    #: The leader's number; its own when standalone, 0 while there is none.
    leader_id: int
    #: The port clients connect to.
    client_port: int
    #: Sessions.
    sessions: int
    #: Znodes.
    znodes: int
    #: Watches.
    watches: int
    #: Bytes of paths and data.
    data_bytes: int
    #: Bytes of the data file.
    file_bytes: int
    #: Learners of a leader that are up to date; 0 when it does not lead.
    learners_in_sync: int
    #: Servers that make a quorum, where each has one vote; 1 when standalone.
    quorum_size: int
    #: Requests taken and not answered.
    outstanding: int


ROLES = {
    _abi.ZOA_ROLE_LOOKING: "looking",
    _abi.ZOA_ROLE_FOLLOWING: "following",
    _abi.ZOA_ROLE_OBSERVING: "observing",
    _abi.ZOA_ROLE_LEADING: "leading",
    _abi.ZOA_ROLE_STANDALONE: "standalone",
    _abi.ZOA_ROLE_READ_ONLY: "read-only",
    _abi.ZOA_ROLE_STOPPED: "stopped",
    _abi.ZOA_ROLE_FAILED: "failed",
}
