// zoarium.hpp: zoarium.h for C++17. Header only; link the same library.
//
// Config, Server, Ensemble, Client, Queue and Result own a handle of the C interface and give it up in their destructor. They can
// be moved and not copied; get() lends the handle for calls of zoarium.h, release() hands it over. What zoarium.h says of
// a function (threads, order, limits) holds for the verb of the same name here.
//
//  - Failure. A verb throws zoa::Error. Its twin try_… is noexcept and returns zoa::Expected<T>. With exceptions switched
//    off (-fno-exceptions) there are only the twins. Running out of memory ends the process, as in the library itself.
//  - Text and bytes. Arguments are std::string_view, terminated here; a NUL within is refused with ZOA_BAD_ARGUMENTS, not
//    cut off. What a Result shows is a view that lives as long as the Result; asked of a temporary it is a std::string.
//  - Times are std::chrono durations; zoa::forever waits without a limit.
//  - Callbacks take any callable, also one that can only be moved. It is kept here and destroyed exactly once: a
//    completion after it ran, a watch after its last event, when its Watch ends or with the Client, whichever is first.
//    A callable that throws does not unwind through C: the exception goes to on_exception, and without such a handler
//    std::terminate is called, as for a thread.
//  - fork. What zoarium.h says: a child may make objects of its own, and leaves those of its parent alone.

#ifndef ZOARIUM_HPP
#define ZOARIUM_HPP

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define ZOARIUM_EXCEPTIONS 1
#include <future>
#else
#define ZOARIUM_EXCEPTIONS 0
#endif

#include "zoarium.h"

namespace zoa {

using std::chrono::milliseconds;

// Waits without a limit.
inline constexpr milliseconds forever{-1};

// Any version, where a version is expected.
inline constexpr std::int32_t any_version = -1;

// ---- names for numbers ------------------------------------------------------------------------------------------------

// Whether a write that failed has happened.
enum class Outcome : std::int32_t {
  done = ZOA_OUTCOME_DONE,
  not_done = ZOA_OUTCOME_NOT_DONE,
  // It may have: look before trying again.
  unknown = ZOA_OUTCOME_UNKNOWN,
};

// How long a znode lives and whether its name gets a sequence number.
enum class Mode : std::int32_t {
  persistent = ZOA_PERSISTENT,
  ephemeral = ZOA_EPHEMERAL,
  persistent_sequential = ZOA_PERSISTENT_SEQUENTIAL,
  ephemeral_sequential = ZOA_EPHEMERAL_SEQUENTIAL,
  container = ZOA_CONTAINER,
  ttl = ZOA_TTL,
  ttl_sequential = ZOA_TTL_SEQUENTIAL,
};

// What a watch waits for.
enum class WatchMode : std::int32_t {
  once_data = ZOA_WATCH_ONCE_DATA,
  once_children = ZOA_WATCH_ONCE_CHILDREN,
  persistent = ZOA_WATCH_PERSISTENT,
  recursive = ZOA_WATCH_RECURSIVE,
};

// What happened to a watched znode.
enum class EventKind : std::int32_t {
  created = ZOA_EVENT_CREATED,
  deleted = ZOA_EVENT_DELETED,
  data = ZOA_EVENT_DATA,
  children = ZOA_EVENT_CHILDREN,
};

// How a session is.
enum class State : std::int32_t {
  connecting = ZOA_CONNECTING,
  connected = ZOA_CONNECTED,
  connected_read_only = ZOA_CONNECTED_READ_ONLY,
  suspended = ZOA_SUSPENDED,
  expired = ZOA_EXPIRED,
  auth_refused = ZOA_AUTH_REFUSED,
  ended = ZOA_ENDED,
};

// What a server is to its ensemble.
enum class Role : std::int32_t {
  looking = ZOA_ROLE_LOOKING,
  following = ZOA_ROLE_FOLLOWING,
  observing = ZOA_ROLE_OBSERVING,
  leading = ZOA_ROLE_LEADING,
  standalone = ZOA_ROLE_STANDALONE,
  read_only = ZOA_ROLE_READ_ONLY,
  stopped = ZOA_ROLE_STOPPED,
  failed = ZOA_ROLE_FAILED,
};

// How much is logged.
enum class LogLevel : std::int32_t {
  off = ZOA_LOG_OFF,
  error = ZOA_LOG_ERROR,
  warn = ZOA_LOG_WARN,
  info = ZOA_LOG_INFO,
  debug = ZOA_LOG_DEBUG,
  trace = ZOA_LOG_TRACE,
};

// ---- failure ----------------------------------------------------------------------------------------------------------

// Why something failed: a code, and a sentence with the particulars.
class Failure {
 public:
  Failure(zoa_code code, std::string text, std::optional<std::size_t> part = std::nullopt) noexcept
      : Failure(code, std::move(text), part, static_cast<Outcome>(zoa_code_outcome(code))) {}
  Failure(zoa_code code, std::string text, std::optional<std::size_t> part, Outcome outcome) noexcept
      : code_(code), outcome_(outcome), part_(part), text_(std::move(text)) {}

  // Of the call of zoarium.h that this thread has just made.
  static Failure last(zoa_code code) noexcept {
    return Failure(code, zoa_last_error(), std::nullopt, static_cast<Outcome>(zoa_last_outcome()));
  }

  // ZOA_NO_NODE and so on; never ZOA_OK.
  zoa_code code() const noexcept { return code_; }
  // "ZOA_NO_NODE".
  const char *name() const noexcept { return zoa_code_name(code_); }
  // "/app: the znode does not exist".
  const std::string &text() const noexcept { return text_; }
  // Whether the write that failed has happened.
  Outcome outcome() const noexcept { return outcome_; }
  // Of a refused transaction, which of its operations was to blame.
  std::optional<std::size_t> part() const noexcept { return part_; }

 private:
  zoa_code code_;
  Outcome outcome_;
  std::optional<std::size_t> part_;
  std::string text_;
};

// A failure, thrown. what() has name and sentence.
class Error : public std::runtime_error {
 public:
  explicit Error(Failure failure)
      : std::runtime_error(std::string(failure.name()) + ": " + failure.text()),
        failure_(std::make_shared<const Failure>(std::move(failure))) {}

  const Failure &failure() const noexcept { return *failure_; }
  zoa_code code() const noexcept { return failure_->code(); }
  const char *name() const noexcept { return failure_->name(); }
  const std::string &text() const noexcept { return failure_->text(); }
  Outcome outcome() const noexcept { return failure_->outcome(); }
  std::optional<std::size_t> part() const noexcept { return failure_->part(); }

 private:
  // Shared, because copying an exception must not throw.
  std::shared_ptr<const Failure> failure_;
};

// A value, or why there is none.
template <class T>
class [[nodiscard]] Expected {
 public:
  using value_type = T;

  Expected(T value) noexcept : held_(std::in_place_index<0>, std::move(value)) {}
  Expected(Failure failure) noexcept : held_(std::in_place_index<1>, std::move(failure)) {}

  bool has_value() const noexcept { return held_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  // The value; only where there is one.
  T &operator*() & noexcept { return *std::get_if<0>(&held_); }
  const T &operator*() const & noexcept { return *std::get_if<0>(&held_); }
  T &&operator*() && noexcept { return std::move(*std::get_if<0>(&held_)); }
  T *operator->() noexcept { return std::get_if<0>(&held_); }
  const T *operator->() const noexcept { return std::get_if<0>(&held_); }

  // The failure; only where there is no value.
  const Failure &error() const & noexcept { return *std::get_if<1>(&held_); }
  Failure &&error() && noexcept { return std::move(*std::get_if<1>(&held_)); }
  // ZOA_OK where there is a value.
  zoa_code code() const noexcept { return has_value() ? ZOA_OK : error().code(); }

  template <class U>
  T value_or(U &&other) && {
    return has_value() ? *std::move(*this) : static_cast<T>(std::forward<U>(other));
  }

#if ZOARIUM_EXCEPTIONS
  // The value. Throws Error where there is none.
  T value() && {
    if (!has_value()) throw Error(std::move(*this).error());
    return *std::move(*this);
  }
  const T &value() const & {
    if (!has_value()) throw Error(error());
    return **this;
  }
#endif

 private:
  std::variant<T, Failure> held_;
};

// Success, or why not.
template <>
class [[nodiscard]] Expected<void> {
 public:
  using value_type = void;

  Expected() noexcept = default;
  Expected(Failure failure) noexcept : failure_(std::move(failure)) {}

  bool has_value() const noexcept { return !failure_; }
  explicit operator bool() const noexcept { return has_value(); }
  // Only where something failed.
  const Failure &error() const noexcept { return *failure_; }
  zoa_code code() const noexcept { return failure_ ? failure_->code() : ZOA_OK; }

#if ZOARIUM_EXCEPTIONS
  // Throws Error where something failed.
  void value() const {
    if (failure_) throw Error(*failure_);
  }
#endif

