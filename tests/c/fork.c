/* A process is forked while its threads do everything: the child may do nothing with what it inherited, and everything
 * with what it makes itself. What the parent's threads held locked at that moment does not matter. */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zoarium.h>

#define ROUNDS 24

static int failures = 0;

static void expect(const char *what, zoa_code got, zoa_code wanted) {
  if (got != wanted) {
    printf("%d: %s: %s, not %s (%s)\n", (int)getpid(), what, zoa_code_name(got), zoa_code_name(wanted), zoa_last_error());
    failures += 1;
  }
}

#define IS(call, wanted) expect(#call, (call), (wanted))
#define TRUE(condition) expect(#condition, (condition) ? ZOA_OK : ZOA_PANIC, ZOA_OK)

/* What the parent has. */
static const char *folder;
static zoa_config *config;
static zoa_server *server;
static zoa_client *client;
static zoa_queue *queue;
static zoa_result *result;
static int over = 0;

static int is_over(void) { return __atomic_load_n(&over, __ATOMIC_SEQ_CST); }

static void quiet(int32_t level, const char *module, const char *line, void *user_data) {
  (void)level, (void)module, (void)line, (void)user_data;
}

static void count(zoa_client *of, zoa_result *got, void *user_data) {
  (void)of;
  zoa_result_free(got);
  __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST);
}

static void on_event(zoa_client *of, const zoa_event *event, void *user_data) {
  (void)of, (void)event;
  __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST);
}

/* Clients that come and go: the callback thread begins and ends all the time. */
static void *comes_and_goes(void *arg) {
  (void)arg;
  while (!is_over()) {
    zoa_client *mine = NULL;
    int counted = 0;
    zoa_op op = ZOA_OP_INIT;
    op.kind = ZOA_OP_SYNC;
    if (zoa_client_open(server, NULL, &mine) != ZOA_OK) break;
    zoa_client_submit(mine, &op, count, &counted);
    zoa_client_close(mine, 10000);
    zoa_client_free(mine);
  }
  return NULL;
}

static void *writes(void *arg) {
  (void)arg;
  while (!is_over()) zoa_client_set(client, "/a", "x", 1, -1, NULL);
  return NULL;
}

static void *reads(void *arg) {
  (void)arg;
  while (!is_over()) zoa_client_exists(client, "/a", NULL);
  return NULL;
}

static void *logs(void *arg) {
  (void)arg;
  while (!is_over()) zoa_log_to(ZOA_LOG_TRACE, quiet, NULL);
  return NULL;
}

/* Nothing inherited works, nothing hangs, and the parent notices nothing. */
static void inherited(void) {
  zoa_status status = ZOA_STATUS_INIT;
  zoa_session session = ZOA_SESSION_INIT;
  zoa_op op = ZOA_OP_INIT;
  zoa_client *other = NULL;
  zoa_server *second = NULL;
  zoa_result *got = NULL;
  char *text = NULL;
  size_t ran = 0;
  op.kind = ZOA_OP_GET, op.path = "/a";
  IS(zoa_config_load(config, "x"), ZOA_FORKED);
  IS(zoa_config_set(config, "clientPort", "0"), ZOA_FORKED);
  IS(zoa_config_on_role(config, NULL, NULL), ZOA_FORKED);
  IS(zoa_server_start(config, &second), ZOA_FORKED);
  IS(zoa_server_wait(server, -1), ZOA_FORKED);
  IS(zoa_server_status(server, &status), ZOA_FORKED);
  TRUE(zoa_server_address(server) == NULL);
  IS(zoa_server_command(server, "ruok", &text), ZOA_FORKED);
  IS(zoa_server_handover(server, -1), ZOA_FORKED);
  IS(zoa_server_ready(server, -1), ZOA_FORKED);
  IS(zoa_server_stop(server, -1), ZOA_FORKED);
  IS(zoa_client_open(server, NULL, &other), ZOA_FORKED);
  IS(zoa_client_wait(client, -1), ZOA_FORKED);
  IS(zoa_client_session(client, &session), ZOA_FORKED);
  IS(zoa_client_add_auth(client, "digest", "a:b", 3), ZOA_FORKED);
  IS(zoa_client_watch(client, "/a", ZOA_WATCH_PERSISTENT, on_event, NULL, NULL), ZOA_FORKED);
  IS(zoa_client_unwatch(client, 1), ZOA_FORKED);
  IS(zoa_client_create(client, "/b", NULL, 0, 0, NULL), ZOA_FORKED);
  IS(zoa_client_get(client, "/a", &got), ZOA_FORKED);
  IS(zoa_client_set(client, "/a", NULL, 0, -1, NULL), ZOA_FORKED);
  IS(zoa_client_delete(client, "/a", -1), ZOA_FORKED);
  IS(zoa_client_exists(client, "/a", NULL), ZOA_FORKED);
  IS(zoa_client_children(client, "/a", &got), ZOA_FORKED);
  IS(zoa_client_sync(client, "/a"), ZOA_FORKED);
  IS(zoa_client_acl(client, "/a", &got), ZOA_FORKED);
  IS(zoa_client_set_acl(client, "/a", NULL, 0, -1), ZOA_FORKED);
  IS(zoa_client_call(client, &op, -1, &got), ZOA_FORKED);
  IS(zoa_client_submit(client, &op, count, NULL), ZOA_FORKED);
  op.kind = ZOA_OP_DELETE;
  IS(zoa_client_multi(client, &op, 1, &got), ZOA_FORKED);
  IS(zoa_client_submit_multi(client, &op, 1, count, NULL), ZOA_FORKED);
  IS(zoa_client_close(client, -1), ZOA_FORKED);
  IS(zoa_client_detach(client), ZOA_FORKED);
  TRUE(zoa_queue_fd(queue) == -1);
  IS(zoa_queue_run(queue, 1, -1, &ran), ZOA_FORKED);
  IS(zoa_result_code(result), ZOA_FORKED);
  zoa_result_free(result), zoa_client_free(client), zoa_queue_free(queue);
  zoa_server_free(server), zoa_config_free(config);
}

