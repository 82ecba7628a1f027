// ApiServer: the API server of a cluster as we reach it: HTTP/1.1 over verified TLS, a connection for each request.
//
// Requests are few (a list in pages, one watch a kind, a status now and then), so nothing is pooled: a
// connection that has gone bad harms one request. The token, and the authority of a pod, are read again before
// each request, for they change while we run. Belongs to one loop.
#pragma once

#include <memory>
#include <string>

#include "control_plane/kubernetes/access.h"
#include "proxy/http/client.h"
#include "proxy/mesh/connected.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"
#include "proxy/net/tls.h"

namespace glia {

struct ApiRequest {
  std::string method = "GET";
  std::string path;  // With query.
  std::string body = {}, content_type = "application/json";
};

struct ApiAnswer {
  int status = 0;
  std::string body;
};

class ApiServer {
 public:
  static constexpr Duration kAnswerTime = 30s;              // Of a request, its answer included.
  static constexpr std::size_t kLargestAnswer = 64u << 20;  // bytes

  // Both outlive it.
  ApiServer(EventLoop& loop, Network& network, ApiAccess access)
      : loop_(loop), network_(network), access_(std::move(access)) {}
  ApiServer(const ApiServer&) = delete;

  // The whole answer, whatever its status. An error: there was none.
  Task<Result<ApiAnswer>> ask(ApiRequest request);
  const ApiAccess& access() const { return access_; }
  EventLoop& loop() { return loop_; }

 private:
  friend class ApiCall;
  // Null without TLS.
  Result<std::shared_ptr<const TlsContext>> tls();
  Result<std::string> token() const;

  EventLoop& loop_;
  Network& network_;
  const ApiAccess access_;
  std::string trusted_;  // By tls_.
  std::shared_ptr<const TlsContext> tls_;
};

// One request and its answer as it comes.
class ApiCall {
 public:
  // `server` outlives it.
  ApiCall(ApiServer& server, ApiRequest request);
  ~ApiCall();
  ApiCall(const ApiCall&) = delete;

  // From now on, what does not come within `time` fails with a timeout.
  void within(Duration time);
  // Connects, asks, and gives the status; once. Then there is a body.
  Task<Result<int>> start();
  Body& body() { return *call_; }

 private:
  void late();
  void fill_request(const std::string& token);

  ApiServer& server_;
  const ApiRequest what_;
  Duration time_{0};
  CallbackTimer limit_;
  bool late_ = false;
  ArenaRef arena_;
  std::string path_, authority_;
  Request request_;  // Outlives the call.
  std::unique_ptr<Connected> connected_;
  std::unique_ptr<Call> call_;
};

// What the API server says in an answer that is no success: "status 403: pods is forbidden: ...".
std::string refusal_of(const ApiAnswer& answer);

}  // namespace glia
