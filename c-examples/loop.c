/* A foreign event loop: poll(2) on a queue's descriptor, every callback on this one thread. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <zoarium.h>

static int created = 0;

static void on_created(zoa_client *client, zoa_result *result, void *user_data) {
  int *wanted = user_data;
  (void)client;
  if (zoa_result_code(result) == ZOA_OK) {
    printf("created %s\n", zoa_result_path(result));
    created += 1;
  } else {
    printf("%s\n", zoa_result_error(result));
    *wanted -= 1;
  }
  zoa_result_free(result);
}

#define CHECK(call)                                                                         \
  do {                                                                                      \
    zoa_code code_ = (call);                                                                \
    if (code_ != ZOA_OK) {                                                                  \
      fprintf(stderr, "%s: %s: %s\n", #call, zoa_code_name(code_), zoa_last_error());       \
      goto cleanup;                                                                         \
    }                                                                                       \
  } while (0)

int main(int argc, char **argv) {
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  zoa_client *client = NULL;
  zoa_queue *queue = NULL;
  zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
  const char *paths[] = {"/a", "/b", "/missing/c", "/d"};
  int wanted = 4;
  int status = EXIT_FAILURE;

  CHECK(zoa_config_new(&config));
  CHECK(zoa_config_set(config, "dataDir", argc > 1 ? argv[1] : "loop-data"));
  CHECK(zoa_config_set(config, "clientPort", "0"));
  CHECK(zoa_server_start(config, &server));
  CHECK(zoa_queue_new(&queue));
  options.queue = queue;
  CHECK(zoa_client_open(server, &options, &client));

  for (int i = 0; i < 4; i++) {
    zoa_op op = ZOA_OP_INIT;
    op.kind = ZOA_OP_CREATE;
    op.path = paths[i];
    CHECK(zoa_client_submit(client, &op, on_created, &wanted));
  }
  while (created < wanted) {
    struct pollfd ready = {.fd = zoa_queue_fd(queue), .events = POLLIN};
    if (poll(&ready, 1, 10000) != 1) {
      fprintf(stderr, "nothing came\n");
      goto cleanup;
    }
    CHECK(zoa_queue_run(queue, 2, 0, NULL));
  }
  printf("%d of %d\n", created, wanted);
  status = EXIT_SUCCESS;

cleanup:
  zoa_client_free(client);
  zoa_queue_free(queue);
  zoa_server_free(server);
  zoa_config_free(config);
  return status;
}
