// Everything zoarium.hpp has, against a server in this process and over TCP. Each callable carries a Token, so that one
// destroyed twice, never, or while it runs is noticed.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>
#include <zoarium.hpp>

using namespace std::chrono_literals;

static int failures = 0;

static void check(bool holds, const char *what, int line) {
  if (holds) return;
  std::printf("line %d: %s\n", line, what);
  failures += 1;
}
#define CHECK(condition) check((condition), #condition, __LINE__)

// The code a call throws; ZOA_OK when it does not.
template <class F>
static zoa_code thrown(F &&run) {
  try {
    run();
  } catch (const zoa::Error &error) {
    return error.code();
  }
  return ZOA_OK;
}

// Counts how many of its kind are alive. Only moved, never copied.
class Token {
 public:
  explicit Token(std::atomic<int> &alive) : alive_(&alive) { ++*alive_; }
  Token(Token &&other) noexcept : alive_(std::exchange(other.alive_, nullptr)) {}
  Token(const Token &) = delete;
  Token &operator=(const Token &) = delete;
  Token &operator=(Token &&) = delete;
  ~Token() {
    if (alive_ != nullptr) --*alive_;
  }

 private:
  std::atomic<int> *alive_;
};

// Something that another thread waits for.
class Tally {
 public:
  void add(std::string what) {
    const std::lock_guard<std::mutex> lock(mutex_);
    seen_.push_back(std::move(what));
    more_.notify_all();
  }
  bool reaches(std::size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    return more_.wait_for(lock, 20s, [&] { return seen_.size() >= count; });
  }
  std::vector<std::string> seen() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return seen_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable more_;
  std::vector<std::string> seen_;
};

static_assert(!std::is_copy_constructible_v<zoa::Client> && std::is_nothrow_move_constructible_v<zoa::Client>);
static_assert(!std::is_copy_constructible_v<zoa::Result> && std::is_nothrow_move_assignable_v<zoa::Result>);
static_assert(!std::is_copy_constructible_v<zoa::Server> && !std::is_copy_constructible_v<zoa::Queue>);
static_assert(!std::is_copy_constructible_v<zoa::Watch> && !std::is_copy_constructible_v<zoa::Config>);
static_assert(std::is_nothrow_copy_constructible_v<zoa::Error> && std::is_base_of_v<std::runtime_error, zoa::Error>);
static_assert(noexcept(std::declval<zoa::Client &>().try_get("/")) && !noexcept(std::declval<zoa::Client &>().get("/")));
static_assert(std::is_same_v<decltype(std::declval<zoa::Client &>().get("/").data()), std::string>);
static_assert(std::is_same_v<decltype(std::declval<const zoa::Result &>().data()), std::string_view>);

static void failures_are_told(zoa::Client &client) {
  try {
    client.get("/nobody");
    CHECK(false);
  } catch (const std::runtime_error &caught) {
    const zoa::Error copy = dynamic_cast<const zoa::Error &>(caught);
    CHECK(copy.code() == ZOA_NO_NODE && copy.name() == std::string("ZOA_NO_NODE"));
    CHECK(copy.text() == "/nobody: the znode does not exist");
    CHECK(copy.what() == std::string("ZOA_NO_NODE: /nobody: the znode does not exist"));
    CHECK(copy.outcome() == zoa::Outcome::not_done && !copy.part());
  }
  const auto missing = client.try_get("/nobody");
  CHECK(!missing && missing.code() == ZOA_NO_NODE && missing.error().text() == "/nobody: the znode does not exist");
  CHECK(client.try_get("/").code() == ZOA_OK && client.try_get("/").has_value());
  // Text that C would see only half of.
  using namespace std::string_view_literals;
  CHECK(client.try_get("/a\0b"sv).code() == ZOA_BAD_ARGUMENTS);
  CHECK(client.try_create("/a\0b"sv, "x").code() == ZOA_BAD_ARGUMENTS);
  CHECK(client.try_call(zoa::Op::get("/a\0b"sv)).code() == ZOA_BAD_ARGUMENTS);
  CHECK(client.try_call(zoa::Op::create("/a").with_acl({{ZOA_PERM_ALL, "wor\0ld", "anyone"}})).code() == ZOA_INVALID_ACL);
  CHECK(client.transaction().create("/a\0b"sv).try_commit().code() == ZOA_BAD_ARGUMENTS);
  // Handles that were given away or never had.
  zoa::Client nobody;
  CHECK(nobody.try_get("/").code() == ZOA_NULL_ARGUMENT);
  CHECK(nobody.try_watch("/", zoa::WatchMode::persistent, [](const zoa::Event &) {}).code() == ZOA_NULL_ARGUMENT);
  CHECK(nobody.try_submit(zoa::Op::get("/"), [](zoa::Expected<zoa::Result>) {}).code() == ZOA_NULL_ARGUMENT);
  CHECK(zoa::Expected<int>(7).value_or(8) == 7 && zoa::Expected<int>(zoa::Failure(ZOA_CLOSED, "")).value_or(8) == 8);
}