/* Everything of its own works, callbacks included. */
static void own(int number) {
  char place[4096];
  int counted = 0, changed = 0;
  zoa_op op = ZOA_OP_INIT;
  zoa_config *mine = NULL;
  snprintf(place, sizeof place, "%s-child-%d", folder, number);
  IS(zoa_log_to(ZOA_LOG_TRACE, quiet, NULL), ZOA_OK);
  IS(zoa_config_new(&mine), ZOA_OK);
  IS(zoa_config_set(mine, "dataDir", place), ZOA_OK);
  IS(zoa_config_set(mine, "clientPort", "0"), ZOA_OK);
  zoa_server *here = NULL;
  zoa_client *ours = NULL;
  IS(zoa_server_start(mine, &here), ZOA_OK);
  IS(zoa_client_open(here, NULL, &ours), ZOA_OK);
  IS(zoa_client_create(ours, "/child", NULL, 0, ZOA_PERSISTENT, NULL), ZOA_OK);
  IS(zoa_client_watch(ours, "/child", ZOA_WATCH_PERSISTENT, on_event, &changed, NULL), ZOA_OK);
  IS(zoa_client_set(ours, "/child", "x", 1, -1, NULL), ZOA_OK);
  op.kind = ZOA_OP_SYNC;
  IS(zoa_client_submit(ours, &op, count, &counted), ZOA_OK);
  IS(zoa_client_close(ours, 10000), ZOA_OK);
  TRUE(counted == 1 && changed == 1);
  zoa_client_free(ours);
  IS(zoa_server_stop(here, 2000), ZOA_OK);
  zoa_server_free(here), zoa_config_free(mine);
  IS(zoa_log_to(ZOA_LOG_OFF, NULL, NULL), ZOA_OK);
}

static void child(int number) {
  failures = 0;
  inherited();
  own(number);
  fflush(stdout);
  _exit(failures == 0 ? 0 : 1);
}

static void await(pid_t pid) {
  int how = 0;
  pid_t ended = 0;
  for (int ms = 0; pid > 0 && ms < 30000 && ended == 0; ms += 5) {
    ended = waitpid(pid, &how, WNOHANG);
    if (ended == 0) usleep(5000);
  }
  if (pid > 0 && ended == 0) {
    /* It hangs, possibly where signals are blocked. */
    kill(pid, SIGKILL);
    waitpid(pid, &how, 0);
  }
  if (how != 0) printf("child %d ended with %#x\n", (int)pid, (unsigned)how);
  TRUE(how == 0);
}

/* From within a callback; what the child does afterwards is up to it. */
struct forking {
  int number;
  int returns;
  pid_t pid;
  int done;
};

static void forks(zoa_client *of, zoa_result *got, void *user_data) {
  struct forking *forking = user_data;
  (void)of;
  zoa_result_free(got);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    if (!forking->returns) child(forking->number);
    failures = 0;
    return;
  }
  forking->pid = pid;
  __atomic_store_n(&forking->done, 1, __ATOMIC_SEQ_CST);
}

