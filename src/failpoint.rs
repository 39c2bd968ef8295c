//! Planted bugs: a checker is trusted only after it has caught something.
//!
//! Every room may ask whether a bug is switched on. Outside tests every question is answered "no" at compile time.

/// A bug that a test can switch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failpoint {
    // ---- The ensemble -------------------------------------------------------------------------------------------
    /// A follower acknowledges what it has received (S-12).
    FollowerAcksBeforeSync,
    /// A configuration that is proposed has no say before it is committed.
    NextNotAsked,
    /// A member that follows without a vote answers voters that look for a leader (L-08).
    ObserverAnswers,
    /// What others say of the configuration in force is not heard.
    GossipNotHeard,
    /// A leader that another configuration does not have as its leader goes on committing.
    DemotedLeaderCommits,
    /// A member does not read in its log what is proposed there.
    LoggedConfigForgotten,
    /// A follower acknowledges its history before that is on its disk (D-02).
    EpochBeforeHistory,
    /// A follower acknowledges its history before its epoch is on its disk (D-03).
    HistoryAckedBeforeEpoch,
    /// A follower promises an epoch before that is on its disk (D-01).
    PromiseNotKept,
    /// A leader tells an epoch before that is on its disk (D-01).
    EpochToldBeforeKept,
    /// A leader counts itself for what it has proposed (D-05).
    LeaderCountsUnsynced,
    /// Half of the voters are a quorum (S-11).
    HalfIsQuorum,
    /// A truncation is carried out on disk and not in memory (S-15).
    TruncatedOnDiskOnly,
    /// A learner is put on the list, and the outstanding proposals are not sent to it (SC-15).
    ListedWithoutOutstanding,
    /// Commits are sent to a learner that was not told to serve.
    CommitsBeforeUpToDate,
    /// A broken stream of a state is taken for whole (SC-09).
    BrokenStateTaken,
    /// What is logged and not delivered is forgotten when a role ends.
    TailForgotten,
    /// An election looks at the longest log only (S-09).
    EpochNotCompared,
    /// A learner is sent what follows the epoch's begin in place of what it lacks (S-02).
    DiffFromEpoch,
    /// A learner that has too much is not told to cut it (S-15).
    TruncLeftOut,
    /// A candidate reports what it has received and not on disk (D-06).
    VoteWithUnsynced,
    /// A candidate reports the begin of its epoch in place of its last transaction (D-06).
    VoteWithEpochStart,
    /// A learner is told to cut one transaction more than it has too much (S-15).
    TruncTooFar,
    /// A follower acknowledges proposals before the history they belong to (D-02).
    AckedBeforeHistory,
    /// A follower does not tell its leader whom it has heard (G-10).
    TouchesDropped,
    /// A learner takes the next transaction for the answer to its oldest request (S-30).
    AnyAnswers,
    /// What a learner had before it was told to cut it counts as acknowledged (S-15).
    CutCountsAsAcked,
    /// A follower applies what is in its log (S-11).
    UncommittedApplied,
    /// A leader does not notice that nobody follows (L-04).
    QuorumNotWatched,
    /// A leader commits what one of the others has (S-11).
    OneIsQuorum,
    /// A follower ends sessions that it has not heard of (G-10).
    FollowerExpires,
    /// A follower answers `sync` itself (G-04).
    SyncNotForwarded,
    /// The newest of several commits is told first (S-14).
    CommitsReversed,
    /// A member whose file is new votes at once (SC-51).
    NewFileVotes,
    /// Of several proposals that one sync made durable, a follower acknowledges the last one alone.
    AcksTogether,
    /// A member applies what is committed before that is in its own synced log (S-12).
    AppliedUnsynced,
    /// An observer that has the whole history counts in place of a voter (S-11).
    ObserverCounted,
    /// What is logged and not committed is applied when a role ends (S-11).
    TailApplied,
    /// A learner is put on the list only once it has acknowledged its history (SC-15).
    ListedLate,
    /// What is outstanding is sent twice to a learner that comes (SC-16).
    SentTwice,
    /// A new epoch is the highest that was accepted, not the one above (S-07).
    EpochNotRaised,
    /// An epoch goes on behind its last counter (S-05, S-13).
    CounterRunsOver,
    /// A leader confirms that it leads by the answer to a ping that it had sent before it was asked (G-04).
    ConfirmedByOldPing,
    /// A leader answers `sync` though nobody has confirmed that it leads (G-04).
    SyncUnconfirmed,
    /// A follower calls a session over that it does not know itself (G-10).
    ExpiredWithoutLeader,
    /// What comes over a connection that its session has left has its effect (G-02).
    MovedNotEnforced,
    /// A learner's request is refused without a transaction (L-02).
    RefusalUnlogged,
    /// Servers issue session ids as one (S-27).
    IdsOfNeighbour,
    // ---- The file -----------------------------------------------------------------------------------------------
    /// An append returns before its sync (D-10).
    AckBeforeSync,
    /// Both mirrors of a superblock slot share one sync (P7).
    MirrorsTogether,
    /// Recovery does not compare the chain of frames (P2, P3).
    ChainUnchecked,
    /// Recovery takes any end of the log for a torn tail (S-41).
    EverythingTorn,
    /// A snapshot is built where the one it will replace still lies (P6).
    BuildInPlace,
    /// A frame goes on although the sync before it failed (S-42).
    NoPoison,
    /// A snapshot is published before it is synced (P8).
    PublishUnsynced,
    /// A frame claims itself as synced (P5).
    SyncedTooSoon,
    /// Log is released by the newest snapshot in place of the oldest kept (D-09).
    RetireByNewest,
    /// Log is released although a kept snapshot leaves data to it (D-09).
    LeftDataReleased,
    /// The space kept for the next snapshot is that of the last one published.
    ReserveByLastSnapshot,
    /// The log is never slowed for the running snapshot.
    SlowSlowsNobody,
    /// Chunks of a snapshot wait until all growth is done.
    GrowthBeforeChunks,
    /// Nobody waits for a snapshot's bytes that wait in memory.
    PreimagesUnbounded,
    /// A new file comes to its place before it is complete.
    NameBeforeContent,
    /// No frame says what was synced before it (S-41).
    NeverSaysSynced,
    /// Recovery does not compare the end of the log with what the superblock has for it (S-41).
    EndUnchecked,
    /// New frames take the numbers of those that a crash left behind (P3).
    NumbersReused,
    /// A new file never comes to its place for good (D-12).
    FileUnnamed,
    /// A truncation leaves a snapshot that holds what is cut off (S-15).
    TruncKeepsSnapshot,
    /// A truncation is not written to the log (D-08).
    TruncInMemoryOnly,
    /// The epochs of a state that is installed are kept before it (S-08).
    EpochsBeforeState,
    /// The last record of a batch is not written (D-04).
    LastRecordForgotten,
    /// A write of the log that failed is taken for done (S-42).
    FailureIgnored,

    // ---- History and snapshots ----------------------------------------------------------------------------------
    /// A restart goes on one zxid too early (S-02).
    ZxidReused,
    /// Snapshots leave the sessions out (SC-38).
    SessionsForgotten,
    /// Snapshots do not have the highest session id (S-27).
    HighestIdForgotten,

    // ---- Sessions -----------------------------------------------------------------------------------------------
    /// Sessions expire after half their timeout (G-10).
    ExpireEarly,
    /// Sessions expire by the wall clock (G-10, F-12).
    ExpireByWall,
    /// Sessions do not expire (L-05).
    ExpireNever,
    /// A sign of life is not counted (G-10).
    TouchForgotten,
    /// Any password resumes a session (SC-40).
    PasswordUnchecked,
    /// A member goes on with its own secret, whatever its leader hands down (G-10).
    SecretNotTaken,
    /// The owner of a session is cut off before the password is looked at (SC-40).
    PasswordTooLate,
    /// In place of one that cannot be resumed a new session is handed out (G-10).
    FreshSessionInstead,
    /// A client that has seen more than this server is served (G-08).
    AheadServed,
    /// What a session asks after its end was decided is carried out (S-28).
    EndedSessionActs,
    /// A session that only its server knows is in what that server tells of the state (S-44).
    LocalInSnapshot,
    /// A session that only its server knows ends with its connection (G-10).
    LocalEndsWithConnection,
    /// A session that has become one of all servers is still taken for one that only its server knows (G-11).
    UpgradedStaysLocal,
    /// The end of a session leaves its ephemerals (G-11).
    EphemeralOutlives,

    // ---- Writes -------------------------------------------------------------------------------------------------
    /// Sequence numbers count the children that are there (G-12).
    SequenceReused,
    /// The counter of creations now and then does not move (S-26).
    CversionStuck,
    /// A deletion leaves no mark on the parent (S-26).
    PzxidStale,
    /// New data does not move the mzxid (S-26).
    MzxidKept,
    /// A new ACL is counted and not kept (S-21).
    AclKept,
    /// A failed multi leaves its pending changes behind (G-13).
    MultiKeepsCounters,
    /// What stands before the failing part of a multi is applied (G-13).
    MultiHalfApplied,
    /// Hard quotas are not looked at.
    QuotaIgnored,
    /// Deletions are not booked on quotas.
    QuotaUnbooked,
    /// `setData` needs no permission (SC-70).
    AclUncheckedSet,
    /// `check` in a multi needs no permission (SC-70).
    AclUncheckedCheck,
    /// A deletion needs another permission than DELETE (SC-70).
    AclWrongBit,
    /// Znodes with a time to live go before it has passed.
    ReapEarly,
    /// Containers and znodes with a time to live never go (L-12).
    ReapNever,

    // ---- Reads and replies --------------------------------------------------------------------------------------
    /// A read's header names what is proposed (G-03).
    ReadAhead,
    /// Reads do not wait for the writes in front of them (G-02).
    ReadsOvertake,
    /// `sync` is answered at once (G-04).
    SyncEarly,
    /// `sync` waits for a transaction that nobody tells it of (L-02).
    SyncForgotten,
    /// `getChildren` needs no permission (S-36).
    AclUncheckedChildren,
    /// `getACL` shows everybody the digests (SC-68).
    SecretsShown,

    // ---- Watches ------------------------------------------------------------------------------------------------
    /// The reply to a write leaves before its events (G-05).
    ReplyBeforeEvents,
    /// Now and then an event is not sent (G-06).
    EventSkipped,
    /// Events are sent twice (G-06).
    EventDoubled,
    /// A creation is told as new data (G-06).
    EventKindWrong,
    /// Events go to clients that may not read the znode (SC-66).
    EventUnchecked,
    /// Child watches do not hear of the deletion (G-06).
    DeletionUnheard,
    /// One-shot watches are not spent (G-06).
    OneShotStays,
    /// A recursive watch covers one level only (G-06).
    RecursiveForgotten,
    /// `exists` leaves no watch where nothing is (G-05).
    AwaitForgotten,
    /// `setWatches` tells again of the last change that the client saw (G-07).
    CatchUpAgain,
    /// `setWatches` looks at the data's zxid for child watches (G-07).
    CatchUpByData,
    /// `setWatches` tells of znodes that may not be read (SC-67).
    CatchUpUnchecked,
}

#[cfg(test)]
thread_local! {
    static ON: std::cell::Cell<Option<Failpoint>> = const { std::cell::Cell::new(None) };
}

/// Whether the bug is switched on.
#[cfg(test)]
pub(crate) fn on(failpoint: Failpoint) -> bool {
    ON.get() == Some(failpoint)
}

/// Whether the bug is switched on.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn on(_failpoint: Failpoint) -> bool {
    false
}

/// Runs `body` with one bug switched on in this thread.
#[cfg(test)]
pub(crate) fn with<T>(failpoint: Failpoint, body: impl FnOnce() -> T) -> T {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            ON.set(None);
        }
    }
    let _off = Off;
    ON.set(Some(failpoint));
    body()
}