static void the_everyday_verbs(zoa::Client &client) {
  const std::string lengthy(500, 'n');
  CHECK(client.create("/v", "one").path() == "/v");
  CHECK(client.create("/v/" + lengthy).path() == "/v/" + lengthy);
  const zoa::Result got = client.get("/v");
  CHECK(got.data() == "one" && got.has_data() && got.stat()->version == 0 && got.zxid() > 0 && got.error().empty());
  CHECK(client.set("/v", std::string("two\0three", 9)).version == 1);
  CHECK(client.get("/v").data() == std::string("two\0three", 9));
  CHECK(thrown([&] { client.set("/v", "x", 0); }) == ZOA_BAD_VERSION);
  client.set("/v", nullptr, 1);
  CHECK(!client.get("/v").has_data() && client.get("/v").data().empty());
  client.set("/v", "");
  CHECK(client.get("/v").has_data() && client.get("/v").data().empty());
  const std::vector<unsigned char> bytes{0, 255, 7};
  client.set("/v", {bytes.data(), bytes.size()});
  CHECK(client.get("/v").data().size() == 3);
  CHECK(client.children("/v").names() == std::vector<std::string>{lengthy});
  CHECK(client.children("/v").size() == 1 && client.children("/v").name(0) == lengthy && client.children("/v").name(1).empty());
  CHECK(client.exists("/v")->num_children == 1 && !client.exists("/nobody"));
  CHECK(thrown([&] { client.remove("/v"); }) == ZOA_NOT_EMPTY);
  client.remove("/v/" + lengthy);
  client.sync();
  CHECK(client.acl("/v").acl().at(0).scheme == "world" && client.acl("/v").acl().at(0).perms == ZOA_PERM_ALL);
  client.set_acl("/v", {{ZOA_PERM_READ | ZOA_PERM_ADMIN, "world", "anyone"}}, 0);
  CHECK(thrown([&] { client.set("/v", "x"); }) == ZOA_NO_AUTH);
  client.remove("/v");
  client.add_auth("digest", "ann:secret");
  CHECK(client.call(zoa::Op::who_am_i()).acl().size() >= 2);
  CHECK(client.create("/s-", "x", zoa::Mode::ephemeral_sequential).path().size() == std::string("/s-0000000000").size());
  CHECK(client.call(zoa::Op::ephemerals()).size() == 1);
  CHECK(client.call(zoa::Op::create("/t", "x", zoa::Mode::ttl).with_ttl(1h), 10s).path() == "/t");
  CHECK(client.call(zoa::Op::count("/")).size() > 1);
  zoa_op raw = ZOA_OP_INIT;
  raw.kind = ZOA_OP_GET;
  raw.path = "/t";
  CHECK(client.call(zoa::Op::from(raw)).data() == "x");
  client.remove("/t", 0);

  zoa::Result moved = client.get("/");
  zoa::Result other = std::move(moved);
  moved = std::move(other);
  CHECK(moved.stat() && !other.stat());
  zoa_result *const mine = moved.release();
  CHECK(zoa_result_code(mine) == ZOA_OK && moved.get() == nullptr);
  zoa_result_free(mine);
}

