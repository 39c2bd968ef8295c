/* Calls that no program should make: every one is answered with a code, and nothing breaks. */
#include <errno.h>
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

static void never(zoa_client *client, zoa_result *result, void *user_data) {
  (void)client, (void)result, (void)user_data;
  printf("called for a request that was refused\n");
  failures += 1;
}

static void count(zoa_client *client, zoa_result *result, void *user_data) {
  (void)client;
  IS(zoa_result_code(result), ZOA_OK);
  zoa_result_free(result);
  *(int *)user_data += 1;
}

static void ignore_event(zoa_client *client, const zoa_event *event, void *user_data) {
  (void)client, (void)event, (void)user_data;
}

/* Calls back into everything, and frees its own client at the end. */
struct nested {
  zoa_queue *queue;
  int done;
};

static void frees_itself(zoa_client *client, zoa_result *result, void *user_data) {
  struct nested *nested = user_data;
  zoa_session session = ZOA_SESSION_INIT;
  zoa_result *got = NULL;
  zoa_result_free(result);
  IS(zoa_client_get(client, "/", &got), ZOA_OK);
  zoa_result_free(got);
  IS(zoa_client_set(client, "/a", "x", 1, -1, NULL), ZOA_OK);
  IS(zoa_client_session(client, &session), ZOA_OK);
  if (nested->queue) IS(zoa_queue_run(nested->queue, 1, -1, NULL), ZOA_WOULD_DEADLOCK);
  IS(zoa_client_close(client, 10000), ZOA_OK);
  IS(zoa_client_get(client, "/", &got), ZOA_CLOSED);
  zoa_client_free(client);
  __atomic_store_n(&nested->done, 1, __ATOMIC_SEQ_CST);
}

