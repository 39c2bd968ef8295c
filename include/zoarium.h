/*
 * zoarium.h: a ZooKeeper-compatible coordination server and client in one library.
 *
 * Every function that can fail returns a zoa_code, 0 for success; zoa_last_error() has the sentence. Outputs are
 * written on success only. Whatever a _new, _start, _open or _connect hands out is ended by one _free, which takes
 * NULL and may be called in any order. Results own their bytes, of any length. Nothing is printed, no signal handler
 * is installed, the process is never ended.
 *
 * Caveats
 *  - fork: a child may not use handles of its parent; calls answer ZOA_FORKED, and _free leaves their memory alone.
 *    New handles may be made in the child. It holds none of its parent's data files, ports and connections: its copies
 *    of them are closed before fork returns.
 *  - A data folder serves one server at a time (ZOA_IN_USE). Do not put it on a network file system.
 *  - A handle that was freed is usually noticed (ZOA_BAD_HANDLE), but using one remains an error of the program.
 *  - The library cannot be unloaded: dlclose has no effect.
 *  - Structs that begin with struct_size must be filled by their _INIT macro first.
 *
 * This file is generated from src/ffi/ and compared with it by a test.
 */

#ifndef ZOARIUM_H
#define ZOARIUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define ZOA_INIT_(type) [] { type value = {}; value.struct_size = sizeof(type); return value; }()
#define ZOA_STATUS_INIT ZOA_INIT_(zoa_status)
#define ZOA_SESSION_INIT ZOA_INIT_(zoa_session)
#define ZOA_CLIENT_OPTIONS_INIT ZOA_INIT_(zoa_client_options)
#define ZOA_OP_INIT [] { zoa_op value = {}; value.struct_size = sizeof(zoa_op); value.version = -1; return value; }()
#else
#define ZOA_STATUS_INIT { .struct_size = sizeof(zoa_status) }
#define ZOA_SESSION_INIT { .struct_size = sizeof(zoa_session) }
#define ZOA_CLIENT_OPTIONS_INIT { .struct_size = sizeof(zoa_client_options) }
#define ZOA_OP_INIT { .struct_size = sizeof(zoa_op), .version = -1 }
#endif


// The number of this interface. The same number: the same functions or more, with the same meaning.
#define ZOA_ABI 1

// No server has answered yet.
#define ZOA_CONNECTING 0

// Requests are answered.
#define ZOA_CONNECTED 1

// Reads are answered, by a server without quorum.
#define ZOA_CONNECTED_READ_ONLY 2

// The connection is lost, the session may live; another server is being looked for.
#define ZOA_SUSPENDED 3

// The session is over, its ephemeral znodes are gone. Final.
#define ZOA_EXPIRED 4

// The server refused the credentials. Final.
#define ZOA_AUTH_REFUSED 5

// Closed or detached here, or the server in this process has stopped. Final.
#define ZOA_ENDED 6

// Over TCP, be content with a server without quorum, which answers reads, until one with a quorum is found.
#define ZOA_ALLOW_READ_ONLY 1

// The znode was created.
#define ZOA_EVENT_CREATED 1

// It was deleted.
#define ZOA_EVENT_DELETED 2

// Its data were set.
#define ZOA_EVENT_DATA 3

// A child was created or deleted.
#define ZOA_EVENT_CHILDREN 4

// One event: the znode is created, deleted, or its data set.
#define ZOA_WATCH_ONCE_DATA 0

// One event: a child is created or deleted, or the znode itself is deleted.
#define ZOA_WATCH_ONCE_CHILDREN 1

// Every event of the znode, until `zoa_client_unwatch`.
#define ZOA_WATCH_PERSISTENT 2

// Every event of the znode and all below it but for lists of children, until `zoa_client_unwatch`.
#define ZOA_WATCH_RECURSIVE 3

// It happened.
#define ZOA_OUTCOME_DONE 0

// It certainly did not happen.
#define ZOA_OUTCOME_NOT_DONE 1

// It may have happened: look before trying again.
#define ZOA_OUTCOME_UNKNOWN 2

// Nothing is logged.
#define ZOA_LOG_OFF 0

// The server or the client cannot do what it should.
#define ZOA_LOG_ERROR 1

// Something a person should look at.
#define ZOA_LOG_WARN 2

// What happens now and then: starts, stops, sessions that expire.
#define ZOA_LOG_INFO 3

// For the search for a bug.
#define ZOA_LOG_DEBUG 4

// Everything.
#define ZOA_LOG_TRACE 5

// Create `path` with `data`, `acl` (none: open to everybody), `mode` and, for the TTL modes, `ttl_ms`. Brings path, stat.
#define ZOA_OP_CREATE 1

// Delete `path` at `version`.
#define ZOA_OP_DELETE 2

// Stat of `path`; `watch` also where it does not exist. Brings the stat.
#define ZOA_OP_EXISTS 3

// Data of `path`. Brings data and stat.
#define ZOA_OP_GET 4

// Replace the data of `path` at `version`. Brings the stat.
#define ZOA_OP_SET 5

// ACL of `path`. Brings entries and stat.
#define ZOA_OP_ACL 6

// Replace the ACL of `path` at ACL version `version`. Brings the stat.
#define ZOA_OP_SET_ACL 7

// Wait until this server has caught up with the leader. `path` may be NULL.
#define ZOA_OP_SYNC 9

// Names of the children of `path`. Brings names and stat.
#define ZOA_OP_CHILDREN 12

// Compare the version of `path` with `version`; only in a multi.
#define ZOA_OP_CHECK 13

// Change the ensemble: `path` is the list of servers that join (`server.4=host:2888:3888;2181`, commas between), `data` the text
// of numbers that leave; with `mode` 1 `path` is a complete new list. `config_version` is the configuration expected. Brings
// data and stat of the new one. Errors: `ZOA_RECONFIG_DISABLED`, `ZOA_NO_AUTH` for all but the super user, `ZOA_BAD_VERSION`,
// `ZOA_BAD_ARGUMENTS`, `ZOA_NEW_CONFIG_NO_QUORUM`, `ZOA_RECONFIG_IN_PROGRESS`; `ZOA_UNIMPLEMENTED` from a server that is alone.
#define ZOA_OP_RECONFIG 16

// Who the members of the ensemble are: text and stat of `/zookeeper/config`, whatever the chroot. `path` and `watch` are not used.
// Brings data and stat.
#define ZOA_OP_CONFIG 2004

// Whether a watch of kind `mode` (1 children, 2 data, 3 any, 4 persistent, 5 recursive) is set on `path`.
#define ZOA_OP_CHECK_WATCHES 17

// Paths of this session's ephemeral znodes that begin with `path` (NULL: all). Brings names.
#define ZOA_OP_EPHEMERALS 103

// The number of descendants of `path`. Brings a count.
#define ZOA_OP_COUNT 104

// The session's identities. Brings entries.
#define ZOA_OP_WHO_AM_I 107

// Stays until deleted.
#define ZOA_PERSISTENT 0

// Goes with its session.
#define ZOA_EPHEMERAL 1

// Stays; a sequence number is appended to its name.
#define ZOA_PERSISTENT_SEQUENTIAL 2

