/* Hostile calls from a seed: every function, with NULL, ended handles, handles of another kind, memory that is no handle,
 * structs of every size from 0 to double, bad UTF-8, huge lengths, wrong indexes, and callbacks that call back into
 * everything and free their own client. What is promised is checked: no call hangs, `errno` stays, and every callback of a
 * request that was taken runs exactly once. The memory checker it is built with sees to the rest.
 *
 * hostile_calls FOLDER CALLS SEED [THREADS [SECONDS_MAX]]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zoarium.h>

enum kind { CONFIG, SERVER, CLIENT, QUEUE, RESULT, PENDING, KINDS };
#define SLOTS 6
/* What a call may take. One that waits for callbacks takes as long as they do, and they make calls of their own. */
#define SLOWEST_MS 20000
#define THREADS_MAX 16

/* A handle, and who uses it: below 0, somebody ends it. Nothing is ever used after its end: that would be our bug. */
struct slot {
  void *handle;
  int users;
};

static struct slot slots[KINDS][SLOTS];
static zoa_server *base; /* Never stopped, so that clients over TCP always find somebody. */
static const char *folder;
static long calls_max, calls, called_back, submitted, done, failures;
static int servers_made;

static __thread uint64_t state;
static __thread int depth;
static __thread zoa_client *current; /* Whose callback is on the stack. */

static uint32_t below(uint32_t limit) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)((state >> 33) % limit);
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void fail(const char *what, const char *function) {
  printf("%s: %s\n", function, what);
  __atomic_add_fetch(&failures, 1, __ATOMIC_SEQ_CST);
}

/* ---- handles ---- */