static void from_callbacks(void) {
  zoa_op op = ZOA_OP_INIT;
  zoa_client *polled = NULL;
  zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
  op.kind = ZOA_OP_SYNC;
  struct forking here = {100, 0, 0, 0};
  IS(zoa_client_submit(client, &op, forks, &here), ZOA_OK);
  while (!__atomic_load_n(&here.done, __ATOMIC_SEQ_CST)) usleep(1000);
  await(here.pid);

  options.queue = queue;
  IS(zoa_client_open(server, &options, &polled), ZOA_OK);
  struct forking there = {101, 1, 0, 0};
  IS(zoa_client_submit(polled, &op, forks, &there), ZOA_OK);
  while (!there.done) {
    zoa_code code = zoa_queue_run(queue, 1, 10000, NULL);
    if (code == ZOA_FORKED) child(101);
    IS(code, ZOA_OK);
  }
  await(there.pid);
  zoa_client_free(polled);
}

/* A parent that serves, forks, and goes while its child lives on: what it served is free again, and who was connected knows. */
struct served {
  int port;
  pid_t child;
};

static _Noreturn void serve_and_fork(const char *where, int tell, int until, int is_killed) {
  zoa_config *mine = NULL;
  zoa_server *here = NULL;
  zoa_client *remote = NULL;
  char go = 0;
  struct served served = {0, 0};
  IS(zoa_config_new(&mine), ZOA_OK);
  IS(zoa_config_set(mine, "dataDir", where), ZOA_OK);
  IS(zoa_config_set(mine, "clientPort", "0"), ZOA_OK);
  IS(zoa_server_start(mine, &here), ZOA_OK);
  IS(zoa_client_connect(zoa_server_address(here), NULL, &remote), ZOA_OK);
  IS(zoa_client_create(remote, "/kept", NULL, 0, ZOA_PERSISTENT, NULL), ZOA_OK);
  served.port = atoi(strrchr(zoa_server_address(here), ':') + 1);
  TRUE(write(tell, &served, sizeof served) == sizeof served);
  /* Somebody has connected by now. */
  TRUE(read(until, &go, 1) == 1);
  served.child = fork();
  if (served.child == 0) {
    for (;;) pause();
  }
  TRUE(write(tell, &served, sizeof served) == sizeof served);
  if (is_killed) kill(getpid(), SIGKILL);
  zoa_client_free(remote);
  IS(zoa_server_stop(here, 10000), ZOA_OK);
  zoa_server_free(here), zoa_config_free(mine);
  fflush(stdout);
  _exit(failures == 0 ? 0 : 1);
}

static void parent_goes(const char *where, int is_killed) {
  int told[2], until[2], how = 0;
  char port[16], end = 0;
  struct served served = {0, 0};
  zoa_config *mine = NULL;
  zoa_server *again = NULL;
  zoa_client *ours = NULL;
  TRUE(pipe(told) == 0 && pipe(until) == 0);
  fflush(stdout);
  pid_t parent = fork();
  if (parent == 0) failures = 0, serve_and_fork(where, told[1], until[0], is_killed);
  TRUE(read(told[0], &served, sizeof served) == sizeof served);

  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)served.port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int connected = socket(AF_INET, SOCK_STREAM, 0);
  TRUE(connect(connected, (struct sockaddr *)&address, sizeof address) == 0);
  /* A handshake that is answered: the server has taken the connection in. */
  char answer[256];
  TRUE(write(connected, "\0\0\0\x2c" "\0\0\0\0" "\0\0\0\0\0\0\0\0" "\0\0\x27\x10" "\0\0\0\0\0\0\0\0"
                        "\0\0\0\x10" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 48) == 48);
  TRUE(read(connected, answer, sizeof answer) > 0);

  TRUE(write(until[1], "g", 1) == 1);
  TRUE(read(told[0], &served, sizeof served) == sizeof served);
  TRUE(waitpid(parent, &how, 0) == parent);
  TRUE(is_killed ? WIFSIGNALED(how) : how == 0);
  TRUE(kill(served.child, 0) == 0);

  /* Nobody holds the other end of the connection. */
  struct pollfd polled = {.fd = connected, .events = POLLIN};
  TRUE(poll(&polled, 1, 20000) == 1);
  TRUE(read(connected, &end, 1) <= 0);
  close(connected);

  IS(zoa_config_new(&mine), ZOA_OK);
  IS(zoa_config_set(mine, "dataDir", where), ZOA_OK);
  snprintf(port, sizeof port, "%d", served.port);
  IS(zoa_config_set(mine, "clientPort", port), ZOA_OK);
  /* The port may be somebody else's for a moment, as the local end of a connection; the child, which lives on, would keep it. */
  zoa_code started = zoa_server_start(mine, &again);
  for (int tries = 0; tries < 100 && started == ZOA_PORT_TAKEN; tries++) {
    poll(NULL, 0, 100);
    started = zoa_server_start(mine, &again);
  }
  IS(started, ZOA_OK);
  IS(zoa_client_open(again, NULL, &ours), ZOA_OK);
  IS(zoa_client_exists(ours, "/kept", NULL), ZOA_OK);
  zoa_client_free(ours), zoa_server_free(again), zoa_config_free(mine);
  kill(served.child, SIGKILL);
  for (int i = 0; i < 2; i++) close(told[i]), close(until[i]);
}

