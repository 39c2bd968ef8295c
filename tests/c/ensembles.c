/* Ensembles in this process: what a host can do to their members, what makes no sense, roles that are told, ends in any order. */
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zoarium.h>

#define PATIENCE_MS 60000

static int failures = 0;

static void expect(const char *what, int line, zoa_code got, zoa_code wanted) {
  if (got != wanted) {
    printf("%d: %s: %s, not %s (%s)\n", line, what, zoa_code_name(got), zoa_code_name(wanted), zoa_last_error());
    failures += 1;
  }
}

#define IS(call, wanted) expect(#call, __LINE__, (call), (wanted))
#define TRUE(condition) expect(#condition, __LINE__, (condition) ? ZOA_OK : ZOA_PANIC, ZOA_OK)
#define AWAIT(condition)                                                          \
  do {                                                                            \
    for (int ms = 0; ms < PATIENCE_MS && !(condition); ms++) usleep(1000);        \
    TRUE(condition);                                                              \
  } while (0)

static int entries(const char *folder) {
  int count = 0;
  DIR *open = opendir(folder);
  while (open != NULL && readdir(open) != NULL) count += 1;
  if (open != NULL) closedir(open);
  return count;
}

static zoa_status status_of(zoa_server *server) {
  zoa_status status = ZOA_STATUS_INIT;
  IS(zoa_server_status(server, &status), ZOA_OK);
  return status;
}

/* ---- roles ---- */

static int32_t told[16];
static int told_count = 0;

static void on_role(int32_t role, int64_t epoch, void *user_data) {
  TRUE(user_data == told && (role != ZOA_ROLE_LEADING || epoch > 0));
  int at = __atomic_load_n(&told_count, __ATOMIC_SEQ_CST);
  if (at < 16) told[at] = role;
  __atomic_add_fetch(&told_count, 1, __ATOMIC_SEQ_CST);
}

/* A port that nobody else is given while the socket is open, and that may be listened on. */
static int held_port(char *text, size_t room) {
  int yes = 1, held = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  setsockopt(held, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  TRUE(bind(held, (struct sockaddr *)&address, len) == 0 && getsockname(held, (struct sockaddr *)&address, &len) == 0);
  snprintf(text, room, "%d", ntohs(address.sin_port));
  return held;
}

/* The only member of an ensemble: it looks for a leader, finds itself, and is stopped. */
static void roles_are_told(const char *folder) {
  char line[64], quorum[8], election[8];
  int held[2] = {held_port(quorum, sizeof quorum), held_port(election, sizeof election)};
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  IS(zoa_config_new(&config), ZOA_OK);
  snprintf(line, sizeof line, "127.0.0.1:%s:%s", quorum, election);
  const char *const keys[][2] = {{"dataDir", folder}, {"clientPort", "0"}, {"tickTime", "100"}, {"initLimit", "50"},
                                 {"syncLimit", "20"}, {"standaloneEnabled", "false"}, {"zoarium.serverId", "1"},
                                 {"server.1", line}};
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) IS(zoa_config_set(config, keys[i][0], keys[i][1]), ZOA_OK);
  IS(zoa_config_on_role(config, on_role, told), ZOA_OK);
  IS(zoa_server_start(config, &server), ZOA_OK);
  IS(zoa_server_ready(server, PATIENCE_MS), ZOA_OK);
  zoa_status status = status_of(server);
  TRUE(status.role == ZOA_ROLE_LEADING && status.leader_id == 1 && status.quorum_size == 1);
  IS(zoa_server_stop(server, PATIENCE_MS), ZOA_OK);
  IS(zoa_server_ready(server, 0), ZOA_CLOSED);
  AWAIT(__atomic_load_n(&told_count, __ATOMIC_SEQ_CST) > 0 && told[told_count - 1] == ZOA_ROLE_STOPPED);
  /* It may have found itself before it could be told that it looks. */
  TRUE(told_count <= 3 && told[told_count - 2] == ZOA_ROLE_LEADING && (told_count == 2 || told[0] == ZOA_ROLE_LOOKING));
  zoa_server_free(server);
  zoa_config_free(config);
  close(held[0]), close(held[1]);
}

/* ---- members ---- */

static void what_makes_no_sense(void) {
  zoa_ensemble *ensemble = NULL;
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  IS(zoa_ensemble_start(NULL, 0, &ensemble), ZOA_BAD_ARGUMENTS);
  IS(zoa_ensemble_start(NULL, 65, &ensemble), ZOA_BAD_ARGUMENTS);
  IS(zoa_config_new(&config), ZOA_OK);
  IS(zoa_config_set(config, "zoarium.file", "/one/for/all"), ZOA_OK);
  IS(zoa_ensemble_start(config, 3, &ensemble), ZOA_BAD_ARGUMENTS);
  TRUE(ensemble == NULL);
  zoa_config_free(config);
  IS(zoa_ensemble_start(NULL, 1, &ensemble), ZOA_OK);
  IS(zoa_ensemble_kill(ensemble, 0), ZOA_BAD_ARGUMENTS);
  IS(zoa_ensemble_kill(ensemble, 2), ZOA_BAD_ARGUMENTS);
  IS(zoa_ensemble_server(ensemble, UINT64_MAX, &server), ZOA_BAD_ARGUMENTS);
  IS(zoa_ensemble_restart(ensemble, 1), ZOA_BAD_ARGUMENTS);
  IS(zoa_ensemble_wipe(ensemble, 1), ZOA_BAD_ARGUMENTS);
  IS(zoa_ensemble_kill(ensemble, 1), ZOA_OK);
  IS(zoa_ensemble_kill(ensemble, 1), ZOA_BAD_ARGUMENTS);
  IS(zoa_ensemble_pause(ensemble, 1), ZOA_BAD_ARGUMENTS);
  IS(zoa_ensemble_server(ensemble, 1, &server), ZOA_BAD_ARGUMENTS);
  IS(zoa_ensemble_wait(ensemble, 0), ZOA_BAD_ARGUMENTS);
  IS(zoa_ensemble_stop(ensemble), ZOA_OK);
  IS(zoa_ensemble_stop(ensemble), ZOA_OK);
  IS(zoa_ensemble_restart(ensemble, 1), ZOA_CLOSED);
  IS(zoa_ensemble_wait(ensemble, -1), ZOA_CLOSED);
  TRUE(server == NULL && strncmp(zoa_ensemble_hosts(ensemble), "127.0.0.1:", 10) == 0);
  zoa_ensemble_free(ensemble);
}

