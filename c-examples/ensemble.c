/* Three servers in one process, one of which leads: it is killed, comes back, and another one is cut off. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <zoarium.h>

#define CHECK(call)                                                                         \
  do {                                                                                      \
    zoa_code code_ = (call);                                                                \
    if (code_ != ZOA_OK) {                                                                  \
      fprintf(stderr, "%s: %s: %s\n", #call, zoa_code_name(code_), zoa_last_error());       \
      goto cleanup;                                                                         \
    }                                                                                       \
  } while (0)

enum { MEMBERS = 3, PATIENCE_MS = 60000 };

/* What a member is now, and whom it follows. */
static zoa_code print_role(zoa_ensemble *ensemble, uint64_t member, const char *who, uint64_t leader) {
  static const char *const names[] = {"looks for a leader", "follows", "observes", "leads"};
  zoa_status status = ZOA_STATUS_INIT;
  zoa_server *server = NULL;
  zoa_code code = zoa_ensemble_server(ensemble, member, &server);
  if (code == ZOA_OK) code = zoa_server_status(server, &status);
  if (code == ZOA_OK && status.role <= ZOA_ROLE_LEADING)
    printf("%s %s%s\n", who, names[status.role], status.role == ZOA_ROLE_FOLLOWING && status.leader_id == leader ? " the new leader" : "");
  zoa_server_free(server);
  return code;
}

int main(int argc, char **argv) {
  zoa_config *config = NULL;
  zoa_ensemble *ensemble = NULL;
  zoa_client *client = NULL, *near = NULL;
  zoa_server *server = NULL;
  zoa_result *result = NULL;
  uint64_t dead = 0, leader = 0;
  int status = EXIT_FAILURE;

  CHECK(zoa_config_new(&config));
  CHECK(zoa_config_set(config, "dataDir", argc > 1 ? argv[1] : "ensemble-data"));
  CHECK(zoa_ensemble_start(config, MEMBERS, &ensemble));
  CHECK(zoa_client_connect(zoa_ensemble_hosts(ensemble), NULL, &client));
  CHECK(zoa_client_create(client, "/kept", "by a majority", 13, ZOA_PERSISTENT, NULL));

  /* Killed: it says goodbye to nobody. What was acknowledged is on the disks of a majority, and so of one that is left. */
  CHECK(zoa_ensemble_leader(ensemble, &dead));
  CHECK(zoa_ensemble_kill(ensemble, dead));
  CHECK(zoa_ensemble_wait(ensemble, PATIENCE_MS));
  CHECK(zoa_ensemble_leader(ensemble, &leader));
  printf("the leader was killed, and %s leads\n", leader != dead && leader != 0 ? "another one" : "nobody else");

  /* A client in this process, past the socket. */
  CHECK(zoa_ensemble_server(ensemble, leader, &server));
  CHECK(zoa_client_open(server, NULL, &near));
  CHECK(zoa_client_get(near, "/kept", &result));
  size_t len = 0;
  const char *data = zoa_result_data(result, &len);
  printf("/kept holds \"%.*s\"\n", (int)len, data);

  /* It comes back with what it had, at the ports it had. */
  CHECK(zoa_ensemble_restart(ensemble, dead));
  CHECK(zoa_ensemble_wait(ensemble, PATIENCE_MS));
  CHECK(print_role(ensemble, dead, "the killed member is back and", leader));

  /* Cut off, it finds out that it hears nobody; the others go on. */
  CHECK(zoa_ensemble_cut(ensemble, dead));
  CHECK(zoa_client_set(near, "/kept", "without one", 11, -1, NULL));
  for (zoa_server *cut = NULL;; zoa_server_free(cut)) {
    CHECK(zoa_ensemble_server(ensemble, dead, &cut));
    if (zoa_server_ready(cut, 0) == ZOA_TIMEOUT) {
      zoa_server_free(cut);
      break;
    }
  }
  CHECK(print_role(ensemble, dead, "cut off, it", leader));
  CHECK(zoa_ensemble_heal(ensemble, dead));
  CHECK(zoa_ensemble_wait(ensemble, PATIENCE_MS));
  CHECK(print_role(ensemble, dead, "healed, it", leader));
  CHECK(zoa_ensemble_stop(ensemble));
  status = EXIT_SUCCESS;

cleanup:
  zoa_result_free(result);
  zoa_client_free(near);
  zoa_client_free(client);
  zoa_server_free(server);
  zoa_ensemble_free(ensemble);
  zoa_config_free(config);
  return status;
}
