/* Watches: one session changes znodes, another hears of it through a recursive watch. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <zoarium.h>

struct heard {
  pthread_mutex_t lock;
  pthread_cond_t more;
  int count;
};

/* Runs on the thread zoarium-callback; the event lives for the call. */
static void on_event(zoa_client *client, const zoa_event *event, void *user_data) {
  static const char *const kinds[] = {"?", "created", "deleted", "changed", "children"};
  struct heard *heard = user_data;
  (void)client;
  pthread_mutex_lock(&heard->lock);
  printf("%s was %s\n", event->path, kinds[event->kind]);
  heard->count += 1;
  pthread_cond_signal(&heard->more);
  pthread_mutex_unlock(&heard->lock);
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
  zoa_client *watcher = NULL, *writer = NULL;
  struct heard heard = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
  uint64_t watch_id = 0;
  int status = EXIT_FAILURE;

  CHECK(zoa_config_new(&config));
  CHECK(zoa_config_set(config, "dataDir", argc > 1 ? argv[1] : "watch-data"));
  CHECK(zoa_config_set(config, "clientPort", "0"));
  CHECK(zoa_server_start(config, &server));
  CHECK(zoa_client_open(server, NULL, &watcher));
  CHECK(zoa_client_open(server, NULL, &writer));

  CHECK(zoa_client_watch(watcher, "/app", ZOA_WATCH_RECURSIVE, on_event, &heard, &watch_id));
  CHECK(zoa_client_create(writer, "/app", NULL, 0, ZOA_PERSISTENT, NULL));
  CHECK(zoa_client_create(writer, "/app/worker", NULL, 0, ZOA_EPHEMERAL, NULL));
  CHECK(zoa_client_set(writer, "/app/worker", "busy", 4, -1, NULL));
  /* Its session ends, and its ephemeral znode with it. */
  CHECK(zoa_client_close(writer, 10000));

  pthread_mutex_lock(&heard.lock);
  while (heard.count < 4) pthread_cond_wait(&heard.more, &heard.lock);
  pthread_mutex_unlock(&heard.lock);
  CHECK(zoa_client_unwatch(watcher, watch_id));
  CHECK(zoa_client_delete(watcher, "/app", -1));
  CHECK(zoa_client_close(watcher, 10000));
  printf("%d events\n", heard.count);
  status = EXIT_SUCCESS;

cleanup:
  zoa_client_free(writer);
  zoa_client_free(watcher);
  zoa_server_free(server);
  zoa_config_free(config);
  return status;
}
