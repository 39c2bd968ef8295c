/* A fair lock: whoever waits watches only the one ahead, and what it protects refuses those who lost it unaware. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zoarium.h>

/* One attempt to hold the lock below `parent`. */
struct lock {
  zoa_client *client;
  const char *parent;
  const char *owner;
  /* How the znode's name begins: no other attempt of anybody has the same. */
  char prefix[64];
  char path[128];
  /* Grows from holder to holder; hand it to whatever the lock protects. */
  int64_t fence;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int is_changed, is_waiting, is_over;
};

static void wake(struct lock *lock, int is_over) {
  pthread_mutex_lock(&lock->mutex);
  lock->is_changed = 1;
  lock->is_over |= is_over;
  pthread_cond_broadcast(&lock->changed);
  pthread_mutex_unlock(&lock->mutex);
}

static void on_change(zoa_client *client, const zoa_event *event, void *user_data) {
  (void)client, (void)event;
  wake(user_data, 0);
}

/* With the session its znode and its watches go: nobody would wake it. */
static void on_state(zoa_client *client, int32_t state, void *user_data) {
  (void)client;
  if (state == ZOA_EXPIRED || state == ZOA_AUTH_REFUSED || state == ZOA_ENDED) wake(user_data, 1);
}

/* Names end in ten digits that say in which order their znodes were created, whoever created them. */
static const char *order_of(const char *name) {
  size_t len = strlen(name);
  return len > 10 ? name + len - 10 : name;
}

/* The znode of this attempt among the children, if it is there. */
static zoa_code find_own(struct lock *lock) {
  zoa_result *children = NULL;
  const char *name;
  zoa_code code = zoa_client_children(lock->client, lock->parent, &children);
  for (size_t i = 0; code == ZOA_OK && (name = zoa_result_name(children, i)) != NULL; i++) {
    if (strncmp(name, lock->prefix, strlen(lock->prefix)) == 0) {
      snprintf(lock->path, sizeof lock->path, "%s/%s", lock->parent, name);
    }
  }
  zoa_result_free(children);
  return code;
}

/* Creates this attempt's znode. After a lost connection nobody knows whether that has happened: one znode too many would
   block the lock for as long as this session lives, so look for it by its name before trying again. */
static zoa_code enter(struct lock *lock) {
  static unsigned attempts = 0;
  char path[128];
  zoa_session session = ZOA_SESSION_INIT;
  zoa_code code = zoa_client_wait(lock->client, -1);
  if (code == ZOA_OK) code = zoa_client_session(lock->client, &session);
  if (code != ZOA_OK) return code;
  snprintf(lock->prefix, sizeof lock->prefix, "%llx-%u-", (unsigned long long)session.id,
           __atomic_add_fetch(&attempts, 1, __ATOMIC_RELAXED));
  snprintf(path, sizeof path, "%s/%s", lock->parent, lock->prefix);
  lock->path[0] = '\0';
  while (lock->path[0] == '\0') {
    zoa_result *made = NULL;
    code = zoa_client_create(lock->client, path, lock->owner, strlen(lock->owner), ZOA_EPHEMERAL_SEQUENTIAL, &made);
    if (code == ZOA_OK) snprintf(lock->path, sizeof lock->path, "%s", zoa_result_path(made));
    zoa_result_free(made);
    while (code == ZOA_CONNECTION_LOSS) code = find_own(lock);
    if (code != ZOA_OK) return code;
  }
  return ZOA_OK;
}

/* Finds the znode just ahead of ours. None: the lock is ours. */
static zoa_code look_ahead(struct lock *lock, char *ahead, size_t size) {
  zoa_result *children = NULL;
  const char *name, *best = NULL, *own = strrchr(lock->path, '/') + 1;
  int is_there = 0;
  zoa_code code = zoa_client_children(lock->client, lock->parent, &children);
  for (size_t i = 0; code == ZOA_OK && (name = zoa_result_name(children, i)) != NULL; i++) {
    if (strcmp(name, own) == 0) is_there = 1;
    if (strcmp(order_of(name), order_of(own)) < 0 && (best == NULL || strcmp(order_of(best), order_of(name)) < 0)) best = name;
  }
  ahead[0] = '\0';
  if (best != NULL) snprintf(ahead, size, "%s/%s", lock->parent, best);
  zoa_result_free(children);
  /* Somebody took it away: an operator, or the end of our session. */
  return code == ZOA_OK && !is_there ? ZOA_NO_NODE : code;
}

static zoa_code acquire(struct lock *lock) {
  zoa_stat stat;
  char ahead[128];
  zoa_code code = enter(lock);
  while (code == ZOA_OK || code == ZOA_CONNECTION_LOSS) {
    code = look_ahead(lock, ahead, sizeof ahead);
    if (code != ZOA_OK) continue;
    if (ahead[0] == '\0') {
      code = zoa_client_exists(lock->client, lock->path, &stat);
      if (code != ZOA_OK) continue;
      lock->fence = stat.czxid;
      return ZOA_OK;
    }
    /* A get leaves a watch only where there is a znode, so none is left behind when it has gone meanwhile. */
    zoa_result *holder = NULL;
    zoa_op op = ZOA_OP_INIT;
    op.kind = ZOA_OP_GET;
    op.path = ahead;
    op.watch = on_change;
    op.watch_data = lock;
    pthread_mutex_lock(&lock->mutex);
    lock->is_changed = lock->is_over;
    pthread_mutex_unlock(&lock->mutex);
    code = zoa_client_call(lock->client, &op, -1, &holder);
    if (code == ZOA_OK) {
      size_t len = 0;
      const char *name = zoa_result_data(holder, &len);
      printf("%s waits behind %.*s\n", lock->owner, (int)len, name);
      zoa_result_free(holder);
      pthread_mutex_lock(&lock->mutex);
      lock->is_waiting = 1;
      pthread_cond_broadcast(&lock->changed);
      while (!lock->is_changed) pthread_cond_wait(&lock->changed, &lock->mutex);
      pthread_mutex_unlock(&lock->mutex);
    } else if (code == ZOA_NO_NODE) {
      code = ZOA_OK;
    }
  }
  return code;
}

