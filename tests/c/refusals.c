/* What is refused for its size or form before it could happen: the sentence names limit and size, the outcome is "not done",
 * and the session notices nothing. In this process, and over TCP with a limit of the client's own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zoarium.h>

#define LIMIT 4096

static int failures = 0;

static void expect(const char *what, int line, zoa_code got, zoa_code wanted) {
  if (got != wanted) {
    printf("%d: %s: %s, not %s (%s)\n", line, what, zoa_code_name(got), zoa_code_name(wanted), zoa_last_error());
    failures += 1;
  }
}

#define IS(call, wanted) expect(#call, __LINE__, (call), (wanted))
#define TRUE(condition) expect(#condition, __LINE__, (condition) ? ZOA_OK : ZOA_PANIC, ZOA_OK)

/* The last failure is certain not to have happened, and its sentence has all of these words. */
static void says(int line, const char *const *words) {
  if (zoa_last_outcome() != ZOA_OUTCOME_NOT_DONE) printf("%d: outcome %d\n", line, (int)zoa_last_outcome()), failures += 1;
  for (; *words != NULL; words++) {
    if (strstr(zoa_last_error(), *words) != NULL) continue;
    printf("%d: \"%s\" does not say \"%s\"\n", line, zoa_last_error(), *words);
    failures += 1;
  }
}

#define SAYS(...) says(__LINE__, (const char *const[]){__VA_ARGS__, NULL})

static zoa_server *start(const char *folder, const char *key, const char *value) {
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  IS(zoa_config_new(&config), ZOA_OK);
  IS(zoa_config_set(config, "dataDir", folder), ZOA_OK);
  IS(zoa_config_set(config, "clientPort", "0"), ZOA_OK);
  IS(zoa_config_set(config, key, value), ZOA_OK);
  IS(zoa_server_start(config, &server), ZOA_OK);
  zoa_config_free(config);
  return server;
}

static void count_state(zoa_client *client, int32_t state, void *user_data) {
  (void)client;
  __atomic_add_fetch(&((int *)user_data)[state], 1, __ATOMIC_SEQ_CST);
}

static void count_event(zoa_client *client, const zoa_event *event, void *user_data) {
  (void)client, (void)event;
  __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST);
}

static void never(zoa_client *client, zoa_result *result, void *user_data) {
  (void)client, (void)user_data;
  zoa_result_free(result);
  expect("called for what was refused", __LINE__, ZOA_PANIC, ZOA_OK);
}

/* A create whose request has exactly so many bytes. */
static zoa_code create(zoa_client *client, const char *path, size_t size) {
  static char data[1 << 21];
  zoa_op op = ZOA_OP_INIT;
  /* Header, path, data, one ACL entry of world:anyone, flags. */
  size_t around = 8 + 4 + strlen(path) + 4 + 4 + 4 + (4 + 5) + (4 + 6) + 4;
  op.kind = ZOA_OP_CREATE, op.path = path, op.data = data, op.len = size - around;
  return zoa_client_call(client, &op, 10000, NULL);
}