// Goes with its session; a sequence number is appended to its name.
#define ZOA_EPHEMERAL_SEQUENTIAL 3

// Goes some time after its last child has gone.
#define ZOA_CONTAINER 4

// Goes when it was childless and unchanged for its time to live. Only where the server has `extendedTypesEnabled=true`;
// elsewhere `ZOA_UNIMPLEMENTED`.
#define ZOA_TTL 5

// The same, with a sequence number appended to its name.
#define ZOA_TTL_SEQUENTIAL 6

// May read data and children.
#define ZOA_PERM_READ 1

// May set data.
#define ZOA_PERM_WRITE 2

// May create children.
#define ZOA_PERM_CREATE 4

// May delete children.
#define ZOA_PERM_DELETE 8

// May set the ACL.
#define ZOA_PERM_ADMIN 16

// All of them.
#define ZOA_PERM_ALL 31

// No leader is known.
#define ZOA_ROLE_LOOKING 0

// It follows a leader and votes.
#define ZOA_ROLE_FOLLOWING 1

// It follows a leader and has no vote.
#define ZOA_ROLE_OBSERVING 2

// It leads.
#define ZOA_ROLE_LEADING 3

// It is alone.
#define ZOA_ROLE_STANDALONE 4

// It has no quorum and serves reads.
#define ZOA_ROLE_READ_ONLY 5

// It was stopped.
#define ZOA_ROLE_STOPPED 6

// It stopped by itself; `zoa_server_wait` says why.
#define ZOA_ROLE_FAILED 7

// One session. In this process and over TCP it behaves the same.
//
// Made by `zoa_client_open` or `zoa_client_connect`, closed by `zoa_client_close` or `zoa_client_detach`, ended by
// `zoa_client_free`. Any thread, several at a time.
//
// Callbacks run on the thread `zoarium-callback`, one for all clients of the process, or wherever `zoa_queue_run` is
// called for the client's queue; one at a time, never from within a call of an operation. They may call everything,
// blocking operations on their own client included; freeing their own client takes effect when they return. Events
// and results come in the order of the server's answers. A blocking call on another thread may return while an
// earlier event still waits for its turn.
//
// All paths, those given and those told (results, events, `ZOA_OP_EPHEMERALS`), are relative to the client's chroot,
// whose own znode is `"/"`. A chroot need not exist; it is created when a client creates `"/"`.
typedef struct zoa_client zoa_client;

// Settings to start a server with: the keys of `zoo.cfg`, and ours under `zoarium.`. `zoarium check --all`, of the command line
// tool, lists every key with its default and what it does.
//
// Made by `zoa_config_new`, ended by `zoa_config_free`. `zoa_server_start` copies it, so it may be changed, used again or
// freed at once. One thread at a time is enough for everything a config does; calls from several are safe.
typedef struct zoa_config zoa_config;

// A whole ensemble in this process, whose members can be killed, started again, paused and cut off: for tests, and to try
// things out.
//
// Made by `zoa_ensemble_start`, stopped by `zoa_ensemble_stop`, ended by `zoa_ensemble_free`. Any thread. Members are
// numbered from 1, as in `server.1`. Each is a `zoa_server` with a folder, three ports of 127.0.0.1 and threads of its own.
// Ports stay a member's own while it does not run: nobody else is given one.
typedef struct zoa_ensemble zoa_ensemble;

// A request under way.
//
// Made by `zoa_client_begin`, ended by `zoa_pending_free`. Any thread, one at a time. It may outlive its client, which
// answers everything when it is closed.
typedef struct zoa_pending zoa_pending;

// Where callbacks of clients wait for the host to run them.
//
// At 10,000 callbacks of one client, or 16 MiB of replies and events, that client stops reading from its server, and goes on
// at half of that: nothing is lost. While a thread waits for a reply of that client, it reads on.
//
// Made by `zoa_queue_new`, ended by `zoa_queue_free`. Any thread; one thread at a time runs it. One queue may serve many
// clients (`zoa_client_options.queue`). Callbacks run in `zoa_queue_run` alone, but for the last ones of a client: while nobody
// runs the queue they run on the thread that closes, detaches or frees the client.
typedef struct zoa_queue zoa_queue;

// What an operation brought: a code, and whatever the operation returns, of any length.
//
// Made by an operation, ended by `zoa_result_free`. Immutable: any thread may read it. Pointers from it live as long
// as it does. Asking a result for what it does not hold gives NULL or 0, and so does asking NULL.
typedef struct zoa_result zoa_result;

// One peer.
//
// Made by `zoa_server_start`, stopped by `zoa_server_stop`, ended by `zoa_server_free`. Any thread. Any number may live in
// one process, each with a data folder and a port of its own. It runs one thread, `zoarium-loop`, a second one,
// `zoarium-relief`, that sleeps unless a write takes long, and another for a moment now and then; all of them block all
// signals.
typedef struct zoa_server zoa_server;

// What became of a call: 0, one of ZooKeeper's codes, or one of ours (−1001 and below). Numbers are never reused.
typedef int32_t zoa_code;

// Told of every change of a session's state, where callbacks run. `zoa_client_open` or `zoa_client_connect` may not have
// returned yet.
typedef void (*zoa_state_fn)(struct zoa_client *client, int32_t state, void *user_data);

// How to begin a session. Begin with `ZOA_CLIENT_OPTIONS_INIT`: zero always means "as usual".
typedef struct zoa_client_options {
  // `sizeof(zoa_client_options)`.
  uint32_t struct_size;
  // Bits of `ZOA_ALLOW_READ_ONLY`.
  uint32_t flags;
  // What to ask for; the server clamps it. 0: 10 s.
  int32_t session_timeout_ms;
  // All paths are relative to this one, see `zoa_client`. NULL: none.
  const char *chroot;
  // Where callbacks run. NULL: on the thread `zoarium-callback`.
  struct zoa_queue *queue;
  // NULL: the program is not told.
  zoa_state_fn on_state;
  // Handed to `on_state`.
  void *user_data;
  // A session to take over, with `resume_password`. 0: a new one.
  int64_t resume_id;
  // As in `zoa_session`.
  uint8_t resume_password[16];
  // The longest request to send, in bytes of the data and all that goes with them; a longer one is `ZOA_BAD_ARGUMENTS`
  // before anything is sent. In this process `jute.maxbuffer` of the server holds besides; over TCP, where that is not
  // known, a server closes the connection for what it finds too long, so say here what it is configured to take
  // (ZooKeeper's default: 1048575). 0: in this process the server's limit alone, over TCP 64 MiB.
  uint32_t request_size_max;
  // 0.
  uint32_t reserved;
} zoa_client_options;

// A session's identity and how it is. Begin with `ZOA_SESSION_INIT`.
typedef struct zoa_session {
  // `sizeof(zoa_session)`.
  uint32_t struct_size;
  // `ZOA_CONNECTING` and so on.
  int32_t state;
  // As granted; 0 before the first connection.
  int32_t timeout_ms;
  // 0.
  uint32_t reserved;
  // 0 before the first connection.
  int64_t id;
  // With the id, all it takes to resume the session.
  uint8_t password[16];
  // The server's number where it is known (in this process), else 0.
  uint64_t server_id;
  // The last transaction this session has seen.
  int64_t last_zxid;
} zoa_session;

