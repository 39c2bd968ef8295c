/* The lock of c-examples/lock.c while connections are cut all the time: it is held by one at a time, its fence grows, and no
   znode is left behind by a create whose reply was lost. */
#include <stdatomic.h>
#include <stdio.h>
/* What the example tells comes in another order each time. */
#define main example_main
#define printf(...) fprintf(stderr, __VA_ARGS__)
#include "../../c-examples/lock.c"
#undef printf
#undef main

/* A cut costs its client up to a second until it connects again. */
enum { ROUNDS = 6 };

static atomic_int inside, faults, held;
static int64_t last_fence;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t progress = PTHREAD_COND_INITIALIZER;

static void count(atomic_int *what) {
  pthread_mutex_lock(&mutex);
  atomic_fetch_add(what, 1);
  pthread_cond_signal(&progress);
  pthread_mutex_unlock(&mutex);
}

static void *hold_and_release(void *argument) {
  struct lock *lock = argument;
  for (int round = 0; round < ROUNDS; round++) {
    zoa_code code = acquire(lock);
    if (code == ZOA_OK) {
      if (atomic_fetch_add(&inside, 1) != 0 || lock->fence <= last_fence) count(&faults);
      last_fence = lock->fence;
      atomic_fetch_sub(&inside, 1);
      count(&held);
      code = release(lock);
    }
    if (code != ZOA_OK) {
      fprintf(stderr, "%s: %s: %s\n", lock->owner, zoa_code_name(code), zoa_last_error());
      count(&faults);
      break;
    }
  }
  return NULL;
}

int main(int argc, char **argv) {
  static const char *const names[WORKERS] = {"ann", "bob", "cleo"};
  static struct lock locks[WORKERS];
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  zoa_client *watcher = NULL, *clients[WORKERS] = {NULL};
  zoa_result *left = NULL;
  pthread_t threads[WORKERS];
  int started = 0, cuts = 0, status = EXIT_FAILURE;

  CHECK(zoa_config_new(&config));
  CHECK(zoa_config_set(config, "dataDir", argc > 1 ? argv[1] : "lock-losses-data"));
  CHECK(zoa_config_set(config, "clientPort", "0"));
  CHECK(zoa_server_start(config, &server));
  CHECK(zoa_client_open(server, NULL, &watcher));
  CHECK(zoa_client_create(watcher, "/lock", NULL, 0, ZOA_PERSISTENT, NULL));
  for (int i = 0; i < WORKERS; i++) {
    locks[i].parent = "/lock";
    locks[i].owner = names[i];
    pthread_mutex_init(&locks[i].mutex, NULL);
    pthread_cond_init(&locks[i].changed, NULL);
    zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
    options.on_state = on_state;
    options.user_data = &locks[i];
    CHECK(zoa_client_connect(zoa_server_address(server), &options, &clients[i]));
    CHECK(zoa_client_wait(clients[i], 20000));
    locks[i].client = clients[i];
  }
  for (; started < WORKERS; started++) {
    if (pthread_create(&threads[started], NULL, hold_and_release, &locks[started]) != 0) goto cleanup;
  }
  while (atomic_load(&held) < WORKERS * ROUNDS && atomic_load(&faults) == 0) {
    zoa_session session = ZOA_SESSION_INIT;
    CHECK(zoa_client_session(clients[cuts % WORKERS], &session));
    CHECK(zoa_server_disconnect(server, session.id));
    cuts += 1;
    /* They must come to do something in between, or they would only connect again and again. */
    pthread_mutex_lock(&mutex);
    int before = atomic_load(&held);
    while (atomic_load(&held) == before && before < WORKERS * ROUNDS && atomic_load(&faults) == 0) {
      pthread_cond_wait(&progress, &mutex);
    }
    pthread_mutex_unlock(&mutex);
  }
  while (started > 0) pthread_join(threads[--started], NULL);
  CHECK(zoa_client_children(watcher, "/lock", &left));
  fprintf(stderr, "%d cuts\n", cuts);
  printf("%d faults, %d times held, %zu left, %s\n", atomic_load(&faults), atomic_load(&held), zoa_result_count(left),
         cuts > 0 ? "cut" : "never cut");
  status = EXIT_SUCCESS;

cleanup:
  zoa_result_free(left);
  for (int i = 0; i < WORKERS; i++) {
    if (clients[i] != NULL) zoa_client_close(clients[i], 10000);
  }
  while (started > 0) pthread_join(threads[--started], NULL);
  for (int i = 0; i < WORKERS; i++) zoa_client_free(clients[i]);
  zoa_client_free(watcher);
  zoa_server_free(server);
  zoa_config_free(config);
  return status;
}