static int enter(struct slot *slot) {
  int users = __atomic_load_n(&slot->users, __ATOMIC_SEQ_CST);
  while (users >= 0)
    if (__atomic_compare_exchange_n(&slot->users, &users, users + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
      return 1;
  return 0;
}

static void leave(struct slot *slot) { __atomic_sub_fetch(&slot->users, 1, __ATOMIC_SEQ_CST); }

/* Alone with a slot, or not at all. */
static int seize(struct slot *slot) {
  int nobody = 0;
  return __atomic_compare_exchange_n(&slot->users, &nobody, -1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void let_go(struct slot *slot) { __atomic_store_n(&slot->users, 0, __ATOMIC_SEQ_CST); }

static void end(enum kind kind, void *handle) {
  switch (kind) {
    case CONFIG: zoa_config_free(handle); break;
    case SERVER: zoa_server_free(handle); break;
    case CLIENT: zoa_client_free(handle); break;
    case QUEUE: zoa_queue_free(handle); break;
    case RESULT: zoa_result_free(handle); break;
    default: zoa_pending_free(handle);
  }
}

/* Clients that a callback had no place for, to be ended by whoever is in none. */
#define LATER_MAX 64
static zoa_client *later[LATER_MAX];
static int later_count;
static pthread_mutex_t later_lock = PTHREAD_MUTEX_INITIALIZER;

static int has_room_for_later(void) {
  pthread_mutex_lock(&later_lock);
  int has_room = later_count < LATER_MAX / 2;
  pthread_mutex_unlock(&later_lock);
  return has_room;
}

static void end_later(zoa_client *client) {
  pthread_mutex_lock(&later_lock);
  if (later_count == LATER_MAX) abort();
  later[later_count++] = client;
  pthread_mutex_unlock(&later_lock);
}

/* Ends one of them. */
static int end_one_now(void) {
  pthread_mutex_lock(&later_lock);
  zoa_client *client = later_count > 0 ? later[--later_count] : NULL;
  pthread_mutex_unlock(&later_lock);
  zoa_client_free(client);
  return client != NULL;
}

/* Keeps a new handle, in place of an older one if that can be ended. In a callback no client but the callback's own is
 * ended: two callbacks that wait for each other's clients would be this program's deadlock. */
static void keep(enum kind kind, void *handle) {
  struct slot *slot = &slots[kind][below(SLOTS)];
  void *old = handle;
  if (handle == NULL) return;
  if (seize(slot)) {
    if (depth == 0 || kind != CLIENT || slot->handle == NULL) old = slot->handle, slot->handle = handle;
    let_go(slot);
  }
  if (depth > 0 && kind == CLIENT && old != NULL) end_later(old);
  else end(kind, old);
}

static _Alignas(16) unsigned char no_handle[256];

/* A pointer for a parameter of this kind; `used` is to be left afterwards. */
static void *pick(enum kind kind, struct slot **used) {
  *used = NULL;
  switch (below(24)) {
    case 0: return NULL;
    case 1: return no_handle;
    case 2: return no_handle + 1 + below(7);
    case 3: kind = (enum kind)below(KINDS);
  }
  if (kind == SERVER && below(2)) return base;
  struct slot *slot = &slots[kind][below(SLOTS)];
  if (!enter(slot)) return NULL;
  *used = slot;
  return slot->handle;
}

/* ---- arguments ---- */

/* A copy that ends where the text does, so that a reader of one byte more is caught. */
static char *copy(const char *text, size_t len) {
  char *room = malloc(len + 1);
  memcpy(room, text, len);
  room[len] = 0;
  return room;
}

static char *some_text(void) {
  static const char *known[] = {"",         "/",       "/a",        "/a/b",      "/a/b/c",    "a",          "//",
                                "/a/",      "/\xff",   "\xc0\x80",  "/a\x01",    "/.",        "/..",        "/zookeeper",
                                "digest",   "world",   "anyone",    "ip",        "ruok",      "mntr",       "????",
                                "127.0.0.1", "tickTime", "/zookeeper/config", "x:y", "clientPort", "\xed\xa0\x80", "auth"};
  char room[3000];
  switch (below(40)) {
    case 0: return NULL;
    case 1: {
      size_t len = below(sizeof room);
      for (size_t i = 0; i < len; i++) room[i] = (char)(1 + below(255));
      return copy(room, len);
    }
    case 2:
      memset(room, 'n', sizeof room);
      room[0] = '/';
      return copy(room, 1 + below(sizeof room - 1));
    default: {
      const char *text = below(2) ? known[1 + below(4)] : known[below(sizeof known / sizeof *known)];
      return copy(text, strlen(text));
    }
  }
}

static void *some_data(size_t *len) {
  static const size_t huge[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 2 + 1, SIZE_MAX - 7, (SIZE_MAX >> 2) + 1};
  switch (below(12)) {
    case 0: *len = 0; return NULL;
    case 1: *len = 1 + below(9); return NULL;
    case 2: *len = huge[below(5)]; return NULL;
    default: {
      size_t size = below(40) == 0 ? below(300000) : below(60);
      void *data = malloc(size);
      memset(data, 0x5a, size);
      /* Nobody may look at data whose length cannot be. */
      *len = below(12) == 0 ? huge[below(5)] : size;
      return data;
    }
  }
}

static int32_t number(void) {
  static const int32_t known[] = {0, 1, 2, 3, 4, 5, 6, 7, -1, -2, 100, INT32_MAX, INT32_MIN, -112, 0x7f};
  return below(6) == 0 ? (int32_t)below(UINT32_MAX) : known[below(sizeof known / sizeof *known)];
}

static int32_t soon(void) { return (int32_t)below(4); }

static size_t index_of(void) {
  static const size_t known[] = {0, 1, 2, 3, 1000, SIZE_MAX, SIZE_MAX / 2, (size_t)INT64_MIN};
  return known[below(8)];
}

/* A struct in memory of exactly the size it claims, whatever that is. */
static void *sized(const void *init, size_t real) {
  uint32_t claimed = below(2) ? (uint32_t)real : below((uint32_t)(2 * real + 1));
  size_t size = claimed < sizeof claimed ? sizeof claimed : claimed;
  unsigned char *room = malloc(size);
  memset(room, 0, size);
  memcpy(room, init, size < real ? size : real);
  memcpy(room, &claimed, sizeof claimed);
  return room;
}

/* ---- callbacks ---- */

static void one_call(void);

static void call_back(zoa_client *client) {
  static uint64_t seeds = 1;
  zoa_client *before = current;
  if (state == 0) state = __atomic_add_fetch(&seeds, 0x9e3779b97f4a7c15u, __ATOMIC_SEQ_CST);
  depth++, current = client;
  __atomic_add_fetch(&called_back, 1, __ATOMIC_SEQ_CST);
  if (depth < 3 && __atomic_load_n(&calls, __ATOMIC_SEQ_CST) < calls_max) {
    for (uint32_t i = below(3); i > 0; i--) one_call();
    if (below(20) == 0) {
      for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &slots[CLIENT][i];
        if (seize(slot)) {
          if (slot->handle == client) {
            zoa_client_free(client);
            slot->handle = NULL;
          }
          let_go(slot);
        }
      }
    }
  }
  depth--, current = before;
}

static void on_done(zoa_client *client, zoa_result *result, void *user_data) {
  (void)user_data;
  __atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
  keep(RESULT, result);
  call_back(client);
}

static void on_event(zoa_client *client, const zoa_event *event, void *user_data) {
  (void)user_data;
  if (event->struct_size != sizeof *event || event->path == NULL) fail("a strange event", "watch");
  call_back(client);
}

static void on_state(zoa_client *client, int32_t now, void *user_data) {
  (void)user_data, (void)now;
  call_back(client);
}

static void on_role(int32_t role, int64_t epoch, void *user_data) { (void)role, (void)epoch, (void)user_data; }

static void on_log(int32_t level, const char *module, const char *line, void *user_data) {
  (void)level, (void)user_data;
  if (module == NULL || line == NULL) fail("a line without text", "log");
}

/* ---- operations ---- */

#define OPS_MAX 4

struct ops {
  zoa_op *ops;
  zoa_op *whole[OPS_MAX];
  zoa_acl *acls;
  size_t count;
  char *texts[OPS_MAX + 4];
  void *data[OPS_MAX];
};

static void some_acls(struct ops *to, size_t *count) {
  *count = below(4) == 0 ? index_of() : below(3);
  to->acls = NULL;
  if (*count > 3) {
    if (below(2)) return; /* No memory at all behind so many. */
    *count = 2;
  }
  to->acls = malloc(sizeof(zoa_acl) * (*count ? *count : 1));
  for (size_t i = 0; i < *count; i++) {
    char **texts = &to->texts[OPS_MAX + 2 * (i & 1)];
    free(texts[0]), free(texts[1]);
    texts[0] = some_text(), texts[1] = some_text();
  }
  for (size_t i = 0; i < *count; i++)
    to->acls[i] = (zoa_acl){(uint32_t)number(), to->texts[OPS_MAX + 2 * (i & 1)], to->texts[OPS_MAX + 2 * (i & 1) + 1]};
}

/* `count` operations in one array, as for a multi; the first also alone, in memory of its own size. */
static void some_ops(struct ops *to) {
  static const int32_t kinds[] = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 103, 104, 107, 0, -1, 14, 99};
  size_t acl_count;
  memset(to, 0, sizeof *to);
  to->count = below(OPS_MAX + 1);
  to->ops = malloc(sizeof(zoa_op) * OPS_MAX);
  some_acls(to, &acl_count);
  for (size_t i = 0; i < OPS_MAX; i++) {
    zoa_op op = ZOA_OP_INIT;
    op.kind = kinds[below(sizeof kinds / sizeof *kinds)];
    op.path = to->texts[i] = some_text();
    op.data = to->data[i] = some_data(&op.len);
    if (below(3)) op.version = number();
    op.mode = number(), op.ttl_ms = below(3) ? 1 + (int32_t)below(1000) : number();
    if (below(4) == 0) op.acl = to->acls, op.acl_count = acl_count;
    if (below(6) == 0) op.watch = on_event;
    if (below(16) == 0) op.struct_size = below(2 * sizeof op);
    to->ops[i] = op;
    to->whole[i] = sized(&op, sizeof op);
  }
}

static void forget_ops(struct ops *to) {
  for (size_t i = 0; i < OPS_MAX + 4; i++) free(to->texts[i]);
  for (size_t i = 0; i < OPS_MAX; i++) free(to->data[i]), free(to->whole[i]);
  free(to->ops), free(to->acls);
}

static void make_config(void) {
  char place[4096];
  zoa_config *config = NULL;
  zoa_config_new(&config);
  snprintf(place, sizeof place, "%s/%d", folder, __atomic_add_fetch(&servers_made, 1, __ATOMIC_SEQ_CST) % 12);
  zoa_config_set(config, "dataDir", place);
  zoa_config_set(config, "clientPort", "0");
  keep(CONFIG, config);
}

/* ---- one call ---- */

static void submitted_if(zoa_code code) {
  if (code == ZOA_OK) __atomic_add_fetch(&submitted, 1, __ATOMIC_SEQ_CST);
}

static const char *with_client(zoa_client *client) {
  char *path = some_text();
  size_t len;
  void *data = some_data(&len);
  zoa_result *result = NULL, **result_out = below(8) ? &result : NULL;
  zoa_pending *pending = NULL;
  zoa_stat stat;
  struct ops ops;
  const char *name;
  uint64_t id = 0;
  some_ops(&ops);
  const zoa_op *one = below(16) ? ops.whole[0] : NULL;
  switch (below(20)) {
    case 0: name = "wait"; zoa_client_wait(client, soon()); break;
    case 1: {
      zoa_session session = ZOA_SESSION_INIT;
      void *room = below(16) ? sized(&session, sizeof session) : NULL;
      name = "session", zoa_client_session(client, room);
      free(room);
      break;
    }
    case 2:
      /* A wrong scheme ends the session: now and then only. */
      name = "add_auth", zoa_client_add_auth(client, below(20) ? "digest" : path, data, len);
      break;
    case 3:
      name = "watch", zoa_client_watch(client, path, number(), below(8) ? on_event : NULL, NULL, below(2) ? &id : NULL);
      break;
    case 4: name = "unwatch", zoa_client_unwatch(client, below(2) ? below(1000) : (uint64_t)number()); break;
    case 5:
      name = "close";
      if (below(10) == 0) zoa_client_close(client, soon());
      break;
    case 6:
      name = "detach";
      if (below(10) == 0 && (depth == 0 || client == current)) zoa_client_detach(client);
      break;
    case 7: name = "create", zoa_client_create(client, path, data, len, number(), result_out); break;
    case 8: name = "get", zoa_client_get(client, path, result_out); break;
    case 9: name = "set", zoa_client_set(client, path, data, len, number(), below(2) ? &stat : NULL); break;
    case 10: name = "delete", zoa_client_delete(client, path, number()); break;
    case 11: name = "exists", zoa_client_exists(client, path, below(2) ? &stat : NULL); break;
    case 12: name = "children", zoa_client_children(client, path, result_out); break;
    case 13: name = "sync", zoa_client_sync(client, path); break;
    case 14: name = "acl", zoa_client_acl(client, path, result_out); break;
    case 15: {
      size_t count;
      free(ops.acls);
      some_acls(&ops, &count);
      name = "set_acl", zoa_client_set_acl(client, path, ops.acls, count, number());
      break;
    }
    case 16: name = "call", zoa_client_call(client, one, soon(), result_out); break;
    case 17:
      name = "submit";
      submitted_if(zoa_client_submit(client, one, on_done, NULL));
      break;
    case 18: {
      size_t count = below(12) == 0 ? index_of() : ops.count;
      const zoa_op *many = ops.ops;
      if (count > OPS_MAX) many = NULL;
      name = "multi";
      if (below(2))
        zoa_client_multi(client, many, count, result_out);
      else
        submitted_if(zoa_client_submit_multi(client, many, count, on_done, NULL));
      break;
    }
    default:
      name = "begin", zoa_client_begin(client, one, soon(), result_out, below(8) ? &pending : NULL);
      keep(PENDING, pending);
  }
  keep(RESULT, result);
  forget_ops(&ops);
  free(path), free(data);
  return name;
}

static const char *with_result(zoa_result *result) {
  size_t len = 0, at = index_of();
  long sum = 0;
  zoa_code code = zoa_result_code(result);
  const char *text = zoa_result_error(result), *path = zoa_result_path(result), *name = zoa_result_name(result, at);
  const unsigned char *data = zoa_result_data(result, below(4) ? &len : NULL);
  const zoa_stat *stat = zoa_result_stat(result);
  const zoa_acl *acl = zoa_result_acl(result, at);
  const zoa_result *part = zoa_result_part(result, at);
  /* All of what is handed out can be read. */
  for (size_t i = 0; i < len; i++) sum += data[i];
  if (text) sum += (long)strlen(text);
  if (path) sum += (long)strlen(path);
  if (name) sum += (long)strlen(name);
  if (stat) sum += stat->version;
  if (acl && acl->scheme) sum += (long)strlen(acl->scheme) + (long)strlen(acl->id);
  if (part) sum += zoa_result_code(part), zoa_result_free((zoa_result *)(uintptr_t)part);
  if (zoa_result_count(result) > 0 && below(8) == 0) sum += zoa_result_name(result, 0) != NULL;
  sum += zoa_result_zxid(result) + code;
  return sum == 42 ? "result!" : "result";
}

static const char *with_server(zoa_server *server) {
  char *word = NULL, *text = some_text();
  const char *name;
  zoa_status status = ZOA_STATUS_INIT;
  int64_t id = below(3) ? (int64_t)number() * 1048576 : 0;
  /* The id of a session that there is. */
  struct slot *used = NULL;
  zoa_session session = ZOA_SESSION_INIT;
  if (below(2) && zoa_client_session(pick(CLIENT, &used), &session) == ZOA_OK) id = session.id;
  if (used) leave(used);
  switch (below(10)) {
    case 8: name = "ready", zoa_server_ready(server, soon()); break;
    case 0: name = "server_wait", zoa_server_wait(server, soon()); break;
    case 1: {
      void *room = below(16) ? sized(&status, sizeof status) : NULL;
      name = "status", zoa_server_status(server, room);
      free(room);
      break;
    }
    case 2: name = "address", zoa_server_address(server); break;
    case 3: name = "command", zoa_server_command(server, text, below(8) ? &word : NULL), zoa_text_free(word); break;
    case 4: name = "expire"; if (below(8) == 0) zoa_server_expire(server, id); break;
    case 5: name = "disconnect"; if (below(8) == 0) zoa_server_disconnect(server, id); break;
    case 6: name = "pause", zoa_server_pause(server, below(20) ? -soon() - 1 : soon()); break;
    case 7: name = "handover", zoa_server_handover(server, soon()); break;
    default: name = "stop"; if (server != base && below(4) == 0) zoa_server_stop(server, below(2) ? 2000 : soon());
  }
  free(text);
  return name;
}

static const char *with_config(zoa_config *config) {
  char *key = some_text(), *value = some_text();
  const char *name = "config_set";
  switch (below(6)) {
    case 0: name = "config_load", zoa_config_load(config, below(4) ? "/no/such/file" : key); break;
    case 1: name = "on_role", zoa_config_on_role(config, below(2) ? on_role : NULL, NULL); break;
    /* Not one that a server could be started with elsewhere. */
    default: zoa_config_set(config, below(3) ? "tickTime" : below(2) ? NULL : "noSuchKey", value);
  }
  free(key), free(value);
  return name;
}

static const char *opening(void) {
  if (depth > 0 && !has_room_for_later()) return "nothing";
  struct slot *used, *used_queue = NULL;
  zoa_client *client = NULL;
  zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
  char *chroot = below(6) ? NULL : some_text(), *hosts = some_text();
  int over_tcp = below(4) == 0;
  options.flags = below(8) ? 0 : (uint32_t)number();
  options.session_timeout_ms = below(2) ? 0 : number();
  options.chroot = chroot;
  options.queue = below(2) ? NULL : pick(QUEUE, &used_queue);
  if (below(2)) options.on_state = on_state;
  if (below(8) == 0) options.resume_id = number();
  zoa_client_options *room = below(8) ? sized(&options, sizeof options) : NULL;
  zoa_server *server = pick(SERVER, &used);
  zoa_client **place = below(16) ? &client : NULL;
  if (over_tcp)
    /* Hosts that cannot be read, or the one that is there. */
    zoa_client_connect(below(3) ? zoa_server_address(base) : below(2) ? NULL : "bad host:99999", room, place);
  else
    zoa_client_open(server, room, place);
  if (used) leave(used);
  if (used_queue) leave(used_queue);
  free(chroot), free(hosts), free(room);
  keep(CLIENT, client);
  return over_tcp ? "connect" : "open";
}

static const char *rarely(void) {
  struct slot *used;
  switch (below(12)) {
    case 0: {
      zoa_server *server = NULL;
      zoa_config *config = pick(CONFIG, &used);
      /* The defaults would take port 2181 and a folder here. */
      if (config != NULL && below(3) == 0) zoa_server_start(config, below(8) ? &server : NULL);
      if (used) leave(used);
      keep(SERVER, server);
      return "start";
    }
    case 1: make_config(); return "config_new";
    case 2: {
      zoa_queue *queue = NULL;
      zoa_queue_new(below(8) ? &queue : NULL);
      keep(QUEUE, queue);
      return "queue_new";
    }
    case 3: zoa_log_to(below(4) ? ZOA_LOG_OFF : number(), below(2) ? on_log : NULL, NULL); return "log_to";
    case 4: case 5: case 6: case 7: return opening();
    default: {
      /* A slot falls empty: NULL from then on. */
      enum kind kind = (enum kind)below(KINDS);
      struct slot *slot = &slots[kind][below(SLOTS)];
      if ((depth == 0 || kind != CLIENT) && seize(slot)) {
        end(kind, slot->handle);
        slot->handle = NULL;
        let_go(slot);
      }
      return "free";
    }
  }
}

static void one_call(void) {
  struct slot *used = NULL;
  const char *name;
  int64_t begin = now_ms();
  if (depth == 0) end_one_now();
  long called_back_before = __atomic_load_n(&called_back, __ATOMIC_SEQ_CST);
  size_t ran = 0;
  __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
  switch (below(32)) {
    case 0: case 1: case 2: case 3: name = rarely(); break;
    case 4: case 5: name = with_config(pick(CONFIG, &used)); break;
    case 6: case 7: name = with_server(pick(SERVER, &used)); break;
    case 8: case 9: name = with_result(pick(RESULT, &used)); break;
    case 10: {
      zoa_result *result = NULL;
      name = "pending_wait", zoa_pending_wait(pick(PENDING, &used), soon(), below(8) ? &result : NULL);
      keep(RESULT, result);
      break;
    }
    case 11: case 12: case 13: {
      zoa_queue *queue = pick(QUEUE, &used);
      name = "queue_run", zoa_queue_run(queue, below(2) ? index_of() : below(20), soon(), below(2) ? &ran : NULL);
      zoa_queue_fd(queue);
      break;
    }
    case 14:
      name = "code";
      if (strlen(zoa_code_name(number())) + strlen(zoa_code_text(number())) + strlen(zoa_last_error()) == 0)
        fail("no text", name);
      zoa_code_outcome(number());
      if (zoa_abi() != ZOA_ABI || strlen(zoa_version()) == 0 || zoa_features() == NULL) fail("who is it?", name);
      break;
    default: name = with_client(pick(CLIENT, &used));
  }
  if (used) leave(used);
  long callbacks = __atomic_load_n(&called_back, __ATOMIC_SEQ_CST) - called_back_before;
  if (now_ms() - begin > SLOWEST_MS * (1 + callbacks)) fail("took too long", name);
}

/* errno, one function of each family at a time: nothing of ours may run in between. */
static void errno_stays(void) {
  zoa_result *result = NULL;
  zoa_client *client = NULL;
#define KEEPS(call) (errno = 4711, (void)(call), errno == 4711 ? (void)0 : fail("errno changed", #call))
  KEEPS(zoa_client_open(base, NULL, &client));
  KEEPS(zoa_client_wait(client, 10000));
  KEEPS(zoa_client_get(client, "/", &result));
  KEEPS(zoa_result_free(result));
  KEEPS(zoa_client_create(client, "/errno", NULL, 0, 0, NULL));
  KEEPS(zoa_client_delete(client, "/errno", -1));
  KEEPS(zoa_client_get(client, "/no", NULL));
  KEEPS(zoa_client_get(NULL, NULL, NULL));
  KEEPS(zoa_config_load((zoa_config *)slots[CONFIG][0].handle, "/no/such/file"));
  KEEPS(zoa_client_close(client, 10000));
  KEEPS(zoa_client_free(client));
}

/* What belongs to the host (C-10). */
struct host {
  sigset_t mask;
  struct sigaction actions[65];
  mode_t umask;
  char locale[200];
  char **environment;
  size_t variables;
};

static struct host host_now(void) {
  struct host host;
  memset(&host, 0, sizeof host);
  pthread_sigmask(SIG_SETMASK, NULL, &host.mask);
  for (int number = 1; number < 65; number++) sigaction(number, NULL, &host.actions[number]);
  host.umask = umask(0);
  umask(host.umask);
  snprintf(host.locale, sizeof host.locale, "%s", setlocale(LC_ALL, NULL));
  host.environment = environ;
  for (char **at = environ; *at; at++) host.variables++;
  return host;
}

static void host_is(const struct host *before) {
  struct host after = host_now();
  for (int number = 1; number < 65; number++) {
    if (sigismember(&before->mask, number) != sigismember(&after.mask, number)) fail("changed", "signal mask");
    if (before->actions[number].sa_handler != after.actions[number].sa_handler) fail("changed", "signal handler");
  }
  if (before->umask != after.umask) fail("changed", "umask");
  if (strcmp(before->locale, after.locale) != 0) fail("changed", "locale");
  if (before->environment != after.environment || before->variables != after.variables) fail("changed", "environment");
}

static int64_t last_ms = INT64_MAX;

static void *calls_on(void *seed) {
  state = *(uint64_t *)seed;
  while (__atomic_load_n(&calls, __ATOMIC_SEQ_CST) < calls_max && now_ms() < last_ms) one_call();
  return NULL;
}

int main(int argc, char **argv) {
  char place[4096];
  if (argc < 4) return 2;
  folder = argv[1], calls_max = atol(argv[2]);
  state = strtoull(argv[3], NULL, 10) | 1;
  const struct host host = host_now();
  for (int i = 0; i < SLOTS; i++) make_config();
  snprintf(place, sizeof place, "%s/base", folder);
  zoa_config *config = NULL;
  zoa_config_new(&config);
  zoa_config_set(config, "dataDir", place);
  zoa_config_set(config, "clientPort", "0");
  if (zoa_server_start(config, &base) != ZOA_OK) fail(zoa_last_error(), "start");
  zoa_config_free(config);
  errno_stays();
  for (int i = 0; i < 3 * SLOTS; i++) opening();
  if (argc > 5) last_ms = now_ms() + atol(argv[5]) * 1000;
  pthread_t threads[THREADS_MAX];
  uint64_t seeds[THREADS_MAX + 1];
  int more = argc > 4 ? atoi(argv[4]) - 1 : 0;
  if (more > THREADS_MAX) more = THREADS_MAX;
  for (int i = 0; i <= more; i++) seeds[i] = state + (uint64_t)i * 2;
  for (int i = 0; i < more; i++)
    if (pthread_create(&threads[i], NULL, calls_on, &seeds[i + 1]) != 0) fail("no thread", "pthread_create");
  calls_on(&seeds[0]);
  for (int i = 0; i < more; i++) pthread_join(threads[i], NULL);
  /* Twice: the last callbacks bring results. */
  for (int kind = 2 * KINDS - 1; kind >= 0; kind--) {
    while (end_one_now()) {}
    for (int i = 0; i < SLOTS; i++) {
      struct slot *slot = &slots[kind % KINDS][i];
      /* A callback may be at it. */
      while (!seize(slot)) usleep(1000);
      end((enum kind)(kind % KINDS), slot->handle);
      slot->handle = NULL;
      let_go(slot);
    }
  }
  while (end_one_now()) {}
  errno_stays();
  zoa_server_free(base);
  zoa_log_to(ZOA_LOG_OFF, NULL, NULL);
  host_is(&host);
  /* What a callback submits while everything is taken down is refused, so nothing can be under way here. */
  if (submitted != done) fail("callbacks are missing or came twice", "submit");
  if (failures != 0) printf("seed %s, %ld calls, %ld submitted, %ld done\n", argv[3], calls, submitted, done);
  printf("%ld failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