// A change of a watched znode. Borrowed for the call.
typedef struct zoa_event {
  // `sizeof(zoa_event)` of the library: fields past it are not there.
  uint32_t struct_size;
  // `ZOA_EVENT_CREATED` and so on.
  int32_t kind;
  // The session's state when the event came: `ZOA_CONNECTED`.
  int32_t state;
  // 0.
  uint32_t reserved;
  // The znode that changed; under a recursive watch not the one watched.
  const char *path;
  // The transaction that did it; −1 for what was caught up on after a reconnect.
  int64_t zxid;
} zoa_event;

// Told of a change, where callbacks run. `event` and its path live for the call.
//
// Of a znode and nothing else: neither a lost connection nor the session's end is told to watches, but to `on_state`. When
// the session expires, all of its watches are over, and none is called for that; only where the connection still stands, a
// watch of a znode that went with the session may be told of its deletion first.
typedef void (*zoa_watch_fn)(struct zoa_client *client, const struct zoa_event *event, void *user_data);

// Told of a server's role: `role` is one of `ZOA_ROLE_…`, `epoch` the leader's epoch.
//
// Runs on the thread `zoarium-callback`. It may call everything but `zoa_server_free` of its own server.
typedef void (*zoa_role_fn)(int32_t role, int64_t epoch, void *user_data);

// Gets one line, without a newline at its end. `level` is one of `ZOA_LOG_…`; `module` and `line` live for the call.
//
// For `zoa_log_to` it runs on whichever thread has something to say, several at a time, and may not call functions of this
// library. For `zoa_log_to_queue` it is a callback like others, and may.
typedef void (*zoa_log_fn)(int32_t level, const char *module, const char *line, void *user_data);

// What a znode's metadata looks like: the wire's eleven fields, in its order.
typedef struct zoa_stat {
  // The transaction that created it.
  int64_t czxid;
  // The transaction that set its data last.
  int64_t mzxid;
  // When it was created, ms since 1970.
  int64_t ctime_ms;
  // When its data were set last, ms since 1970.
  int64_t mtime_ms;
  // How often its data were set.
  int32_t version;
  // How often its children changed.
  int32_t cversion;
  // How often its ACL was set.
  int32_t aversion;
  // The session it goes with; 0 for none.
  int64_t ephemeral_owner;
  // Bytes of data.
  int32_t data_length;
  // Direct children.
  int32_t num_children;
  // The transaction that changed its children last.
  int64_t pzxid;
} zoa_stat;

// One entry of an access control list.
typedef struct zoa_acl {
  // Bits of `ZOA_PERM_…`.
  uint32_t perms;
  // `"world"`, `"auth"`, `"digest"`, `"ip"` …
  const char *scheme;
  // What it means is the scheme's business; `"anyone"` for `"world"`.
  const char *id;
} zoa_acl;

// Any operation. Begin with `ZOA_OP_INIT`, which asks for any version. What `kind` does not use is ignored.
//
// All pointers in it are read before the call that gets it returns, and not after: path, data and ACL may be freed or used
// again at once, by `zoa_client_submit` and `zoa_client_begin` too, whatever becomes of the request.
typedef struct zoa_op {
  // `sizeof(zoa_op)`.
  uint32_t struct_size;
  // One of `ZOA_OP_…`.
  int32_t kind;
  // NUL-terminated UTF-8.
  const char *path;
  // NULL with `len` 0 is null data.
  const void *data;
  // Bytes of `data`.
  size_t len;
  // The version expected, −1 for any.
  int32_t version;
  // A create mode, `ZOA_PERSISTENT` and so on.
  int32_t mode;
  // For the TTL modes, ms.
  int64_t ttl_ms;
  // NULL: open to everybody.
  const struct zoa_acl *acl;
  // Entries in `acl`.
  size_t acl_count;
  // Set in one step with `ZOA_OP_GET`, `ZOA_OP_EXISTS` or `ZOA_OP_CHILDREN`; told of one event. It cannot be ended: it is
  // over once it was told, or with the client. What can be ended is set by `zoa_client_watch`. NULL: none.
  zoa_watch_fn watch;
  // Handed to `watch`; it must live until that was called, or the client is freed.
  void *watch_data;
  // For `ZOA_OP_RECONFIG`: the version of the configuration expected, the number behind `version=` in its text; 0 for any.
  int64_t config_version;
} zoa_op;

// Gets a result, where callbacks run. It is yours to free.
typedef void (*zoa_done_fn)(struct zoa_client *client, struct zoa_result *result, void *user_data);

// How a server is. Begin with `ZOA_STATUS_INIT`.
typedef struct zoa_status {
  // `sizeof(zoa_status)`.
  uint32_t struct_size;
  // One of `ZOA_ROLE_…`.
  int32_t role;
  // Its number in the ensemble.
  uint64_t server_id;
  // The epoch of its last transaction.
  int64_t epoch;
  // Its last transaction.
  int64_t last_zxid;
  // The leader's number; its own when standalone, 0 while there is none.
  uint64_t leader_id;
  // The port clients connect to.
  uint32_t client_port;
  // Sessions.
  uint32_t sessions;
  // Znodes, the same number as in the words `srvr` and `mntr`: ZooKeeper counts the root twice.
  uint64_t znodes;
  // Watches.
  uint64_t watches;
  // Bytes of paths and data.
  uint64_t data_bytes;
  // Bytes of the data file.
  uint64_t file_bytes;
  // Learners of a leader that are up to date; 0 when it does not lead.
  uint32_t learners_in_sync;
  // Servers that make a quorum, where each has one vote; 1 when standalone.
  uint32_t quorum_size;
  // Requests taken and not answered.
  uint64_t outstanding;
} zoa_status;

// Done.
#define ZOA_OK 0

// Never sent by a server of ours.
#define ZOA_SYSTEM_ERROR -1

// In a failed multi: an operation behind the failing one.
#define ZOA_RUNTIME_INCONSISTENCY -2

// The connection was lost before the reply came; what became of a write is unknown.
#define ZOA_CONNECTION_LOSS -4

// What was sent or received cannot be read.
#define ZOA_MARSHALLING_ERROR -5

// No such operation, or not here.
#define ZOA_UNIMPLEMENTED -6

// The operation took too long.
#define ZOA_OPERATION_TIMEOUT -7

// A bad path, flag, size or number.
#define ZOA_BAD_ARGUMENTS -8

// No such session.
#define ZOA_UNKNOWN_SESSION -12

// The new configuration has no quorum.
#define ZOA_NEW_CONFIG_NO_QUORUM -13

// Another reconfiguration is under way.
#define ZOA_RECONFIG_IN_PROGRESS -14

// The znode does not exist.
#define ZOA_NO_NODE -101

// The ACL refuses.
#define ZOA_NO_AUTH -102

// The expected version is not the current one.
#define ZOA_BAD_VERSION -103

// Ephemeral znodes have no children.
#define ZOA_NO_CHILDREN_FOR_EPHEMERALS -108

// The znode is there already.
#define ZOA_NODE_EXISTS -110

