/* What the header says of watches, queues, chroots, operations and numbers, acted out: in this process and over TCP. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zoarium.h>

static int failures = 0;

static void expect(const char *what, int line, zoa_code got, zoa_code wanted) {
  if (got != wanted) {
    printf("%d: %s: %s, not %s (%s)\n", line, what, zoa_code_name(got), zoa_code_name(wanted), zoa_last_error());
    failures += 1;
  }
}

#define IS(call, wanted) expect(#call, __LINE__, (call), (wanted))
#define TRUE(condition) expect(#condition, __LINE__, (condition) ? ZOA_OK : ZOA_PANIC, ZOA_OK)

static int read_int(const int *place) { return __atomic_load_n(place, __ATOMIC_SEQ_CST); }

#define AWAIT(condition)                                                          \
  do {                                                                            \
    for (int ms = 0; ms < 20000 && !(condition); ms++) usleep(1000);              \
    TRUE(condition);                                                              \
  } while (0)

/* What a client was told: states counted, events counted, the last path, and on which thread. */
struct told {
  int states[8];
  int events;
  int results;
  char path[64];
  pthread_t thread;
};

static void on_state(zoa_client *client, int32_t state, void *user_data) {
  struct told *told = user_data;
  (void)client;
  told->thread = pthread_self();
  __atomic_add_fetch(&told->states[state], 1, __ATOMIC_SEQ_CST);
}

static void on_event(zoa_client *client, const zoa_event *event, void *user_data) {
  struct told *told = user_data;
  (void)client;
  snprintf(told->path, sizeof told->path, "%s", event->path);
  told->thread = pthread_self();
  __atomic_add_fetch(&told->events, 1, __ATOMIC_SEQ_CST);
}

static void on_done(zoa_client *client, zoa_result *result, void *user_data) {
  struct told *told = user_data;
  (void)client;
  zoa_result_free(result);
  told->thread = pthread_self();
  __atomic_add_fetch(&told->results, 1, __ATOMIC_SEQ_CST);
}

static zoa_server *start(const char *folder) {
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  IS(zoa_config_new(&config), ZOA_OK);
  IS(zoa_config_set(config, "dataDir", folder), ZOA_OK);
  IS(zoa_config_set(config, "clientPort", "0"), ZOA_OK);
  IS(zoa_server_start(config, &server), ZOA_OK);
  zoa_config_free(config);
  return server;
}

static zoa_client *open_with(zoa_server *server, int over_tcp, const char *chroot, zoa_queue *queue, struct told *told) {
  zoa_client *client = NULL;
  zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
  options.chroot = chroot, options.queue = queue;
  if (told != NULL) memset(told, 0, sizeof *told), options.on_state = on_state, options.user_data = told;
  if (over_tcp)
    IS(zoa_client_connect(zoa_server_address(server), &options, &client), ZOA_OK);
  else
    IS(zoa_client_open(server, &options, &client), ZOA_OK);
  IS(zoa_client_wait(client, 10000), ZOA_OK);
  return client;
}

/* "When the session expires, all of its watches are over, and none is called for that." */
static void expiry_fires_no_watch(zoa_server *server, int over_tcp) {
  struct told told, watched = {0}, other = {0}, own = {0};
  zoa_session session = ZOA_SESSION_INIT;
  zoa_client *beside = open_with(server, 0, NULL, NULL, NULL);
  zoa_client *client = open_with(server, over_tcp, NULL, NULL, &told);
  zoa_op op = ZOA_OP_INIT;
  zoa_result *result = NULL;
  IS(zoa_client_create(beside, "/watched", NULL, 0, ZOA_PERSISTENT, NULL), ZOA_OK);
  for (int mode = ZOA_WATCH_ONCE_DATA; mode <= ZOA_WATCH_RECURSIVE; mode++)
    IS(zoa_client_watch(client, "/watched", mode, on_event, &watched, NULL), ZOA_OK);
  op.kind = ZOA_OP_GET, op.path = "/watched", op.watch = on_event, op.watch_data = &watched;
  IS(zoa_client_call(client, &op, 10000, &result), ZOA_OK);
  zoa_result_free(result);
  /* But for one of a znode that goes with the session, which may be told of its deletion first. */
  IS(zoa_client_create(client, "/own", NULL, 0, ZOA_EPHEMERAL, NULL), ZOA_OK);
  IS(zoa_client_watch(client, "/own", ZOA_WATCH_PERSISTENT, on_event, &own, NULL), ZOA_OK);
  IS(zoa_client_session(client, &session), ZOA_OK);
  IS(zoa_server_expire(server, session.id), ZOA_OK);
  AWAIT(read_int(&told.states[ZOA_EXPIRED]) == 1);
  /* Nor is one called for what happens afterwards, while somebody else is told. */
  IS(zoa_client_watch(beside, "/watched", ZOA_WATCH_PERSISTENT, on_event, &other, NULL), ZOA_OK);
  IS(zoa_client_set(beside, "/watched", "x", 1, -1, NULL), ZOA_OK);
  IS(zoa_client_delete(beside, "/watched", -1), ZOA_OK);
  AWAIT(read_int(&other.events) == 2);
  IS(zoa_client_close(client, 10000), ZOA_OK);
  TRUE(read_int(&watched.events) == 0 && read_int(&own.events) <= 1);
  zoa_client_free(client), zoa_client_free(beside);
}