 private:
  std::optional<Failure> failure_;
};

// ---- bytes and ACLs -----------------------------------------------------------------------------------------------------

// Data to be written, borrowed for the call: anything that converts to std::string_view, pointer and length, or nullptr for
// null data, which is not the same as empty data.
class Bytes {
 public:
  Bytes() noexcept = default;
  Bytes(std::nullptr_t) noexcept {}
  Bytes(const void *data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <class T, class = std::enable_if_t<std::is_convertible_v<const T &, std::string_view>>>
  Bytes(const T &text) noexcept {
    const std::string_view view = text;
    // An empty view may have no address; it is empty data all the same.
    data_ = view.data() != nullptr ? view.data() : "";
    size_ = view.size();
  }

  const void *data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }

 private:
  const void *data_ = nullptr;
  std::size_t size_ = 0;
};

// One entry of an access control list.
struct Acl {
  // Bits of ZOA_PERM_….
  std::uint32_t perms = ZOA_PERM_ALL;
  // "world", "auth", "digest", "ip".
  std::string scheme = "world";
  // "anyone" for "world".
  std::string id = "anyone";
};

// A change of a watched znode. The path lives for the call.
struct Event {
  EventKind kind;
  std::string_view path;
  // The transaction that did it; -1 for what was caught up on after a reconnect.
  std::int64_t zxid;
};

// ---- results ------------------------------------------------------------------------------------------------------------

// What an operation brought, borrowed: a part of a transaction's Result, which it must not outlive.
class ResultView {
 public:
  ResultView() noexcept = default;
  explicit ResultView(const zoa_result *result) noexcept : result_(result) {}

  const zoa_result *get() const noexcept { return result_; }

  zoa_code code() const noexcept { return zoa_result_code(result_); }
  // What went wrong, in words; empty when nothing did.
  std::string_view error() const noexcept { return text_or_empty(zoa_result_error(result_)); }
  // Whether the write that brought this has happened.
  Outcome outcome() const noexcept { return static_cast<Outcome>(zoa_result_outcome(result_)); }
  // The last transaction the server had applied when it answered: of a write, the write itself.
  std::int64_t zxid() const noexcept { return zoa_result_zxid(result_); }
  // The path of a created znode, with its sequence number.
  std::string_view path() const noexcept { return text_or_empty(zoa_result_path(result_)); }
  // Whether there are data, empty ones included; false for null data.
  bool has_data() const noexcept { return zoa_result_data(result_, nullptr) != nullptr; }
  // A znode's data; empty also for null data.
  std::string_view data() const noexcept {
    std::size_t size = 0;
    const void *bytes = zoa_result_data(result_, &size);
    return bytes == nullptr ? std::string_view() : std::string_view(static_cast<const char *>(bytes), size);
  }
  // The znode's stat, of operations that bring one.
  std::optional<zoa_stat> stat() const noexcept {
    const zoa_stat *stat = zoa_result_stat(result_);
    return stat == nullptr ? std::nullopt : std::optional<zoa_stat>(*stat);
  }
  // How many names, ACL entries or parts there are; of Op::count, how many descendants.
  std::size_t size() const noexcept { return zoa_result_count(result_); }
  // The name of a child, or the path of an ephemeral znode; empty past the end. In no particular order.
  std::string_view name(std::size_t index) const noexcept { return text_or_empty(zoa_result_name(result_, index)); }
  // All of them.
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    names.reserve(size());
    for (std::size_t index = 0; const char *name = zoa_result_name(result_, index); ++index) names.emplace_back(name);
    return names;
  }
  // ACL entries, or identities of Op::who_am_i.
  std::vector<Acl> acl() const {
    std::vector<Acl> entries;
    for (std::size_t index = 0; const zoa_acl *entry = zoa_result_acl(result_, index); ++index) {
      entries.push_back(Acl{entry->perms, entry->scheme, entry->id});
    }
    return entries;
  }
  // The result of one operation of a transaction.
  ResultView part(std::size_t index) const noexcept { return ResultView(zoa_result_part(result_, index)); }

 protected:
  static std::string_view text_or_empty(const char *text) noexcept {
    return text == nullptr ? std::string_view() : std::string_view(text);
  }

  const zoa_result *result_ = nullptr;
};

// What an operation brought, owned. Views from it live as long as it does.
class Result : public ResultView {
 public:
  Result() noexcept = default;
  // Takes the result over.
  explicit Result(zoa_result *result) noexcept : ResultView(result) {}
  Result(Result &&other) noexcept : ResultView(std::exchange(other.result_, nullptr)) {}
  Result &operator=(Result &&other) noexcept {
    if (this != &other) {
      zoa_result_free(release());
      result_ = std::exchange(other.result_, nullptr);
    }
    return *this;
  }
  Result(const Result &) = delete;
  Result &operator=(const Result &) = delete;
  ~Result() { zoa_result_free(release()); }

  // Hands the result over, to be freed with zoa_result_free.
  zoa_result *release() noexcept { return const_cast<zoa_result *>(std::exchange(result_, nullptr)); }

  std::string_view error() const & noexcept { return ResultView::error(); }
  std::string_view path() const & noexcept { return ResultView::path(); }
  std::string_view data() const & noexcept { return ResultView::data(); }
  std::string_view name(std::size_t index) const & noexcept { return ResultView::name(index); }
  ResultView part(std::size_t index) const & noexcept { return ResultView::part(index); }
  // Of a temporary, whose bytes are about to go: copies.
  std::string error() const && { return std::string(ResultView::error()); }
  std::string path() const && { return std::string(ResultView::path()); }
  std::string data() const && { return std::string(ResultView::data()); }
  std::string name(std::size_t index) const && { return std::string(ResultView::name(index)); }
  ResultView part(std::size_t index) const && = delete;
};

// ---- the inside -----------------------------------------------------------------------------------------------------------

namespace detail {

// Text with a NUL at its end, on the stack where it is short.
class Text {
 public:
  explicit Text(std::string_view text) noexcept : whole_(text.find('\0') == std::string_view::npos) {
    if (text.size() < sizeof short_) {
      if (!text.empty()) std::memcpy(short_, text.data(), text.size());
      short_[text.size()] = '\0';
      start_ = short_;
    } else {
      long_.assign(text);
      start_ = long_.c_str();
    }
  }
  Text(const Text &) = delete;
  Text &operator=(const Text &) = delete;

  // Whether C sees all of it.
  bool whole() const noexcept { return whole_; }
  const char *c_str() const noexcept { return start_; }

  static Failure refused() noexcept { return Failure(ZOA_BAD_ARGUMENTS, "a text with a NUL within"); }

 private:
  bool whole_;
  const char *start_;
  char short_[240];
  std::string long_;
};

inline std::int32_t limit(milliseconds time) noexcept {
  if (time.count() < 0) return -1;
  constexpr auto most = std::numeric_limits<std::int32_t>::max();
  return time.count() > most ? most : static_cast<std::int32_t>(time.count());
}

inline Expected<void> checked(zoa_code code) noexcept {
  if (code == ZOA_OK) return {};
  return Failure::last(code);
}

using ExceptionHandler = std::function<void(std::exception_ptr)>;

// Calls the host's code where C is the caller.
template <class F>
void guarded(const std::shared_ptr<const ExceptionHandler> &handler, F &&run) noexcept {
#if ZOARIUM_EXCEPTIONS
  try {
    run();
  } catch (...) {
    if (handler == nullptr || !*handler) std::terminate();
    (*handler)(std::current_exception());
  }
#else
  static_cast<void>(handler);
  run();
#endif
}

// A callable of any type, moved only.
template <class... Args>
class Callable {
 public:
  Callable() noexcept = default;
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, Callable>>>
  explicit Callable(F &&callable) : held_(std::make_unique<Held<std::decay_t<F>>>(std::forward<F>(callable))) {}

  explicit operator bool() const noexcept { return held_ != nullptr; }
  void operator()(Args... args) { held_->run(std::forward<Args>(args)...); }

 private:
  struct Base {
    Base() = default;
    Base(const Base &) = delete;
    Base &operator=(const Base &) = delete;
    virtual ~Base() = default;
    virtual void run(Args... args) = 0;
  };
  template <class F>
  struct Held final : Base {
    template <class G>
    explicit Held(G &&from) : callable(std::forward<G>(from)) {}
    void run(Args... args) override { static_cast<void>(callable(std::forward<Args>(args)...)); }
    F callable;
  };
  std::unique_ptr<Base> held_;
};

class Keys;

// A callable that C knows by a number only, so that it can be destroyed while C still means to call it.
struct Slot {
  Callable<const Event &> on_event;
  Callable<State> on_state;
  std::shared_ptr<const ExceptionHandler> on_exception;
  std::weak_ptr<Keys> keys;
  bool once = false;
  // Held while the callable runs or is taken away.
  std::mutex turn;
  std::atomic<std::thread::id> runner{};
  std::atomic<bool> ended{false};
};

// All slots of this process. It is never destroyed: callbacks may come while the process exits.
class Registry {
 public:
  static Registry &instance() {
    static std::atomic<Registry *> current{nullptr};
    Registry *found = current.load();
    if (found != nullptr && found->process_ == getpid()) return *found;
    // A forked child has one of its own: its parent's may have been locked at that moment.
    auto fresh = std::make_unique<Registry>();
    fresh->parents_ = found;
    if (current.compare_exchange_strong(found, fresh.get())) found = fresh.release();
    return *found;
  }

