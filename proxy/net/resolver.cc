#include "proxy/net/resolver.h"

#include <netdb.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "proxy/base/text.h"
#include "proxy/net/tcp.h"

namespace glia {
namespace {

Error not_found(const std::string& host, std::string_view why, Retry retry) {
  return Error(ErrorKind::kConnectFailed, Fault::kUpstream, cat("resolve \"", host, "\": ", why),
               retry);
}

// With port 0. The order is the system's (RFC 6724).
Result<std::vector<Address>> look_up(const std::string& host) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int code = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (code == EAI_SYSTEM) return not_found(host, system_error_text(errno), Retry::kSafe);
  if (code != 0) {
    std::string why = gai_strerror(code);
    if (!why.empty()) why[0] = to_lower(why[0]);
    return not_found(host, why, code == EAI_AGAIN ? Retry::kSafe : Retry::kNo);
  }
  std::vector<Address> found;
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    if (one->ai_family != AF_INET && one->ai_family != AF_INET6) continue;
    Address address = Address::from(one->ai_addr, one->ai_addrlen);
    if (std::find(found.begin(), found.end(), address) == found.end()) found.push_back(address);
  }
  freeaddrinfo(list);
  if (found.empty()) return not_found(host, "the name has no IP address", Retry::kNo);
  return found;
}

}  // namespace

// The thread and its queue. Whoever comes last, the resolver or the thread, deletes it.
class Resolver::Worker {
 public:
  using Answer = std::function<void(Result<std::vector<Address>>)>;

  Worker() : thread_([this] { run(); }) {}

  // `answer` is called on the worker's thread, and never after leave() has returned.
  void ask(std::string host, Answer answer) {
    const std::lock_guard lock(mutex_);
    questions_.emplace_back(std::move(host), std::move(answer));
    changed_.notify_one();
  }

  void leave() {
    {
      const std::lock_guard lock(mutex_);
      left_ = true;
      questions_.clear();
      if (busy_) return thread_.detach();  // The thread deletes this.
      changed_.notify_one();
    }
    thread_.join();
    delete this;
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return left_ || !questions_.empty(); });
      if (left_) return;
      auto [host, answer] = std::move(questions_.front());
      questions_.pop_front();
      busy_ = true;
      lock.unlock();
      Result<std::vector<Address>> found = look_up(host);
      lock.lock();
      if (left_) break;
      busy_ = false;
      answer(std::move(found));
    }
    lock.unlock();
    delete this;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<std::string, Answer>> questions_;  // Guarded by mutex_, as all below.
  bool busy_ = false;                                     // Inside getaddrinfo.
  bool left_ = false;
  std::thread thread_;
};

Resolver::Resolver(EventLoop& loop) : loop_(loop), worker_(new Worker()) {}

Resolver::~Resolver() {
  for (auto& [id, lookup] : lookups_) lookup->resolver_ = nullptr;
  worker_->leave();
}

Resolver::Lookup::Lookup(Resolver& resolver, const std::string& host)
    : resolver_(&resolver),
      id_(++resolver.last_id_),
      answer_(not_found(host, "no answer yet", Retry::kSafe)) {
  resolver.lookups_[id_] = this;
  // The answer is posted to the loop, and there finds out whether the resolver is still alive.
  std::weak_ptr<const Alive> alive = resolver.alive_;
  resolver.worker_->ask(host, [&resolver, alive, id = id_](Result<std::vector<Address>> found) {
    resolver.loop_.post([&resolver, alive, id, found = std::move(found)] {
      if (!alive.expired()) resolver.answered(id, found);
    });
  });
}

Resolver::Lookup::~Lookup() {
  if (resolver_ != nullptr) resolver_->lookups_.erase(id_);
}

void Resolver::answered(uint64_t id, Result<std::vector<Address>> answer) {
  const auto found = lookups_.find(id);
  if (found == lookups_.end()) return;
  Lookup& lookup = *found->second;
  lookups_.erase(found);
  lookup.resolver_ = nullptr;
  lookup.answer_ = std::move(answer);
  lookup.done_.wake(loop_.ready());
}

}  // namespace glia