static void all_null(void) {
  zoa_config *config;
  zoa_server *server;
  zoa_client *client;
  zoa_result *result;
  (void)config, (void)server, (void)client, (void)result;
  IS(zoa_config_new(NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_config_load(NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_config_set(NULL, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_config_on_role(NULL, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_server_start(NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_server_wait(NULL, 0), ZOA_NULL_ARGUMENT);
  IS(zoa_server_status(NULL, NULL), ZOA_NULL_ARGUMENT);
  TRUE(zoa_server_address(NULL) == NULL);
  IS(zoa_server_command(NULL, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_server_handover(NULL, 0), ZOA_NULL_ARGUMENT);
  IS(zoa_server_ready(NULL, 0), ZOA_NULL_ARGUMENT);
  IS(zoa_ensemble_start(NULL, 3, NULL), ZOA_NULL_ARGUMENT);
  TRUE(zoa_ensemble_hosts(NULL) == NULL);
  IS(zoa_ensemble_wait(NULL, 0), ZOA_NULL_ARGUMENT);
  IS(zoa_ensemble_leader(NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_ensemble_server(NULL, 1, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_ensemble_kill(NULL, 1), ZOA_NULL_ARGUMENT);
  IS(zoa_ensemble_restart(NULL, 1), ZOA_NULL_ARGUMENT);
  IS(zoa_ensemble_wipe(NULL, 1), ZOA_NULL_ARGUMENT);
  IS(zoa_ensemble_pause(NULL, 1), ZOA_NULL_ARGUMENT);
  IS(zoa_ensemble_resume(NULL, 1), ZOA_NULL_ARGUMENT);
  IS(zoa_ensemble_cut(NULL, 1), ZOA_NULL_ARGUMENT);
  IS(zoa_ensemble_heal(NULL, 1), ZOA_NULL_ARGUMENT);
  IS(zoa_ensemble_stop(NULL), ZOA_NULL_ARGUMENT);
  zoa_ensemble_free(NULL);
  IS(zoa_server_stop(NULL, 0), ZOA_NULL_ARGUMENT);
  IS(zoa_client_open(NULL, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_wait(NULL, 0), ZOA_NULL_ARGUMENT);
  IS(zoa_client_session(NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_add_auth(NULL, NULL, NULL, 0), ZOA_NULL_ARGUMENT);
  IS(zoa_client_watch(NULL, NULL, 0, NULL, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_unwatch(NULL, 0), ZOA_NULL_ARGUMENT);
  IS(zoa_client_close(NULL, 0), ZOA_NULL_ARGUMENT);
  IS(zoa_client_detach(NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_create(NULL, NULL, NULL, 0, 0, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_get(NULL, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_set(NULL, NULL, NULL, 0, 0, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_delete(NULL, NULL, 0), ZOA_NULL_ARGUMENT);
  IS(zoa_client_exists(NULL, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_children(NULL, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_sync(NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_acl(NULL, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_set_acl(NULL, NULL, NULL, 0, 0), ZOA_NULL_ARGUMENT);
  IS(zoa_client_call(NULL, NULL, 0, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_submit(NULL, NULL, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_begin(NULL, NULL, 0, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_pending_wait(NULL, 0, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_multi(NULL, NULL, 0, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_submit_multi(NULL, NULL, 0, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_queue_new(NULL), ZOA_NULL_ARGUMENT);
  TRUE(zoa_queue_fd(NULL) == -1);
  IS(zoa_queue_run(NULL, 0, 0, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_result_code(NULL), ZOA_NULL_ARGUMENT);
  TRUE(zoa_result_error(NULL) == NULL && zoa_result_zxid(NULL) == -1 && zoa_result_path(NULL) == NULL);
  TRUE(zoa_result_data(NULL, NULL) == NULL && zoa_result_stat(NULL) == NULL && zoa_result_count(NULL) == 0);
  TRUE(zoa_result_name(NULL, 0) == NULL && zoa_result_acl(NULL, 0) == NULL && zoa_result_part(NULL, 0) == NULL);
  zoa_config_free(NULL), zoa_server_free(NULL), zoa_client_free(NULL);
  zoa_result_free(NULL), zoa_queue_free(NULL), zoa_text_free(NULL), zoa_pending_free(NULL);
  IS(zoa_log_to(99, NULL, NULL), ZOA_BAD_ARGUMENTS);
  TRUE(strcmp(zoa_code_name(12345), "ZOA_UNKNOWN_CODE") == 0 && zoa_abi() == ZOA_ABI);
}

int main(int argc, char **argv) {
  zoa_config *config = NULL;
  zoa_server *server = NULL, *second = NULL;
  zoa_client *client = NULL, *other = NULL;
  zoa_result *result = NULL;
  zoa_queue *queue = NULL;
  char *text = NULL;
  (void)argc;
  all_null();
  TRUE(strlen(zoa_last_error()) > 0);

  IS(zoa_config_new(&config), ZOA_OK);
  IS(zoa_config_set(config, "noSuchKey", "1"), ZOA_UNKNOWN_KEY);
  IS(zoa_config_set(config, "tickTime", "often"), ZOA_BAD_ARGUMENTS);
  IS(zoa_config_set(config, "dataDir", "\xff\xfe"), ZOA_BAD_UTF8);
  IS(zoa_config_set(config, NULL, "1"), ZOA_NULL_ARGUMENT);
  IS(zoa_config_load(config, "/no/such/file"), ZOA_SYSTEM);
  IS(zoa_config_set(config, "dataDir", argv[1]), ZOA_OK);
  IS(zoa_config_set(config, "clientPort", "0"), ZOA_OK);
  IS(zoa_server_start((zoa_config *)0, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_server_start(config, &server), ZOA_OK);
  IS(zoa_server_start(config, &second), ZOA_IN_USE);
  TRUE(second == NULL);
  IS(zoa_server_wait(server, 0), ZOA_OK);
  IS(zoa_server_ready(server, 0), ZOA_OK);
  IS(zoa_server_handover(server, 0), ZOA_UNIMPLEMENTED);
  IS(zoa_server_command(server, "????", &text), ZOA_BAD_ARGUMENTS);
  IS(zoa_server_command(server, "ruok", NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_server_command(server, "ruok", &text), ZOA_OK);
  TRUE(text != NULL && strcmp(text, "imok") == 0);
  zoa_text_free(text);

  /* Handles of another kind. */
  IS(zoa_client_wait((zoa_client *)config, 0), ZOA_BAD_HANDLE);
  IS(zoa_client_wait((zoa_client *)server, 0), ZOA_BAD_HANDLE);
  IS(zoa_server_stop((zoa_server *)config, 0), ZOA_BAD_HANDLE);
  IS(zoa_ensemble_stop((zoa_ensemble *)server), ZOA_BAD_HANDLE);
  IS(zoa_client_open((zoa_server *)config, NULL, &client), ZOA_BAD_HANDLE);
  zoa_client_free((zoa_client *)server);
  zoa_result_free((zoa_result *)config);
  IS(zoa_server_wait(server, 0), ZOA_OK);

  /* Sizes from 0 to double. */
  for (uint32_t size = 0; size <= 2 * sizeof(zoa_status); size++) {
    unsigned char room[2 * sizeof(zoa_status) + 8] __attribute__((aligned(8)));
    memset(room, 0xaa, sizeof room);
    memcpy(room, &size, sizeof size);
    zoa_code wanted = size < sizeof(zoa_status) ? ZOA_TOO_OLD : ZOA_OK;
    IS(zoa_server_status(server, (zoa_status *)room), wanted);
    for (size_t i = wanted == ZOA_OK ? sizeof(zoa_status) : 4; i < sizeof room; i++) TRUE(room[i] == 0xaa);
  }
  zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
  options.struct_size = 3;
  IS(zoa_client_open(server, &options, &client), ZOA_TOO_OLD);
  options = (zoa_client_options)ZOA_CLIENT_OPTIONS_INIT;
  options.flags = 0x80000000u;
  IS(zoa_client_open(server, &options, &client), ZOA_BAD_ARGUMENTS);
  options = (zoa_client_options)ZOA_CLIENT_OPTIONS_INIT;
  options.chroot = "no/slash";
  IS(zoa_client_open(server, &options, &client), ZOA_BAD_ARGUMENTS);
  options = (zoa_client_options)ZOA_CLIENT_OPTIONS_INIT;
  options.queue = (zoa_queue *)config;
  IS(zoa_client_open(server, &options, &client), ZOA_BAD_HANDLE);
  options = (zoa_client_options)ZOA_CLIENT_OPTIONS_INIT;
  options.resume_id = 42;
  IS(zoa_client_open(server, &options, &client), ZOA_OK);
  IS(zoa_client_wait(client, 10000), ZOA_SESSION_EXPIRED);
  IS(zoa_client_get(client, "/", &result), ZOA_SESSION_EXPIRED);
  zoa_client_free(client);
  IS(zoa_client_open(server, NULL, &client), ZOA_OK);
  IS(zoa_client_open(server, NULL, NULL), ZOA_NULL_ARGUMENT);

  /* Arguments of operations. */
  errno = 77;
  IS(zoa_client_get(client, NULL, &result), ZOA_NULL_ARGUMENT);
  IS(zoa_client_get(client, "a", &result), ZOA_BAD_ARGUMENTS);
  IS(zoa_client_get(client, "", &result), ZOA_BAD_ARGUMENTS);
  IS(zoa_client_get(client, "/\xff", &result), ZOA_BAD_UTF8);
  IS(zoa_client_get(client, "/", NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_get(client, "/no", &result), ZOA_NO_NODE);
  TRUE(result == NULL && errno == 77);
  IS(zoa_client_create(client, "/a", NULL, 5, ZOA_PERSISTENT, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_create(client, "/a", "x", SIZE_MAX, ZOA_PERSISTENT, NULL), ZOA_BAD_ARGUMENTS);
  IS(zoa_client_create(client, "/a", "x", 1, 99, NULL), ZOA_BAD_ARGUMENTS);
  IS(zoa_client_create(client, "/..", "x", 1, 0, NULL), ZOA_BAD_ARGUMENTS);
  IS(zoa_client_create(client, "/a", "", 0, ZOA_PERSISTENT, &result), ZOA_OK);
  TRUE(strcmp(zoa_result_path(result), "/a") == 0 && zoa_result_stat(result)->version == 0);
  TRUE(zoa_result_name(result, 0) == NULL && zoa_result_part(result, 0) == NULL && zoa_result_error(result) == NULL);
  zoa_result_free(result);
  IS(zoa_client_create(client, "/null", NULL, 0, ZOA_PERSISTENT, NULL), ZOA_OK);
  size_t len = 9;
  IS(zoa_client_get(client, "/null", &result), ZOA_OK);
  TRUE(zoa_result_data(result, &len) == NULL && len == 0);
  zoa_result_free(result);
  IS(zoa_client_get(client, "/a", &result), ZOA_OK);
  TRUE(zoa_result_data(result, &len) != NULL && len == 0);
  zoa_result_free(result);
  IS(zoa_client_children(client, "/", &result), ZOA_OK);
  TRUE(zoa_result_count(result) == 3 && zoa_result_name(result, 2) != NULL && zoa_result_name(result, 3) == NULL);
  zoa_result_free(result);
  result = NULL;
  zoa_op op = ZOA_OP_INIT;
  IS(zoa_client_call(client, NULL, -1, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_call(client, &op, -1, NULL), ZOA_BAD_ARGUMENTS);
  IS(zoa_client_submit(client, &op, never, NULL), ZOA_BAD_ARGUMENTS);
  op.kind = ZOA_OP_GET;
  op.path = "/a";
  IS(zoa_client_submit(client, &op, NULL, NULL), ZOA_NULL_ARGUMENT);
  zoa_pending *pending = NULL;
  IS(zoa_client_begin(client, &op, 0, &result, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_begin(client, &op, 0, &result, &pending), ZOA_OK);
  TRUE(pending == NULL);
  zoa_result_free(result);
  op.struct_size = 5;
  IS(zoa_client_submit(client, &op, never, NULL), ZOA_TOO_OLD);
  IS(zoa_client_begin(client, &op, 0, &result, &pending), ZOA_TOO_OLD);

  /* A write that takes longer than no time at all is waited for later, and outlives its client. */
  op = (zoa_op)ZOA_OP_INIT;
  op.kind = ZOA_OP_SET;
  op.path = "/a";
  op.version = 0;
  zoa_code begun = zoa_client_begin(client, &op, 0, &result, &pending);
  if (begun == ZOA_TIMEOUT) {
    IS(zoa_client_wait((zoa_client *)(void *)pending, 0), ZOA_BAD_HANDLE);
    IS(zoa_pending_wait(pending, 10000, &result), ZOA_OK);
    IS(zoa_pending_wait(pending, 0, &result), ZOA_BAD_ARGUMENTS);
    zoa_pending_free(pending);
    begun = ZOA_OK;
  }
  IS(begun, ZOA_OK);
  TRUE(zoa_result_stat(result)->version == 1);
  zoa_result_free(result);
  result = NULL, pending = NULL;
  IS(zoa_client_open(server, NULL, &other), ZOA_OK);
  begun = zoa_client_begin(other, &op, 0, NULL, &pending);
  zoa_client_free(other);
  if (begun == ZOA_TIMEOUT) begun = zoa_pending_wait(pending, 0, NULL);
  zoa_pending_free(pending);
  IS(begun, ZOA_BAD_VERSION);
  IS(zoa_client_set_acl(client, "/a", NULL, 1, -1), ZOA_NULL_ARGUMENT);
  zoa_acl bad = {ZOA_PERM_ALL, NULL, "x"};
  IS(zoa_client_set_acl(client, "/a", &bad, 1, -1), ZOA_NULL_ARGUMENT);
  bad.scheme = "nosuch";
  IS(zoa_client_set_acl(client, "/a", &bad, 1, -1), ZOA_INVALID_ACL);
  IS(zoa_client_watch(client, "/a", 17, ignore_event, NULL, NULL), ZOA_BAD_ARGUMENTS);
  IS(zoa_client_watch(client, "/a", ZOA_WATCH_PERSISTENT, NULL, NULL, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_unwatch(client, 4711), ZOA_NO_WATCHER);

  /* A multi that is refused tells which part was to blame. */
  zoa_op ops[3] = {ZOA_OP_INIT, ZOA_OP_INIT, ZOA_OP_INIT};
  ops[0].kind = ZOA_OP_CREATE, ops[0].path = "/m";
  ops[1].kind = ZOA_OP_CHECK, ops[1].path = "/a", ops[1].version = 7;
  ops[2].kind = ZOA_OP_DELETE, ops[2].path = "/null";
  IS(zoa_client_multi(client, ops, 3, &result), ZOA_BAD_VERSION);
  TRUE(strncmp(zoa_last_error(), "/a (part 1 of the multi, counted from 0): ", 42) == 0);
  TRUE(strncmp(zoa_result_error(result), "/a (part 1 of the multi", 23) == 0);
  TRUE(strncmp(zoa_result_error(zoa_result_part(result, 1)), "/a (part 1 of the multi", 23) == 0);
  TRUE(zoa_result_count(result) == 3);
  IS(zoa_result_code(zoa_result_part(result, 0)), ZOA_OK);
  IS(zoa_result_code(zoa_result_part(result, 1)), ZOA_BAD_VERSION);
  IS(zoa_result_code(zoa_result_part(result, 2)), ZOA_RUNTIME_INCONSISTENCY);
  zoa_result_free((zoa_result *)zoa_result_part(result, 1));
  IS(zoa_result_code(zoa_result_part(result, 1)), ZOA_BAD_VERSION);
  zoa_result_free(result);
  ops[1].version = 1;
  IS(zoa_client_multi(client, ops, 3, NULL), ZOA_OK);

  /* A time to live that the server does not grant: the sentence names the key. */
  op = (zoa_op)ZOA_OP_INIT;
  op.kind = ZOA_OP_CREATE, op.path = "/ttl", op.mode = ZOA_TTL, op.ttl_ms = 1000;
  IS(zoa_client_call(client, &op, -1, NULL), ZOA_UNIMPLEMENTED);
  TRUE(strstr(zoa_last_error(), "/ttl: ") && strstr(zoa_last_error(), "extendedTypesEnabled=true"));
  ops[0].kind = ZOA_OP_GET;
  IS(zoa_client_multi(client, ops, 3, NULL), ZOA_BAD_ARGUMENTS);
  IS(zoa_client_multi(client, NULL, 3, NULL), ZOA_NULL_ARGUMENT);
  IS(zoa_client_exists(client, "/null", NULL), ZOA_NO_NODE);

  /* A callback that calls back into everything and frees its own client, on our thread and on the host's. */
  for (int on_queue = 0; on_queue < 2; on_queue++) {
    struct nested nested = {NULL, 0};
    options = (zoa_client_options)ZOA_CLIENT_OPTIONS_INIT;
    if (on_queue) {
      IS(zoa_queue_new(&queue), ZOA_OK);
      options.queue = nested.queue = queue;
    }
    IS(zoa_client_open(server, &options, &other), ZOA_OK);
    op = (zoa_op)ZOA_OP_INIT;
    op.kind = ZOA_OP_SYNC;
    IS(zoa_client_submit(other, &op, frees_itself, &nested), ZOA_OK);
    while (!__atomic_load_n(&nested.done, __ATOMIC_SEQ_CST)) {
      if (on_queue)
        zoa_queue_run(queue, 1, 1000, NULL);
      else
        usleep(1000);
    }
    /* Nothing is left for another run of the queue. */
    size_t ran = 0;
    if (on_queue) IS(zoa_queue_run(queue, 10, 0, &ran), ZOA_OK);
    TRUE(ran == 0);
  }
  zoa_queue_free(queue);

  /* A child of a fork may do nothing with them, and something of its own. */
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    failures = 0;
    IS(zoa_client_get(client, "/a", &result), ZOA_FORKED);
    IS(zoa_server_stop(server, 0), ZOA_FORKED);
    IS(zoa_config_set(config, "clientPort", "0"), ZOA_FORKED);
    zoa_client_free(client), zoa_server_free(server), zoa_config_free(config);
    char folder[4096];
    snprintf(folder, sizeof folder, "%s-child", argv[1]);
    IS(zoa_config_new(&config), ZOA_OK);
    IS(zoa_config_set(config, "dataDir", folder), ZOA_OK);
    IS(zoa_config_set(config, "clientPort", "0"), ZOA_OK);
    IS(zoa_server_start(config, &server), ZOA_OK);
    IS(zoa_client_open(server, NULL, &client), ZOA_OK);
    IS(zoa_client_create(client, "/child", NULL, 0, ZOA_PERSISTENT, NULL), ZOA_OK);
    int counted = 0;
    op = (zoa_op)ZOA_OP_INIT;
    op.kind = ZOA_OP_SYNC;
    IS(zoa_client_submit(client, &op, count, &counted), ZOA_OK);
    IS(zoa_client_close(client, 10000), ZOA_OK);
    TRUE(counted == 1);
    zoa_client_free(client), zoa_server_free(server), zoa_config_free(config);
    fflush(stdout);
    _exit(failures == 0 ? 0 : 1);
  }
  int child_status = 0;
  TRUE(waitpid(child, &child_status, 0) == child && child_status == 0);
  IS(zoa_client_exists(client, "/a", NULL), ZOA_OK);

  /* After the end. */
  IS(zoa_server_stop(server, 10000), ZOA_OK);
  IS(zoa_server_stop(server, 0), ZOA_OK);
  IS(zoa_server_wait(server, 0), ZOA_CLOSED);
  IS(zoa_server_command(server, "ruok", &text), ZOA_CLOSED);
  IS(zoa_client_get(client, "/a", &result), ZOA_CLOSED);
  IS(zoa_client_open(server, NULL, &other), ZOA_CLOSED);
  zoa_server_free(server);
  IS(zoa_client_set(client, "/a", "x", 1, -1, NULL), ZOA_CLOSED);
  IS(zoa_client_close(client, 1000), ZOA_OK);
  IS(zoa_client_detach(client), ZOA_OK);
  zoa_client_free(client);
  zoa_config_free(config);
  printf("%d failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
