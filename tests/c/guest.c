/* What a host does with the library from its main thread, all of it, and leaves nothing behind: run under Valgrind. */
#include <stdio.h>
#include <stdlib.h>
#include <zoarium.h>

static int failures = 0;

static void expect(const char *what, int line, zoa_code got, zoa_code wanted) {
  if (got != wanted) {
    printf("%d: %s: %s, not %s (%s)\n", line, what, zoa_code_name(got), zoa_code_name(wanted), zoa_last_error());
    failures += 1;
  }
}

#define IS(call, wanted) expect(#call, __LINE__, (call), (wanted))

static void on_event(zoa_client *client, const zoa_event *event, void *user_data) {
  (void)client, (void)event, (void)user_data;
}

static void on_role(int32_t role, int64_t epoch, void *user_data) { (void)role, (void)epoch, (void)user_data; }

static void on_done(zoa_client *client, zoa_result *result, void *user_data) {
  (void)client, (void)user_data;
  zoa_result_free(result);
}

static void use(zoa_client *client) {
  zoa_op op = ZOA_OP_INIT;
  zoa_result *result = NULL;
  zoa_pending *pending = NULL;
  uint64_t watch = 0;
  op.kind = ZOA_OP_SYNC, op.path = "/a";
  IS(zoa_client_wait(client, -1), ZOA_OK);
  IS(zoa_client_create(client, "/a", "x", 1, ZOA_EPHEMERAL, NULL), ZOA_OK);
  IS(zoa_client_create(client, "/a", "x", 1, ZOA_EPHEMERAL, NULL), ZOA_NODE_EXISTS);
  IS(zoa_client_add_auth(client, "digest", "a:b", 3), ZOA_OK);
  IS(zoa_client_watch(client, "/a", ZOA_WATCH_PERSISTENT, on_event, NULL, &watch), ZOA_OK);
  IS(zoa_client_set(client, "/a", "y", 1, -1, NULL), ZOA_OK);
  IS(zoa_client_get(client, "/a", &result), ZOA_OK);
  zoa_result_free(result);
  IS(zoa_client_submit(client, &op, on_done, NULL), ZOA_OK);
  IS(zoa_client_begin(client, &op, -1, &result, &pending), ZOA_OK);
  zoa_result_free(result);
  IS(zoa_client_unwatch(client, watch), ZOA_OK);
  IS(zoa_client_close(client, -1), ZOA_OK);
  zoa_client_free(client);
}

int main(int argc, char **argv) {
  zoa_config *config = NULL;
  if (argc < 2) return 2;
  IS(zoa_config_new(&config), ZOA_OK);
  IS(zoa_config_set(config, "dataDir", argv[1]), ZOA_OK);
  IS(zoa_config_set(config, "clientPort", "0"), ZOA_OK);
  IS(zoa_config_set(config, "nonsense", "0"), ZOA_UNKNOWN_KEY);
  IS(zoa_config_on_role(config, on_role, NULL), ZOA_OK);
  for (int round = 0; round < 2; round++) {
    zoa_server *server = NULL, *second = NULL;
    zoa_client *client = NULL;
    zoa_queue *queue = NULL;
    zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
    zoa_status status = ZOA_STATUS_INIT;
    char *text = NULL;
    IS(zoa_server_start(config, &server), ZOA_OK);
    IS(zoa_server_start(config, &second), ZOA_IN_USE);
    IS(zoa_server_wait(server, -1), ZOA_OK);
    IS(zoa_server_status(server, &status), ZOA_OK);
    IS(zoa_server_command(server, "mntr", &text), ZOA_OK);
    zoa_text_free(text);
    IS(zoa_server_expire(server, 1), ZOA_SESSION_EXPIRED);
    IS(zoa_client_open(server, NULL, &client), ZOA_OK);
    use(client);
    IS(zoa_client_connect(zoa_server_address(server), NULL, &client), ZOA_OK);
    use(client);
    IS(zoa_queue_new(&queue), ZOA_OK);
    options.queue = queue;
    IS(zoa_client_open(server, &options, &client), ZOA_OK);
    use(client);
    IS(zoa_queue_run(queue, 1, 0, NULL), ZOA_OK);
    zoa_queue_free(queue);
    IS(zoa_server_stop(server, -1), ZOA_OK);
    zoa_server_free(server);
  }
  zoa_config_free(config);
  printf("%d failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
