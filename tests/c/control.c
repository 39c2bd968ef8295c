/* What a host can do to its server and its sessions: expire, cut off, freeze, and stop in every state. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zoarium.h>

#define REQUESTS 1000
#define STOPPERS 4

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

/* Waits for something another thread does. */
#define AWAIT(condition)                                                          \
  do {                                                                            \
    for (int ms = 0; ms < 20000 && !(condition); ms++) usleep(1000);              \
    TRUE(condition);                                                              \
  } while (0)

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What a client was told, each state counted. */
struct told {
  int states[8];
  int events;
};

static void on_state(zoa_client *client, int32_t state, void *user_data) {
  (void)client;
  __atomic_add_fetch(&((struct told *)user_data)->states[state], 1, __ATOMIC_SEQ_CST);
}

static void on_event(zoa_client *client, const zoa_event *event, void *user_data) {
  (void)client, (void)event;
  __atomic_add_fetch(&((struct told *)user_data)->events, 1, __ATOMIC_SEQ_CST);
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

/* In this process, or over TCP. */
static zoa_client *open_client(zoa_server *server, int over_tcp, struct told *told) {
  zoa_client *client = NULL;
  zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
  memset(told, 0, sizeof *told);
  options.on_state = on_state, options.user_data = told;
  if (over_tcp)
    IS(zoa_client_connect(zoa_server_address(server), &options, &client), ZOA_OK);
  else
    IS(zoa_client_open(server, &options, &client), ZOA_OK);
  IS(zoa_client_wait(client, 10000), ZOA_OK);
  return client;
}

static int64_t id_of(zoa_client *client) {
  zoa_session session = ZOA_SESSION_INIT;
  IS(zoa_client_session(client, &session), ZOA_OK);
  return session.id;
}

static void expiry(zoa_server *server, int over_tcp) {
  struct told told, other_told;
  zoa_client *client = open_client(server, over_tcp, &told), *other = open_client(server, 0, &other_told);
  int64_t id = id_of(client);
  IS(zoa_client_create(client, "/here", NULL, 0, ZOA_EPHEMERAL, NULL), ZOA_OK);
  IS(zoa_client_watch(other, "/here", ZOA_WATCH_ONCE_DATA, on_event, &other_told, NULL), ZOA_OK);
  IS(zoa_server_expire(server, id), ZOA_OK);
  IS(zoa_client_exists(other, "/here", NULL), ZOA_NO_NODE);
  AWAIT(read_int(&other_told.events) == 1);
  AWAIT(read_int(&told.states[ZOA_EXPIRED]) == 1);
  IS(zoa_client_wait(client, 0), ZOA_SESSION_EXPIRED);
  IS(zoa_client_exists(client, "/", NULL), ZOA_SESSION_EXPIRED);
  IS(zoa_server_expire(server, id), ZOA_SESSION_EXPIRED);
  IS(zoa_server_disconnect(server, id), ZOA_SESSION_EXPIRED);
  IS(zoa_server_expire(server, 0), ZOA_SESSION_EXPIRED);
  zoa_client_free(client), zoa_client_free(other);
}

static void disconnection(zoa_server *server, int over_tcp) {
  struct told told;
  zoa_client *client = open_client(server, over_tcp, &told);
  int64_t id = id_of(client);
  IS(zoa_client_create(client, "/stays", NULL, 0, ZOA_EPHEMERAL, NULL), ZOA_OK);
  IS(zoa_client_watch(client, "/stays", ZOA_WATCH_PERSISTENT, on_event, &told, NULL), ZOA_OK);
  for (int round = 1; round <= 5; round++) {
    AWAIT(read_int(&told.states[ZOA_CONNECTED]) == round);
    IS(zoa_server_disconnect(server, id), ZOA_OK);
    AWAIT(read_int(&told.states[ZOA_SUSPENDED]) == round);
  }
  AWAIT(read_int(&told.states[ZOA_CONNECTED]) == 6);
  IS(zoa_client_set(client, "/stays", "x", 1, -1, NULL), ZOA_OK);
  AWAIT(read_int(&told.events) == 1);
  TRUE(id_of(client) == id && read_int(&told.states[ZOA_EXPIRED]) == 0);
  zoa_client_free(client);
}

static void pause_and_go_on(zoa_server *server) {
  struct told told;
  zoa_client *client = open_client(server, 0, &told);
  zoa_op op = ZOA_OP_INIT;
  int64_t begin = now_ms();
  op.kind = ZOA_OP_SYNC;
  IS(zoa_server_pause(server, -1), ZOA_BAD_ARGUMENTS);
  IS(zoa_server_wait(server, 0), ZOA_OK);
  IS(zoa_server_pause(server, 5000), ZOA_OK);
  IS(zoa_server_wait(server, 100), ZOA_TIMEOUT);
  IS(zoa_client_call(client, &op, 100, NULL), ZOA_TIMEOUT);
  TRUE(now_ms() - begin < 4900);
  IS(zoa_server_wait(server, -1), ZOA_OK);
  TRUE(now_ms() - begin >= 5000);
  IS(zoa_client_sync(client, "/"), ZOA_OK);
  zoa_client_free(client);
}

static void count(zoa_client *client, zoa_result *result, void *user_data) {
  zoa_code code = zoa_result_code(result);
  (void)client;
  if (code != ZOA_CONNECTION_LOSS && code != ZOA_CLOSED) IS(code, ZOA_OK);
  zoa_result_free(result);
  __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST);
}