// The znode has children.
#define ZOA_NOT_EMPTY -111

// The session has expired, and its ephemeral znodes are gone.
#define ZOA_SESSION_EXPIRED -112

// The ACL given is not valid.
#define ZOA_INVALID_ACL -114

// Authentication failed.
#define ZOA_AUTH_FAILED -115

// The session lives on another connection by now.
#define ZOA_SESSION_MOVED -118

// A write to a read-only server.
#define ZOA_NOT_READ_ONLY -119

// A local session cannot own ephemerals.
#define ZOA_EPHEMERAL_ON_LOCAL_SESSION -120

// No such watch.
#define ZOA_NO_WATCHER -121

// Reconfiguration is switched off.
#define ZOA_RECONFIG_DISABLED -123

// The server requires authentication.
#define ZOA_SESSION_CLOSED_REQUIRE_SASL_AUTH -124

// A hard quota would be exceeded.
#define ZOA_QUOTA_EXCEEDED -125

// Refused because too much is under way.
#define ZOA_THROTTLED_OP -127

// A pointer that must not be NULL was.
#define ZOA_NULL_ARGUMENT -1001

// A bug of the library was caught. The handle is spent: every later call on it answers this, until it is freed.
#define ZOA_PANIC -1002

// The handle was made by this process's parent.
#define ZOA_FORKED -1003

// The caller's limit passed first; a request under way may still be carried out.
#define ZOA_TIMEOUT -1004

// The handle, or the server behind it, has been closed.
#define ZOA_CLOSED -1005

// The data belong to a live server, in this process or another.
#define ZOA_IN_USE -1006

// The address to listen on is in use.
#define ZOA_PORT_TAKEN -1007

// The disk, or the room allowed on it, is full.
#define ZOA_DISK_FULL -1008

// The data file is damaged.
#define ZOA_CORRUPT -1009

// No such configuration key.
#define ZOA_UNKNOWN_KEY -1010

// A `struct_size` below that of the first release.
#define ZOA_TOO_OLD -1011

// Not a live handle of this kind: freed, or another kind's.
#define ZOA_BAD_HANDLE -1012

// Text that is not UTF-8.
#define ZOA_BAD_UTF8 -1013

// The call could only end after the callback that it was made from.
#define ZOA_WOULD_DEADLOCK -1014

// The system refused something: the sentence says what.
#define ZOA_SYSTEM -1015

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The interface number of the library at run time; compare it with `ZOA_ABI` on loading.
//
// Any thread.
uint32_t zoa_abi(void);

// The release, `"0.1.0"`. Static. Any thread.
const char *zoa_version(void);

// What was built in, names separated by spaces; empty where nothing is optional. Static. Any thread.
const char *zoa_features(void);

// Begins a session with a server in this process, past the socket and nothing else. Yours to close and free. `options`
// may be NULL. Does not wait: operations do, see `zoa_client_wait`.
//
// Any thread. Errors: `ZOA_CLOSED` when the server has stopped; `ZOA_BAD_ARGUMENTS`, `ZOA_TOO_OLD`, `ZOA_BAD_UTF8` for
// options; `ZOA_SYSTEM`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_client_open(struct zoa_server *server,
                         const struct zoa_client_options *options,
                         struct zoa_client **client_out);

// Begins a session with a server elsewhere, over TCP. Yours to close and free. `options` may be NULL. Does not wait:
// operations do, see `zoa_client_wait`; while no server answers, they wait too.
//
// `hosts` is ZooKeeper's connection string, `"one:2181,two:2181,[::1]:2181/chroot"`: servers of one ensemble, tried in an
// order of chance; the port may be left out (2181). `options.chroot` lies below the chroot in `hosts`. When a connection is
// lost, the session is resumed with the next server, watches and identities included. No request is ever sent twice:
// what was sent and not answered ends in `ZOA_CONNECTION_LOSS`, what was not sent yet waits. One thread, `zoarium-io`,
// serves all clients of the process.
//
// Any thread. Errors: `ZOA_BAD_ARGUMENTS` for `hosts` that cannot be read; `ZOA_BAD_ARGUMENTS`, `ZOA_TOO_OLD`,
// `ZOA_BAD_UTF8` for options; `ZOA_SYSTEM`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_client_connect(const char *hosts,
                            const struct zoa_client_options *options,
                            struct zoa_client **client_out);

// Waits until a server answers, up to `timeout_ms` (−1: for ever).
//
// Any thread. Errors: `ZOA_TIMEOUT`; `ZOA_SESSION_EXPIRED` when the session to resume is over; `ZOA_AUTH_FAILED`;
// `ZOA_CLOSED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_client_wait(struct zoa_client *client,
                         int32_t timeout_ms);

// The session as it is now, in `session_out`, whose `struct_size` says how much fits. Also works after the end.
//
// Any thread. Errors: `ZOA_TOO_OLD`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_client_session(const struct zoa_client *client,
                            struct zoa_session *session_out);

// Adds an identity to the session: scheme `"digest"` with `"user:password"`, for one. Waits for the server's answer.
//
// Any thread. Errors: `ZOA_AUTH_FAILED`, which ends the session; `ZOA_CONNECTION_LOSS` (the identity is
// re-sent on reconnect); `ZOA_CLOSED`, `ZOA_SESSION_EXPIRED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`,
// `ZOA_FORKED`.
zoa_code zoa_client_add_auth(struct zoa_client *client,
                             const char *scheme,
                             const void *credentials,
                             size_t len);

// Sets a watch in one of the modes `ZOA_WATCH_…` and puts its number into `watch_id_out` (may be NULL). `zoa_client_unwatch`
// ends it, and so does the end of its session, which it is not told of: see `zoa_watch_fn`.
//
// `user_data` is handed back as it is; it must live until the client is freed, or the watch has been ended and no callback
// of it runs. Any thread; waits for the server. Errors: `ZOA_NO_NODE` for `ZOA_WATCH_ONCE_CHILDREN`; `ZOA_NO_AUTH`;
// `ZOA_THROTTLED_OP` with too many watches; `ZOA_BAD_ARGUMENTS`; `ZOA_CONNECTION_LOSS`, `ZOA_SESSION_EXPIRED`,
// `ZOA_CLOSED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_client_watch(struct zoa_client *client,
                          const char *path,
                          int32_t mode,
                          zoa_watch_fn watch,
                          void *user_data,
                          uint64_t *watch_id_out);

// Ends a watch of `zoa_client_watch`. No callback of it begins after this returns; one may be running on another thread. The
// watch of a read (`zoa_op.watch`) has no number and cannot be ended.
//
// Any thread; waits for the server. Errors: `ZOA_NO_WATCHER` when it has ended or fired already; `ZOA_CONNECTION_LOSS`
// and the like: it has ended here all the same; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_client_unwatch(struct zoa_client *client,
                            uint64_t watch_id);