static void members_go_and_come_back(void) {
  zoa_ensemble *ensemble = NULL;
  zoa_server *killed = NULL, *follower = NULL;
  zoa_client *client = NULL;
  uint64_t leader = 0, other = 0;
  zoa_stat stat;
  IS(zoa_ensemble_start(NULL, 3, &ensemble), ZOA_OK);
  IS(zoa_ensemble_leader(ensemble, &leader), ZOA_OK);
  IS(zoa_ensemble_server(ensemble, leader, &killed), ZOA_OK);
  zoa_status status = status_of(killed);
  TRUE(status.role == ZOA_ROLE_LEADING && status.leader_id == leader && status.server_id == leader);
  TRUE(status.quorum_size == 2 && status.learners_in_sync == 2);
  IS(zoa_client_connect(zoa_ensemble_hosts(ensemble), NULL, &client), ZOA_OK);
  IS(zoa_client_create(client, "/kept", "x", 1, ZOA_PERSISTENT, NULL), ZOA_OK);
  zoa_client_free(client);

  IS(zoa_server_handover(killed, PATIENCE_MS), ZOA_OK);
  TRUE(status_of(killed).role == ZOA_ROLE_FOLLOWING && status_of(killed).leader_id != leader);
  IS(zoa_server_handover(killed, PATIENCE_MS), ZOA_BAD_ARGUMENTS);
  IS(zoa_ensemble_kill(ensemble, leader), ZOA_OK);
  IS(zoa_server_handover(killed, PATIENCE_MS), ZOA_CLOSED);
  TRUE(status_of(killed).role == ZOA_ROLE_STOPPED);
  IS(zoa_server_ready(killed, -1), ZOA_CLOSED);
  IS(zoa_ensemble_wipe(ensemble, leader), ZOA_OK);
  IS(zoa_ensemble_restart(ensemble, leader), ZOA_OK);
  IS(zoa_ensemble_wait(ensemble, PATIENCE_MS), ZOA_OK);
  TRUE(status_of(killed).role == ZOA_ROLE_STOPPED);
  zoa_server_free(killed);

  other = leader;
  IS(zoa_ensemble_server(ensemble, other, &follower), ZOA_OK);
  IS(zoa_client_open(follower, NULL, &client), ZOA_OK);
  IS(zoa_client_sync(client, "/"), ZOA_OK);
  IS(zoa_client_exists(client, "/kept", &stat), ZOA_OK);
  IS(zoa_ensemble_pause(ensemble, other), ZOA_OK);
  IS(zoa_ensemble_wait(ensemble, PATIENCE_MS), ZOA_OK);
  IS(zoa_ensemble_resume(ensemble, other), ZOA_OK);
  IS(zoa_ensemble_cut(ensemble, other), ZOA_OK);
  AWAIT(zoa_server_ready(follower, 0) == ZOA_TIMEOUT);
  TRUE(status_of(follower).role == ZOA_ROLE_LOOKING && status_of(follower).leader_id == 0);
  IS(zoa_ensemble_heal(ensemble, other), ZOA_OK);
  IS(zoa_ensemble_wait(ensemble, PATIENCE_MS), ZOA_OK);
  IS(zoa_server_ready(follower, 0), ZOA_OK);
  /* The ensemble first, then what was of it. */
  zoa_ensemble_free(ensemble);
  TRUE(status_of(follower).role == ZOA_ROLE_STOPPED);
  zoa_client_free(client);
  zoa_server_free(follower);
}

static void nothing_is_left(int rounds) {
  zoa_ensemble *ensemble = NULL;
  int threads = 0, descriptors = 0;
  for (int i = 0; i <= rounds; i++) {
    if (i == 1) threads = entries("/proc/self/task"), descriptors = entries("/proc/self/fd");
    IS(zoa_ensemble_start(NULL, 3, &ensemble), ZOA_OK);
    zoa_ensemble_free(ensemble);
  }
  TRUE(entries("/proc/self/fd") == descriptors);
  AWAIT(entries("/proc/self/task") == threads);
}

int main(int argc, char **argv) {
  (void)argc;
  roles_are_told(argv[1]);
  what_makes_no_sense();
  members_go_and_come_back();
  nothing_is_left(5);
  printf("%d failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
