/* Callbacks on several threads end each other's clients at the same time: each waits for the next one's callback, which would
 * wait for ever. One of them is told, and all come to an end. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zoarium.h>

#define MOST 3
#define ROUNDS 20

static int failures = 0;

static void expect(const char *what, int line, zoa_code got, zoa_code wanted) {
  if (got != wanted) {
    printf("%d: %s: %s, not %s (%s)\n", line, what, zoa_code_name(got), zoa_code_name(wanted), zoa_last_error());
    __atomic_add_fetch(&failures, 1, __ATOMIC_SEQ_CST);
  }
}

#define IS(call, wanted) expect(#call, __LINE__, (call), (wanted))
#define TRUE(condition) expect(#condition, __LINE__, (condition) ? ZOA_OK : ZOA_PANIC, ZOA_OK)

enum how { FREE, CLOSE, DETACH };

/* Those that meet in one round; `client[i]` belongs to `queue[i]`, whose callback ends the next one's. */
struct ring {
  int count;
  enum how how;
  zoa_client *client[MOST];
  zoa_queue *queue[MOST];
  int inside;
  int refused;
  int over;
  int ran[MOST];
};

struct place {
  struct ring *ring;
  int at;
};

static int add(int *to, int what) { return __atomic_add_fetch(to, what, __ATOMIC_SEQ_CST); }

static void ends_the_next(zoa_client *client, zoa_result *result, void *user_data) {
  struct place *place = user_data;
  struct ring *ring = place->ring;
  zoa_client *next = ring->client[(place->at + 1) % ring->count];
  zoa_code code = ZOA_OK;
  (void)client;
  zoa_result_free(result);
  /* All of them are in their callbacks before one goes on. */
  add(&ring->inside, 1);
  while (add(&ring->inside, 0) < ring->count) usleep(100);
  if (ring->how == FREE) zoa_client_free(next);
  if (ring->how == CLOSE) code = zoa_client_close(next, -1);
  if (ring->how == DETACH) code = zoa_client_detach(next);
  if (code == ZOA_WOULD_DEADLOCK)
    add(&ring->refused, 1);
  else
    IS(code, ZOA_OK);
  add(&ring->ran[place->at], 1);
  add(&ring->over, 1);
}

static void *runs(void *arg) {
  struct place *place = arg;
  while (add(&place->ring->over, 0) < place->ring->count) {
    zoa_code code = zoa_queue_run(place->ring->queue[place->at], 1, 10, NULL);
    if (code != ZOA_IN_USE) IS(code, ZOA_OK);
  }
  return NULL;
}

/* With `own` the first of them has no queue: its callbacks run on zoarium-callback. */
static void meet(zoa_server *server, int count, enum how how, int own) {
  struct ring ring = {.count = count, .how = how};
  struct place places[MOST];
  pthread_t threads[MOST];
  zoa_op op = ZOA_OP_INIT;
  op.kind = ZOA_OP_SYNC;
  for (int i = 0; i < count; i++) {
    zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
    places[i] = (struct place){&ring, i};
    IS(zoa_queue_new(&ring.queue[i]), ZOA_OK);
    options.queue = i == 0 && own ? NULL : ring.queue[i];
    IS(zoa_client_open(server, &options, &ring.client[i]), ZOA_OK);
  }
  for (int i = 0; i < count; i++) IS(zoa_client_submit(ring.client[i], &op, ends_the_next, &places[i]), ZOA_OK);
  for (int i = 0; i < count; i++) TRUE(pthread_create(&threads[i], NULL, runs, &places[i]) == 0);
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < count; i++) TRUE(ring.ran[i] == 1);
  /* The circle is opened once, not by everybody. */
  TRUE(ring.refused == (how == FREE ? 0 : 1));
  if (how != FREE) {
    for (int i = 0; i < count; i++) zoa_client_free(ring.client[i]);
  }
  for (int i = 0; i < count; i++) zoa_queue_free(ring.queue[i]);
}

int main(int argc, char **argv) {
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  if (argc < 2) return 2;
  IS(zoa_config_new(&config), ZOA_OK);
  IS(zoa_config_set(config, "dataDir", argv[1]), ZOA_OK);
  IS(zoa_config_set(config, "clientPort", "0"), ZOA_OK);
  IS(zoa_server_start(config, &server), ZOA_OK);
  for (int round = 0; round < ROUNDS; round++) {
    for (enum how how = FREE; how <= DETACH; how++) {
      for (int count = 2; count <= MOST; count++) meet(server, count, how, round % 2);
    }
  }
  zoa_server_free(server), zoa_config_free(config);
  printf("%d failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
