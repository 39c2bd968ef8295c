/* Durable creates per second through this interface: throughput [folder [count [outstanding]]]. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zoarium.h>

struct run {
  long count;
  atomic_long next, done, failed;
  pthread_mutex_t lock;
  pthread_cond_t over;
};

static void send_next(zoa_client *client, struct run *run);

/* Each reply sends the next request, so that as many are under way as there were at first. */
static void on_done(zoa_client *client, zoa_result *result, void *user_data) {
  struct run *run = user_data;
  if (zoa_result_code(result) != ZOA_OK) atomic_fetch_add(&run->failed, 1);
  zoa_result_free(result);
  send_next(client, run);
  if (atomic_fetch_add(&run->done, 1) + 1 == run->count) {
    pthread_mutex_lock(&run->lock);
    pthread_cond_signal(&run->over);
    pthread_mutex_unlock(&run->lock);
  }
}

static void send_next(zoa_client *client, struct run *run) {
  static const char data[100];
  char path[64];
  long number = atomic_fetch_add(&run->next, 1);
  if (number >= run->count) return;
  snprintf(path, sizeof path, "/p%03ld/n%08ld", number % 1000, number);
  zoa_op op = ZOA_OP_INIT;
  op.kind = ZOA_OP_CREATE;
  op.path = path;
  op.data = data;
  op.len = sizeof data;
  if (zoa_client_submit(client, &op, on_done, run) != ZOA_OK) {
    fprintf(stderr, "submitting: %s\n", zoa_last_error());
    exit(EXIT_FAILURE);
  }
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
  struct run run = {.count = argc > 2 ? atol(argv[2]) : 200000,
                    .lock = PTHREAD_MUTEX_INITIALIZER,
                    .over = PTHREAD_COND_INITIALIZER};
  long outstanding = argc > 3 ? atol(argv[3]) : 64;
  struct timespec begin, end;
  char path[16];
  int status = EXIT_FAILURE;

  CHECK(zoa_config_new(&config));
  CHECK(zoa_config_set(config, "dataDir", argc > 1 ? argv[1] : "throughput-data"));
  CHECK(zoa_config_set(config, "clientPort", "0"));
  CHECK(zoa_server_start(config, &server));
  CHECK(zoa_client_open(server, NULL, &client));
  for (int i = 0; i < 1000 && i < run.count; i++) {
    snprintf(path, sizeof path, "/p%03d", i);
    CHECK(zoa_client_create(client, path, NULL, 0, ZOA_PERSISTENT, NULL));
  }

  clock_gettime(CLOCK_MONOTONIC, &begin);
  for (long i = 0; i < outstanding; i++) send_next(client, &run);
  pthread_mutex_lock(&run.lock);
  while (atomic_load(&run.done) < run.count) pthread_cond_wait(&run.over, &run.lock);
  pthread_mutex_unlock(&run.lock);
  clock_gettime(CLOCK_MONOTONIC, &end);

  double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
  printf("%ld creates, %ld outstanding, %ld failed\n", run.count, outstanding, atomic_load(&run.failed));
  fprintf(stderr, "%.0f per second\n", (double)run.count / seconds);
  status = atomic_load(&run.failed) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;

cleanup:
  zoa_client_free(client);
  zoa_server_free(server);
  zoa_config_free(config);
  return status;
}