static void transactions_happen_whole_or_not(zoa::Client &client) {
  const auto done = client.transaction().create("/x", "1").create("/x/y").set("/x", "2", 0).check("/x", 1).commit();
  CHECK(done.size() == 4 && done.part(0).path() == "/x" && done.part(2).stat()->version == 1);
  try {
    client.transaction().create("/x/z").check("/x", 7).remove("/x/y").commit();
    CHECK(false);
  } catch (const zoa::Error &error) {
    CHECK(error.code() == ZOA_BAD_VERSION && error.part() == std::size_t{1});
  }
  CHECK(!client.exists("/x/z") && client.exists("/x/y"));
  const auto refused = client.transaction().create("/x").try_commit();
  CHECK(refused.code() == ZOA_NODE_EXISTS && refused.error().part() == std::size_t{0});
  const auto reads = client.transaction().get("/x").children("/x").get("/nobody").commit();
  CHECK(reads.part(0).data() == "2" && reads.part(1).names() == std::vector<std::string>{"y"});
  CHECK(reads.part(2).code() == ZOA_NO_NODE);
  zoa::Transaction transaction = client.transaction();
  transaction.add(zoa::Op::create("/x/e").with_acl({{ZOA_PERM_ALL, "auth", ""}})).remove("/x/e").remove("/x/y").remove("/x");
  CHECK(transaction.size() == 4 && transaction.async_commit().get().size() == 4);
  CHECK(thrown([&] { transaction.async_commit().get(); }) == ZOA_NO_NODE);
  Tally tally;
  transaction.submit([&](zoa::Expected<zoa::Result> result) {
    tally.add(result ? "done" : std::to_string(*result.error().part()));
  });
  CHECK(tally.reaches(1) && tally.seen().at(0) == "0");
}

static void completions_run_once_and_are_destroyed(zoa::Client &client) {
  std::atomic<int> alive{0};
  Tally tally;
  for (int i = 0; i < 100; i++) {
    client.submit(zoa::Op::get("/"), [&tally, token = Token(alive)](zoa::Expected<zoa::Result> result) {
      tally.add(result ? result->path().empty() ? "ok" : "path" : result.error().name());
    });
  }
  CHECK(tally.reaches(100));
  // Behind them all, and destroyed after it ran: so none of the others is left when a later one runs.
  client.async_sync().get();
  CHECK(alive == 0 && tally.seen().size() == 100);
  // What is refused is destroyed without a call.
  const auto refused = client.try_submit(zoa::Op::check("/", 0), [token = Token(alive)](zoa::Expected<zoa::Result>) { CHECK(false); });
  CHECK(refused.code() == ZOA_BAD_ARGUMENTS && alive == 0);

  CHECK(client.async_create("/f", "1").get().path() == "/f");
  auto set = client.async_set("/f", "2", 0);
  auto get = client.async_get("/f");
  auto exists = client.async_exists("/f");
  auto children = client.async_children("/f");
  auto gone = client.async_remove("/f");
  auto after = client.async_exists("/f");
  CHECK(set.get().stat()->version == 1 && get.get().data() == "2" && exists.get()->version == 1);
  CHECK(children.get().size() == 0 && gone.get().code() == ZOA_OK && !after.get());
  CHECK(thrown([&] { client.async_get("/f").get(); }) == ZOA_NO_NODE);
}

static std::string told(const zoa::Event &event) {
  static const char *const kinds[] = {"?", "created ", "deleted ", "data ", "children "};
  return kinds[static_cast<int>(event.kind)] + std::string(event.path);
}

