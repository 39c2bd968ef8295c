/* A client over TCP, used as no program should: every call is answered with a code, also in a forked child, and when the
 * server goes while bytes are on their way (which must raise no SIGPIPE here). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zoarium.h>

static int failures = 0;

static void expect(const char *what, zoa_code got, zoa_code wanted) {
  if (got != wanted) {
    printf("%s: %s, not %s (%s)\n", what, zoa_code_name(got), zoa_code_name(wanted), zoa_last_error());
    failures += 1;
  }
}

#define IS(call, wanted) expect(#call, (call), (wanted))
#define TRUE(condition) expect(#condition, (condition) ? ZOA_OK : ZOA_PANIC, ZOA_OK)

static int done = 0;

/* Calls back into its own client, then frees it. */
static void frees_itself(zoa_client *client, zoa_result *result, void *user_data) {
  zoa_session session = ZOA_SESSION_INIT;
  zoa_result *got = NULL;
  (void)user_data;
  zoa_result_free(result);
  IS(zoa_client_get(client, "/", &got), ZOA_OK);
  zoa_result_free(got);
  IS(zoa_client_session(client, &session), ZOA_OK);
  IS(zoa_client_close(client, 10000), ZOA_OK);
  IS(zoa_client_get(client, "/", &got), ZOA_CLOSED);
  zoa_client_free(client);
  __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
}

static void answered(zoa_client *client, zoa_result *result, void *user_data) {
  (void)client;
  zoa_result_free(result);
  __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST);
}

static int in_child(const char *hosts, zoa_client *of_parent) {
  zoa_client *client = NULL;
  zoa_stat stat;
  failures = 0;
  IS(zoa_client_exists(of_parent, "/", &stat), ZOA_FORKED);
  IS(zoa_client_close(of_parent, 1000), ZOA_FORKED);
  zoa_client_free(of_parent);
  IS(zoa_client_connect(hosts, NULL, &client), ZOA_OK);
  IS(zoa_client_wait(client, 10000), ZOA_OK);
  IS(zoa_client_exists(client, "/kept", &stat), ZOA_OK);
  IS(zoa_client_close(client, 10000), ZOA_OK);
  zoa_client_free(client);
  return failures;
}

int main(int argc, char **argv) {
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  zoa_client *client = NULL, *other = NULL;
  zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
  zoa_op op = ZOA_OP_INIT;
  char hosts[256];
  int count = 0;

  /* As a host that never heard of it: the signal would end the process. */
  signal(SIGPIPE, SIG_DFL);
  IS(zoa_config_new(&config), ZOA_OK);
  IS(zoa_config_set(config, "dataDir", argc > 1 ? argv[1] : "remote-data"), ZOA_OK);
  IS(zoa_config_set(config, "clientPortAddress", "127.0.0.1"), ZOA_OK);
  IS(zoa_config_set(config, "clientPort", "0"), ZOA_OK);
  IS(zoa_server_start(config, &server), ZOA_OK);
  snprintf(hosts, sizeof hosts, "%s", zoa_server_address(server));

  IS(zoa_client_connect(NULL, NULL, &client), ZOA_NULL_ARGUMENT);
  IS(zoa_client_connect(hosts, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_connect("", NULL, &client), ZOA_BAD_ARGUMENTS);
  IS(zoa_client_connect("a:0", NULL, &client), ZOA_BAD_ARGUMENTS);
  IS(zoa_client_connect("a:1/x//y", NULL, &client), ZOA_BAD_ARGUMENTS);
  IS(zoa_client_connect("\xff\xfe:1", NULL, &client), ZOA_BAD_UTF8);
  options.flags = 0x80;
  IS(zoa_client_connect(hosts, &options, &client), ZOA_BAD_ARGUMENTS);
  options.flags = ZOA_ALLOW_READ_ONLY;
  options.struct_size = 4;
  IS(zoa_client_connect(hosts, &options, &client), ZOA_TOO_OLD);
  options.struct_size = sizeof options;
  TRUE(client == NULL);

  IS(zoa_client_connect(hosts, &options, &client), ZOA_OK);
  IS(zoa_client_create(client, "/kept", NULL, 0, ZOA_EPHEMERAL, NULL), ZOA_OK);
  IS(zoa_client_connect(hosts, NULL, &other), ZOA_OK);
  op.kind = ZOA_OP_EXISTS;
  op.path = "/";
  IS(zoa_client_submit(other, &op, frees_itself, NULL), ZOA_OK);
  for (int round = 0; round < 2000 && !__atomic_load_n(&done, __ATOMIC_SEQ_CST); round += 1) usleep(5000);
  TRUE(__atomic_load_n(&done, __ATOMIC_SEQ_CST) == 1);

  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int found = in_child(hosts, client);
    fflush(stdout);
    _exit(found == 0 ? 0 : 1);
  }
  int status = 0;
  TRUE(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  IS(zoa_client_exists(client, "/kept", NULL), ZOA_OK);

  /* The server goes under a stream of writes. */
  char data[10000];
  memset(data, 'x', sizeof data);
  op.kind = ZOA_OP_SET;
  op.path = "/kept";
  op.data = data;
  op.len = sizeof data;
  int submitted = 0;
  for (; submitted < 500; submitted += 1) {
    if (submitted == 250) zoa_server_free(server);
    IS(zoa_client_submit(client, &op, answered, &count), ZOA_OK);
  }
  IS(zoa_client_close(client, 10000), ZOA_CONNECTION_LOSS);
  TRUE(__atomic_load_n(&count, __ATOMIC_SEQ_CST) == submitted);
  zoa_client_free(client);
  zoa_config_free(config);
  printf("%d failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