  std::uintptr_t add(std::shared_ptr<Slot> slot) {
    const std::lock_guard<std::mutex> lock(mutex_);
    slots_.emplace(++last_, std::move(slot));
    return last_;
  }

  std::shared_ptr<Slot> find(std::uintptr_t key) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = slots_.find(key);
    return found == slots_.end() ? nullptr : found->second;
  }

  std::shared_ptr<Slot> take(std::uintptr_t key) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = slots_.find(key);
    if (found == slots_.end()) return nullptr;
    auto slot = std::move(found->second);
    slots_.erase(found);
    return slot;
  }

 private:
  const pid_t process_ = getpid();
  Registry *parents_ = nullptr;
  std::mutex mutex_;
  std::uintptr_t last_ = 0;
  std::unordered_map<std::uintptr_t, std::shared_ptr<Slot>> slots_;
};

// The slots of one client.
class Keys : public std::enable_shared_from_this<Keys> {
 public:
  std::uintptr_t add(std::shared_ptr<Slot> slot) {
    slot->keys = weak_from_this();
    const std::uintptr_t key = registry_->add(std::move(slot));
    const std::lock_guard<std::mutex> lock(mutex_);
    keys_.insert(key);
    return key;
  }

  // Destroys a slot's callable, after its turn if it is running on another thread. Without `waits`, one that runs goes when it
  // returns.
  void end(std::uintptr_t key, bool waits = true) noexcept {
    forget(key);
    const std::shared_ptr<Slot> slot = registry_->take(key);
    if (slot == nullptr) return;
    if (slot->runner.load() == std::this_thread::get_id()) {
      // It is this very callable that ends itself; it goes when it returns.
      slot->ended = true;
      return;
    }
    Callable<const Event &> on_event;
    Callable<State> on_state;
    std::unique_lock<std::mutex> turn(slot->turn, std::defer_lock);
    if (waits) {
      turn.lock();
    } else if (!turn.try_lock()) {
      slot->ended = true;
      return;
    }
    slot->ended = true;
    on_event = std::move(slot->on_event);
    on_state = std::move(slot->on_state);
  }

  // The slot has ended by itself.
  void spent(std::uintptr_t key) noexcept {
    forget(key);
    registry_->take(key);
  }

  void end_all(bool waits = true) noexcept {
    std::unordered_set<std::uintptr_t> keys;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      keys.swap(keys_);
    }
    for (const std::uintptr_t key : keys) end(key, waits);
  }

 private:
  void forget(std::uintptr_t key) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    keys_.erase(key);
  }

  Registry *const registry_ = &Registry::instance();
  std::mutex mutex_;
  std::unordered_set<std::uintptr_t> keys_;
};

inline void *as_user_data(std::uintptr_t key) noexcept { return reinterpret_cast<void *>(key); }

// Gives a slot its turn. Its callable is destroyed here if the turn was its last.
template <class F>
void take_turn(std::uintptr_t key, F &&run) noexcept {
  const std::shared_ptr<Slot> slot = Registry::instance().find(key);
  if (slot == nullptr) return;
  bool over = false;
  {
    const std::lock_guard<std::mutex> turn(slot->turn);
    if (slot->ended) return;
    slot->runner.store(std::this_thread::get_id());
    guarded(slot->on_exception, [&] { run(*slot); });
    over = slot->once;
    if (slot->once || slot->ended) {
      slot->ended = true;
      guarded(slot->on_exception, [&] {
        slot->on_event = {};
        slot->on_state = {};
      });
    }
    slot->runner.store(std::thread::id());
  }
  if (!over) return;
  if (const auto keys = slot->keys.lock()) keys->spent(key);
}

inline void on_event(zoa_client *, const zoa_event *event, void *user_data) noexcept {
  const Event told{static_cast<EventKind>(event->kind), event->path, event->zxid};
  take_turn(reinterpret_cast<std::uintptr_t>(user_data), [&](Slot &slot) { slot.on_event(told); });
}

inline void on_state(zoa_client *, std::int32_t state, void *user_data) noexcept {
  take_turn(reinterpret_cast<std::uintptr_t>(user_data),
            [&](Slot &slot) { slot.on_state(static_cast<State>(state)); });
}

// What a Client and its watches share.
struct Core {
  Core() = default;
  Core(const Core &) = delete;
  Core &operator=(const Core &) = delete;
  ~Core() {
    zoa_client *const mine = client.load();
    if (mine == nullptr) return;
    // Its last callbacks run in here, so the callables go after it; but for one that waits for the callback this is called
    // from, which would wait for it in turn.
    const bool waits = zoa_client_close(mine, 2000) != ZOA_WOULD_DEADLOCK;
    zoa_client_free(mine);
    keys->end_all(waits);
  }

  std::atomic<zoa_client *> client{nullptr};
  std::shared_ptr<Keys> keys = std::make_shared<Keys>();
  std::shared_ptr<const ExceptionHandler> on_exception;
};

// A request under way.
struct Pending {
  Callable<Expected<Result>> done;
  std::shared_ptr<const ExceptionHandler> on_exception;
  std::weak_ptr<Keys> keys;
  // The slot of its watch; 0 for none.
  std::uintptr_t watch = 0;
  std::int32_t kind = 0;
};

// A read sets its watch when it is answered; an exists also where there is no znode.
inline bool sets_watch(std::int32_t kind, zoa_code code) noexcept {
  return code == ZOA_OK || (kind == ZOA_OP_EXISTS && code == ZOA_NO_NODE);
}

// Which operation of a refused transaction was to blame.
inline std::optional<std::size_t> to_blame(const ResultView &result) noexcept {
  for (std::size_t index = 0; zoa_result_part(result.get(), index) != nullptr; ++index) {
    const zoa_code code = result.part(index).code();
    if (code != ZOA_OK && code != ZOA_RUNTIME_INCONSISTENCY) return index;
  }
  return std::nullopt;
}

inline Expected<Result> outcome_of(Result result) noexcept {
  if (result.code() == ZOA_OK) return result;
  const ResultView &view = result;
  return Failure(view.code(), std::string(view.error()), to_blame(view), view.outcome());
}

inline void on_done(zoa_client *, zoa_result *handed, void *user_data) noexcept {
  std::unique_ptr<Pending> pending(static_cast<Pending *>(user_data));
  Result result(handed);
  if (pending->watch != 0 && !sets_watch(pending->kind, result.code())) {
    if (const auto keys = pending->keys.lock()) keys->end(pending->watch);
  }
  const auto handler = pending->on_exception;
  guarded(handler, [&] {
    pending->done(outcome_of(std::move(result)));
    pending.reset();
  });
}

struct RoleListener {
  std::function<void(Role, std::int64_t)> told;
  std::shared_ptr<const ExceptionHandler> on_exception;
};

inline void on_role(std::int32_t role, std::int64_t epoch, void *user_data) noexcept {
  const auto *const listener = static_cast<const RoleListener *>(user_data);
  guarded(listener->on_exception, [&] { listener->told(static_cast<Role>(role), epoch); });
}

using LogSink = std::function<void(LogLevel, std::string_view, std::string_view)>;

inline void on_line(std::int32_t level, const char *module, const char *line, void *user_data) noexcept {
  (*static_cast<const LogSink *>(user_data))(static_cast<LogLevel>(level), module, line);
}

// The sink of this process that runs where lines are logged; one of a queue belongs to its queue.
struct LogPlace {
  std::mutex mutex;
  LogSink *sink = nullptr;

  static LogPlace &of_process() noexcept {
    static LogPlace place;
    return place;
  }

  // `replace` tells the library; where it agrees, the sink before is not called any more.
  template <class Replace>
  Expected<void> replace_with(std::unique_ptr<LogSink> next, Replace &&replace) noexcept {
    const std::lock_guard<std::mutex> lock(mutex);
    const zoa_code code = replace(next.get());
    if (code != ZOA_OK) return Failure::last(code);
    delete std::exchange(sink, next.release());
    return {};
  }
};

