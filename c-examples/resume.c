/* A session handed across a restart: a program takes a lock, ends, begins again and still holds it.
 *
 * resume DATA                   brings a server and runs the two below as processes of their own
 * resume take HOSTS FILE        begins a session, takes the lock, writes the session's identity to FILE, lets go
 * resume keep HOSTS FILE        resumes that session and gives the lock back */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <zoarium.h>

extern char **environ;

#define CHECK(call)                                                                         \
  do {                                                                                      \
    zoa_code code_ = (call);                                                                \
    if (code_ != ZOA_OK) {                                                                  \
      fprintf(stderr, "%s: %s: %s\n", #call, zoa_code_name(code_), zoa_last_error());       \
      goto cleanup;                                                                         \
    }                                                                                       \
  } while (0)

/* Id and password are all it takes: whoever reads the file owns the session. */
struct ticket {
  int64_t id;
  uint8_t password[16];
};

static int take(const char *hosts, const char *file_path) {
  zoa_client *client = NULL;
  zoa_session session = ZOA_SESSION_INIT;
  struct ticket ticket;
  FILE *file = NULL;
  int status = EXIT_FAILURE;

  CHECK(zoa_client_connect(hosts, NULL, &client));
  CHECK(zoa_client_create(client, "/lock", NULL, 0, ZOA_EPHEMERAL, NULL));
  CHECK(zoa_client_session(client, &session));
  ticket.id = session.id;
  memcpy(ticket.password, session.password, sizeof ticket.password);
  file = fopen(file_path, "wb");
  if (file == NULL || fwrite(&ticket, sizeof ticket, 1, file) != 1) goto cleanup;
  /* Unlike closing, this leaves the session alive: for its timeout, or until it is resumed. */
  CHECK(zoa_client_detach(client));
  printf("took the lock and left\n");
  status = EXIT_SUCCESS;

cleanup:
  if (file != NULL && fclose(file) != 0) status = EXIT_FAILURE;
  zoa_client_free(client);
  return status;
}

static int keep(const char *hosts, const char *file_path) {
  zoa_client *client = NULL;
  zoa_client_options options = ZOA_CLIENT_OPTIONS_INIT;
  struct ticket ticket;
  zoa_stat stat;
  int status = EXIT_FAILURE;
  FILE *file = fopen(file_path, "rb");

  if (file == NULL || fread(&ticket, sizeof ticket, 1, file) != 1) goto cleanup;
  options.resume_id = ticket.id;
  memcpy(options.resume_password, ticket.password, sizeof ticket.password);
  CHECK(zoa_client_connect(hosts, &options, &client));
  /* ZOA_SESSION_EXPIRED would mean: too late, the lock is somebody else's. */
  CHECK(zoa_client_wait(client, 10000));
  CHECK(zoa_client_exists(client, "/lock", &stat));
  printf("came back, the lock is %s\n", stat.ephemeral_owner == ticket.id ? "still mine" : "lost");
  CHECK(zoa_client_close(client, 10000));
  printf("gave it back\n");
  status = EXIT_SUCCESS;

cleanup:
  if (file != NULL) fclose(file);
  zoa_client_free(client);
  return status;
}

static int run(const char *program, const char *what, const char *hosts, const char *file_path) {
  char *arguments[] = {(char *)program, (char *)what, (char *)hosts, (char *)file_path, NULL};
  pid_t child = 0;
  int status = 0;
  fflush(stdout);
  if (posix_spawn(&child, program, NULL, NULL, arguments, environ) != 0) return EXIT_FAILURE;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return EXIT_FAILURE;
  return WEXITSTATUS(status);
}

int main(int argc, char **argv) {
  const char *folder = argc > 1 ? argv[1] : "resume-data";
  zoa_config *config = NULL;
  zoa_server *server = NULL;
  zoa_client *client = NULL;
  char file_path[512] = "";
  int status = EXIT_FAILURE;

  if (argc > 3) return strcmp(argv[1], "take") == 0 ? take(argv[2], argv[3]) : keep(argv[2], argv[3]);

  CHECK(zoa_config_new(&config));
  CHECK(zoa_config_set(config, "dataDir", folder));
  CHECK(zoa_config_set(config, "clientPortAddress", "127.0.0.1"));
  CHECK(zoa_config_set(config, "clientPort", "0"));
  CHECK(zoa_server_start(config, &server));
  snprintf(file_path, sizeof file_path, "%s.ticket", folder);
  if (run(argv[0], "take", zoa_server_address(server), file_path) != EXIT_SUCCESS) goto cleanup;
  if (run(argv[0], "keep", zoa_server_address(server), file_path) != EXIT_SUCCESS) goto cleanup;
  CHECK(zoa_client_open(server, NULL, &client));
  printf("the lock is %s\n", zoa_client_exists(client, "/lock", NULL) == ZOA_NO_NODE ? "free" : "taken");
  status = EXIT_SUCCESS;

cleanup:
  remove(file_path);
  zoa_client_free(client);
  zoa_server_free(server);
  zoa_config_free(config);
  return status;
}