// Ends the session, with its ephemeral znodes. Waits up to `timeout_ms` (−1: for ever). Closing twice is fine.
//
// When it returns, every request has been answered, every callback has run, and none will run again; except when called
// from a callback, where those that still wait run after it. The last callbacks of a client with a queue run in the
// `zoa_queue_run` that is under way on another thread, for whose end this waits; where there is none, on the thread that calls
// this, before it returns. Any thread. Errors: `ZOA_TIMEOUT`: closed here all the same,
// but the session is left to expire or a callback still runs; `ZOA_CONNECTION_LOSS`: the same, because no server was
// connected that could be asked; `ZOA_WOULD_DEADLOCK`: closed, and a callback of this client still runs, which waits for the
// callback that this is called from, on another queue, in the same way; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_client_close(struct zoa_client *client,
                          int32_t timeout_ms);

// Lets go of the session and leaves it alive, to be resumed with the id and password of `zoa_client_session`. Callbacks as
// after `zoa_client_close`; what was under way ends in `ZOA_CLOSED`.
//
// Any thread. Errors: `ZOA_WOULD_DEADLOCK` as in `zoa_client_close`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_client_detach(struct zoa_client *client);

// Closes the client if it is open, with a limit of two seconds for the server, waits for its callbacks and frees it.
// NULL is fine.
//
// From a callback on the same queue it takes effect when the callback returns: until then the client is closed. From a
// callback on another queue it waits for the client's own; where one of those waits in the same way for the callback that
// this is called from, it takes effect when that one returns. Any thread, once nobody else uses the client.
void zoa_client_free(struct zoa_client *client);

// The name of a code, `"ZOA_NO_NODE"`; `"ZOA_UNKNOWN_CODE"` for a number that is none.
//
// Static, never NULL. Any thread.
const char *zoa_code_name(zoa_code code);

// What a code means in words, without the particulars of `zoa_last_error`.
//
// Static, never NULL. Any thread.
const char *zoa_code_text(zoa_code code);

// Whether a write that ended with this code happened: `ZOA_OUTCOME_DONE`, `ZOA_OUTCOME_NOT_DONE` or, after a lost
// connection, an expired session or a time limit, `ZOA_OUTCOME_UNKNOWN`: then look before trying again. `zoa_last_outcome`
// and `zoa_result_outcome` know more than the code alone can say.
//
// Any thread.
int32_t zoa_code_outcome(zoa_code code);

// A config with the embedded defaults: standalone, data in `./zoarium-data`, port 2181 on loopback. Yours to free.
//
// Any thread. Errors: `ZOA_NULL_ARGUMENT`.
zoa_code zoa_config_new(struct zoa_config **config_out);

// Takes a `zoo.cfg` as the base: what `zoa_config_set` says beats it. The file is read now, to tell errors, and again
// by `zoa_server_start`.
//
// With a file, an unset `clientPortAddress` means every address of the machine, as in ZooKeeper, and `dataDir` must be set,
// in the file or by `zoa_config_set`: `zoa_server_start` refuses without it.
// Any thread. Errors: `ZOA_SYSTEM` when it cannot be read; `ZOA_BAD_ARGUMENTS` for a line that is refused, named by
// `zoa_last_error`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`.
zoa_code zoa_config_load(struct zoa_config *config,
                         const char *file_path);

// Sets one key, such as `"dataDir"`, `"clientPort"` (0 picks a free port) or `"tickTime"`. The last value counts.
//
// Any thread. Errors: `ZOA_UNKNOWN_KEY`; `ZOA_BAD_ARGUMENTS` for a value the key does not take, with what it takes in
// `zoa_last_error`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`.
zoa_code zoa_config_set(struct zoa_config *config,
                        const char *key,
                        const char *value);

// Asks to be told of the role of servers started with this config: what each is once it has started, every change, and the end
// last (`ZOA_ROLE_STOPPED`, `ZOA_ROLE_FAILED`), unless it is freed before. NULL: not any more.
//
// `user_data` is handed back as it is; it must live until the last such server is freed.
// Any thread. Errors: `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`.
zoa_code zoa_config_on_role(struct zoa_config *config,
                            zoa_role_fn changed,
                            void *user_data);

// Frees a config. NULL is fine. Any thread, once no thread uses it.
void zoa_config_free(struct zoa_config *config);

// Starts so many members, from 1 to 64; all of them serve when this returns. Yours to stop and free.
//
// `config` NULL: ticks of 100 ms, sessions from 200 ms to two minutes, as many connections as come, all four-letter words, and
// a temporary folder, which goes with the ensemble. What a config without a file sets beats these; with a file, it alone counts.
// `"dataDir"` is where the members' folders lie, `1`, `2` and so on; they stay. Numbers, ports and server lines are the
// ensemble's own business. What `zoa_config_on_role` asks for is not told of its members.
//
// Any thread. Errors: `ZOA_BAD_ARGUMENTS` for a size or settings that cannot be; `ZOA_TIMEOUT` where not all serve within a
// minute, with what each of those that do not is doing; those of `zoa_server_start`.
zoa_code zoa_ensemble_start(const struct zoa_config *config,
                            uint32_t size,
                            struct zoa_ensemble **ensemble_out);

// Where clients connect, `"127.0.0.1:40211,127.0.0.1:40214,127.0.0.1:40217"`: the addresses of all members in the order of
// their numbers, the same each time a member runs. Lives as long as the ensemble.
//
// Any thread. NULL when `ensemble` is no ensemble.
const char *zoa_ensemble_hosts(const struct zoa_ensemble *ensemble);

// Waits until all members serve that run and are neither paused nor cut off, and one of them leads the others; up to
// `timeout_ms` (−1: for ever).
//
// Any thread. Errors: `ZOA_TIMEOUT`, with what each member that does not serve is doing; `ZOA_BAD_ARGUMENTS` where none runs that
// could; `ZOA_CLOSED` after a stop; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_ensemble_wait(struct zoa_ensemble *ensemble,
                           int32_t timeout_ms);

// The member that leads, of those that are neither paused nor cut off; 0 while there is none.
//
// Any thread. Errors: `ZOA_CLOSED` after a stop; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_ensemble_leader(struct zoa_ensemble *ensemble, uint64_t *member_out);

// The server that a member is, for `zoa_client_open`, `zoa_server_status` and all the others. The handle is yours to free,
// before or after the ensemble; freeing it does not stop the member. Once the member was killed or stopped it is a server that
// has ended, also when the member runs again: ask anew.
//
// Any thread. Errors: `ZOA_BAD_ARGUMENTS` where there is no such member or it does not run; `ZOA_CLOSED` after a stop;
// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_ensemble_server(struct zoa_ensemble *ensemble,
                             uint64_t member,
                             struct zoa_server **server_out);

// Ends a member as `kill -9` ends a process: it keeps what was on its disk and nothing more, leadership is handed over to nobody,
// and nobody hears of it but by the end of their connections.
//
// Any thread. Errors: `ZOA_BAD_ARGUMENTS` where there is no such member or it does not run; `ZOA_TIMEOUT` where its disk hangs;
// `ZOA_CLOSED` after a stop; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_ensemble_kill(struct zoa_ensemble *ensemble,
                           uint64_t member);

// Starts a member that does not run, with the data and addresses it had. It does not serve yet when this returns:
// `zoa_ensemble_wait`.
//
// Any thread. Errors: `ZOA_BAD_ARGUMENTS` where there is no such member or it runs; `ZOA_CLOSED` after a stop; those of
// `zoa_server_start`.
zoa_code zoa_ensemble_restart(struct zoa_ensemble *ensemble,
                              uint64_t member);

