#include "control_plane/kubernetes/api_server.h"

#include <utility>

#include "control_plane/inject/decide.h"
#include "proxy/base/text.h"
#include "proxy/http/body.h"

namespace glia {
namespace {

constexpr std::size_t kShownOfAnswer = 400;  // bytes, in a sentence
constexpr Duration kHandshakeTime = 10s;

}  // namespace

Result<std::shared_ptr<const TlsContext>> ApiServer::tls() {
  if (!access_.tls) return std::shared_ptr<const TlsContext>();
  std::string trusted = access_.authority;
  if (!access_.authority_file.empty()) {
    TRY(trusted, read_small_file(access_.authority_file));
  }
  if (tls_ != nullptr && trusted == trusted_) return tls_;
  const std::string& name = access_.server_name.empty() ? access_.host : access_.server_name;
  const bool address = Address::ip(name, access_.port).ok();
  TlsOptions options;
  options.trusted_ca = trusted;
  options.certificate_chain = access_.certificate;
  options.private_key = access_.private_key;
  if (!address) options.server_name = name;
  options.peer_sans = {{.type = address ? SanMatch::Type::kIp : SanMatch::Type::kDns,
                        .kind = SanMatch::Kind::kExact,
                        .value = name}};
  options.alpn = {"http/1.1"};
  TRY(tls_, TlsContext::create(TlsContext::Side::kClient, options));
  trusted_ = std::move(trusted);
  return tls_;
}

Result<std::string> ApiServer::token() const {
  if (access_.token_file.empty()) return access_.token;
  TRY(const std::string text, read_small_file(access_.token_file));
  return std::string(trim(text, " \r\n"));
}

Task<Result<ApiAnswer>> ApiServer::ask(ApiRequest request) {
  ApiCall call(*this, std::move(request));
  call.within(kAnswerTime);
  CO_TRY(const int status, co_await call.start());
  ApiAnswer answer{status, {}};
  CO_TRY(answer.body, co_await read_all(call.body(), kLargestAnswer));
  co_return answer;
}

ApiCall::ApiCall(ApiServer& server, ApiRequest request)
    : server_(server),
      what_(std::move(request)),
      limit_(server.loop_, [this] { late(); }),
      arena_(ArenaRef::create()),
      request_(arena_) {}

ApiCall::~ApiCall() {
  call_.reset();
  if (connected_ != nullptr) server_.loop_.reap(std::move(connected_));
}

void ApiCall::within(Duration time) {
  time_ = time;
  limit_.start(time);
}

void ApiCall::late() {
  late_ = true;
  if (call_ != nullptr) {
    call_->cancel(Error(ErrorKind::kTimeout, Fault::kUpstream,
                        cat(server_.access_.text(), " was silent for ", to_ms(time_), " ms")));
  } else if (connected_ != nullptr) {
    connected_->changed().wake(server_.loop_.ready());
  }
}

void ApiCall::fill_request(const std::string& token) {
  const ApiAccess& access = server_.access_;
  path_ = access.path + what_.path;
  authority_ = access.text().substr(access.tls ? 8 : 7);
  authority_.resize(std::min(authority_.find('/'), authority_.size()));
  request_.method = what_.method;
  request_.scheme = access.tls ? "https" : "http";
  request_.authority = authority_;
  request_.path = path_;
  request_.headers.add("accept", "application/json");
  request_.headers.add("user-agent", "glia-control");
  if (!token.empty()) request_.headers.add("authorization", cat("Bearer ", token));
  if (what_.body.empty()) return;
  request_.headers.add("content-type", what_.content_type);
  request_.body = std::make_unique<TextBody>(Slice::copy(what_.body));
}

Task<Result<int>> ApiCall::start() {
  const ApiAccess& access = server_.access_;
  CO_TRY(const std::shared_ptr<const TlsContext> tls, server_.tls());
  CO_TRY(const std::string token, server_.token());
  CO_TRY(const std::vector<Address> addresses,
         co_await server_.network_.resolve(access.host, access.port));
  if (addresses.empty()) co_return invalid(cat(access.host, " has no address"));
  std::unique_ptr<Stream> stream = server_.network_.connect(addresses.front());
  if (tls != nullptr) stream = tls->wrap(server_.loop_, std::move(stream), kHandshakeTime);
  connected_ = std::make_unique<Connected>(server_.loop_, std::move(stream), ClientOptions());
  while (!connected_->decided() && !late_) co_await wait_in(connected_->changed());
  if (late_) {
    co_return Error(ErrorKind::kTimeout, Fault::kUpstream,
                    cat(access.text(), " did not answer within ", to_ms(time_), " ms"));
  }
  if (connected_->error()) {
    Error error = *connected_->error();
    co_return std::move(error).in(access.text());
  }
  fill_request(token);
  call_ = connected_->connection().start(request_);
  CO_TRY(const Response head, co_await head_of(*call_));
  co_return head.status;
}

std::string refusal_of(const ApiAnswer& answer) {
  const Json body = Json::parse(answer.body, nullptr, false);
  std::string said = body.is_object() ? text_at(body, "message") : "";
  if (said.empty()) said = answer.body;
  std::string shown;
  append_json_escaped(shown, std::string_view(said).substr(0, kShownOfAnswer));
  return cat("status ", answer.status, shown.empty() ? "" : ": ", shown);
}

}  // namespace glia