static void watches_end_with_their_owner(zoa::Server &server, zoa::Client &client) {
  std::atomic<int> alive{0};
  Tally tally;
  {
    zoa::Watch watch = client.watch("/w", zoa::WatchMode::recursive,
                                    [&, token = Token(alive)](const zoa::Event &event) { tally.add(told(event)); });
    CHECK(alive == 1 && watch.id() != 0);
    client.create("/w");
    client.create("/w/1", "x");
    client.set("/w/1", "y");
    client.remove("/w/1");
    CHECK(tally.reaches(4));
    zoa::Watch moved = std::move(watch);
    CHECK(watch.id() == 0 && alive == 1);
    watch = std::move(moved);
    CHECK(alive == 1);
  }
  CHECK(alive == 0);
  client.create("/w/2");
  client.async_sync().get();
  const std::vector<std::string> expected{"created /w", "created /w/1", "data /w/1", "deleted /w/1"};
  CHECK(tally.seen() == expected);

  // One-shot watches are destroyed as soon as they have fired, or when the read that was to set them fails.
  Tally once;
  CHECK(client.get("/w", [&, token = Token(alive)](const zoa::Event &event) { once.add(told(event)); }).data().empty());
  CHECK(!client.exists("/w/9", [&, token = Token(alive)](const zoa::Event &event) { once.add(told(event)); }));
  CHECK(client.children("/w", [&, token = Token(alive)](const zoa::Event &event) { once.add(told(event)); }).size() == 1);
  CHECK(alive == 3);
  CHECK(client.try_get("/nobody", [token = Token(alive)](const zoa::Event &) {}).code() == ZOA_NO_NODE && alive == 3);
  CHECK(client.try_watch("/nobody", zoa::WatchMode::once_children, [token = Token(alive)](const zoa::Event &) {}).code() ==
            ZOA_NO_NODE && alive == 3);
  client.set("/w", "1");
  client.create("/w/9");
  CHECK(once.reaches(3));
  client.async_sync().get();
  CHECK(alive == 0 && once.seen().size() == 3);
  zoa::Watch fired = client.watch("/w", zoa::WatchMode::once_data, [&, token = Token(alive)](const zoa::Event &) { once.add("fired"); });
  client.set("/w", "2");
  CHECK(once.reaches(4) && fired.try_cancel().code() == ZOA_NO_WATCHER);
  // A submitted read that fails gives its watch up, one that succeeds keeps it.
  client.async_call(zoa::Op::exists("/later").with_watch([&, token = Token(alive)](const zoa::Event &) { once.add("later"); }));
  CHECK(thrown([&] { client.async_call(zoa::Op::get("/nobody").with_watch([token = Token(alive)](const zoa::Event &) {})).get(); }) ==
        ZOA_NO_NODE);
  CHECK(alive == 1);
  client.create("/later");
  CHECK(once.reaches(5));

  // Cancelled from another thread while it runs: the destructor waits.
  std::atomic<bool> entered{false}, left{false};
  {
    zoa::Watch slow = client.watch("/w", zoa::WatchMode::persistent, [&, token = Token(alive)](const zoa::Event &) {
      entered = true;
      std::this_thread::sleep_for(50ms);
      left = true;
    });
    client.set("/w", "3");
    while (!entered) std::this_thread::yield();
  }
  CHECK(left && alive == 0);

  // A callable that ends its own watch, and one that ends its own client.
  zoa::Watch self;
  self = client.watch("/w", zoa::WatchMode::persistent, [&, token = Token(alive)](const zoa::Event &) {
    self = zoa::Watch();
    once.add(alive == 1 ? "still here" : "destroyed under its own feet");
  });
  client.set("/w", "4");
  CHECK(once.reaches(6) && once.seen().at(5) == "still here");
  client.async_sync().get();
  CHECK(alive == 0);
  auto brief = std::make_unique<zoa::Client>(server);
  brief->watch("/w", zoa::WatchMode::persistent, [&, token = Token(alive)](const zoa::Event &) { brief.reset(); once.add("freed"); }).detach();
  brief->submit(zoa::Op::sync(), [token = Token(alive)](zoa::Expected<zoa::Result>) {});
  client.set("/w", "5");
  CHECK(once.reaches(7));
  client.async_sync().get();
  CHECK(brief == nullptr && alive == 0);

  // With the client all its watches go; a Watch that is left over is harmless.
  zoa::Watch orphan;
  {
    zoa::Client other(server);
    orphan = other.watch("/w", zoa::WatchMode::persistent, [token = Token(alive)](const zoa::Event &) {});
    other.watch("/w", zoa::WatchMode::persistent, [token = Token(alive)](const zoa::Event &) {}).detach();
    CHECK(alive == 2);
  }
  CHECK(alive == 0 && orphan.try_cancel().has_value());
}