/* Every kind of request that is too long for a limit of LIMIT bytes, whoever set it. */
static void too_long(zoa_client *client, const char *whose, int *states, int *events) {
  static char path[LIMIT + 100];
  zoa_op ops[2] = {ZOA_OP_INIT, ZOA_OP_INIT};
  zoa_result *result = NULL;
  char limit[16];
  snprintf(limit, sizeof limit, "%d", LIMIT);
  memset(path, 'p', sizeof path - 1), path[0] = '/';

  IS(create(client, "/fits", LIMIT), ZOA_OK);
  IS(create(client, "/long", LIMIT + 1), ZOA_BAD_ARGUMENTS);
  SAYS("/long", "4097", limit, whose, "not sent");
  IS(create(client, "/long", 1 << 20), ZOA_BAD_ARGUMENTS);
  SAYS("1048576", limit, whose);
  IS(zoa_client_set(client, "/fits", path, LIMIT, -1, NULL), ZOA_BAD_ARGUMENTS);
  SAYS("/fits", limit, whose);
  IS(zoa_client_delete(client, path, -1), ZOA_BAD_ARGUMENTS);
  SAYS(limit, whose);
  IS(zoa_client_sync(client, path), ZOA_BAD_ARGUMENTS);
  SAYS(limit, whose);
  IS(zoa_client_watch(client, path, ZOA_WATCH_PERSISTENT, count_event, events, NULL), ZOA_BAD_ARGUMENTS);
  SAYS(limit, whose);
  IS(zoa_client_add_auth(client, "digest", path, LIMIT), ZOA_BAD_ARGUMENTS);
  SAYS(limit, whose);

  /* A multi is one request: two parts that fit do not fit together. */
  for (int i = 0; i < 2; i++) {
    ops[i].kind = ZOA_OP_SET, ops[i].path = "/fits", ops[i].data = path, ops[i].len = LIMIT * 2 / 3;
  }
  IS(zoa_client_multi(client, ops, 2, &result), ZOA_BAD_ARGUMENTS);
  SAYS(limit, whose);
  TRUE(result == NULL);
  IS(zoa_client_submit_multi(client, ops, 2, never, NULL), ZOA_BAD_ARGUMENTS);
  SAYS(limit, whose);
  ops[0].len = LIMIT;
  IS(zoa_client_submit(client, &ops[0], never, NULL), ZOA_BAD_ARGUMENTS);
  SAYS("/fits", limit, whose);
  zoa_pending *pending = NULL;
  IS(zoa_client_begin(client, &ops[0], 10000, NULL, &pending), ZOA_BAD_ARGUMENTS);
  SAYS("/fits", limit, whose);
  TRUE(pending == NULL);

  /* The session is the same one and was connected all the time; what it watched before is watched. */
  IS(zoa_client_exists(client, "/long", NULL), ZOA_NO_NODE);
  IS(zoa_client_set(client, "/watched", NULL, 0, -1, NULL), ZOA_OK);
  for (int ms = 0; ms < 20000 && __atomic_load_n(events, __ATOMIC_SEQ_CST) == 0; ms++) usleep(1000);
  TRUE(__atomic_load_n(events, __ATOMIC_SEQ_CST) == 1);
  TRUE(__atomic_load_n(&states[ZOA_CONNECTED], __ATOMIC_SEQ_CST) == 1);
  TRUE(__atomic_load_n(&states[ZOA_SUSPENDED], __ATOMIC_SEQ_CST) == 0);
}

static void check_sizes(zoa_server *server, int over_tcp, uint32_t own_limit, const char *whose) {
  zoa_client *client = NULL;
  int states[8] = {0}, events = 0;
  zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
  options.on_state = count_state, options.user_data = states, options.request_size_max = own_limit;
  if (over_tcp)
    IS(zoa_client_connect(zoa_server_address(server), &options, &client), ZOA_OK);
  else
    IS(zoa_client_open(server, &options, &client), ZOA_OK);
  IS(zoa_client_create(client, "/watched", NULL, 0, ZOA_EPHEMERAL, NULL), ZOA_OK);
  IS(zoa_client_watch(client, "/watched", ZOA_WATCH_PERSISTENT, count_event, &events, NULL), ZOA_OK);
  too_long(client, whose, states, &events);
  IS(zoa_client_delete(client, "/fits", -1), ZOA_OK);
  IS(zoa_client_close(client, 10000), ZOA_OK);
  zoa_client_free(client);
}

/* More identities than one connection may have: the one too many is refused, the others stay. */
static void check_identities(zoa_server *server) {
  zoa_client *client = NULL;
  int states[8] = {0}, taken = 0;
  zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
  options.on_state = count_state, options.user_data = states;
  IS(zoa_client_open(server, &options, &client), ZOA_OK);
  for (int i = 0; i < 100; i++) {
    char user[16];
    int len = snprintf(user, sizeof user, "user%d:x", i);
    zoa_code code = zoa_client_add_auth(client, "digest", user, (size_t)len);
    if (code == ZOA_OK) {
      taken += 1;
      continue;
    }
    IS(code, ZOA_BAD_ARGUMENTS);
    SAYS("zoarium.credentialsMax", "63");
    break;
  }
  TRUE(taken == 63);
  IS(zoa_client_add_auth(client, "digest", "user7:x", 7), ZOA_OK);
  zoa_op op = ZOA_OP_INIT;
  zoa_result *result = NULL;
  op.kind = ZOA_OP_WHO_AM_I;
  IS(zoa_client_call(client, &op, 10000, &result), ZOA_OK);
  TRUE(zoa_result_count(result) == 64);
  zoa_result_free(result);
  TRUE(__atomic_load_n(&states[ZOA_SUSPENDED], __ATOMIC_SEQ_CST) == 0);
  zoa_client_free(client);
}