/* Its outcome matters: a znode that stays would hold the lock until the session ends. */
static zoa_code release(struct lock *lock) {
  zoa_code code;
  do code = zoa_client_delete(lock->client, lock->path, -1);
  while (code == ZOA_CONNECTION_LOSS);
  return code == ZOA_NO_NODE ? ZOA_OK : code;
}

/* What the lock protects. It takes nothing from those whose turn is over, whatever they believe. */
struct ledger {
  pthread_mutex_t mutex;
  int64_t fence;
};

static void write_to(struct ledger *ledger, const struct lock *lock, const char *what) {
  pthread_mutex_lock(&ledger->mutex);
  int is_late = lock->fence < ledger->fence;
  if (!is_late) ledger->fence = lock->fence;
  printf("%s: %s %s\n", what, lock->owner, is_late ? "is refused" : "writes");
  pthread_mutex_unlock(&ledger->mutex);
}

struct worker {
  struct lock lock;
  struct ledger *ledger;
  zoa_code code;
};

static void *work(void *argument) {
  struct worker *worker = argument;
  worker->code = acquire(&worker->lock);
  if (worker->code != ZOA_OK) {
    wake(&worker->lock, 1);
    return NULL;
  }
  write_to(worker->ledger, &worker->lock, "holding the lock");
  worker->code = release(&worker->lock);
  return NULL;
}

#define CHECK(call)                                                                         \
  do {                                                                                      \
    zoa_code code_ = (call);                                                                \
    if (code_ != ZOA_OK) {                                                                  \
      fprintf(stderr, "%s: %s: %s\n", #call, zoa_code_name(code_), zoa_last_error());       \
      goto cleanup;                                                                         \
    }                                                                                       \
  } while (0)

/* Until it watches the one ahead, so that this page always reads the same. False if it never will. */
static int comes_to_wait(struct lock *lock) {
  pthread_mutex_lock(&lock->mutex);
  while (!lock->is_waiting && !lock->is_over) pthread_cond_wait(&lock->changed, &lock->mutex);
  int is_waiting = lock->is_waiting;
  pthread_mutex_unlock(&lock->mutex);
  return is_waiting;
}

enum { WORKERS = 3 };

int main(int argc, char **argv) {
  static const char *const names[WORKERS] = {"ann", "bob", "cleo"};
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  zoa_client *clients[WORKERS] = {NULL};
  struct ledger ledger = {PTHREAD_MUTEX_INITIALIZER, 0};
  struct worker workers[WORKERS];
  pthread_t threads[WORKERS];
  int status = EXIT_FAILURE, started = 1;

  CHECK(zoa_config_new(&config));
  CHECK(zoa_config_set(config, "dataDir", argc > 1 ? argv[1] : "lock-data"));
  CHECK(zoa_config_set(config, "clientPort", "0"));
  CHECK(zoa_server_start(config, &server));
  for (int i = 0; i < WORKERS; i++) {
    workers[i] = (struct worker){.ledger = &ledger,
                                 .lock = {.parent = "/lock",
                                          .owner = names[i],
                                          .mutex = PTHREAD_MUTEX_INITIALIZER,
                                          .changed = PTHREAD_COND_INITIALIZER}};
    zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
    options.on_state = on_state;
    options.user_data = &workers[i].lock;
    CHECK(zoa_client_open(server, &options, &clients[i]));
    workers[i].lock.client = clients[i];
  }
  zoa_code made = zoa_client_create(clients[0], "/lock", NULL, 0, ZOA_PERSISTENT, NULL);
  if (made != ZOA_NODE_EXISTS) CHECK(made);

  CHECK(acquire(&workers[0].lock));
  write_to(&ledger, &workers[0].lock, "holding the lock");
  for (int i = 1; i < WORKERS; i++) {
    if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) goto cleanup;
    started = i + 1;
    if (!comes_to_wait(&workers[i].lock)) goto cleanup;
  }
  CHECK(release(&workers[0].lock));
  while (started > 1) {
    pthread_join(threads[--started], NULL);
    CHECK(workers[started].code);
  }
  write_to(&ledger, &workers[0].lock, "believing it still has the lock");
  status = EXIT_SUCCESS;

cleanup:
  for (int i = 0; i < WORKERS; i++) {
    if (clients[i] != NULL) zoa_client_close(clients[i], 10000);
  }
  while (started > 1) pthread_join(threads[--started], NULL);
  for (int i = 0; i < WORKERS; i++) zoa_client_free(clients[i]);
  zoa_server_free(server);
  zoa_config_free(config);
  return status;
}
