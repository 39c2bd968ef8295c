/* Configuration, watched and reloaded: whatever was written last is in force in the end, however fast it changes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zoarium.h>

struct settings {
  const char *path;
  /* Held across reading and taking over: else an older reading could be taken over after a newer one. */
  pthread_mutex_t mutex;
  pthread_cond_t reloaded;
  char text[64];
  int32_t version;
  int is_there;
  zoa_code code;
};

static void on_change(zoa_client *client, const zoa_event *event, void *user_data);

/* Reads, and asks to be told of the next change, in one step: with a read and then a watch, a change in between would go
   unnoticed. Where there is no znode, only an exists leaves a watch; it may be there again by then. */
static void reload(zoa_client *client, struct settings *settings) {
  zoa_result *result = NULL;
  zoa_op op = ZOA_OP_INIT;
  op.path = settings->path;
  op.watch = on_change;
  op.watch_data = settings;
  pthread_mutex_lock(&settings->mutex);
  op.kind = ZOA_OP_GET;
  do {
    settings->code = zoa_client_call(client, &op, -1, op.kind == ZOA_OP_GET ? &result : NULL);
    if (op.kind == ZOA_OP_GET && settings->code == ZOA_OK) break;
    if (op.kind == ZOA_OP_EXISTS && settings->code == ZOA_NO_NODE) break;
    if (settings->code == ZOA_OK) op.kind = ZOA_OP_GET;
    if (settings->code == ZOA_NO_NODE) op.kind = ZOA_OP_EXISTS;
    /* Reads can be repeated. Anything else is the end of the session. */
  } while (settings->code == ZOA_OK || settings->code == ZOA_NO_NODE || settings->code == ZOA_CONNECTION_LOSS);

  settings->is_there = result != NULL;
  if (result != NULL) {
    size_t len = 0;
    const char *data = zoa_result_data(result, &len);
    settings->version = zoa_result_stat(result)->version;
    snprintf(settings->text, sizeof settings->text, "%.*s", (int)len, data ? data : "");
  }
  zoa_result_free(result);
  pthread_cond_broadcast(&settings->reloaded);
  pthread_mutex_unlock(&settings->mutex);
}

/* A callback may wait for its own client. */
static void on_change(zoa_client *client, const zoa_event *event, void *user_data) {
  (void)event;
  reload(client, user_data);
}

/* Waits for a reading; false when there will be none. */
static int in_force(struct settings *settings, int is_there, int32_t version) {
  pthread_mutex_lock(&settings->mutex);
  while ((settings->code == ZOA_OK || settings->code == ZOA_NO_NODE) &&
         (settings->is_there != is_there || (is_there && settings->version != version))) {
    pthread_cond_wait(&settings->reloaded, &settings->mutex);
  }
  int is_reached = settings->is_there == is_there;
  printf("%s: %s, version %d\n", settings->is_there ? "in force" : "gone, but kept", settings->text, settings->version);
  pthread_mutex_unlock(&settings->mutex);
  return is_reached;
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
  zoa_client *reader = NULL, *writer = NULL;
  struct settings settings = {"/config", PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, "threads=1", 0, 0, ZOA_OK};
  char text[32];
  zoa_stat stat;
  int status = EXIT_FAILURE;

  CHECK(zoa_config_new(&config));
  CHECK(zoa_config_set(config, "dataDir", argc > 1 ? argv[1] : "config-data"));
  CHECK(zoa_config_set(config, "clientPort", "0"));
  CHECK(zoa_server_start(config, &server));
  CHECK(zoa_client_open(server, NULL, &reader));
  CHECK(zoa_client_open(server, NULL, &writer));

  reload(reader, &settings);
  if (!in_force(&settings, 0, 0)) goto cleanup;

  CHECK(zoa_client_create(writer, "/config", "threads=2", 9, ZOA_PERSISTENT, NULL));
  if (!in_force(&settings, 1, 0)) goto cleanup;
  for (int i = 1; i <= 100; i++) {
    int len = snprintf(text, sizeof text, "threads=%d", 2 + i);
    /* With the version it has read, a writer cannot undo what another wrote meanwhile. */
    CHECK(zoa_client_set(writer, "/config", text, (size_t)len, i - 1, &stat));
  }
  if (!in_force(&settings, 1, stat.version)) goto cleanup;

  CHECK(zoa_client_delete(writer, "/config", -1));
  if (!in_force(&settings, 0, 0)) goto cleanup;
  CHECK(zoa_client_create(writer, "/config", "threads=8", 9, ZOA_EPHEMERAL, NULL));
  if (!in_force(&settings, 1, 0)) goto cleanup;
  status = EXIT_SUCCESS;

cleanup:
  zoa_client_free(reader);
  zoa_client_free(writer);
  zoa_server_free(server);
  zoa_config_free(config);
  return status;
}