/* More bytes than ZooKeeper's protocol can express, none of which is read. */
static void check_what_cannot_be_expressed(zoa_server *server) {
  zoa_client *client = NULL;
  size_t len = (size_t)INT32_MAX + 1;
  void *data = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TRUE(data != MAP_FAILED);
  IS(zoa_client_open(server, NULL, &client), ZOA_OK);
  IS(zoa_client_set(client, "/", data, len, -1, NULL), ZOA_BAD_ARGUMENTS);
  SAYS("2147483648", "2147483647");
  IS(zoa_client_add_auth(client, "digest", data, len), ZOA_BAD_ARGUMENTS);
  IS(zoa_client_exists(client, "/", NULL), ZOA_OK);
  zoa_client_free(client);
  munmap(data, len);
}

/* A session that is over refuses what comes after, and what waited for it was never sent: neither can have happened. */
static void check_expired(zoa_server *server) {
  zoa_client *client = NULL;
  zoa_session session = ZOA_SESSION_INIT;
  IS(zoa_client_open(server, NULL, &client), ZOA_OK);
  IS(zoa_client_wait(client, 10000), ZOA_OK);
  IS(zoa_client_session(client, &session), ZOA_OK);
  IS(zoa_server_expire(server, session.id), ZOA_OK);
  for (int ms = 0; ms < 20000 && session.state != ZOA_EXPIRED; ms++) {
    usleep(1000);
    IS(zoa_client_session(client, &session), ZOA_OK);
  }
  IS(zoa_client_create(client, "/late", NULL, 0, ZOA_PERSISTENT, NULL), ZOA_SESSION_EXPIRED);
  SAYS("/late", "expired", "not sent");
  TRUE(zoa_code_outcome(ZOA_SESSION_EXPIRED) == ZOA_OUTCOME_UNKNOWN);
  IS(zoa_client_close(client, 10000), ZOA_OK);
  zoa_client_free(client);
}

static void keep(zoa_client *client, zoa_result *result, void *user_data) {
  (void)client;
  __atomic_store_n((zoa_result **)user_data, result, __ATOMIC_SEQ_CST);
}

/* Nobody answers at that address: what is asked waits, and is never sent. */
static void check_never_sent(void) {
  zoa_client *client = NULL;
  zoa_result *result = NULL;
  zoa_op op = ZOA_OP_INIT;
  op.kind = ZOA_OP_CREATE, op.path = "/never";
  IS(zoa_client_connect("127.0.0.1:1", NULL, &client), ZOA_OK);
  IS(zoa_client_submit(client, &op, keep, &result), ZOA_OK);
  zoa_client_close(client, 10000);
  TRUE(result != NULL);
  IS(zoa_result_code(result), ZOA_CLOSED);
  TRUE(zoa_result_outcome(result) == ZOA_OUTCOME_NOT_DONE);
  TRUE(strstr(zoa_result_error(result), "not sent") != NULL);
  zoa_result_free(result);
  zoa_client_free(client);
}

int main(int argc, char **argv) {
  char folder[4096];
  if (argc < 2) return 2;
  snprintf(folder, sizeof folder, "%s-small", argv[1]);
  zoa_server *small = start(folder, "jute.maxbuffer", "4096");
  zoa_server *usual = start(argv[1], "tickTime", "2000");
  check_sizes(small, 0, 0, "jute.maxbuffer");
  check_sizes(small, 0, 1 << 20, "jute.maxbuffer");
  check_sizes(usual, 0, LIMIT, "request_size_max");
  check_sizes(usual, 1, LIMIT, "request_size_max");
  check_identities(usual);
  check_what_cannot_be_expressed(usual);
  check_expired(usual);
  check_never_sent();
  zoa_server_free(small), zoa_server_free(usual);
  printf("%d failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