/* What a child closes is its parent's and nothing else, and its own things are its own: descriptors with the same numbers. */
static void descriptors_of(const char *where) {
  char byte = 'x', got = 0;
  fflush(stdout);
  pid_t pid = fork();
  if (pid != 0) {
    await(pid);
    return;
  }
  failures = 0;
  int ours[2];
  TRUE(pipe(ours) == 0);
  /* A grandchild keeps what its parent opened for itself by hand. */
  zoa_config *mine = NULL;
  zoa_server *here = NULL;
  IS(zoa_config_new(&mine), ZOA_OK);
  IS(zoa_config_set(mine, "dataDir", where), ZOA_OK);
  IS(zoa_config_set(mine, "clientPort", "0"), ZOA_OK);
  IS(zoa_server_start(mine, &here), ZOA_OK);
  IS(zoa_server_stop(here, 10000), ZOA_OK);
  int taken[16];
  for (int i = 0; i < 16; i++) taken[i] = dup(ours[1]);
  pid = fork();
  if (pid == 0) {
    /* Those numbers were the server's, and are not any more. */
    for (int i = 0; i < 16; i++) TRUE(write(taken[i], &byte, 1) == 1);
    for (int i = 0; i < 16; i++) TRUE(read(ours[0], &got, 1) == 1 && got == byte);
    _exit(failures == 0 ? 0 : 1);
  }
  await(pid);
  zoa_server_free(here), zoa_config_free(mine);
  fflush(stdout);
  _exit(failures == 0 ? 0 : 1);
}

int main(int argc, char **argv) {
  char elsewhere[4096];
  if (argc < 2) return 2;
  folder = argv[1];
  snprintf(elsewhere, sizeof elsewhere, "%s-stopped", folder);
  parent_goes(elsewhere, 0);
  snprintf(elsewhere, sizeof elsewhere, "%s-killed", folder);
  parent_goes(elsewhere, 1);
  snprintf(elsewhere, sizeof elsewhere, "%s-numbers", folder);
  descriptors_of(elsewhere);
  IS(zoa_config_new(&config), ZOA_OK);
  IS(zoa_config_set(config, "dataDir", folder), ZOA_OK);
  IS(zoa_config_set(config, "clientPort", "0"), ZOA_OK);
  IS(zoa_server_start(config, &server), ZOA_OK);
  IS(zoa_queue_new(&queue), ZOA_OK);
  IS(zoa_client_open(server, NULL, &client), ZOA_OK);
  IS(zoa_client_create(client, "/a", NULL, 0, ZOA_PERSISTENT, NULL), ZOA_OK);
  IS(zoa_client_get(client, "/a", &result), ZOA_OK);
  pthread_t threads[5];
  void *(*doing[5])(void *) = {comes_and_goes, comes_and_goes, writes, reads, logs};
  for (int i = 0; i < 5; i++) TRUE(pthread_create(&threads[i], NULL, doing[i], NULL) == 0);
  for (int round = 0; round < ROUNDS; round++) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) child(round);
    await(pid);
  }
  from_callbacks();
  __atomic_store_n(&over, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < 5; i++) pthread_join(threads[i], NULL);
  IS(zoa_log_to(ZOA_LOG_OFF, NULL, NULL), ZOA_OK);
  IS(zoa_client_exists(client, "/a", NULL), ZOA_OK);
  IS(zoa_result_code(result), ZOA_OK);
  zoa_result_free(result), zoa_client_free(client), zoa_queue_free(queue);
  IS(zoa_server_stop(server, 2000), ZOA_OK);
  zoa_server_free(server), zoa_config_free(config);
  printf("%d failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