// Takes a member that does not run its data: once it runs it begins anew, and is sent everything by the others.
//
// Any thread. Errors: `ZOA_BAD_ARGUMENTS` where there is no such member or it runs; `ZOA_SYSTEM`; `ZOA_CLOSED` after a stop;
// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_ensemble_wipe(struct zoa_ensemble *ensemble,
                           uint64_t member);

// Has a member stand still, as a machine that swaps: its connections stay, nobody is answered, until `zoa_ensemble_resume`.
//
// Any thread. Errors: `ZOA_BAD_ARGUMENTS` where there is no such member or it does not run; `ZOA_CLOSED` after a stop;
// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_ensemble_pause(struct zoa_ensemble *ensemble,
                            uint64_t member);

// Lets a paused member go on.
//
// Any thread. Errors: as `zoa_ensemble_pause`.
zoa_code zoa_ensemble_resume(struct zoa_ensemble *ensemble, uint64_t member);

// Cuts a member off from the others, as where a cable is pulled: nothing that they send arrives, nothing gets to them, and
// nobody is told. Its clients reach it all the same. Until `zoa_ensemble_heal`.
//
// Any thread. Errors: as `zoa_ensemble_pause`.
zoa_code zoa_ensemble_cut(struct zoa_ensemble *ensemble,
                          uint64_t member);

// Connects a member with the others again.
//
// Any thread. Errors: as `zoa_ensemble_pause`.
zoa_code zoa_ensemble_heal(struct zoa_ensemble *ensemble, uint64_t member);

// Stops all members, cleanly where their data stay, and takes a temporary folder away. Stopping what has stopped is fine.
//
// Any thread. Errors: what had ended a member, if that was a failure; `ZOA_TIMEOUT` where a disk hangs; `ZOA_NULL_ARGUMENT`,
// `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_ensemble_stop(struct zoa_ensemble *ensemble);

// Stops the ensemble if it runs, and frees it. NULL is fine.
//
// Any thread, once no thread uses the ensemble.
void zoa_ensemble_free(struct zoa_ensemble *ensemble);

// Whether the write of this thread's last failed call happened: `ZOA_OUTCOME_NOT_DONE` where that is certain, which often
// is more than `zoa_code_outcome` can say. A session that had expired before the call has sent nothing, for one.
//
// Valid as long as `zoa_last_error`, which it leaves as it is. `ZOA_OUTCOME_DONE` if nothing failed yet. Of a result: `zoa_result_outcome`.
int32_t zoa_last_outcome(void);

// This thread's last failure in words, with the particulars that the code lacks. Empty if nothing failed yet.
//
// Valid until this thread's next call of a function of this library. Never NULL.
const char *zoa_last_error(void);

// Sends log lines up to `level_max` (`ZOA_LOG_…`) to `log`; NULL for silence, which is how a process begins.
//
// One sink per process; a forked child begins silent. After this returns the sink before is not called any more.
// Any thread. Errors: `ZOA_WOULD_DEADLOCK` from within a sink; `ZOA_BAD_ARGUMENTS` for a level that is none;
// `ZOA_IN_USE` when the program already has another logger for Rust's `log`.
zoa_code zoa_log_to(int32_t level_max,
                    zoa_log_fn log,
                    void *user_data);

// As `zoa_log_to`, but each line waits in a queue until that is run, like any callback: `log` may do what it likes, and
// no thread of the library waits for it. NULL for `queue` is `ZOA_NULL_ARGUMENT`; NULL for `log` is silence.
//
// While 1,000 lines wait, further ones are dropped; their number is the next line. After this or `zoa_log_to` returns no more
// lines of the sink before are added, but those that wait are still handed out when the queue is run.
// Any thread. Errors: those of `zoa_log_to`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_log_to_queue(int32_t level_max,
                          struct zoa_queue *queue,
                          zoa_log_fn log,
                          void *user_data);

// Creates a znode, open to everybody, with `mode` `ZOA_PERSISTENT` and so on (not the TTL modes, which need a `zoa_op`).
// `result_out` may be NULL; else the result has the path, with its sequence number, and the stat. NULL `data` with `len`
// 0 is null data.
//
// Any thread; waits for the server, for ever if need be. Errors: `ZOA_NODE_EXISTS`; `ZOA_NO_NODE` (no parent);
// `ZOA_NO_CHILDREN_FOR_EPHEMERALS`; `ZOA_NO_AUTH`; `ZOA_BAD_ARGUMENTS`; `ZOA_CONNECTION_LOSS` (it may have happened),
// `ZOA_SESSION_EXPIRED`, `ZOA_CLOSED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_client_create(struct zoa_client *client,
                           const char *path,
                           const void *data,
                           size_t len,
                           int32_t mode,
                           struct zoa_result **result_out);

// Data and stat of a znode, in a result of yours to free.
//
// Any thread. In this process it is answered on the caller's thread, unless this session has writes under way that come
// first. Errors: `ZOA_NO_NODE`; `ZOA_NO_AUTH`; `ZOA_CONNECTION_LOSS` (safe to retry), `ZOA_SESSION_EXPIRED`, `ZOA_CLOSED`;
// `ZOA_BAD_ARGUMENTS`, `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_client_get(struct zoa_client *client,
                        const char *path,
                        struct zoa_result **result_out);

// Replaces a znode's data at `version` (−1: any). `stat_out` (may be NULL) gets the stat after it.
//
// Any thread. Errors: `ZOA_NO_NODE`; `ZOA_BAD_VERSION`; `ZOA_NO_AUTH`; `ZOA_CONNECTION_LOSS` (it may have happened) and
// the others of `zoa_client_create`.
zoa_code zoa_client_set(struct zoa_client *client,
                        const char *path,
                        const void *data,
                        size_t len,
                        int32_t version,
                        struct zoa_stat *stat_out);

// Deletes a childless znode at `version` (−1: any).
//
// Any thread. Errors: `ZOA_NO_NODE`; `ZOA_BAD_VERSION`; `ZOA_NOT_EMPTY`; `ZOA_NO_AUTH`; `ZOA_CONNECTION_LOSS` (it may have
// happened) and the others of `zoa_client_create`.
zoa_code zoa_client_delete(struct zoa_client *client,
                           const char *path,
                           int32_t version);

// Whether a znode exists. `stat_out` (may be NULL) gets its stat.
//
// Any thread. Errors: `ZOA_NO_NODE` when it does not; the others of `zoa_client_get`.
zoa_code zoa_client_exists(struct zoa_client *client, const char *path, struct zoa_stat *stat_out);

// Names of a znode's children and its stat, in a result of yours to free.
//
// Any thread. Errors: those of `zoa_client_get`.
zoa_code zoa_client_children(struct zoa_client *client, const char *path, struct zoa_result **result_out);

// Waits until this server has caught up with the leader: a read after it sees every write acknowledged before it.
// `path` may be NULL.
//
// Any thread. Errors: `ZOA_CONNECTION_LOSS` (safe to retry), `ZOA_SESSION_EXPIRED`, `ZOA_CLOSED`; `ZOA_BAD_ARGUMENTS`,
// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_client_sync(struct zoa_client *client,
                         const char *path);

