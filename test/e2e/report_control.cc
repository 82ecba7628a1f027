// A control plane as glia-control is, whose canaries are played by the command line: it wants to hear of
// the clusters that are named there, and says what it has heard, in lines of JSON on standard output.
//
//   report_control MESH_FILE STATE_DIR CLUSTER...
#include <csignal>
#include <cstdio>

#include "control_plane/control.h"
#include "control_plane/serve/front_door.h"
#include "proxy/base/text.h"
#include "proxy/net/signals.h"

namespace glia {
namespace {

constexpr Duration kLook = 200ms;

std::string counts(const std::map<std::string, uint64_t, std::less<>>& counts) {
  std::string out;
  for (const auto& [name, count] : counts) {
    out += out.empty() ? "\"" : ",\"";
    append_json_escaped(out, name);
    out += cat("\":", count);
  }
  return cat("{", out, "}");
}

std::string line(const std::string& cluster, const Observed& seen) {
  return cat("{\"cluster\":\"", cluster, "\",\"requests\":", seen.requests,
             ",\"errors\":", seen.errors, ",\"output_errors\":", seen.output_errors,
             ",\"input_tokens\":", seen.input_tokens, ",\"output_tokens\":", seen.output_tokens,
             ",\"finish_reasons\":", counts(seen.finish_reasons),
             ",\"latencies\":", seen.latency_ms.count(),
             ",\"first_tokens\":", seen.first_token_ms.count(), ",\"sidecars\":", seen.sidecars,
             ",\"late\":", seen.late, ",\"disbelieved\":", seen.disbelieved,
             ",\"shadows\":", seen.shadow.sent, ",\"compared\":", seen.shadow.compared,
             ",\"different\":", seen.shadow.different, ",\"fields\":", counts(seen.shadow.fields),
             "}\n");
}

int fail(const Error& error) {
  std::fprintf(stderr, "report_control: %s\n", error.message().c_str());
  return 1;
}

int run(const ControlOptions& options, const std::vector<std::string>& clusters) {
  auto* backend = new LibeventBackend;
  EventLoop loop{std::unique_ptr<LoopBackend>(backend)};
  SignalWatch signals(*backend, {SIGTERM}, [&loop](int) { loop.stop(); });
  auto control = Control::start(loop, *backend, options);
  if (!control) return fail(control.error());
  auto door = FrontDoor::start(
      loop, (*control)->authority(),
      {.listen = *Address::ip("127.0.0.1", 0), .socket = (*control)->sockets().mesh});
  if (!door) return fail(door.error());
  (*control)->plane().advertise((*door)->address().text());
  (*control)->observations().want(clusters);
  std::printf("serving %s\n", (*door)->address().text().c_str());
  const TimePoint began = loop.now();
  std::string told;
  CallbackTimer look(loop, [&] {
    std::string now;
    for (const std::string& cluster : clusters) {
      now += line(cluster, (*control)->observations().between(cluster, began, loop.now()));
    }
    if (now != told) std::fputs(now.c_str(), stdout);
    std::fflush(stdout);
    told = std::move(now);
    look.start(kLook);
  });
  look.start(Duration::zero());
  loop.run();
  (*door)->drain();
  control->reset();
  return 0;
}

}  // namespace
}  // namespace glia

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  return glia::run({.mesh = {argv[1]}, .state_directory = argv[2], .version = "test"},
                   {argv + 3, argv + argc});
}
