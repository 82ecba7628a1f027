#include "cli/fetch.h"

#include <memory>
#include <optional>

#include "proxy/base/text.h"
#include "proxy/http/client.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/tcp.h"

namespace glia {
namespace {

constexpr Duration kFetchLimit = 3s;
constexpr std::size_t kLargestPage = 16 * 1024 * 1024;  // bytes

class Fetch final : private ClientConnection::Owner {
 public:
  Fetch(EventLoop& loop, Network& network, const Address& to, std::string_view path)
      : loop_(loop),
        authority_(to.text()),
        path_(path),
        limit_(loop, [this] { end(invalid("no answer in time")); }),
        arena_(ArenaRef::create()),
        request_(arena_) {
    connection_ = connect_http(loop, network.connect(to), options_, *this, stats_);
    limit_.start(kFetchLimit);
    task_ = run();
    task_.start();
  }
  // Before the last turn of the loop: a connection that is being reaped looks at its owner.
  void close() {
    limit_.stop();
    task_.cancel();
    call_.reset();
    if (connection_ != nullptr) loop_.reap(std::move(connection_));
  }
  std::optional<Result<std::string>> result;

 private:
  void on_connected(ClientConnection&) override {
    open_ = true;
    changed_.wake(loop_.ready());
  }
  void on_capacity(ClientConnection&) override {}
  void on_finished(ClientConnection&, const Error& error) override {
    if (!open_) end(error);
    if (connection_ != nullptr) loop_.reap(std::move(connection_));
  }
  void end(Result<std::string> found) {
    if (!result) result.emplace(std::move(found));
  }
  Task<void> run() { end(co_await talk()); }
  Task<Result<std::string>> talk() {
    while (!open_) co_await wait_in(changed_);
    request_.method = "GET";
    request_.scheme = "http";
    request_.authority = authority_;
    request_.path = path_;
    call_ = connection_->start(request_);
    CO_TRY(const Response head, co_await head_of(*call_));
    CO_TRY(std::string body, co_await read_all(*call_, kLargestPage));
    if (head.status == 200) co_return body;
    co_return invalid(cat("status ", head.status, ": ", trim(body, " \n")));
  }

  EventLoop& loop_;
  const ClientOptions options_;
  HttpClientStats stats_;
  const std::string authority_, path_;
  CallbackTimer limit_;
  ArenaRef arena_;
  Request request_;  // Outlives the call.
  std::unique_ptr<ClientConnection> connection_;
  std::unique_ptr<Call> call_;
  WaitSlot changed_;
  bool open_ = false;
  Task<void> task_;
};

}  // namespace

Result<std::string> fetch(std::string_view address, std::string_view path) {
  TRY(const Address to, Address::parse(address));
  EventLoop loop(std::make_unique<LibeventBackend>());
  SocketNetwork network(loop);
  Fetch running(loop, network, to, path);
  while (!running.result) loop.turn(kFetchLimit);
  Result<std::string> result = std::move(*running.result);
  running.close();
  loop.turn(Duration(0));
  if (!result) return std::move(result).error().in(address);
  return result;
}

}  // namespace glia