// ACL and stat of a znode, in a result of yours to free.
//
// Any thread. Errors: those of `zoa_client_get`.
zoa_code zoa_client_acl(struct zoa_client *client, const char *path, struct zoa_result **result_out);

// Replaces a znode's ACL at ACL version `version` (−1: any).
//
// Any thread. Errors: `ZOA_INVALID_ACL`; `ZOA_NO_NODE`; `ZOA_BAD_VERSION`; `ZOA_NO_AUTH`; `ZOA_CONNECTION_LOSS` (it may have
// happened) and the others of `zoa_client_create`.
zoa_code zoa_client_set_acl(struct zoa_client *client,
                            const char *path,
                            const struct zoa_acl *acl,
                            size_t count,
                            int32_t version);

// Runs any operation and waits up to `timeout_ms` (−1: for ever). `result_out` may be NULL. A result is handed out on
// success only; failures are told by code and `zoa_last_error`.
//
// Any thread. Errors: those of the operation; `ZOA_TIMEOUT`: the request goes on, and a write may still happen;
// `ZOA_BAD_ARGUMENTS` for a kind that is none; `ZOA_TOO_OLD`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_client_call(struct zoa_client *client,
                         const struct zoa_op *op,
                         int32_t timeout_ms,
                         struct zoa_result **result_out);

// Sends any operation and returns; `done` gets the result, exactly once, where callbacks run. Requests of one client are
// carried out in the order in which they were sent.
//
// When this fails, nothing was sent and `done` is not called. Any thread. Errors: `ZOA_CLOSED`, `ZOA_SESSION_EXPIRED`,
// `ZOA_AUTH_FAILED`; `ZOA_THROTTLED_OP` when too much waits to be sent; `ZOA_BAD_ARGUMENTS`, `ZOA_TOO_OLD`;
// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_client_submit(struct zoa_client *client,
                           const struct zoa_op *op,
                           zoa_done_fn done,
                           void *user_data);

// Runs several operations as one: all happen or none (`ZOA_OP_CREATE`, `_DELETE`, `_SET`, `_CHECK`), or several reads of one
// moment (`ZOA_OP_GET`, `_CHILDREN`), each with a code of its own.
//
// `result_out` may be NULL. Unlike elsewhere the result is also handed out when the multi was refused, so that
// `zoa_result_part` can say which part was to blame. Any thread; waits for the server. Errors: that of the part to blame;
// `ZOA_CONNECTION_LOSS` (it may have happened) and the others of `zoa_client_create`.
zoa_code zoa_client_multi(struct zoa_client *client,
                          const struct zoa_op *ops,
                          size_t count,
                          struct zoa_result **result_out);

// Sends several operations as one and returns; `done` gets the result. As `zoa_client_submit` otherwise.
zoa_code zoa_client_submit_multi(struct zoa_client *client,
                                 const struct zoa_op *ops,
                                 size_t count,
                                 zoa_done_fn done,
                                 void *user_data);

// As `zoa_client_call`, for hosts that must look after something else now and then, such as Ctrl-C: when `timeout_ms`
// (−1: for ever) passes first, the answer is `ZOA_TIMEOUT` and the request itself is put into `pending_out`, to go on
// waiting for it with `zoa_pending_wait`. Yours to free. On any other answer `pending_out` is left alone.
//
// Any thread. Errors: those of `zoa_client_call`.
zoa_code zoa_client_begin(struct zoa_client *client,
                          const struct zoa_op *op,
                          int32_t timeout_ms,
                          struct zoa_result **result_out,
                          struct zoa_pending **pending_out);

// Goes on waiting for a request, up to `timeout_ms` (−1: for ever). `result_out` may be NULL; it gets the result once, on
// success.
//
// Any thread, one at a time. Errors: those of the operation; `ZOA_TIMEOUT`: it is still under way, call again;
// `ZOA_BAD_ARGUMENTS` when its result has been given out; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_pending_wait(struct zoa_pending *pending,
                          int32_t timeout_ms,
                          struct zoa_result **result_out);

// Lets go of a request: it is carried out all the same, and the program does not hear how it went. NULL is fine.
//
// Any thread, once no thread waits for it.
void zoa_pending_free(struct zoa_pending *pending);

// A queue. Yours to free.
//
// Any thread. Errors: `ZOA_SYSTEM` when there are no descriptors left; `ZOA_NULL_ARGUMENT`.
zoa_code zoa_queue_new(struct zoa_queue **queue_out);

// A descriptor that is readable while something waits to be run. Only poll it: do not read, write or close it.
//
// It lives as long as the queue and is closed on exec. Any thread. −1 when `queue` is no queue.
int zoa_queue_fd(const struct zoa_queue *queue);

// Runs up to `max` callbacks on this thread, waiting up to `timeout_ms` for the first (0 polls, −1 waits for ever).
//
// `ran_out` (may be NULL) gets how many. A small `max` keeps a storm of events from holding up the host's loop: the
// descriptor stays readable while more wait.
// Any thread, one at a time. Errors: `ZOA_WOULD_DEADLOCK` from within one of its own callbacks; `ZOA_IN_USE` while
// another thread runs it; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_queue_run(struct zoa_queue *queue,
                       size_t max,
                       int32_t timeout_ms,
                       size_t *ran_out);

// Frees a queue. NULL is fine. Clients that use it keep what they need of it; free them first to run their last
// callbacks.
//
// Any thread, once no thread calls `zoa_queue_run`.
void zoa_queue_free(struct zoa_queue *queue);

// The operation's code. For a failed multi it is that of the part that failed.
zoa_code zoa_result_code(const struct zoa_result *result);

// What went wrong, in words; NULL when nothing did. Lives as long as the result.
const char *zoa_result_error(const struct zoa_result *result);

// Whether the write that brought this result happened, `ZOA_OUTCOME_DONE` and so on: what `zoa_code_outcome` says of its code,
// and `ZOA_OUTCOME_NOT_DONE` wherever that is certain besides. No part of a failed multi has happened.
int32_t zoa_result_outcome(const struct zoa_result *result);

// The last transaction the server had applied when it answered: of a write, the write itself. −1 when no server answered.
int64_t zoa_result_zxid(const struct zoa_result *result);

// The path of a created znode, with its sequence number; NULL for other operations. Lives as long as the result.
const char *zoa_result_path(const struct zoa_result *result);

// A znode's data, with their length in `len_out` (may be NULL). NULL for null data and for operations that read none;
// empty data are not NULL. Not NUL-terminated. Lives as long as the result.
const void *zoa_result_data(const struct zoa_result *result,
                            size_t *len_out);

// The znode's stat; NULL for operations that bring none. Lives as long as the result.
const struct zoa_stat *zoa_result_stat(const struct zoa_result *result);

// How many names, ACL entries or parts there are; of `ZOA_OP_COUNT`, how many descendants.
size_t zoa_result_count(const struct zoa_result *result);

// The name of a child, or the path of an ephemeral znode; NULL past the end. In no particular order. Lives as long as
// the result.
const char *zoa_result_name(const struct zoa_result *result,
                            size_t index);

