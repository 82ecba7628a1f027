#include "cli/probe.h"

#include <optional>

#include "proxy/base/text.h"
#include "proxy/http/client.h"

namespace glia {
namespace {

constexpr Duration kPatience = 1s;

// One connection for one question. It lives in the asking task's frame and is reaped when it ends.
class Question final : private ClientConnection::Owner, private Timer {
 public:
  Question(EventLoop& loop, Network& network, const Address& address) : Timer(loop) {
    connection_ = connect_http(loop, network.connect(address), options_, *this, stats_);
    start(kPatience);
  }
  ~Question() override {
    if (connection_ != nullptr) loop_.reap(std::move(connection_));
  }

  WaitSlot changed;
  bool open() const { return open_; }
  bool over() const { return connection_ == nullptr || late_; }
  ClientConnection& connection() { return *connection_; }

 private:
  void on_connected(ClientConnection&) override {
    open_ = true;
    changed.wake(loop_.ready());
  }
  void on_capacity(ClientConnection&) override {}
  void on_finished(ClientConnection&, const Error&) override {
    loop_.reap(std::move(connection_));
    changed.wake(loop_.ready());
  }
  void fire() override {
    late_ = true;
    changed.wake(loop_.ready());
  }

  // Connections that are still being reaped may look at these; they are the same for all.
  static inline ClientOptions options_;
  static inline HttpClientStats stats_;
  std::unique_ptr<ClientConnection> connection_;
  bool open_ = false, late_ = false;
};

}  // namespace

Task<bool> is_ready(EventLoop& loop, Network& network, Address address, std::string path) {
  const ArenaRef arena = ArenaRef::create();
  const std::string authority = address.text();
  Request request(arena);
  Question question(loop, network, address);
  while (!question.open() && !question.over()) co_await wait_in(question.changed);
  if (question.over()) co_return false;
  if (path.empty()) co_return true;
  request.method = "GET";
  request.scheme = "http";
  request.authority = authority;
  request.path = path;
  const std::unique_ptr<Call> call = question.connection().start(request);
  while (!call->head_ready() && !question.over()) {
    // The head wakes one slot and the clock another; a short look is simpler than waiting for both.
    co_await sleep_for(loop, 5ms);
  }
  if (!call->head_ready()) co_return false;
  const Result<Response> response = call->take_head();
  co_return response.ok() && response->status == 200;
}

}  // namespace glia