/* Nor for a lost connection; what happened meanwhile is told on coming back. */
static void a_lost_connection_fires_no_watch(zoa_server *server, int over_tcp) {
  struct told told, watched = {0};
  zoa_session session = ZOA_SESSION_INIT;
  zoa_client *client = open_with(server, over_tcp, NULL, NULL, &told);
  IS(zoa_client_create(client, "/watched", NULL, 0, ZOA_EPHEMERAL, NULL), ZOA_OK);
  IS(zoa_client_watch(client, "/watched", ZOA_WATCH_PERSISTENT, on_event, &watched, NULL), ZOA_OK);
  IS(zoa_client_session(client, &session), ZOA_OK);
  IS(zoa_server_disconnect(server, session.id), ZOA_OK);
  AWAIT(read_int(&told.states[ZOA_CONNECTED]) == 2);
  TRUE(read_int(&told.states[ZOA_SUSPENDED]) == 1);
  TRUE(read_int(&watched.events) == 0);
  IS(zoa_client_set(client, "/watched", NULL, 0, -1, NULL), ZOA_OK);
  AWAIT(read_int(&watched.events) == 1);
  IS(zoa_client_close(client, 10000), ZOA_OK);
  zoa_client_free(client);
}

struct runner {
  zoa_queue *queue;
  int stop;
};

static void *runs(void *arg) {
  struct runner *runner = arg;
  while (!read_int(&runner->stop)) {
    zoa_code code = zoa_queue_run(runner->queue, 1, 20, NULL);
    /* While the last callbacks run on the thread that closes. */
    if (code != ZOA_IN_USE) IS(code, ZOA_OK);
  }
  return NULL;
}

/* On which thread a queue's last callbacks run: the one that closes, detaches or frees, unless another runs the queue. */
static void last_callbacks(zoa_server *server, int over_tcp) {
  for (int how = 0; how < 3; how++) {
    struct told told;
    zoa_queue *queue = NULL;
    zoa_op op = ZOA_OP_INIT;
    op.kind = ZOA_OP_SYNC;
    IS(zoa_queue_new(&queue), ZOA_OK);
    zoa_client *client = open_with(server, over_tcp, NULL, queue, &told);
    for (int i = 0; i < 3; i++) IS(zoa_client_submit(client, &op, on_done, &told), ZOA_OK);
    TRUE(read_int(&told.results) == 0 && read_int(&told.states[ZOA_CONNECTED]) == 0);
    if (how == 0) IS(zoa_client_close(client, 10000), ZOA_OK);
    if (how == 1) IS(zoa_client_detach(client), ZOA_OK);
    if (how < 2) TRUE(read_int(&told.results) == 3 && read_int(&told.states[ZOA_CONNECTED]) == 1);
    zoa_client_free(client);
    TRUE(read_int(&told.results) == 3 && read_int(&told.states[ZOA_CONNECTED]) == 1);
    TRUE(pthread_equal(told.thread, pthread_self()));
    zoa_queue_free(queue);
  }
  /* One that is always being run: the callback holds it until the client is being closed. */
  struct told told;
  struct runner runner = {NULL, 0};
  pthread_t thread;
  IS(zoa_queue_new(&runner.queue), ZOA_OK);
  zoa_client *client = open_with(server, over_tcp, NULL, runner.queue, &told);
  TRUE(pthread_create(&thread, NULL, runs, &runner) == 0);
  AWAIT(read_int(&told.states[ZOA_CONNECTED]) == 1);
  TRUE(pthread_equal(told.thread, thread));
  IS(zoa_client_close(client, 10000), ZOA_OK);
  TRUE(read_int(&told.states[ZOA_ENDED]) == 1);
  zoa_client_free(client);
  __atomic_store_n(&runner.stop, 1, __ATOMIC_SEQ_CST);
  pthread_join(thread, NULL);
  zoa_queue_free(runner.queue);
}

