// pool: a process with several simulated model servers, for benches and end-to-end tests.
//
//   pool SERVERS [NAME=NUMBER...]
//
// NAMEs are fields of EngineConfig and PoolServerConfig. The first line that it writes says where they
// are: {"servers":["127.0.0.1:4711",...],"admin":"127.0.0.1:4720"}. Faults are asked for at the latter:
//
//   POST /servers/2?slowness=4    rates by 4 less, until slowness=1
//   POST /servers/2?metrics=none  its page is 503; lies: it says that it is empty; true
//   POST /servers/2?alive=0       it dies, all its streams with it; alive=1: it comes back
//
// Ends when its standard input does.
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <vector>

#include "proxy/base/text.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/tcp.h"
#include "test/pool/pool_server.h"

namespace glia {
namespace {

constexpr std::size_t kMostServers = 256;

Result<double> number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value > 0)) {
    return invalid(cat("'", text, "' is not a number above 0"));
  }
  return value;
}

Result<void> set_field(PoolServerConfig& config, std::string_view name, double value) {
  const auto whole = static_cast<std::size_t>(value);
  if (name == "slots") {
    config.engine.slots = whole;
  } else if (name == "prefill_rate") {
    config.engine.prefill_rate = value;
  } else if (name == "decode_each") {
    config.engine.decode_each = value;
  } else if (name == "decode_all") {
    config.engine.decode_all = value;
  } else if (name == "decode_while_prefilling") {
    config.engine.decode_while_prefilling = value;
  } else if (name == "block_tokens") {
    config.engine.block_tokens = whole;
  } else if (name == "blocks") {
    config.engine.blocks = whole;
  } else if (name == "speed") {
    config.speed = value;
  } else if (name == "tokens_an_event") {
    config.tokens_an_event = static_cast<uint32_t>(whole);
  } else {
    return invalid(cat("'", name, "' is not a field of a server"));
  }
  return {};
}

// The servers, and the port at which they are told to go wrong.
class Pool final : private AcceptHandler, private Service, private ServerConnection::Owner {
 public:
  Pool(EventLoop& loop, Network& network) : loop_(loop), network_(network) {}
  ~Pool() override {
    acceptor_.reset();
    connections_.clear();
  }

  Result<void> begin(std::size_t count, const PoolServerConfig& config) {
    std::string line = "{\"servers\":[";
    for (std::size_t i = 0; i < count; ++i) {
      servers_.push_back(std::make_unique<PoolServer>(loop_, network_, config, cat(i)));
      TRY_VOID(servers_.back()->listen());
      line += cat(i == 0 ? "\"" : ",\"", servers_.back()->address().text(), "\"");
    }
    TRY(const Address any, Address::ip("127.0.0.1", 0));
    TRY(acceptor_, network_.listen(any, ListenOptions(), *this));
    std::printf("%s],\"admin\":\"%s\"}\n", line.c_str(), acceptor_->address().text().c_str());
    std::fflush(stdout);
    return {};
  }

 private:
  void on_accept(std::unique_ptr<Stream> stream) override {
    auto connection = serve_http(loop_, std::move(stream), options_, *this, *this, stats_);
    ServerConnection* const key = connection.get();
    connections_.emplace(key, std::move(connection));
  }
  void on_finished(ServerConnection& connection) override {
    const auto found = connections_.find(&connection);
    loop_.reap(std::move(found->second));
    connections_.erase(found);
  }

  Task<void> serve(ServerStream& stream) override {
    const Result<void> outcome = obey(stream.request().path);
    Response response(stream.arena());
    response.status = outcome ? 200 : 400;
    const std::string text = outcome ? "done\n" : cat(outcome.error().message(), "\n");
    response.body = std::make_unique<TextBody>(Slice::copy(text));
    (void)co_await stream.respond(std::move(response));
  }

  Result<void> obey(std::string_view path) {
    constexpr std::string_view kBegin = "/servers/";
    const std::size_t query = path.find('?'), equals = path.find('=');
    if (!path.starts_with(kBegin) || query == path.npos || equals == path.npos || equals < query) {
      return invalid(cat(path, ": write /servers/NUMBER?WHAT=VALUE"));
    }
    const auto place = parse_decimal(path.substr(kBegin.size(), query - kBegin.size()));
    if (!place || *place >= servers_.size()) return invalid(cat(path, ": there is no such server"));
    PoolServer& server = *servers_[*place];
    const std::string_view what = path.substr(query + 1, equals - query - 1);
    const std::string_view value = path.substr(equals + 1);
    if (what == "slowness") {
      TRY(const double slowness, number(value));
      server.slowness(slowness);
      return {};
    }
    if (what == "metrics" && (value == "true" || value == "none" || value == "lies")) {
      server.metrics(value == "true"   ? PoolServer::Metrics::kTrue
                     : value == "none" ? PoolServer::Metrics::kNone
                                       : PoolServer::Metrics::kEmptyAlways);
      return {};
    }
    if (what == "alive" && value == "1") return server.come_back();
    if (what != "alive" || value != "0") return invalid(cat(path, ": no such fault"));
    server.die();
    return {};
  }

  EventLoop& loop_;
  Network& network_;
  std::vector<std::unique_ptr<PoolServer>> servers_;
  ServerOptions options_;
  HttpServerStats stats_;
  std::unique_ptr<Acceptor> acceptor_;
  std::map<ServerConnection*, std::unique_ptr<ServerConnection>> connections_;
};

// Ends the loop when nobody holds the other end of standard input any more.
class Leash final : private FdWatch {
 public:
  Leash(LibeventBackend& backend, EventLoop& loop) : FdWatch(backend, STDIN_FILENO), loop_(loop) {
    want(/*reading=*/true, /*writing=*/false);
  }
  ~Leash() override { unwatch(); }

 private:
  void on_event(uint8_t) override {
    char ignored[256];
    if (::read(fd_, ignored, sizeof ignored) <= 0) loop_.stop();
  }
  EventLoop& loop_;
};

Result<void> run(int argc, char** argv) {
  const auto count = argc > 1 ? parse_decimal(argv[1]) : std::nullopt;
  if (!count || *count == 0 || *count > kMostServers) {
    return invalid("usage: pool SERVERS [NAME=NUMBER...], of at most 256 servers");
  }
  PoolServerConfig config;
  for (int i = 2; i < argc; ++i) {
    const std::string_view word = argv[i];
    const std::size_t equals = std::min(word.find('='), word.size());
    TRY(const double value, number(word.substr(std::min(equals + 1, word.size()))));
    TRY_VOID(set_field(config, word.substr(0, equals), value));
  }
  auto backend = std::make_unique<LibeventBackend>();
  LibeventBackend& events = *backend;
  EventLoop loop(std::move(backend));
  SocketNetwork network(loop);
  Pool pool(loop, network);
  TRY_VOID(pool.begin(*count, config));
  const Leash leash(events, loop);
  loop.run();
  return {};
}

}  // namespace
}  // namespace glia

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  const auto outcome = glia::run(argc, argv);
  if (outcome) return 0;
  std::fprintf(stderr, "pool: %s\n", outcome.error().message().c_str());
  return 1;
}