// An ACL entry, or an identity of `ZOA_OP_WHO_AM_I` (with `perms` 0); NULL past the end. Lives as long as the result.
const struct zoa_acl *zoa_result_acl(const struct zoa_result *result,
                                     size_t index);

// The result of one operation of a multi; NULL past the end. Borrowed: it lives as long as the whole, and is not to be
// freed.
//
// In a failed multi the parts before the culprit have `ZOA_OK` and those behind it `ZOA_RUNTIME_INCONSISTENCY`, as the
// server says; none of them happened.
const struct zoa_result *zoa_result_part(const struct zoa_result *result,
                                         size_t index);

// Frees a result. NULL is fine, and a part of another is left alone. Any thread, once no thread uses it or pointers from it.
void zoa_result_free(struct zoa_result *result);

// Opens the data folder, recovers what it holds, listens, and serves; returns when clients can connect. A member of an ensemble
// (`server.N` lines in a file of `zoa_config_load`) refuses them until it has found a leader: `zoa_server_ready`. Yours to stop and
// free. `config` NULL: the defaults of `zoa_config_new`. Nothing can stop it before it returns; the process may end at any
// moment, recovery bears that.
//
// Any thread. Errors: `ZOA_IN_USE` when another server has the data; `ZOA_PORT_TAKEN`; `ZOA_CORRUPT`; `ZOA_DISK_FULL`;
// `ZOA_BAD_ARGUMENTS` for settings that do not go together, and where ZooKeeper's own data lies and no file of ours
// (`zoarium.ignoreZooKeeperData` begins all the same); `ZOA_SYSTEM`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`.
zoa_code zoa_server_start(const struct zoa_config *config,
                          struct zoa_server **server_out);

// Waits until the server answers, up to `timeout_ms` (−1: for ever; at least 50). It does as soon as it has started, unless
// something holds it up. Whether a member of an ensemble serves clients says `zoa_server_ready`.
//
// Any thread. Errors: `ZOA_CLOSED` after a stop; what ended the server, with the sentence, when it failed; `ZOA_TIMEOUT`;
// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_server_wait(struct zoa_server *server,
                         int32_t timeout_ms);

// Waits until clients are served, up to `timeout_ms` (−1: for ever; 0 only looks). A standalone server serves from its start; a
// member of an ensemble while it leads or follows a leader, and without one only reads, where `readonlymode.enabled` is on.
//
// Any thread; does not wait for the server's loop. Errors: `ZOA_TIMEOUT` while it looks for a leader; `ZOA_CLOSED` after a stop;
// what ended the server, with the sentence, when it failed; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_server_ready(struct zoa_server *server,
                          int32_t timeout_ms);

// How the server is, in `status_out`, whose `struct_size` says how much fits. Also works on a server that has ended:
// then most numbers are 0.
//
// Any thread; waits for the server's loop. Errors: `ZOA_TIMEOUT` when that is busy for ten seconds; `ZOA_TOO_OLD`;
// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_server_status(const struct zoa_server *server,
                           struct zoa_status *status_out);

// Where clients connect, `"127.0.0.1:40211"`, whatever port 0 became. Lives as long as the server.
//
// Any thread. NULL when `server` is no server.
const char *zoa_server_address(const struct zoa_server *server);

// The answer to a four-letter word such as `"mntr"`, whether or not the whitelist allows it to clients. Free it with
// `zoa_text_free`.
//
// Any thread; waits for the server's loop. Errors: `ZOA_BAD_ARGUMENTS` when there is no such word; `ZOA_TIMEOUT` when the
// loop is busy for ten seconds; `ZOA_CLOSED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_UTF8`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_server_command(struct zoa_server *server,
                            const char *word,
                            char **text_out);

// Frees a text of `zoa_server_command`. NULL is fine. Any thread.
void zoa_text_free(char *text);

// Ends a session as its timeout would, only now: its ephemeral znodes are gone when this returns. Its client hears of it
// at its next contact, one in this process at once. For tests, and for programs that know that a client is dead.
//
// `session_id` is that of `zoa_client_session`. Any thread; waits for the server's loop. Errors: `ZOA_SESSION_EXPIRED`
// when there is no such session (any more); `ZOA_TIMEOUT` when the loop is busy for ten seconds, and does it later;
// `ZOA_CLOSED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_server_expire(struct zoa_server *server,
                           int64_t session_id);

// Cuts the connection of a session, which lives on: its client becomes `ZOA_SUSPENDED`, with what was under way lost, and
// comes back by itself. Fine where it has no connection. For tests.
//
// Any thread; waits for the server's loop. Errors: as `zoa_server_expire`.
zoa_code zoa_server_disconnect(struct zoa_server *server,
                               int64_t session_id);

// Freezes the server for `duration_ms`, as a machine does that swaps, or a disk that hangs: no client is answered meanwhile.
// Returns once that has begun; `zoa_server_stop` ends it early. For tests.
//
// Any thread; waits for the server's loop. Errors: `ZOA_BAD_ARGUMENTS` for a duration below 0; `ZOA_CLOSED`;
// `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_server_pause(struct zoa_server *server,
                          int32_t duration_ms);

// Gives leadership to another server: the leader takes nothing new for half a second at a stretch, waits up to `timeout_ms` (−1: for
// ever) until another one has everything, steps down, and keeps out of the election that follows. Writes pause for that election and no longer; its clients
// connect anew. Returns once another server leads.
//
// Any thread; waits for the server's loop. Errors: `ZOA_UNIMPLEMENTED` on a standalone server; `ZOA_BAD_ARGUMENTS` where it does
// not lead, or no other server votes; `ZOA_TIMEOUT` where no other server had everything in time, and it goes on leading, or where none was elected;
// `ZOA_CLOSED`; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_server_handover(struct zoa_server *server,
                             int32_t timeout_ms);

// Stops the server: clients are disconnected (those in this process see `ZOA_CLOSED`), sessions live on in the file.
// Waits up to `timeout_ms` (−1: for ever). Stopping what has stopped is fine.
//
// A server ends within milliseconds, also while it takes a snapshot, unless the disk hangs: then it takes nothing from
// clients any more, but ends and frees its file and addresses only when the disk has finished its write. What it had
// acknowledged is on disk in any case; what it had not may or may not be, as after a crash.
//
// A leader takes nothing new and waits up to half a second until another member has everything, so that writes pause for an
// election and no longer.
//
// Any thread, callbacks included. Errors: `ZOA_TIMEOUT`: it goes on stopping, call again; what went wrong in closing the
// file, or had ended the server before; `ZOA_NULL_ARGUMENT`, `ZOA_BAD_HANDLE`, `ZOA_FORKED`.
zoa_code zoa_server_stop(struct zoa_server *server,
                         int32_t timeout_ms);

// Stops the server if it runs, unless it is a member of `zoa_ensemble_server`, and frees it. NULL is fine. Its clients may be
// freed before or after. Returns within two seconds; where the disk hangs longer, the server ends by itself as said at
// `zoa_server_stop`.
//
// Any thread, once no thread uses the server; not from its own `zoa_role_fn`.
void zoa_server_free(struct zoa_server *server);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ZOARIUM_H */