static void pending_work_ends_with_the_client(zoa::Server &server) {
  std::atomic<int> alive{0}, closed{0}, answered{0};
  {
    zoa::Client client(server);
    client.wait();
    for (int i = 0; i < 1000; i++) {
      client.submit(zoa::Op::create("/pending-", "x", zoa::Mode::ephemeral_sequential),
                    [&, token = Token(alive)](zoa::Expected<zoa::Result> result) { ++(result ? answered : closed); });
    }
    client.close(10s);
    CHECK(answered + closed == 1000 && alive == 0);
    CHECK(client.try_get("/").code() == ZOA_CLOSED);
    CHECK(client.try_submit(zoa::Op::get("/"), [token = Token(alive)](zoa::Expected<zoa::Result>) {}).code() == ZOA_CLOSED);
    CHECK(thrown([&] { client.async_get("/").get(); }) == ZOA_CLOSED);
    CHECK(alive == 0);
  }
  // Left to the destructor.
  {
    zoa::Client client(server);
    for (int i = 0; i < 1000; i++) {
      client.submit(zoa::Op::sync(), [&, token = Token(alive)](zoa::Expected<zoa::Result> result) { ++(result ? answered : closed); });
    }
  }
  CHECK(answered + closed == 2000 && alive == 0);
}

static void exceptions_go_to_the_handler(zoa::Server &server) {
  Tally tally;
  zoa::ClientOptions options;
  options.on_exception = [&](std::exception_ptr caught) {
    try {
      std::rethrow_exception(caught);
    } catch (const std::exception &exception) {
      tally.add(exception.what());
    }
  };
  options.on_state = [&](zoa::State state) {
    if (state == zoa::State::connected) throw std::runtime_error("from on_state");
  };
  zoa::Client client(server, options);
  CHECK(tally.reaches(1));
  client.submit(zoa::Op::get("/"), [](zoa::Expected<zoa::Result>) { throw std::runtime_error("from done"); });
  CHECK(tally.reaches(2));
  client.exists("/thrown", [](const zoa::Event &) { throw std::runtime_error("from a watch"); });
  client.create("/thrown", "", zoa::Mode::ephemeral);
  CHECK(tally.reaches(3));
  const std::vector<std::string> expected{"from on_state", "from done", "from a watch"};
  CHECK(tally.seen() == expected);
  CHECK(client.get("/thrown").has_data());
}

static void a_queue_runs_callbacks_here(zoa::Server &server) {
  zoa::Queue queue;
  std::vector<std::string> seen;
  const auto here = std::this_thread::get_id();
  {
    zoa::ClientOptions options;
    options.queue = &queue;
    options.session_timeout = 7s;
    options.chroot = "/chroot";
    options.on_state = [&](zoa::State state) { seen.push_back(state == zoa::State::connected ? "connected" : "ended"); };
    zoa::Client root(server);
    root.create("/chroot");
    zoa::Client client(server, options);
    client.wait(10s);
    CHECK(client.session().timeout_ms == 7000);
    client.submit(zoa::Op::create("/q", "x", zoa::Mode::ephemeral), [&](zoa::Expected<zoa::Result> result) {
      CHECK(std::this_thread::get_id() == here);
      CHECK(queue.try_run(1).code() == ZOA_WOULD_DEADLOCK);
      seen.emplace_back(result->path());
    });
    while (seen.size() < 2) {
      pollfd ready{queue.fd(), POLLIN, 0};
      CHECK(poll(&ready, 1, 20000) == 1);
      CHECK(queue.run(64) > 0);
    }
    CHECK(root.exists("/chroot/q") && queue.run(1) == 0 && queue.run(1, 1ms) == 0);
  }
  CHECK(seen.at(0) == "connected" && seen.at(1) == "/q");
  CHECK(seen.back() == "ended" || seen.size() == 2);
}