/* "All paths, those given and those told, are relative to the client's chroot, whose own znode is /." */
static void chroots(zoa_server *server, int over_tcp) {
  struct told watched = {0};
  zoa_client *all = open_with(server, 0, NULL, NULL, NULL);
  zoa_client *client = open_with(server, over_tcp, "/app/one", NULL, NULL);
  zoa_result *result = NULL;
  zoa_op op = ZOA_OP_INIT;
  IS(zoa_client_exists(client, "/", NULL), ZOA_NO_NODE);
  IS(zoa_client_create(client, "/a", NULL, 0, ZOA_PERSISTENT, NULL), ZOA_NO_NODE);
  IS(zoa_client_create(client, "/", NULL, 0, ZOA_PERSISTENT, NULL), ZOA_NO_NODE);
  IS(zoa_client_create(all, "/app", NULL, 0, ZOA_PERSISTENT, NULL), ZOA_OK);
  IS(zoa_client_create(client, "/", NULL, 0, ZOA_PERSISTENT, &result), ZOA_OK);
  TRUE(strcmp(zoa_result_path(result), "/") == 0);
  zoa_result_free(result);
  IS(zoa_client_exists(all, "/app/one", NULL), ZOA_OK);
  IS(zoa_client_watch(client, "/", ZOA_WATCH_RECURSIVE, on_event, &watched, NULL), ZOA_OK);
  IS(zoa_client_create(client, "/mine-", NULL, 0, ZOA_EPHEMERAL_SEQUENTIAL, &result), ZOA_OK);
  TRUE(strcmp(zoa_result_path(result), "/mine-0000000000") == 0);
  zoa_result_free(result);
  AWAIT(read_int(&watched.events) == 1);
  TRUE(strcmp(watched.path, "/mine-0000000000") == 0);
  IS(zoa_client_exists(all, "/app/one/mine-0000000000", NULL), ZOA_OK);
  op.kind = ZOA_OP_EPHEMERALS, op.path = "/mine";
  IS(zoa_client_call(client, &op, 10000, &result), ZOA_OK);
  TRUE(zoa_result_count(result) == 1 && strcmp(zoa_result_name(result, 0), "/mine-0000000000") == 0);
  zoa_result_free(result);
  IS(zoa_client_get(client, "/nobody", &result), ZOA_NO_NODE);
  TRUE(strstr(zoa_last_error(), "/nobody:") == zoa_last_error());
  IS(zoa_client_close(client, 10000), ZOA_OK);
  IS(zoa_client_delete(all, "/app/one", -1), ZOA_OK);
  IS(zoa_client_delete(all, "/app", -1), ZOA_OK);
  zoa_client_free(client), zoa_client_free(all);
}

