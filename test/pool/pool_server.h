// PoolServer: a simulated model server on a port: a SimEngine that speaks HTTP/1.1 as vLLM does.
//
//   POST /v1/chat/completions, /v1/completions   unary, or a stream of server-sent events
//   GET  /metrics                                vLLM's names, those that routers read
//   GET  /health, /v1/models
//
// Its prompt is what stands in the body behind "messages" or "prompt", four bytes a token; an answer
// has as many tokens as were allowed, and says nothing. As with vLLM, the head of a stream leaves at
// once and the first event with the first token; `tokens_an_event` is its --stream-interval. Time runs
// `speed` times as fast as the clock on the wall, for everything in here.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "proxy/http/server.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "test/bench/pacer.h"
#include "test/pool/engine.h"

namespace glia {

struct PoolServerConfig {
  EngineConfig engine;
  double speed = 1;
  uint32_t tokens_an_event = 16;
};

// Lives on the loop's thread and ends before the loop.
class PoolServer final : private AcceptHandler, private Service, private ServerConnection::Owner {
 public:
  static constexpr std::size_t kLargestBody = 16 * 1024 * 1024;  // bytes
  static constexpr uint32_t kUsualOutput = 16;  // Tokens, where a request sets no limit; vLLM's.

  PoolServer(EventLoop& loop, Network& network, PoolServerConfig config, std::string name);
  ~PoolServer() override;

  // On a free port of the loopback address.
  Result<void> listen();
  const Address& address() const { return address_; }

  // How it goes wrong. A server that dies breaks off all its connections and refuses new ones; when it
  // comes back its cache is empty.
  enum class Metrics { kTrue, kNone, kEmptyAlways };
  void metrics(Metrics metrics) { metrics_ = metrics; }
  void slowness(double slowness);
  void die();
  Result<void> come_back();

  const SimEngine& engine() const { return *engine_; }

 private:
  class Writing;
  void on_accept(std::unique_ptr<Stream> stream) override;
  void on_finished(ServerConnection& connection) override;
  Task<void> serve(ServerStream& stream) override;
  Task<void> answer(ServerStream& stream, const std::string& body);
  std::string page() const;
  TimePoint now() const;
  // Gives out what the engine has written, and sets the alarm for what comes next.
  void deliver();

  EventLoop& loop_;
  Network& network_;
  const PoolServerConfig config_;
  const std::string name_;
  Address address_;
  ServerOptions options_;
  HttpServerStats stats_;
  Metrics metrics_ = Metrics::kTrue;
  double slowness_ = 1;
  const TimePoint began_;
  std::unique_ptr<SimEngine> engine_;
  std::unordered_map<SimEngine::Id, Writing*> writing_;
  Pacer pacer_;
  std::unique_ptr<Acceptor> acceptor_;
  std::map<ServerConnection*, std::unique_ptr<ServerConnection>> connections_;
};

}  // namespace glia
