/* The shortest program: a server of its own, one znode, read back. */
#include <stdio.h>
#include <stdlib.h>
#include <zoarium.h>

static int failed(const char *what, zoa_code code) {
  fprintf(stderr, "%s: %s: %s\n", what, zoa_code_name(code), zoa_last_error());
  return EXIT_FAILURE;
}

int main(int argc, char **argv) {
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  zoa_client *client = NULL;
  zoa_result *result = NULL;
  int status = EXIT_FAILURE;
  zoa_code code;

  code = zoa_config_new(&config);
  if (code == ZOA_OK) code = zoa_config_set(config, "dataDir", argc > 1 ? argv[1] : "hello-data");
  if (code == ZOA_OK) code = zoa_config_set(config, "clientPort", "0");
  if (code == ZOA_OK) code = zoa_server_start(config, &server);
  if (code == ZOA_OK) code = zoa_client_open(server, NULL, &client);
  if (code != ZOA_OK) {
    status = failed("starting", code);
    goto cleanup;
  }

  code = zoa_client_create(client, "/hello", "world", 5, ZOA_PERSISTENT, NULL);
  if (code != ZOA_OK && code != ZOA_NODE_EXISTS) {
    status = failed("creating", code);
    goto cleanup;
  }
  code = zoa_client_get(client, "/hello", &result);
  if (code != ZOA_OK) {
    status = failed("reading", code);
    goto cleanup;
  }
  size_t len = 0;
  const char *data = zoa_result_data(result, &len);
  printf("/hello holds \"%.*s\", version %d\n", (int)len, data, zoa_result_stat(result)->version);

  code = zoa_client_get(client, "/nobody", &result);
  printf("/nobody: %s: %s\n", zoa_code_name(code), zoa_last_error());
  status = EXIT_SUCCESS;

cleanup:
  zoa_result_free(result);
  zoa_client_free(client);
  zoa_server_free(server);
  zoa_config_free(config);
  return status;
}