/* "Path, data and ACL may be freed or used again at once." */
static void data_of_an_op(zoa_server *server, int over_tcp) {
  struct told told = {0};
  zoa_client *client = open_with(server, over_tcp, NULL, NULL, NULL);
  zoa_result *result = NULL;
  zoa_pending *pending = NULL;
  size_t len = 0;
  for (int how = 0; how < 2; how++) {
    zoa_op op = ZOA_OP_INIT;
    char *path = strdup("/given"), *data = strdup("as given"), *scheme = strdup("world"), *id = strdup("anyone");
    zoa_acl *acl = malloc(sizeof *acl);
    acl->perms = ZOA_PERM_ALL, acl->scheme = scheme, acl->id = id;
    op.kind = ZOA_OP_CREATE, op.path = path, op.data = data, op.len = 8, op.acl = acl, op.acl_count = 1;
    op.mode = ZOA_EPHEMERAL;
    /* Nobody takes it for a moment. */
    IS(zoa_server_pause(server, 50), ZOA_OK);
    if (how == 0)
      IS(zoa_client_submit(client, &op, on_done, &told), ZOA_OK);
    else {
      zoa_code code = zoa_client_begin(client, &op, 0, NULL, &pending);
      TRUE(code == ZOA_TIMEOUT || code == ZOA_OK);
    }
    memset(path, 'x', 6), memset(data, 'x', 8), memset(scheme, 'x', 5), memset(id, 'x', 6);
    memset(acl, 0xff, sizeof *acl), memset(&op, 0xff, sizeof op);
    free(path), free(data), free(scheme), free(id), free(acl);
    if (how == 0) AWAIT(read_int(&told.results) == 1);
    if (pending != NULL) IS(zoa_pending_wait(pending, 10000, NULL), ZOA_OK);
    IS(zoa_client_get(client, "/given", &result), ZOA_OK);
    TRUE(memcmp(zoa_result_data(result, &len), "as given", 8) == 0 && len == 8);
    zoa_result_free(result);
    IS(zoa_client_acl(client, "/given", &result), ZOA_OK);
    TRUE(zoa_result_count(result) == 1 && strcmp(zoa_result_acl(result, 0)->scheme, "world") == 0);
    zoa_result_free(result);
    IS(zoa_client_delete(client, "/given", -1), ZOA_OK);
  }
  zoa_pending_free(pending);
  zoa_client_free(client);
}

/* "It cannot be ended: it is over once it was told, or with the client." */
static void watches_of_reads(zoa_server *server, int over_tcp) {
  struct told watched = {0}, ended = {0};
  zoa_client *client = open_with(server, over_tcp, NULL, NULL, NULL);
  zoa_result *result = NULL;
  zoa_op op = ZOA_OP_INIT;
  uint64_t number = 0;
  IS(zoa_client_create(client, "/read", NULL, 0, ZOA_EPHEMERAL, NULL), ZOA_OK);
  op.kind = ZOA_OP_GET, op.path = "/read", op.watch = on_event, op.watch_data = &watched;
  IS(zoa_client_call(client, &op, 10000, &result), ZOA_OK);
  zoa_result_free(result);
  IS(zoa_client_watch(client, "/read", ZOA_WATCH_ONCE_DATA, on_event, &ended, &number), ZOA_OK);
  for (uint64_t guess = 0; guess < 20; guess++) IS(zoa_client_unwatch(client, guess), guess == number ? ZOA_OK : ZOA_NO_WATCHER);
  IS(zoa_client_set(client, "/read", NULL, 0, -1, NULL), ZOA_OK);
  AWAIT(read_int(&watched.events) == 1);
  IS(zoa_client_set(client, "/read", NULL, 0, -1, NULL), ZOA_OK);
  IS(zoa_client_close(client, 10000), ZOA_OK);
  TRUE(read_int(&watched.events) == 1 && read_int(&ended.events) == 0);
  zoa_client_free(client);
}

/* "The same number as in the words srvr and mntr." */
static void znodes(zoa_server *server) {
  zoa_client *client = open_with(server, 0, NULL, NULL, NULL);
  for (int i = 0; i < 3; i++) {
    zoa_status status = ZOA_STATUS_INIT;
    char *srvr = NULL, *mntr = NULL, counted[64];
    IS(zoa_server_status(server, &status), ZOA_OK);
    IS(zoa_server_command(server, "srvr", &srvr), ZOA_OK);
    IS(zoa_server_command(server, "mntr", &mntr), ZOA_OK);
    snprintf(counted, sizeof counted, "Node count: %llu\n", (unsigned long long)status.znodes);
    TRUE(strstr(srvr, counted) != NULL);
    snprintf(counted, sizeof counted, "zk_znode_count\t%llu\n", (unsigned long long)status.znodes);
    TRUE(strstr(mntr, counted) != NULL);
    zoa_text_free(srvr), zoa_text_free(mntr);
    IS(zoa_client_create(client, "/n-", NULL, 0, ZOA_EPHEMERAL_SEQUENTIAL, NULL), ZOA_OK);
  }
  zoa_client_free(client);
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  zoa_server *server = start(argv[1]);
  for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
    expiry_fires_no_watch(server, over_tcp);
    a_lost_connection_fires_no_watch(server, over_tcp);
    last_callbacks(server, over_tcp);
    chroots(server, over_tcp);
    data_of_an_op(server, over_tcp);
    watches_of_reads(server, over_tcp);
  }
  znodes(server);
  zoa_server_free(server);
  printf("%d failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
