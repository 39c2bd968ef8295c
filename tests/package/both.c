/* Zoarium and another Rust library in one program: both work, and an unwinding panic finds its own way. */
#include <stdint.h>
#include <stdio.h>
#include <zoarium.h>

uint32_t other_catches(uint32_t number);

int main(int argc, char **argv) {
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  zoa_client *client = NULL;
  zoa_code code = zoa_config_new(&config);
  if (code == ZOA_OK) code = zoa_config_set(config, "dataDir", argc > 1 ? argv[1] : "both-data");
  if (code == ZOA_OK) code = zoa_config_set(config, "clientPort", "0");
  if (code == ZOA_OK) code = zoa_server_start(config, &server);
  if (code == ZOA_OK) code = zoa_client_open(server, NULL, &client);
  if (code == ZOA_OK && other_catches(3) == 3 && other_catches(9) == 77) {
    printf("caught, and %s\n", zoa_code_name(zoa_client_exists(client, "/nobody", NULL)));
  }
  zoa_client_free(client);
  zoa_server_free(server);
  zoa_config_free(config);
  return 0;
}
