// What is left of zoarium.hpp with exceptions switched off: every twin, and nothing that throws.
#include <cstdio>
#include <string>
#include <zoarium.hpp>

#if ZOARIUM_EXCEPTIONS
#error "to be compiled with -fno-exceptions"
#endif

static int fail(const zoa::Failure &failure) {
  std::fprintf(stderr, "%s: %s\n", failure.name(), failure.text().c_str());
  return 1;
}

int main(int argc, char **argv) {
  zoa::Config config;
  if (auto set = config.try_set("dataDir", argc > 1 ? argv[1] : "data"); !set) return fail(set.error());
  if (auto set = config.try_set("clientPort", "0"); !set) return fail(set.error());
  auto server = zoa::Server::try_start(config);
  if (!server) return fail(server.error());
  auto client = zoa::Client::try_connect(server->address());
  if (!client) return fail(client.error());
  if (auto made = client->try_create("/a", "x"); !made) return fail(made.error());
  auto watch = client->try_watch("/a", zoa::WatchMode::recursive, [](const zoa::Event &) {});
  if (!watch) return fail(watch.error());
  if (auto done = client->transaction().set("/a", "y").create("/a/b").try_commit(); !done) return fail(done.error());
  int answered = 0;
  if (auto sent = client->try_submit(zoa::Op::get("/a"), [&](zoa::Expected<zoa::Result> got) { answered += got ? 1 : 0; }); !sent) {
    return fail(sent.error());
  }
  if (auto closed = client->try_close(); !closed) return fail(closed.error());
  std::printf("%d answered\n", answered);
  return 0;
}