// A sink that runs where its queue is run may call the library, and lives until its queue is gone.
static void log_lines_wait_in_a_queue(zoa::Server &server, std::atomic<int> &lines) {
  std::atomic<int> alive{0};
  int seen = 0;
  {
    zoa::Queue queue;
    const auto here = std::this_thread::get_id();
    queue.log_to(zoa::LogLevel::debug, [&, token = std::make_shared<Token>(alive)](zoa::LogLevel, std::string_view module, std::string_view line) {
      CHECK(std::this_thread::get_id() == here && !module.empty() && !line.empty());
      CHECK(server.command("ruok") == "imok");
      ++seen;
    });
    const int before = lines;
    zoa::Client(server).wait(10s);
    CHECK(seen == 0 && lines == before);
    while (seen == 0) CHECK(queue.run(64, 20s) > 0);
    // What waits is handed out, though another sink has taken its place.
    zoa::Client(server).wait(10s);
    zoa::log_to(zoa::LogLevel::info, [&](zoa::LogLevel, std::string_view, std::string_view line) { lines += line.empty() ? 0 : 1; });
    const int until = seen;
    CHECK(alive == 1 && queue.run(1024) > 0 && seen > until);
    CHECK(queue.try_log_to(static_cast<zoa::LogLevel>(99), [](zoa::LogLevel, std::string_view, std::string_view) {}).code() == ZOA_BAD_ARGUMENTS);
    zoa::Queue moved = std::move(queue);
    CHECK(alive == 1 && moved.run(1) == 0);
  }
  CHECK(alive == 0);
}

// Each destroys the other's client from a callback, on a thread of its own.
static void clients_that_end_each_other_come_to_an_end(zoa::Server &server) {
  zoa::Client beside(server);
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> alive{0}, inside{0}, over{0};
    zoa::Queue queues[2];
    std::unique_ptr<zoa::Client> clients[2];
    beside.create("/crossing");
    for (int at = 0; at < 2; ++at) {
      zoa::ClientOptions options;
      options.queue = &queues[at];
      clients[at] = std::make_unique<zoa::Client>(server, options);
      auto ends = [&, at, token = Token(alive)](const zoa::Event &) {
        for (++inside; inside < 2;) std::this_thread::yield();
        clients[1 - at].reset();
        ++over;
      };
      clients[at]->watch("/crossing", zoa::WatchMode::once_data, std::move(ends)).detach();
    }
    beside.set("/crossing", "now");
    std::vector<std::thread> threads;
    for (auto &queue : queues) {
      threads.emplace_back([&] {
        while (over < 2) static_cast<void>(queue.try_run(1, 10ms));
      });
    }
    for (auto &thread : threads) thread.join();
    CHECK(over == 2 && alive == 0);
    beside.remove("/crossing");
  }
}

static void sessions_are_resumed(zoa::Server &server) {
  zoa::ClientOptions options;
  {
    zoa::Client first(server);
    first.create("/mine", "x", zoa::Mode::ephemeral);
    options.resume = first.session();
    first.detach();
    CHECK(first.try_get("/").code() == ZOA_CLOSED);
  }
  zoa::Client second(server, options);
  second.wait(10s);
  CHECK(second.session().id == options.resume->id && second.exists("/mine")->ephemeral_owner == options.resume->id);

  // Mixing with C: what is released is freed by hand.
  zoa_client *const raw = second.release();
  CHECK(second.get() == nullptr && zoa_client_close(raw, 10000) == ZOA_OK);
  zoa_client_free(raw);
}

