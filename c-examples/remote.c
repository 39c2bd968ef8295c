/* The same calls over TCP: a client that gets over the restart of its server.
 *
 * remote DATA [HOSTS]   With HOSTS ("one:2181,two:2181/chroot") it is a client and nothing else. Without, it brings a
 *                       server of its own, to stop and start again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zoarium.h>

#define CHECK(call)                                                                         \
  do {                                                                                      \
    zoa_code code_ = (call);                                                                \
    if (code_ != ZOA_OK) {                                                                  \
      fprintf(stderr, "%s: %s: %s\n", #call, zoa_code_name(code_), zoa_last_error());       \
      goto cleanup;                                                                         \
    }                                                                                       \
  } while (0)

static zoa_code start(const char *folder, const char *port, zoa_server **server_out) {
  zoa_config *config = NULL;
  zoa_code code = zoa_config_new(&config);
  if (code == ZOA_OK) code = zoa_config_set(config, "dataDir", folder);
  if (code == ZOA_OK) code = zoa_config_set(config, "clientPortAddress", "127.0.0.1");
  if (code == ZOA_OK) code = zoa_config_set(config, "clientPort", port);
  if (code == ZOA_OK) code = zoa_server_start(config, server_out);
  zoa_config_free(config);
  return code;
}

/* Waits up to ten seconds for a state of the session. */
static int reaches(const zoa_client *client, int32_t state) {
  for (int round = 0; round < 1000; round += 1) {
    zoa_session session = ZOA_SESSION_INIT;
    const struct timespec pause = {0, 10 * 1000 * 1000};
    if (zoa_client_session(client, &session) == ZOA_OK && session.state == state) return 1;
    nanosleep(&pause, NULL);
  }
  return 0;
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : "remote-data";
  zoa_server *server = NULL;
  zoa_client *client = NULL;
  zoa_result *result = NULL;
  zoa_session before = ZOA_SESSION_INIT, after = ZOA_SESSION_INIT;
  zoa_stat stat;
  char hosts[256];
  int status = EXIT_FAILURE;

  if (argc > 2) {
    snprintf(hosts, sizeof hosts, "%s", argv[2]);
  } else {
    CHECK(start(folder, "0", &server));
    snprintf(hosts, sizeof hosts, "%s", zoa_server_address(server));
  }

  CHECK(zoa_client_connect(hosts, NULL, &client));
  CHECK(zoa_client_wait(client, 10000));
  zoa_code code = zoa_client_create(client, "/greeting", "hello", 5, ZOA_EPHEMERAL, NULL);
  /* After a lost connection a write may have happened or not: look before trying again. */
  if (zoa_code_outcome(code) == ZOA_OUTCOME_UNKNOWN) code = zoa_client_exists(client, "/greeting", NULL);
  CHECK(code);
  CHECK(zoa_client_get(client, "/greeting", &result));
  size_t len = 0;
  const char *data = zoa_result_data(result, &len);
  printf("/greeting holds \"%.*s\"\n", (int)len, data);

  if (server != NULL) {
    const char *port = strrchr(hosts, ':') + 1;
    CHECK(zoa_client_session(client, &before));
    CHECK(zoa_server_stop(server, 10000));
    zoa_server_free(server);
    server = NULL;
    if (!reaches(client, ZOA_SUSPENDED)) goto cleanup;
    printf("the server is gone, the session may live\n");
    CHECK(start(folder, port, &server));
    /* Not sent yet, so it waits until the session is resumed. */
    CHECK(zoa_client_set(client, "/greeting", "again", 5, 0, &stat));
    CHECK(zoa_client_session(client, &after));
    printf("the server is back: %s session, %s ephemeral znode, version %d\n",
           before.id == after.id ? "the same" : "another",
           stat.ephemeral_owner == after.id ? "its" : "not its", stat.version);
  }
  CHECK(zoa_client_close(client, 10000));
  printf("closed\n");
  status = EXIT_SUCCESS;

cleanup:
  zoa_result_free(result);
  zoa_client_free(client);
  zoa_server_free(server);
  return status;
}
