// C++17: owners instead of _free, exceptions or their noexcept twins, futures, lambdas as callbacks.
#include <cstdio>
#include <future>
#include <string>
#include <vector>
#include <zoarium.hpp>

static void run(const std::string &folder) {
  zoa::Config config;
  config.set("dataDir", folder).set("clientPort", "0");
  zoa::Server server(config);
  zoa::Client client(server);

  // Verbs throw zoa::Error; what they bring is a Result, or a std::string when asked of a temporary.
  client.create("/app", "first");
  const std::string data = client.get("/app").data();
  std::printf("/app holds \"%s\"\n", data.c_str());

  // Where failure is an answer like any other: the twin.
  if (const auto missing = client.try_get("/nobody"); !missing) std::printf("%s\n", missing.error().text().c_str());

  // A watch lives as long as the object. Callbacks run on a thread of the library.
  std::promise<std::string> heard;
  const zoa::Watch watch = client.watch("/app/worker", zoa::WatchMode::persistent, [&heard](const zoa::Event &event) {
    heard.set_value(std::string(event.path));
  });

  // All or nothing; a refusal says which part was to blame.
  const std::int32_t version = client.exists("/app")->version;
  client.transaction().check("/app", version).set("/app", "second").create("/app/worker", nullptr, zoa::Mode::ephemeral).commit();
  std::printf("heard of %s\n", heard.get_future().get().c_str());
  try {
    client.transaction().create("/app/other").check("/app", version).commit();
  } catch (const zoa::Error &error) {
    std::printf("part %zu: %s, and %s\n", error.part().value_or(0), error.name(),
                client.exists("/app/other") ? "the rest was done" : "nothing was done");
  }

  // Many requests under way at once.
  std::vector<std::future<zoa::Result>> replies;
  for (int i = 0; i < 100; i++) replies.push_back(client.async_create("/app/n" + std::to_string(i), "x"));
  for (auto &reply : replies) reply.get();
  std::printf("%d children\n", client.exists("/app")->num_children);
}

int main(int argc, char **argv) {
  try {
    run(argc > 1 ? argv[1] : "cxx-data");
  } catch (const zoa::Error &error) {
    // Code, name and sentence; after a lost connection outcome() says whether a write may have happened.
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
