/* A server is stopped while its disk hangs in a sync and while it takes a snapshot, and ends by a signal while it recovers.
 * Stopping answers within its limit each time, and what was acknowledged is there afterwards. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zoarium.h>

#define VALUES 40
#define VALUE_SIZE 100000

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

/* The disk: the library calls these in place of the system's. While it hangs, no sync returns. */
static int hangs = 0, hanging = 0;

static void sync_slowly(void) {
  if (!read_int(&hangs)) return;
  __atomic_add_fetch(&hanging, 1, __ATOMIC_SEQ_CST);
  while (read_int(&hangs)) usleep(500);
}

ssize_t pwritev2(int descriptor, const struct iovec *vectors, int count, off_t at, int flags) {
  sync_slowly();
  return syscall(SYS_pwritev2, descriptor, vectors, (long)count, (long)at, 0L, flags);
}

int fdatasync(int descriptor) {
  sync_slowly();
  return (int)syscall(SYS_fdatasync, descriptor);
}

static zoa_server *start(const char *folder, const char *const *keys) {
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  IS(zoa_config_new(&config), ZOA_OK);
  IS(zoa_config_set(config, "dataDir", folder), ZOA_OK);
  IS(zoa_config_set(config, "clientPort", "0"), ZOA_OK);
  for (; keys != NULL && *keys != NULL; keys += 2) IS(zoa_config_set(config, keys[0], keys[1]), ZOA_OK);
  IS(zoa_server_start(config, &server), ZOA_OK);
  zoa_config_free(config);
  return server;
}

static void keep(zoa_client *client, zoa_result *result, void *user_data) {
  (void)client;
  TRUE(__atomic_exchange_n((zoa_result **)user_data, result, __ATOMIC_SEQ_CST) == NULL);
}

static void during_a_slow_sync(const char *folder) {
  zoa_server *server = start(folder, NULL);
  zoa_client *client = NULL, *other = NULL;
  zoa_result *result = NULL;
  zoa_op op = ZOA_OP_INIT;
  op.kind = ZOA_OP_CREATE, op.path = "/slow";
  IS(zoa_client_open(server, NULL, &client), ZOA_OK);
  IS(zoa_client_open(server, NULL, &other), ZOA_OK);
  IS(zoa_client_create(client, "/before", NULL, 0, ZOA_PERSISTENT, NULL), ZOA_OK);
  IS(zoa_client_wait(other, 10000), ZOA_OK);
  hanging = 0;
  __atomic_store_n(&hangs, 1, __ATOMIC_SEQ_CST);
  IS(zoa_client_submit(client, &op, keep, &result), ZOA_OK);
  AWAIT(read_int(&hanging) > 0);
  /* Limits hold though nobody answers; reads go on. */
  IS(zoa_client_exists(other, "/before", NULL), ZOA_OK);
  IS(zoa_client_close(other, 50), ZOA_TIMEOUT);
  IS(zoa_server_stop(server, 50), ZOA_TIMEOUT);
  TRUE(__atomic_load_n(&result, __ATOMIC_SEQ_CST) == NULL);
  __atomic_store_n(&hangs, 0, __ATOMIC_SEQ_CST);
  IS(zoa_server_stop(server, -1), ZOA_OK);
  IS(zoa_client_close(client, 10000), ZOA_OK);
  TRUE(result != NULL);
  zoa_code code = zoa_result_code(result);
  int32_t outcome = zoa_result_outcome(result);
  TRUE(code == ZOA_OK || code == ZOA_CLOSED);
  zoa_result_free(result);
  zoa_client_free(client), zoa_client_free(other), zoa_server_free(server);

  server = start(folder, NULL);
  IS(zoa_client_open(server, NULL, &client), ZOA_OK);
  IS(zoa_client_exists(client, "/before", NULL), ZOA_OK);
  zoa_code found = zoa_client_exists(client, "/slow", NULL);
  if (outcome == ZOA_OUTCOME_DONE) IS(found, ZOA_OK);
  if (outcome == ZOA_OUTCOME_NOT_DONE) IS(found, ZOA_NO_NODE);
  zoa_client_free(client), zoa_server_free(server);
}

static void write_values(zoa_server *server, int count) {
  static char data[VALUE_SIZE];
  char path[32];
  zoa_client *client = NULL;
  IS(zoa_client_open(server, NULL, &client), ZOA_OK);
  for (int i = 0; i < count; i++) {
    snprintf(path, sizeof path, "/value-%d", i);
    IS(zoa_client_create(client, path, data, sizeof data, ZOA_PERSISTENT, NULL), ZOA_OK);
  }
  zoa_client_free(client);
}

static void read_values(zoa_server *server, int count) {
  zoa_client *client = NULL;
  zoa_stat stat = {0};
  char path[32];
  IS(zoa_client_open(server, NULL, &client), ZOA_OK);
  for (int i = 0; i < count; i++) {
    snprintf(path, sizeof path, "/value-%d", i);
    IS(zoa_client_exists(client, path, &stat), ZOA_OK);
    TRUE(stat.data_length == VALUE_SIZE);
  }
  zoa_client_free(client);
}

static int is_taking_a_snapshot(zoa_server *server) {
  char *text = NULL;
  IS(zoa_server_command(server, "mntr", &text), ZOA_OK);
  int is_running = text != NULL && strstr(text, "snapshot_running\t1") != NULL;
  zoa_text_free(text);
  return is_running;
}

static void during_a_snapshot(const char *folder) {
  /* At this rate it takes as good as for ever; no more is written than begins it, for the log would wait. */
  const char *const keys[] = {"zoarium.logWindow", "1M", "zoarium.snapshotRate", "32K", NULL};
  zoa_server *server = start(folder, keys);
  int count = 1 + (1 << 20) / VALUE_SIZE;
  write_values(server, count);
  AWAIT(is_taking_a_snapshot(server));
  IS(zoa_server_stop(server, 10000), ZOA_OK);
  zoa_server_free(server);
  server = start(folder, keys);
  read_values(server, count);
  IS(zoa_server_stop(server, 10000), ZOA_OK);
  zoa_server_free(server);
}

/* Nobody can stop a server that has not started yet, but by ending the process. */
static void during_recovery(const char *folder) {
  zoa_server *server = start(folder, NULL);
  write_values(server, VALUES);
  IS(zoa_server_stop(server, 10000), ZOA_OK);
  zoa_server_free(server);
  for (useconds_t us = 0; us < 40000; us += 4000) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
      failures = 0;
      server = start(folder, NULL);
      for (;;) pause();
    }
    usleep(us);
    kill(pid, SIGKILL);
    TRUE(waitpid(pid, NULL, 0) == pid);
  }
  server = start(folder, NULL);
  read_values(server, VALUES);
  IS(zoa_server_stop(server, 10000), ZOA_OK);
  zoa_server_free(server);
}

int main(int argc, char **argv) {
  char folder[4096];
  if (argc < 2) return 2;
  snprintf(folder, sizeof folder, "%s-sync", argv[1]);
  during_a_slow_sync(folder);
  snprintf(folder, sizeof folder, "%s-snapshot", argv[1]);
  during_a_snapshot(folder);
  snprintf(folder, sizeof folder, "%s-recovery", argv[1]);
  during_recovery(folder);
  printf("%d failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