static void stop_within_limit(zoa_server *server) {
  int64_t begin = now_ms();
  IS(zoa_server_stop(server, 2000), ZOA_OK);
  TRUE(now_ms() - begin < 2000);
  IS(zoa_server_stop(server, 0), ZOA_OK);
}

/* With a thousand requests on their way, and frozen on top of that. */
static void stop_under_way(const char *folder, int frozen, int over_tcp) {
  struct told told;
  int counted = 0, sent = 0;
  zoa_server *server = start(folder);
  zoa_client *client = open_client(server, over_tcp, &told);
  zoa_op op = ZOA_OP_INIT;
  op.kind = ZOA_OP_CREATE, op.path = "/n", op.mode = ZOA_PERSISTENT_SEQUENTIAL;
  if (frozen) IS(zoa_server_pause(server, 60000), ZOA_OK);
  for (int i = 0; i < REQUESTS; i++) sent += zoa_client_submit(client, &op, count, &counted) == ZOA_OK;
  TRUE(sent == REQUESTS);
  stop_within_limit(server);
  if (!over_tcp) {
    AWAIT(read_int(&counted) == sent);
    IS(zoa_client_close(client, 2000), ZOA_OK);
  } else {
    /* Nobody is there any more to end the session. */
    zoa_client_close(client, 100);
  }
  TRUE(read_int(&counted) == sent);
  zoa_server_free(server), zoa_client_free(client);
}

struct stopper {
  zoa_server *server;
  zoa_code code;
  int done;
};

static void stops_the_server(zoa_client *client, zoa_result *result, void *user_data) {
  struct stopper *stopper = user_data;
  (void)client;
  zoa_result_free(result);
  stop_within_limit(stopper->server);
  __atomic_store_n(&stopper->done, 1, __ATOMIC_SEQ_CST);
}

static void stop_from_a_callback(const char *folder) {
  struct told told;
  struct stopper stopper = {start(folder), ZOA_OK, 0};
  zoa_client *client = open_client(stopper.server, 0, &told);
  zoa_op op = ZOA_OP_INIT;
  op.kind = ZOA_OP_SYNC;
  IS(zoa_client_submit(client, &op, stops_the_server, &stopper), ZOA_OK);
  AWAIT(read_int(&stopper.done));
  zoa_client_free(client), zoa_server_free(stopper.server);
}

static void *stops(void *arg) {
  struct stopper *stopper = arg;
  stopper->code = zoa_server_stop(stopper->server, 2000);
  stopper->done = zoa_server_wait(stopper->server, 0) == ZOA_CLOSED;
  return NULL;
}

static void *asks(void *arg) {
  zoa_status status = ZOA_STATUS_INIT;
  do {
    IS(zoa_server_status(arg, &status), ZOA_OK);
  } while (status.role != ZOA_ROLE_STOPPED);
  return NULL;
}

static void stop_from_everywhere(const char *folder) {
  pthread_t threads[STOPPERS], asking;
  struct stopper stoppers[STOPPERS];
  zoa_server *server = start(folder);
  pthread_create(&asking, NULL, asks, server);
  for (int i = 0; i < STOPPERS; i++) {
    stoppers[i] = (struct stopper){server, ZOA_OK, 0};
    pthread_create(&threads[i], NULL, stops, &stoppers[i]);
  }
  for (int i = 0; i < STOPPERS; i++) {
    pthread_join(threads[i], NULL);
    IS(stoppers[i].code, ZOA_OK);
    TRUE(stoppers[i].done);
  }
  pthread_join(asking, NULL);
  zoa_server_free(server);
}

int main(int argc, char **argv) {
  (void)argc;
  zoa_server *server = start(argv[1]);
  for (int over_tcp = 0; over_tcp < 2; over_tcp++) expiry(server, over_tcp), disconnection(server, over_tcp);
  pause_and_go_on(server);
  IS(zoa_server_handover(server, 0), ZOA_UNIMPLEMENTED);
  stop_within_limit(server);
  IS(zoa_server_expire(server, 1), ZOA_CLOSED);
  IS(zoa_server_disconnect(server, 1), ZOA_CLOSED);
  IS(zoa_server_pause(server, 1), ZOA_CLOSED);
  IS(zoa_server_handover(server, 0), ZOA_CLOSED);
  zoa_server_free(server);
  for (int i = 0; i < 4; i++) stop_under_way(argv[1], i & 1, i >> 1);
  stop_from_a_callback(argv[1]);
  stop_from_everywhere(argv[1]);
  printf("%d failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
