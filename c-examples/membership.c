/* A group whose members are processes: each is an ephemeral znode, which goes when its process leaves or crashes. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zoarium.h>

#define CHECK(call)                                                                         \
  do {                                                                                      \
    zoa_code code_ = (call);                                                                \
    if (code_ != ZOA_OK) {                                                                  \
      fprintf(stderr, "%s: %s: %s\n", #call, zoa_code_name(code_), zoa_last_error());       \
      goto cleanup;                                                                         \
    }                                                                                       \
  } while (0)

/* A member's whole life, in a process of its own: reads where the server is, joins, and stays until it hears no more. */
static int member(const char *name, int from_parent) {
  zoa_client *client = NULL;
  zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
  char address[64] = "", path[64], more;
  int status = EXIT_FAILURE;

  if (read(from_parent, address, sizeof address - 1) <= 0) return EXIT_FAILURE;
  /* How long a crash may go unnoticed. */
  options.session_timeout_ms = 3000;
  CHECK(zoa_client_connect(address, &options, &client));
  snprintf(path, sizeof path, "/group/%s", name);
  CHECK(zoa_client_create(client, path, NULL, 0, ZOA_EPHEMERAL, NULL));
  while (read(from_parent, &more, 1) > 0) continue;
  /* It leaves in good order: its znode goes at once. */
  CHECK(zoa_client_close(client, 10000));
  status = EXIT_SUCCESS;

cleanup:
  zoa_client_free(client);
  return status;
}

struct group {
  pthread_mutex_t mutex;
  pthread_cond_t more;
  int changes;
};

static void on_change(zoa_client *client, const zoa_event *event, void *user_data) {
  struct group *group = user_data;
  (void)client;
  if (strcmp(event->path, "/group") == 0) return;
  pthread_mutex_lock(&group->mutex);
  printf("%s %s\n", event->kind == ZOA_EVENT_CREATED ? "joined:" : "gone:  ", event->path + strlen("/group/"));
  group->changes += 1;
  pthread_cond_signal(&group->more);
  pthread_mutex_unlock(&group->mutex);
}

static void wait_for(struct group *group, int changes) {
  pthread_mutex_lock(&group->mutex);
  while (group->changes < changes) pthread_cond_wait(&group->more, &group->mutex);
  pthread_mutex_unlock(&group->mutex);
}

static zoa_code print_members(zoa_client *client) {
  zoa_result *result = NULL;
  zoa_code code = zoa_client_children(client, "/group", &result);
  if (code == ZOA_OK) printf("members: %zu\n", zoa_result_count(result));
  zoa_result_free(result);
  return code;
}

enum { MEMBERS = 2 };

int main(int argc, char **argv) {
  static const char *const names[MEMBERS] = {"ann", "bob"};
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  zoa_client *client = NULL;
  struct group group = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
  int to_member[MEMBERS] = {-1, -1}, status = EXIT_FAILURE;
  pid_t pids[MEMBERS] = {0};
  uint64_t watch_id = 0;

  /* Before anything of the library: a forked child cannot use its parent's handles. */
  for (int i = 0; i < MEMBERS; i++) {
    int ends[2];
    if (pipe(ends) != 0 || (pids[i] = fork()) < 0) return EXIT_FAILURE;
    if (pids[i] == 0) {
      for (int j = 0; j < i; j++) close(to_member[j]);
      close(ends[1]);
      return member(names[i], ends[0]);
    }
    close(ends[0]);
    to_member[i] = ends[1];
  }

  CHECK(zoa_config_new(&config));
  CHECK(zoa_config_set(config, "dataDir", argc > 1 ? argv[1] : "membership-data"));
  CHECK(zoa_config_set(config, "clientPort", "0"));
  /* Sessions are granted at least two ticks. */
  CHECK(zoa_config_set(config, "tickTime", "500"));
  CHECK(zoa_server_start(config, &server));
  CHECK(zoa_client_open(server, NULL, &client));
  CHECK(zoa_client_create(client, "/group", NULL, 0, ZOA_PERSISTENT, NULL));
  CHECK(zoa_client_watch(client, "/group", ZOA_WATCH_RECURSIVE, on_change, &group, &watch_id));

  const char *address = zoa_server_address(server);
  for (int i = 0; i < MEMBERS; i++) {
    if (write(to_member[i], address, strlen(address)) < 0) goto cleanup;
    wait_for(&group, i + 1);
  }
  CHECK(print_members(client));

  printf("bob leaves\n");
  close(to_member[1]);
  to_member[1] = -1;
  wait_for(&group, MEMBERS + 1);

  /* Killed: nobody says goodbye. Its session, not its connection, decides: it ends once nothing was heard for its timeout. */
  printf("ann crashes\n");
  kill(pids[0], SIGKILL);
  wait_for(&group, MEMBERS + 2);
  CHECK(print_members(client));
  status = EXIT_SUCCESS;

cleanup:
  zoa_client_free(client);
  zoa_server_free(server);
  zoa_config_free(config);
  for (int i = 0; i < MEMBERS; i++) {
    int how = 0;
    if (to_member[i] >= 0) close(to_member[i]);
    waitpid(pids[i], &how, 0);
    if (i != 0 && how != EXIT_SUCCESS) status = EXIT_FAILURE;
  }
  return status;
}