static void over_tcp_it_is_the_same(zoa::Server &server) {
  std::atomic<int> alive{0};
  Tally tally;
  {
    zoa::Client far = zoa::Client::connect(server.address());
    far.wait(20s);
    CHECK(far.create("/far", "x", zoa::Mode::ephemeral).path() == "/far");
    zoa::Watch watch = far.watch("/far", zoa::WatchMode::persistent,
                                 [&, token = Token(alive)](const zoa::Event &event) { tally.add(told(event)); });
    CHECK(far.async_set("/far", "y").get().stat()->version == 1);
    CHECK(tally.reaches(1) && far.get("/far").data() == "y");
    CHECK(thrown([&] { far.transaction().check("/far", 0).remove("/far").commit(); }) == ZOA_BAD_VERSION);
    far.close(10s);
  }
  CHECK(alive == 0);
  CHECK(zoa::Client::try_connect("no:port:at:all").code() != ZOA_OK);
}

static void sessions_are_cut_and_expired(zoa::Server &server) {
  Tally states;
  zoa::ClientOptions options;
  options.on_state = [&](zoa::State state) { states.add(std::to_string(static_cast<int>(state))); };
  zoa::Client client = zoa::Client::connect(server.address(), options);
  client.wait(20s);
  server.disconnect(client.session().id);
  CHECK(states.reaches(3));
  const std::vector<std::string> expected{"1", "3", "1"};
  CHECK(states.seen() == expected);
  server.pause(1ms);
  CHECK(server.try_pause(-1ms).code() == ZOA_BAD_ARGUMENTS);
  server.expire(client.session().id);
  CHECK(thrown([&] { while (true) client.get("/"); }) != ZOA_OK);
  std::size_t count = 4;
  while (states.reaches(count) && states.seen().back() != "4") count += 1;
  CHECK(states.seen().back() == "4");
  CHECK(thrown([&] { server.expire(1); }) == ZOA_SESSION_EXPIRED);
}

// With its parent's objects alive, watches and all.
static void a_forked_child_begins_anew(zoa::Client &parents, const std::string &folder) {
  Tally unheard;
  const zoa::Watch watch = parents.watch("/", zoa::WatchMode::recursive, [&](const zoa::Event &event) { unheard.add(told(event)); });
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    failures = 0;
    CHECK(parents.try_get("/").code() == ZOA_FORKED);
    Tally tally;
    {
      zoa::Config config;
      config.set("dataDir", folder).set("clientPort", "0");
      zoa::Server server(config);
      zoa::Client client(server);
      zoa::Watch own = client.watch("/child", zoa::WatchMode::persistent, [&](const zoa::Event &event) { tally.add(told(event)); });
      client.create("/child");
      CHECK(tally.reaches(1));
    }
    std::fflush(stdout);
    _exit(failures == 0 ? 0 : 1);
  }
  int how = -1;
  CHECK(waitpid(child, &how, 0) == child && how == 0);
  CHECK(unheard.seen().empty());
}

// As for an exception that leaves a thread's function.
static void without_a_handler_an_exception_is_terminate(const std::string &folder) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    std::set_terminate([] { _exit(std::current_exception() ? 42 : 43); });
    zoa::Config config;
    config.set("dataDir", folder).set("clientPort", "0");
    zoa::Server server(config);
    zoa::Client client(server);
    client.submit(zoa::Op::get("/"), [](zoa::Expected<zoa::Result>) { throw std::runtime_error("nobody takes it"); });
    client.close(10s);
    _exit(1);
  }
  int how = -1;
  CHECK(waitpid(child, &how, 0) == child && WIFEXITED(how) && WEXITSTATUS(how) == 42);
}

