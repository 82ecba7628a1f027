// AppProbes: where Kubernetes asks whether the application is well, for applications that only take mutual
// TLS from outside: kubelet speaks plain text and has no certificate, so `glia inject` has it ask here, and
// the sidecar asks the application on loopback.
//
// Only what the command line names can be asked, by GET, and of the answer only status and the beginning of
// the body pass.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/http/small_server.h"

namespace glia {

// One probe: "web/readiness=http://:8080/ready", "db/liveness=tcp://:5432".
struct AppProbe {
  std::string name;
  uint16_t port = 0;
  std::string path;  // "": a connection is answer enough.
};
Result<AppProbe> parse_app_probe(std::string_view text);

class AppProbes final : private Service {
 public:
  static constexpr uint16_t kPort = 15020;         // Capture leaves it out.
  static constexpr Duration kLongest = 30s;        // Kubelet gives up earlier.
  static constexpr std::size_t kShown = 4 * 1024;  // bytes of the application's answer

  // `loop` and `network` outlive it. It is destroyed from outside of the loop's callbacks.
  AppProbes(EventLoop& loop, Network& network, std::vector<AppProbe> probes);
  Result<void> listen(const Address& address) { return server_.listen(address); }
  const Address& address() const { return server_.address(); }  // With the real port.

 private:
  struct Answer {
    int status = 503;
    std::string text;
  };
  Task<void> serve(ServerStream& stream) override;
  Task<Answer> ask(const AppProbe& probe, const Request& from);

  EventLoop& loop_;
  Network& network_;
  const std::vector<AppProbe> probes_;
  SmallServer server_;
};

}  // namespace glia