// The plain part of every owner of a handle: moved, not copied, freed once.
template <class Handle, void (*Free)(Handle *)>
class Owner {
 public:
  Owner() noexcept = default;
  explicit Owner(Handle *handle) noexcept : handle_(handle) {}
  Owner(Owner &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owner &operator=(Owner &&other) noexcept {
    if (this != &other) {
      Free(handle_);
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  Owner(const Owner &) = delete;
  Owner &operator=(const Owner &) = delete;
  ~Owner() { Free(handle_); }

  Handle *get() const noexcept { return handle_; }
  Handle *release() noexcept { return std::exchange(handle_, nullptr); }

 private:
  Handle *handle_ = nullptr;
};

}  // namespace detail

// ---- logging ------------------------------------------------------------------------------------------------------------

// Sends log lines up to `most` to `sink(LogLevel, std::string_view module, std::string_view line)`; an empty function for
// silence. One sink per process, called on any thread, several at a time. It may not call the library, nor throw.
inline Expected<void> try_log_to(LogLevel most, std::function<void(LogLevel, std::string_view, std::string_view)> sink) noexcept {
  std::unique_ptr<detail::LogSink> next;
  if (sink) next = std::make_unique<detail::LogSink>(std::move(sink));
  return detail::LogPlace::of_process().replace_with(std::move(next), [&](detail::LogSink *kept) {
    return zoa_log_to(static_cast<std::int32_t>(most), kept == nullptr ? nullptr : &detail::on_line, kept);
  });
}

#if ZOARIUM_EXCEPTIONS
inline void log_to(LogLevel most, std::function<void(LogLevel, std::string_view, std::string_view)> sink) {
  try_log_to(most, std::move(sink)).value();
}
#endif

// ---- configuration ---------------------------------------------------------------------------------------------------------

// Settings to start a server with: the keys of zoo.cfg, and ours under "zoarium.".
class Config {
 public:
  // The embedded defaults: standalone, data in ./zoarium-data, port 2181 on loopback.
  Config() noexcept {
    zoa_config *config = nullptr;
    static_cast<void>(zoa_config_new(&config));
    config_ = detail::Owner<zoa_config, zoa_config_free>(config);
  }

  zoa_config *get() const noexcept { return config_.get(); }
  // Hands the handle over. A listener of on_role stays for good: servers may call it.
  zoa_config *release() noexcept {
    new std::shared_ptr<detail::RoleListener>(std::move(listener_));
    return config_.release();
  }

  Expected<void> try_set(std::string_view key, std::string_view value) noexcept {
    const detail::Text name(key), text(value);
    if (!name.whole() || !text.whole()) return detail::Text::refused();
    return detail::checked(zoa_config_set(get(), name.c_str(), text.c_str()));
  }

  // Takes a zoo.cfg as the base: what set says beats it.
  Expected<void> try_load(std::string_view file_path) noexcept {
    const detail::Text path(file_path);
    if (!path.whole()) return detail::Text::refused();
    return detail::checked(zoa_config_load(get(), path.c_str()));
  }

  // Has `told` called with every change of the role of servers started from now on, and the leader's epoch.
  Expected<void> try_on_role(std::function<void(Role, std::int64_t)> told, detail::ExceptionHandler on_exception = {}) noexcept {
    std::shared_ptr<detail::RoleListener> next;
    if (told) {
      next = std::make_shared<detail::RoleListener>();
      next->told = std::move(told);
      if (on_exception) next->on_exception = std::make_shared<const detail::ExceptionHandler>(std::move(on_exception));
    }
    const zoa_code code = zoa_config_on_role(get(), next ? &detail::on_role : nullptr, next.get());
    if (code != ZOA_OK) return Failure::last(code);
    listener_ = std::move(next);
    return {};
  }

#if ZOARIUM_EXCEPTIONS
  Config &set(std::string_view key, std::string_view value) {
    try_set(key, value).value();
    return *this;
  }
  Config &load(std::string_view file_path) {
    try_load(file_path).value();
    return *this;
  }
  Config &on_role(std::function<void(Role, std::int64_t)> told, detail::ExceptionHandler on_exception = {}) {
    try_on_role(std::move(told), std::move(on_exception)).value();
    return *this;
  }
#endif

 private:
  friend class Server;

  detail::Owner<zoa_config, zoa_config_free> config_;
  std::shared_ptr<detail::RoleListener> listener_;
};

// ---- server ----------------------------------------------------------------------------------------------------------------

// One peer. Its destructor stops it. Clients in this process may outlive it; they see ZOA_CLOSED then.
class Server {
 public:
  Server() noexcept = default;
  // Takes the handle over.
  explicit Server(zoa_server *server) noexcept : server_(server) {}
  Server(Server &&) noexcept = default;
  Server &operator=(Server &&other) noexcept {
    // The listener must live until the old server is freed.
    server_ = std::move(other.server_);
    listener_ = std::move(other.listener_);
    return *this;
  }
  Server(const Server &) = delete;
  Server &operator=(const Server &) = delete;
  ~Server() = default;

  zoa_server *get() const noexcept { return server_.get(); }
  // Hands the handle over. A listener of Config::on_role stays for good.
  zoa_server *release() noexcept {
    new std::shared_ptr<detail::RoleListener>(std::move(listener_));
    return server_.release();
  }

  // Opens the data folder, recovers what it holds, listens, and serves.
  static Expected<Server> try_start(const Config &config) noexcept {
    zoa_server *server = nullptr;
    const zoa_code code = zoa_server_start(config.get(), &server);
    if (code != ZOA_OK) return Failure::last(code);
    Server started(server);
    started.listener_ = config.listener_;
    return started;
  }

  // Waits until it serves clients.
  Expected<void> try_wait(milliseconds timeout = forever) noexcept {
    return detail::checked(zoa_server_wait(get(), detail::limit(timeout)));
  }

  Expected<zoa_status> try_status() const noexcept {
    zoa_status status = ZOA_STATUS_INIT;
    const zoa_code code = zoa_server_status(get(), &status);
    if (code != ZOA_OK) return Failure::last(code);
    return status;
  }

  // Where clients connect, "127.0.0.1:40211". Lives as long as the server.
  std::string_view address() const noexcept {
    const char *const address = zoa_server_address(get());
    return address == nullptr ? std::string_view() : std::string_view(address);
  }

  // The answer to a four-letter word such as "mntr".
  Expected<std::string> try_command(std::string_view word) noexcept {
    const detail::Text text(word);
    if (!text.whole()) return detail::Text::refused();
    char *answer = nullptr;
    const zoa_code code = zoa_server_command(get(), text.c_str(), &answer);
    if (code != ZOA_OK) return Failure::last(code);
    std::string copy(answer);
    zoa_text_free(answer);
    return copy;
  }

  // Ends a session as its timeout would, only now. Its id is in Client::session.
  Expected<void> try_expire(std::int64_t session_id) noexcept { return detail::checked(zoa_server_expire(get(), session_id)); }

  // Cuts the connection of a session, which lives on. For tests.
  Expected<void> try_disconnect(std::int64_t session_id) noexcept {
    return detail::checked(zoa_server_disconnect(get(), session_id));
  }

  // Freezes the server for so long. For tests.
  Expected<void> try_pause(milliseconds duration) noexcept {
    return detail::checked(zoa_server_pause(get(), detail::limit(duration)));
  }

  // Gives leadership to another server, before a stop.
  Expected<void> try_handover(milliseconds timeout = forever) noexcept {
    return detail::checked(zoa_server_handover(get(), detail::limit(timeout)));
  }

  // Stops it, and tells what the destructor would keep to itself.
  Expected<void> try_stop(milliseconds timeout = forever) noexcept {
    return detail::checked(zoa_server_stop(get(), detail::limit(timeout)));
  }

#if ZOARIUM_EXCEPTIONS
  explicit Server(const Config &config) : Server(try_start(config).value()) {}

  static Server start(const Config &config) { return try_start(config).value(); }
  void wait(milliseconds timeout = forever) { try_wait(timeout).value(); }
  zoa_status status() const { return try_status().value(); }
  std::string command(std::string_view word) { return try_command(word).value(); }
  void expire(std::int64_t session_id) { try_expire(session_id).value(); }
  void disconnect(std::int64_t session_id) { try_disconnect(session_id).value(); }
  void pause(milliseconds duration) { try_pause(duration).value(); }
  void handover(milliseconds timeout = forever) { try_handover(timeout).value(); }
  void stop(milliseconds timeout = forever) { try_stop(timeout).value(); }
#endif

 private:
  // Before the server: what is declared first goes last.
  std::shared_ptr<detail::RoleListener> listener_;
  detail::Owner<zoa_server, zoa_server_free> server_;
};

// ---- ensemble --------------------------------------------------------------------------------------------------------------

// So many servers in this process that replicate, for tests and for hosts that want to survive a full disk. Members are named
// by their numbers, from 1 on. Its destructor stops them all; clients and servers that were asked of it may outlive it.
class Ensemble {
 public:
  Ensemble() noexcept = default;
  // Takes the handle over.
  explicit Ensemble(zoa_ensemble *ensemble) noexcept : ensemble_(ensemble) {}

  zoa_ensemble *get() const noexcept { return ensemble_.get(); }
  zoa_ensemble *release() noexcept { return ensemble_.release(); }

  // Starts so many members; all of them serve then. Short ticks and a temporary folder.
  static Expected<Ensemble> try_start(std::uint32_t size) noexcept { return started(nullptr, size); }

  // The same with settings of one's own. "dataDir" is where the members' folders lie, "1", "2" and so on; they stay.
  static Expected<Ensemble> try_start(std::uint32_t size, const Config &config) noexcept { return started(config.get(), size); }

  // Where clients connect: the addresses of all members. Lives as long as the ensemble.
  std::string_view hosts() const noexcept {
    const char *const hosts = zoa_ensemble_hosts(get());
    return hosts == nullptr ? std::string_view() : std::string_view(hosts);
  }

  // Waits until all members serve that run and are neither paused nor cut off, and one of them leads the others.
  Expected<void> try_wait(milliseconds timeout = forever) noexcept {
    return detail::checked(zoa_ensemble_wait(get(), detail::limit(timeout)));
  }

  // The member that leads; nothing while there is none.
  Expected<std::optional<std::uint64_t>> try_leader() const noexcept {
    std::uint64_t member = 0;
    const zoa_code code = zoa_ensemble_leader(get(), &member);
    if (code != ZOA_OK) return Failure::last(code);
    return member == 0 ? std::optional<std::uint64_t>() : std::optional<std::uint64_t>(member);
  }

  // The server that a member is, until it is killed. Letting go of it does not stop the member.
  Expected<Server> try_server(std::uint64_t member) noexcept {
    zoa_server *server = nullptr;
    const zoa_code code = zoa_ensemble_server(get(), member, &server);
    if (code != ZOA_OK) return Failure::last(code);
    return Server(server);
  }

  // Ends a member as kill -9 ends a process.
  Expected<void> try_kill(std::uint64_t member) noexcept { return detail::checked(zoa_ensemble_kill(get(), member)); }
  // Starts a member that does not run, with the data and addresses it had.
  Expected<void> try_restart(std::uint64_t member) noexcept { return detail::checked(zoa_ensemble_restart(get(), member)); }
  // Takes a member that does not run its data.
  Expected<void> try_wipe(std::uint64_t member) noexcept { return detail::checked(zoa_ensemble_wipe(get(), member)); }
  // Has a member stand still, until try_resume: its connections stay, and nobody is answered.
  Expected<void> try_pause(std::uint64_t member) noexcept { return detail::checked(zoa_ensemble_pause(get(), member)); }
  Expected<void> try_resume(std::uint64_t member) noexcept { return detail::checked(zoa_ensemble_resume(get(), member)); }
  // Cuts a member off from the others, until try_heal. Its clients reach it all the same.
  Expected<void> try_cut(std::uint64_t member) noexcept { return detail::checked(zoa_ensemble_cut(get(), member)); }
  Expected<void> try_heal(std::uint64_t member) noexcept { return detail::checked(zoa_ensemble_heal(get(), member)); }

  // Stops all members, and tells what the destructor would keep to itself.
  Expected<void> try_stop() noexcept { return detail::checked(zoa_ensemble_stop(get())); }

#if ZOARIUM_EXCEPTIONS
  explicit Ensemble(std::uint32_t size) : Ensemble(try_start(size).value()) {}
  Ensemble(std::uint32_t size, const Config &config) : Ensemble(try_start(size, config).value()) {}

  void wait(milliseconds timeout = forever) { try_wait(timeout).value(); }
  std::optional<std::uint64_t> leader() const { return try_leader().value(); }
  Server server(std::uint64_t member) { return try_server(member).value(); }
  void kill(std::uint64_t member) { try_kill(member).value(); }
  void restart(std::uint64_t member) { try_restart(member).value(); }
  void wipe(std::uint64_t member) { try_wipe(member).value(); }
  void pause(std::uint64_t member) { try_pause(member).value(); }
  void resume(std::uint64_t member) { try_resume(member).value(); }
  void cut(std::uint64_t member) { try_cut(member).value(); }
  void heal(std::uint64_t member) { try_heal(member).value(); }
  void stop() { try_stop().value(); }
#endif

 private:
  static Expected<Ensemble> started(const zoa_config *config, std::uint32_t size) noexcept {
    zoa_ensemble *ensemble = nullptr;
    const zoa_code code = zoa_ensemble_start(config, size, &ensemble);
    if (code != ZOA_OK) return Failure::last(code);
    return Ensemble(ensemble);
  }

  detail::Owner<zoa_ensemble, zoa_ensemble_free> ensemble_;
};

// ---- queue -----------------------------------------------------------------------------------------------------------------

// Where callbacks of clients wait for the host to run them.
class Queue {
 public:
  // Takes the handle over.
  explicit Queue(zoa_queue *queue) noexcept : queue_(queue) {}

  zoa_queue *get() const noexcept { return queue_.get(); }
  // Hands the handle over. Sinks of try_log_to stay for good: lines for them may wait in the queue.
  zoa_queue *release() noexcept {
    for (auto &sink : sinks_) static_cast<void>(sink.release());
    sinks_.clear();
    return queue_.release();
  }

  static Expected<Queue> try_make() noexcept {
    zoa_queue *queue = nullptr;
    const zoa_code code = zoa_queue_new(&queue);
    if (code != ZOA_OK) return Failure::last(code);
    return Queue(queue);
  }

  // Readable while something waits to be run. Only poll it.
  int fd() const noexcept { return zoa_queue_fd(get()); }

  // Runs up to `most` callbacks on this thread, waiting up to `timeout` for the first. Returns how many it ran.
  Expected<std::size_t> try_run(std::size_t most, milliseconds timeout = milliseconds::zero()) noexcept {
    std::size_t ran = 0;
    const zoa_code code = zoa_queue_run(get(), most, detail::limit(timeout), &ran);
    if (code != ZOA_OK) return Failure::last(code);
    return ran;
  }

  // As the log_to of the namespace, but each line waits here until it is run, like any callback: `sink` may call the library,
  // and may still not throw. While 1,000 lines wait further ones are dropped; their number is the next line. Lines that wait
  // when the sink is replaced are handed out all the same, so it lives as long as this queue.
  Expected<void> try_log_to(LogLevel most, std::function<void(LogLevel, std::string_view, std::string_view)> sink) noexcept {
    std::unique_ptr<detail::LogSink> next;
    if (sink) next = std::make_unique<detail::LogSink>(std::move(sink));
    sinks_.reserve(sinks_.size() + 1);
    auto result = detail::LogPlace::of_process().replace_with(nullptr, [&](detail::LogSink *) {
      return zoa_log_to_queue(static_cast<std::int32_t>(most), get(), next == nullptr ? nullptr : &detail::on_line, next.get());
    });
    if (result && next != nullptr) sinks_.push_back(std::move(next));
    return result;
  }

#if ZOARIUM_EXCEPTIONS
  Queue() : Queue(try_make().value().release()) {}

  void log_to(LogLevel most, std::function<void(LogLevel, std::string_view, std::string_view)> sink) {
    try_log_to(most, std::move(sink)).value();
  }

  std::size_t run(std::size_t most, milliseconds timeout = milliseconds::zero()) { return try_run(most, timeout).value(); }
#endif

 private:
  // Behind the queue in the order of destruction.
  std::vector<std::unique_ptr<detail::LogSink>> sinks_;
  detail::Owner<zoa_queue, zoa_queue_free> queue_;
};

// ---- operations -------------------------------------------------------------------------------------------------------------

// Any operation, with copies of what it names: to be called, submitted, or put into a transaction.
class Op {
 public:
  static Op create(std::string_view path, Bytes data = {}, Mode mode = Mode::persistent) {
    Op op(ZOA_OP_CREATE, path);
    op.keep(data);
    op.op_.mode = static_cast<std::int32_t>(mode);
    return op;
  }
  static Op remove(std::string_view path, std::int32_t version = any_version) { return Op(ZOA_OP_DELETE, path, version); }
  static Op set(std::string_view path, Bytes data, std::int32_t version = any_version) {
    Op op(ZOA_OP_SET, path, version);
    op.keep(data);
    return op;
  }
  // Compares the znode's version; only in a transaction.
  static Op check(std::string_view path, std::int32_t version) { return Op(ZOA_OP_CHECK, path, version); }
  static Op get(std::string_view path) { return Op(ZOA_OP_GET, path); }
  static Op exists(std::string_view path) { return Op(ZOA_OP_EXISTS, path); }
  static Op children(std::string_view path) { return Op(ZOA_OP_CHILDREN, path); }
  static Op sync(std::string_view path = "/") { return Op(ZOA_OP_SYNC, path); }
  static Op acl(std::string_view path) { return Op(ZOA_OP_ACL, path); }
  static Op set_acl(std::string_view path, std::vector<Acl> acl, std::int32_t version = any_version) {
    return Op(ZOA_OP_SET_ACL, path, version).with_acl(std::move(acl));
  }
  // The number of descendants; Result::size has it.
  static Op count(std::string_view path) { return Op(ZOA_OP_COUNT, path); }
  // Paths of this session's ephemeral znodes that begin with `path`.
  static Op ephemerals(std::string_view path = "/") { return Op(ZOA_OP_EPHEMERALS, path); }
  // The session's identities.
  static Op who_am_i() { return Op(ZOA_OP_WHO_AM_I, ""); }
  // Text and stat of /zookeeper/config: who the members of the ensemble are.
  static Op config() { return Op(ZOA_OP_CONFIG, ""); }
  // Changes the members of the ensemble: `joining` are servers (server.4=host:2888:3888;2181, commas between), `leaving` numbers.
  // `version` is the configuration expected, 0 for any. The result has text and stat of the new one.
  static Op reconfig(std::string_view joining, std::string_view leaving = {}, std::int64_t version = 0) {
    Op op(ZOA_OP_RECONFIG, joining);
    op.keep(Bytes(leaving.data(), leaving.size()));
    op.op_.config_version = version;
    return op;
  }
  // The same with all members anew.
  static Op reconfig_to(std::string_view members, std::int64_t version = 0) {
    Op op(ZOA_OP_RECONFIG, members);
    op.op_.mode = 1;
    op.op_.config_version = version;
    return op;
  }
  // Whatever zoarium.h has besides: `op` is copied with the path, data and ACL that it names, without its watch.
  static Op from(const zoa_op &op) {
    Op made(op.kind, op.path == nullptr ? std::string_view() : std::string_view(op.path), op.version);
    made.has_path_ = op.path != nullptr;
    if (op.data != nullptr) made.keep(Bytes(op.data, op.len));
    made.op_.mode = op.mode;
    made.op_.ttl_ms = op.ttl_ms;
    made.op_.config_version = op.config_version;
    for (std::size_t at = 0; op.acl != nullptr && at < op.acl_count; ++at) {
      made.acl_.push_back(Acl{op.acl[at].perms, op.acl[at].scheme, op.acl[at].id});
    }
    return made;
  }

  // Who may do what with a znode that is created; without it everybody may do everything.
  Op &&with_acl(std::vector<Acl> acl) && {
    acl_ = std::move(acl);
    return std::move(*this);
  }
  // How long a znode of one of the TTL modes lives.
  Op &&with_ttl(milliseconds ttl) && {
    op_.ttl_ms = ttl.count();
    return std::move(*this);
  }
  // Sets a one-shot watch in one step with a get, exists or children: `told(const Event &)`. Not in a transaction.
  template <class F>
  Op &&with_watch(F &&told) && {
    watch_ = detail::Callable<const Event &>(std::forward<F>(told));
    return std::move(*this);
  }

 private:
  friend class Client;
  friend class Transaction;

  Op(std::int32_t kind, std::string_view path, std::int32_t version = any_version) : path_(path) {
    op_.kind = kind;
    op_.version = version;
  }

  void keep(Bytes data) {
    has_data_ = data.data() != nullptr;
    if (has_data_) data_.assign(static_cast<const char *>(data.data()), data.size());
  }

  // Whether C would see all of its texts.
  bool whole() const noexcept {
    bool whole = path_.find('\0') == std::string::npos;
    for (const Acl &entry : acl_) {
      whole = whole && entry.scheme.find('\0') == std::string::npos && entry.id.find('\0') == std::string::npos;
    }
    return whole;
  }

  // For C. `entries` gets the ACL; both borrow from this.
  zoa_op raw(std::vector<zoa_acl> &entries) const {
    zoa_op op = op_;
    op.path = has_path_ ? path_.c_str() : nullptr;
    op.data = has_data_ ? data_.data() : nullptr;
    op.len = has_data_ ? data_.size() : 0;
    entries.clear();
    for (const Acl &entry : acl_) entries.push_back(zoa_acl{entry.perms, entry.scheme.c_str(), entry.id.c_str()});
    op.acl = entries.empty() ? nullptr : entries.data();
    op.acl_count = entries.size();
    return op;
  }

  zoa_op op_ = ZOA_OP_INIT;
  bool has_path_ = true;
  bool has_data_ = false;
  std::string path_;
  std::string data_;
  std::vector<Acl> acl_;
  detail::Callable<const Event &> watch_;
};

class Transaction;

// ---- watches ----------------------------------------------------------------------------------------------------------------

// A standing watch. It ends with this object: once the destructor has returned, its callable is destroyed and not running,
// unless it is the callable itself that destroys its watch. So do not hold a lock that the callable wants.
class Watch {
 public:
  Watch() noexcept = default;
  Watch(Watch &&other) noexcept
      : core_(std::exchange(other.core_, {})), key_(std::exchange(other.key_, 0)), id_(std::exchange(other.id_, 0)) {}
  Watch &operator=(Watch &&other) noexcept {
    if (this != &other) {
      static_cast<void>(try_cancel());
      core_ = std::exchange(other.core_, {});
      key_ = std::exchange(other.key_, 0);
      id_ = std::exchange(other.id_, 0);
    }
    return *this;
  }
  Watch(const Watch &) = delete;
  Watch &operator=(const Watch &) = delete;
  ~Watch() { static_cast<void>(try_cancel()); }

  // Its number for zoa_client_unwatch; 0 when there is no watch.
  std::uint64_t id() const noexcept { return id_; }

  // Ends the watch. Waits for the server. ZOA_NO_WATCHER when a one-shot watch has fired; it has ended here in any case.
  Expected<void> try_cancel() noexcept {
    if (id_ == 0) return {};
    const std::uint64_t id = std::exchange(id_, 0);
    const auto core = std::exchange(core_, {}).lock();
    // With the client all its watches have ended.
    if (core == nullptr) return {};
    Expected<void> ended;
    if (zoa_client *const client = core->client.load()) ended = detail::checked(zoa_client_unwatch(client, id));
    core->keys->end(key_);
    return ended;
  }

  // Lets the watch go on until the client ends.
  void detach() noexcept {
    id_ = 0;
    core_.reset();
  }

#if ZOARIUM_EXCEPTIONS
  void cancel() { try_cancel().value(); }
#endif

 private:
  friend class Client;
  Watch(const std::shared_ptr<detail::Core> &core, std::uintptr_t key, std::uint64_t id) noexcept
      : core_(core), key_(key), id_(id) {}

  std::weak_ptr<detail::Core> core_;
  std::uintptr_t key_ = 0;
  std::uint64_t id_ = 0;
};

// ---- client -----------------------------------------------------------------------------------------------------------------

// How to begin a session.
struct ClientOptions {
  // What to ask for; the server clamps it. Zero: 10 s.
  milliseconds session_timeout{0};
  // All paths are below this one; empty for none.
  std::string chroot{};
  // Be content with a server without quorum, which answers reads.
  bool allow_read_only = false;
  // Where callbacks run; it must outlive the client. NULL: on the thread zoarium-callback.
  Queue *queue = nullptr;
  // Told of every change of the session's state, possibly before the Client exists.
  std::function<void(State)> on_state{};
  // Gets what a callback of this client throws, where callbacks run. Empty: that is std::terminate.
  std::function<void(std::exception_ptr)> on_exception{};
  // A session to take over, as Client::session told it.
  std::optional<zoa_session> resume{};
  // The longest request to send, in bytes; 0: see zoa_client_options.
  std::uint32_t request_size_max = 0;
};

// One session, in this process or over TCP. Any thread, several at a time. Its destructor ends the session and waits for
// the callbacks under way; from within one of them it takes effect when that returns.
class Client {
 public:
  Client() noexcept = default;
  Client(Client &&) noexcept = default;
  Client &operator=(Client &&) noexcept = default;
  Client(const Client &) = delete;
  Client &operator=(const Client &) = delete;
  ~Client() = default;

  zoa_client *get() const noexcept { return core_ == nullptr ? nullptr : core_->client.load(); }
  // Hands the handle over. The callables of its watches and of on_state stay for good, since nobody here learns when C
  // has no more use for them.
  zoa_client *release() noexcept { return core_ == nullptr ? nullptr : core_->client.exchange(nullptr); }

  // Begins a session with a server in this process, past the socket and nothing else.
  static Expected<Client> try_open(const Server &server, ClientOptions options = {}) noexcept {
    return begin(std::move(options), [&](const zoa_client_options &raw, zoa_client **client) {
      return zoa_client_open(server.get(), &raw, client);
    });
  }

  // Begins a session over TCP with one of `hosts`, "a:2181,b:2181/chroot".
  static Expected<Client> try_connect(std::string_view hosts, ClientOptions options = {}) noexcept {
    const detail::Text text(hosts);
    if (!text.whole()) return detail::Text::refused();
    return begin(std::move(options), [&](const zoa_client_options &raw, zoa_client **client) {
      return zoa_client_connect(text.c_str(), &raw, client);
    });
  }

  // Waits until a server answers.
  Expected<void> try_wait(milliseconds timeout = forever) noexcept {
    return detail::checked(zoa_client_wait(get(), detail::limit(timeout)));
  }

  // The session as it is now.
  Expected<zoa_session> try_session() const noexcept {
    zoa_session session = ZOA_SESSION_INIT;
    const zoa_code code = zoa_client_session(get(), &session);
    if (code != ZOA_OK) return Failure::last(code);
    return session;
  }

  // Adds an identity to the session: scheme "digest" with "user:password", for one.
  Expected<void> try_add_auth(std::string_view scheme, Bytes credentials) noexcept {
    const detail::Text text(scheme);
    if (!text.whole()) return detail::Text::refused();
    return detail::checked(zoa_client_add_auth(get(), text.c_str(), credentials.data(), credentials.size()));
  }

  // Ends the session, with its ephemeral znodes, and tells what the destructor would keep to itself.
  Expected<void> try_close(milliseconds timeout = forever) noexcept {
    return detail::checked(zoa_client_close(get(), detail::limit(timeout)));
  }

  // Lets go of the session and leaves it alive, to be resumed.
  Expected<void> try_detach() noexcept { return detail::checked(zoa_client_detach(get())); }

  // Creates a znode, open to everybody; its Result has path and stat. For an ACL or a TTL see Op::create.
  Expected<Result> try_create(std::string_view path, Bytes data = {}, Mode mode = Mode::persistent) noexcept {
    return at(path, [&](const char *text, zoa_result **result) {
      return zoa_client_create(get(), text, data.data(), data.size(), static_cast<std::int32_t>(mode), result);
    });
  }

  // Data and stat of a znode.
  Expected<Result> try_get(std::string_view path) noexcept {
    return at(path, [&](const char *text, zoa_result **result) { return zoa_client_get(get(), text, result); });
  }

  // The same, with a one-shot watch set in one step: `told(const Event &)`. Nothing can change in between.
  template <class F>
  Expected<Result> try_get(std::string_view path, F &&told) noexcept {
    return try_call(Op::get(path).with_watch(std::forward<F>(told)));
  }

  // Replaces a znode's data. Returns the stat after it.
  Expected<zoa_stat> try_set(std::string_view path, Bytes data, std::int32_t version = any_version) noexcept {
    const detail::Text text(path);
    if (!text.whole()) return detail::Text::refused();
    zoa_stat stat{};
    const zoa_code code = zoa_client_set(get(), text.c_str(), data.data(), data.size(), version, &stat);
    if (code != ZOA_OK) return Failure::last(code);
    return stat;
  }

  // Deletes a childless znode.
  Expected<void> try_remove(std::string_view path, std::int32_t version = any_version) noexcept {
    const detail::Text text(path);
    if (!text.whole()) return detail::Text::refused();
    return detail::checked(zoa_client_delete(get(), text.c_str(), version));
  }

  // A znode's stat; empty where there is no znode.
  Expected<std::optional<zoa_stat>> try_exists(std::string_view path) noexcept {
    const detail::Text text(path);
    if (!text.whole()) return detail::Text::refused();
    zoa_stat stat{};
    const zoa_code code = zoa_client_exists(get(), text.c_str(), &stat);
    if (code == ZOA_NO_NODE) return std::optional<zoa_stat>();
    if (code != ZOA_OK) return Failure::last(code);
    return std::optional<zoa_stat>(stat);
  }

  // The same, with a one-shot watch set in one step, also where there is no znode.
  template <class F>
  Expected<std::optional<zoa_stat>> try_exists(std::string_view path, F &&told) noexcept {
    return stat_or_none(try_call(Op::exists(path).with_watch(std::forward<F>(told))));
  }

  // Names of a znode's children and its stat.
  Expected<Result> try_children(std::string_view path) noexcept {
    return at(path, [&](const char *text, zoa_result **result) { return zoa_client_children(get(), text, result); });
  }

  // The same, with a one-shot watch set in one step.
  template <class F>
  Expected<Result> try_children(std::string_view path, F &&told) noexcept {
    return try_call(Op::children(path).with_watch(std::forward<F>(told)));
  }

  // Waits until this server has caught up with the leader.
  Expected<void> try_sync(std::string_view path = "/") noexcept {
    const detail::Text text(path);
    if (!text.whole()) return detail::Text::refused();
    return detail::checked(zoa_client_sync(get(), text.c_str()));
  }

  // Who the members of the ensemble are, whatever the chroot.
  Expected<Result> try_config() noexcept { return try_call(Op::config()); }
  // Changes them; see Op::reconfig.
  Expected<Result> try_reconfig(std::string_view joining, std::string_view leaving = {}, std::int64_t version = 0) noexcept {
    return try_call(Op::reconfig(joining, leaving, version));
  }

  // ACL and stat of a znode.
  Expected<Result> try_acl(std::string_view path) noexcept {
    return at(path, [&](const char *text, zoa_result **result) { return zoa_client_acl(get(), text, result); });
  }

  // Replaces a znode's ACL at ACL version `version`.
  Expected<void> try_set_acl(std::string_view path, std::vector<Acl> acl, std::int32_t version = any_version) noexcept {
    const auto done = try_call(Op::set_acl(path, std::move(acl), version));
    if (!done) return done.error();
    return {};
  }

  // Runs any operation. ZOA_TIMEOUT: the request goes on, and a write may still happen.
  Expected<Result> try_call(Op op, milliseconds timeout = forever) noexcept {
    if (!op.whole()) return detail::Text::refused();
    std::vector<zoa_acl> entries;
    zoa_op raw = op.raw(entries);
    const std::uintptr_t watch = arm(op, raw);
    zoa_result *result = nullptr;
    const zoa_code code = zoa_client_call(get(), &raw, detail::limit(timeout), &result);
    if (code == ZOA_OK) return Result(result);
    Failure failure = Failure::last(code);
    // After a time limit it may yet be set.
    if (watch != 0 && code != ZOA_TIMEOUT && !detail::sets_watch(raw.kind, code)) core_->keys->end(watch);
    return failure;
  }

  // Sends any operation and returns; `done(Expected<Result>)` runs exactly once, where callbacks run, with ZOA_CLOSED if
  // need be. When this fails, nothing was sent and `done` is destroyed without a call.
  template <class F>
  Expected<void> try_submit(Op op, F &&done) noexcept {
    if (!op.whole()) return detail::Text::refused();
    std::vector<zoa_acl> entries;
    zoa_op raw = op.raw(entries);
    const std::uintptr_t watch = arm(op, raw);
    auto pending = make_pending(std::forward<F>(done));
    pending->watch = watch;
    pending->kind = raw.kind;
    return handed_over(std::move(pending), [&](void *user_data) {
      return zoa_client_submit(get(), &raw, &detail::on_done, user_data);
    });
  }

  // Sets a standing watch: `told(const Event &)`. The Watch ends it; Watch::detach lets it go on.
  template <class F>
  Expected<Watch> try_watch(std::string_view path, WatchMode mode, F &&told) noexcept {
    const detail::Text text(path);
    if (!text.whole()) return detail::Text::refused();
    if (core_ == nullptr) return Failure(ZOA_NULL_ARGUMENT, "there is no client");
    auto slot = std::make_shared<detail::Slot>();
    slot->on_event = detail::Callable<const Event &>(std::forward<F>(told));
    slot->on_exception = core_->on_exception;
    slot->once = mode == WatchMode::once_data || mode == WatchMode::once_children;
    const std::uintptr_t key = core_->keys->add(std::move(slot));
    std::uint64_t id = 0;
    const zoa_code code = zoa_client_watch(get(), text.c_str(), static_cast<std::int32_t>(mode), &detail::on_event,
                                           detail::as_user_data(key), &id);
    if (code == ZOA_OK) return Watch(core_, key, id);
    Failure failure = Failure::last(code);
    core_->keys->end(key);
    return failure;
  }

  // Several operations as one: all happen or none.
  Transaction transaction() noexcept;

#if ZOARIUM_EXCEPTIONS
  explicit Client(const Server &server, ClientOptions options = {}) : Client(try_open(server, std::move(options)).value()) {}

  static Client open(const Server &server, ClientOptions options = {}) { return try_open(server, std::move(options)).value(); }
  static Client connect(std::string_view hosts, ClientOptions options = {}) {
    return try_connect(hosts, std::move(options)).value();
  }
  void wait(milliseconds timeout = forever) { try_wait(timeout).value(); }
  zoa_session session() const { return try_session().value(); }
  void add_auth(std::string_view scheme, Bytes credentials) { try_add_auth(scheme, credentials).value(); }
  void close(milliseconds timeout = forever) { try_close(timeout).value(); }
  void detach() { try_detach().value(); }
  Result create(std::string_view path, Bytes data = {}, Mode mode = Mode::persistent) { return try_create(path, data, mode).value(); }
  Result get(std::string_view path) { return try_get(path).value(); }
  template <class F>
  Result get(std::string_view path, F &&told) {
    return try_get(path, std::forward<F>(told)).value();
  }
  zoa_stat set(std::string_view path, Bytes data, std::int32_t version = any_version) { return try_set(path, data, version).value(); }
  void remove(std::string_view path, std::int32_t version = any_version) { try_remove(path, version).value(); }
  std::optional<zoa_stat> exists(std::string_view path) { return try_exists(path).value(); }
  template <class F>
  std::optional<zoa_stat> exists(std::string_view path, F &&told) {
    return try_exists(path, std::forward<F>(told)).value();
  }
  Result children(std::string_view path) { return try_children(path).value(); }
  template <class F>
  Result children(std::string_view path, F &&told) {
    return try_children(path, std::forward<F>(told)).value();
  }
  void sync(std::string_view path = "/") { try_sync(path).value(); }
  Result config() { return try_config().value(); }
  Result reconfig(std::string_view joining, std::string_view leaving = {}, std::int64_t version = 0) {
    return try_reconfig(joining, leaving, version).value();
  }
  Result acl(std::string_view path) { return try_acl(path).value(); }
  void set_acl(std::string_view path, std::vector<Acl> acl, std::int32_t version = any_version) {
    try_set_acl(path, std::move(acl), version).value();
  }
  Result call(Op op, milliseconds timeout = forever) { return try_call(std::move(op), timeout).value(); }
  template <class F>
  void submit(Op op, F &&done) {
    try_submit(std::move(op), std::forward<F>(done)).value();
  }
  template <class F>
  Watch watch(std::string_view path, WatchMode mode, F &&told) {
    return try_watch(path, mode, std::forward<F>(told)).value();
  }

  // The same without waiting. The future becomes ready where callbacks run: do not wait for it in a callback, nor on the
  // thread that is to run the client's queue. Requests are carried out in the order in which they were sent.
  std::future<Result> async_call(Op op) {
    return promised<Result>(std::move(op), [](Expected<Result> result) { return result; });
  }
  std::future<Result> async_create(std::string_view path, Bytes data = {}, Mode mode = Mode::persistent) {
    return async_call(Op::create(path, data, mode));
  }
  std::future<Result> async_get(std::string_view path) { return async_call(Op::get(path)); }
  std::future<Result> async_set(std::string_view path, Bytes data, std::int32_t version = any_version) {
    return async_call(Op::set(path, data, version));
  }
  std::future<Result> async_remove(std::string_view path, std::int32_t version = any_version) {
    return async_call(Op::remove(path, version));
  }
  std::future<std::optional<zoa_stat>> async_exists(std::string_view path) {
    return promised<std::optional<zoa_stat>>(Op::exists(path), &Client::stat_or_none);
  }
  std::future<Result> async_children(std::string_view path) { return async_call(Op::children(path)); }
  std::future<Result> async_sync(std::string_view path = "/") { return async_call(Op::sync(path)); }
#endif

 private:
  friend class Transaction;

  explicit Client(std::shared_ptr<detail::Core> core) noexcept : core_(std::move(core)) {}

  template <class F>
  static Expected<Client> begin(ClientOptions options, F &&open) noexcept {
    const detail::Text chroot(options.chroot);
    if (!chroot.whole()) return detail::Text::refused();
    auto core = std::make_shared<detail::Core>();
    if (options.on_exception) {
      core->on_exception = std::make_shared<const detail::ExceptionHandler>(std::move(options.on_exception));
    }
    zoa_client_options raw = ZOA_CLIENT_OPTIONS_INIT;
    raw.flags = options.allow_read_only ? ZOA_ALLOW_READ_ONLY : 0;
    raw.session_timeout_ms = options.session_timeout.count() <= 0 ? 0 : detail::limit(options.session_timeout);
    raw.chroot = options.chroot.empty() ? nullptr : chroot.c_str();
    raw.queue = options.queue == nullptr ? nullptr : options.queue->get();
    raw.request_size_max = options.request_size_max;
    if (options.resume) {
      raw.resume_id = options.resume->id;
      std::memcpy(raw.resume_password, options.resume->password, sizeof raw.resume_password);
    }
    if (options.on_state) {
      auto slot = std::make_shared<detail::Slot>();
      slot->on_state = detail::Callable<State>(std::move(options.on_state));
      slot->on_exception = core->on_exception;
      raw.on_state = &detail::on_state;
      raw.user_data = detail::as_user_data(core->keys->add(std::move(slot)));
    }
    zoa_client *client = nullptr;
    const zoa_code code = open(raw, &client);
    if (code != ZOA_OK) {
      Failure failure = Failure::last(code);
      core->keys->end_all();
      return failure;
    }
    core->client.store(client);
    return Client(std::move(core));
  }

  template <class F>
  static Expected<Result> at(std::string_view path, F &&run) noexcept {
    const detail::Text text(path);
    if (!text.whole()) return detail::Text::refused();
    zoa_result *result = nullptr;
    const zoa_code code = run(text.c_str(), &result);
    if (code != ZOA_OK) return Failure::last(code);
    return Result(result);
  }

  static Expected<std::optional<zoa_stat>> stat_or_none(Expected<Result> result) noexcept {
    if (result) return result->stat();
    if (result.code() == ZOA_NO_NODE) return std::optional<zoa_stat>();
    return std::move(result).error();
  }

  // Gives the watch of an operation a slot that C can name; 0 for none.
  std::uintptr_t arm(Op &op, zoa_op &raw) noexcept {
    if (!op.watch_ || core_ == nullptr) return 0;
    auto slot = std::make_shared<detail::Slot>();
    slot->on_event = std::move(op.watch_);
    slot->on_exception = core_->on_exception;
    slot->once = true;
    const std::uintptr_t key = core_->keys->add(std::move(slot));
    raw.watch = &detail::on_event;
    raw.watch_data = detail::as_user_data(key);
    return key;
  }

  template <class F>
  std::unique_ptr<detail::Pending> make_pending(F &&done) noexcept {
    auto pending = std::make_unique<detail::Pending>();
    pending->done = detail::Callable<Expected<Result>>(std::forward<F>(done));
    if (core_ != nullptr) {
      pending->on_exception = core_->on_exception;
      pending->keys = core_->keys;
    }
    return pending;
  }

  template <class F>
  Expected<void> handed_over(std::unique_ptr<detail::Pending> pending, F &&submit) noexcept {
    // It may be over before the call returns.
    detail::Pending *const handed = pending.release();
    const zoa_code code = submit(handed);
    if (code == ZOA_OK) return {};
    Failure failure = Failure::last(code);
    pending.reset(handed);
    if (pending->watch != 0) core_->keys->end(pending->watch);
    return failure;
  }

#if ZOARIUM_EXCEPTIONS
  template <class T, class F>
  std::future<T> promised(Op op, F convert) {
    auto promise = std::make_shared<std::promise<T>>();
    auto future = promise->get_future();
    const auto sent = try_submit(std::move(op), [promise, convert](Expected<Result> result) {
      Expected<T> value = convert(std::move(result));
      if (value) {
        promise->set_value(*std::move(value));
      } else {
        promise->set_exception(std::make_exception_ptr(Error(std::move(value).error())));
      }
    });
    if (!sent) promise->set_exception(std::make_exception_ptr(Error(sent.error())));
    return future;
  }
#endif

  std::shared_ptr<detail::Core> core_;
};

// ---- transactions -------------------------------------------------------------------------------------------------------------

// Several operations as one: all writes, which happen together or not at all, or all reads (get, children) of one moment,
// each with a code of its own. It borrows its Client. One thread at a time.
class Transaction {
 public:
  explicit Transaction(Client &client) noexcept : client_(&client) {}

  Transaction &add(Op op) {
    ops_.push_back(std::move(op));
    return *this;
  }
  Transaction &create(std::string_view path, Bytes data = {}, Mode mode = Mode::persistent) {
    return add(Op::create(path, data, mode));
  }
  Transaction &set(std::string_view path, Bytes data, std::int32_t version = any_version) {
    return add(Op::set(path, data, version));
  }
  Transaction &remove(std::string_view path, std::int32_t version = any_version) { return add(Op::remove(path, version)); }
  // Lets the whole fail unless the znode has this version.
  Transaction &check(std::string_view path, std::int32_t version) { return add(Op::check(path, version)); }
  Transaction &get(std::string_view path) { return add(Op::get(path)); }
  Transaction &children(std::string_view path) { return add(Op::children(path)); }

  std::size_t size() const noexcept { return ops_.size(); }

  // Carries it out; Result::part has what each operation brought. When it is refused, Failure::part says whose fault it was.
  // The operations stay: it may be committed again.
  Expected<Result> try_commit() noexcept {
    const auto raw = borrowed();
    if (!raw) return detail::Text::refused();
    zoa_result *result = nullptr;
    const zoa_code code = zoa_client_multi(client_->get(), raw->ops.data(), raw->ops.size(), &result);
    if (code == ZOA_OK) return Result(result);
    Failure failure = Failure::last(code);
    const Result refused(result);
    if (const auto part = detail::to_blame(refused)) failure = Failure(code, failure.text(), part, failure.outcome());
    return failure;
  }

  // Sends it and returns, as Client::submit.
  template <class F>
  Expected<void> try_submit(F &&done) noexcept {
    const auto raw = borrowed();
    if (!raw) return detail::Text::refused();
    return client_->handed_over(client_->make_pending(std::forward<F>(done)), [&](void *user_data) {
      return zoa_client_submit_multi(client_->get(), raw->ops.data(), raw->ops.size(), &detail::on_done, user_data);
    });
  }

#if ZOARIUM_EXCEPTIONS
  Result commit() { return try_commit().value(); }
  template <class F>
  void submit(F &&done) {
    try_submit(std::forward<F>(done)).value();
  }
  // As Client::async_call.
  std::future<Result> async_commit() {
    auto promise = std::make_shared<std::promise<Result>>();
    auto future = promise->get_future();
    const auto sent = try_submit([promise](Expected<Result> result) {
      if (result) {
        promise->set_value(*std::move(result));
      } else {
        promise->set_exception(std::make_exception_ptr(Error(std::move(result).error())));
      }
    });
    if (!sent) promise->set_exception(std::make_exception_ptr(Error(sent.error())));
    return future;
  }
#endif

 private:
  struct Raw {
    std::vector<zoa_op> ops;
    std::vector<std::vector<zoa_acl>> acls;
  };

  // For C; empty where a text has a NUL within.
  std::optional<Raw> borrowed() const {
    Raw raw;
    raw.acls.resize(ops_.size());
    for (std::size_t at = 0; at < ops_.size(); ++at) {
      if (!ops_[at].whole()) return std::nullopt;
      raw.ops.push_back(ops_[at].raw(raw.acls[at]));
    }
    return raw;
  }

  Client *client_;
  std::vector<Op> ops_;
};

inline Transaction Client::transaction() noexcept { return Transaction(*this); }

}  // namespace zoa

#endif  // ZOARIUM_HPP
