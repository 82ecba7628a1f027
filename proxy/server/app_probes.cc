#include "proxy/server/app_probes.h"

#include <algorithm>
#include <optional>

#include "proxy/base/text.h"
#include "proxy/flow/deadline.h"
#include "proxy/http/syntax.h"
#include "proxy/mesh/connected.h"

namespace glia {
namespace {

constexpr std::string_view kPrefix = "/app-probe/";

// Fields of the probe itself (httpHeaders) pass. Those of the connection do not, nor those in which an
// application trusts its sidecar: anybody may ask here.
void copy_fields(const Request& from, Request& to) {
  for (const Field& field : from.headers.fields()) {
    const std::string_view name = field.name;
    if (name == "connection" || name == "content-length" || name == "transfer-encoding") continue;
    if (name == "forwarded" || name.starts_with("x-forwarded-")) continue;
    to.headers.add(name, field.value);
  }
}

}  // namespace

Result<AppProbe> parse_app_probe(std::string_view text) {
  const auto wrong = [&] {
    return invalid(cat("--app-probe ", text.substr(0, 100),
                       ": not NAME=http://:PORT/PATH or NAME=tcp://:PORT, as in "
                       "web/readiness=http://:8080/ready"));
  };
  const std::size_t equals = text.find('=');
  if (equals == text.npos || equals == 0) return wrong();
  AppProbe probe{.name = std::string(text.substr(0, equals))};
  std::string_view rest = text.substr(equals + 1);
  const bool http = rest.starts_with("http://:");
  if (!http && !rest.starts_with("tcp://:")) return wrong();
  rest.remove_prefix(rest.find(':', rest.find("//")) + 1);
  const std::size_t slash = std::min(rest.size(), rest.find('/'));
  const auto port = parse_decimal(rest.substr(0, slash));
  if (!port || *port < 1 || *port > 65535) return wrong();
  probe.port = static_cast<uint16_t>(*port);
  probe.path = rest.substr(slash);
  const bool path = probe.path.starts_with('/') && is_value(probe.path) &&
                    probe.path.find(' ') == std::string::npos;
  if (http ? !path : !probe.path.empty()) return wrong();
  if (!is_value(probe.name) || probe.name.find_first_of(" ?#") != std::string::npos) return wrong();
  return probe;
}

AppProbes::AppProbes(EventLoop& loop, Network& network, std::vector<AppProbe> probes)
    : loop_(loop),
      network_(network),
      probes_(std::move(probes)),
      // Were kubelet kept out by others' connections, the pod would be restarted for it.
      server_(loop, network, *this,
              {.idle_time = 5s, .when_full = SmallServer::WhenFull::kEndOldest}) {}

Task<AppProbes::Answer> AppProbes::ask(const AppProbe& probe, const Request& from) {
  const auto failed = [&](const Error& error) {
    return Answer{503, cat("the application does not answer on port ", probe.port, ": ",
                           error.message(), "\n")};
  };
  HeldConnection held(loop_);
  std::optional<Error> error;
  std::string authority;
  for (const char* const loopback : {"127.0.0.1", "::1"}) {
    const Address address = *Address::ip(loopback, probe.port);
    authority = address.text();
    held.hold(network_.connect(address));
    while (!held->decided()) co_await wait_in(held->changed());
    if (!held->error()) break;
    if (!error) error = held->error();
  }
  Connected& connected = *held;
  if (connected.error()) co_return failed(*error);
  if (probe.path.empty()) co_return Answer{200, "connected\n"};
  const ArenaRef arena = ArenaRef::create();
  Request request(arena);
  request.method = "GET";
  request.scheme = "http";
  request.authority = authority;
  request.path = probe.path;
  copy_fields(from, request);
  const std::unique_ptr<Call> call = connected.connection().start(request);
  Result<Response> head = co_await head_of(*call);
  if (!head) co_return failed(head.error());
  Answer answer{head->status, ""};
  while (answer.text.size() < kShown) {
    const Body::Piece piece = co_await next(*call);
    if (piece.state == Body::State::kEnd || piece.state == Body::State::kError) break;
    if (piece.state != Body::State::kData) continue;
    answer.text += piece.data.view().substr(0, kShown - answer.text.size());
  }
  co_return answer;
}

Task<void> AppProbes::serve(ServerStream& stream) {
  const Request& request = stream.request();
  const std::string_view path = request.path;
  const auto found = std::ranges::find_if(probes_, [&](const AppProbe& probe) {
    return path.starts_with(kPrefix) && path.substr(kPrefix.size()) == probe.name;
  });
  Answer answer{404, "no such probe\n"};
  if (found != probes_.end() && request.method != "GET") {
    answer = {405, "a probe comes by GET\n"};
  } else if (found != probes_.end()) {
    TimeLimit limit(loop_);
    limit.start(kLongest);
    std::optional<Answer> asked = co_await until(limit, ask(*found, request));
    answer = asked ? std::move(*asked) : Answer{504, "the application did not answer in time\n"};
  }
  co_await stream.respond(text_response(stream, answer.status, "text/plain", answer.text));
}

}  // namespace glia