static void an_ensemble_goes_on_without_its_leader() {
  CHECK(zoa::Ensemble::try_start(0).code() == ZOA_BAD_ARGUMENTS);
  zoa::Config keys;
  keys.set("tickTime", "50");
  CHECK(zoa::Ensemble(1, keys).server(1).command("conf").find("tickTime=50\n") != std::string::npos);
  zoa::Client late;
  zoa::Server dead;
  {
    zoa::Ensemble ensemble(3);
    zoa::Client client = zoa::Client::connect(ensemble.hosts());
    client.create("/kept", "by a majority");
    const std::uint64_t lost = ensemble.leader().value();
    dead = ensemble.server(lost);
    ensemble.kill(lost);
    CHECK(ensemble.try_kill(lost).code() == ZOA_BAD_ARGUMENTS && ensemble.try_server(lost).code() == ZOA_BAD_ARGUMENTS);
    ensemble.wait(60s);
    const std::uint64_t leader = ensemble.leader().value();
    CHECK(leader != lost && dead.try_command("ruok").code() == ZOA_CLOSED);
    late = zoa::Client(ensemble.server(leader));
    CHECK(late.get("/kept").data() == "by a majority");
    ensemble.wipe(lost);
    ensemble.restart(lost);
    ensemble.wait(60s);
    CHECK(ensemble.server(lost).status().role == ZOA_ROLE_FOLLOWING);
    ensemble.cut(lost);
    ensemble.heal(lost);
    ensemble.pause(lost);
    ensemble.wait(60s);
    ensemble.resume(lost);
    ensemble.wait(60s);
    zoa::Ensemble moved = std::move(ensemble);
    CHECK(ensemble.get() == nullptr && !moved.hosts().empty());
    moved.stop();
    CHECK(moved.try_leader().code() == ZOA_CLOSED);
  }
  CHECK(late.try_get("/kept").code() == ZOA_CLOSED);
}

int main(int argc, char **argv) {
  Tally roles;
  std::atomic<int> lines{0};
  zoa::log_to(zoa::LogLevel::info, [&](zoa::LogLevel, std::string_view, std::string_view line) { lines += line.empty() ? 0 : 1; });
  {
    zoa::Config config;
    config.set("dataDir", argc > 1 ? argv[1] : "wrapper-data").set("clientPort", "0").set("extendedTypesEnabled", "true");
    config.on_role([&](zoa::Role role, std::int64_t) { roles.add(role == zoa::Role::standalone ? "standalone" : "other"); });
    CHECK(thrown([&] { config.set("noSuchKey", "1"); }) == ZOA_UNKNOWN_KEY);
    CHECK(config.try_load("/no/such/file").code() == ZOA_SYSTEM);
    zoa::Server server(config);
    CHECK(zoa::Server::try_start(config).code() == ZOA_IN_USE);
    config.on_role({});
    server.wait(10s);
    CHECK(server.status().role == ZOA_ROLE_STANDALONE && server.address().substr(0, 10) == "127.0.0.1:");
    CHECK(server.command("ruok") == "imok" && server.try_command("nope").code() == ZOA_BAD_ARGUMENTS);
    CHECK(server.try_handover(1s).code() == ZOA_UNIMPLEMENTED);
    zoa::Client client = zoa::Client::open(server);
    client.wait();

    failures_are_told(client);
    the_everyday_verbs(client);
    transactions_happen_whole_or_not(client);
    completions_run_once_and_are_destroyed(client);
    watches_end_with_their_owner(server, client);
    pending_work_ends_with_the_client(server);
    exceptions_go_to_the_handler(server);
    a_queue_runs_callbacks_here(server);
    log_lines_wait_in_a_queue(server, lines);
    clients_that_end_each_other_come_to_an_end(server);
    sessions_are_resumed(server);
    over_tcp_it_is_the_same(server);
    sessions_are_cut_and_expired(server);
    an_ensemble_goes_on_without_its_leader();

    const std::string folder = argc > 1 ? argv[1] : "wrapper-data";
    a_forked_child_begins_anew(client, folder + "-child");
    without_a_handler_an_exception_is_terminate(folder + "-terminated");

    zoa::Server moved = std::move(server);
    moved.stop(10s);
    CHECK(moved.try_command("ruok").code() == ZOA_CLOSED && client.try_get("/").code() == ZOA_CLOSED);
  }
  CHECK(roles.seen().size() >= 1 && roles.seen().at(0) == "standalone");
  CHECK(lines > 0);
  zoa::log_to(zoa::LogLevel::off, {});
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
