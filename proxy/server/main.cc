// glia-proxy: the sidecar.
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/process.h"
#include "proxy/net/signals.h"
#include "proxy/net/tcp.h"
#include "proxy/server/app_probes.h"
#include "proxy/server/options.h"
#include "proxy/server/proxy.h"
#include "proxy/server/sources.h"

namespace glia {
namespace {

int fail(std::string_view sentence) {
  std::fprintf(stderr, "glia-proxy: %.*s\n", static_cast<int>(sentence.size()), sentence.data());
  return 1;
}

// Where memory is limited as usual, by a cgroup, no allocation fails: Overload refuses requests well before
// the limit. One fails where the address space is limited (ulimit -v), and no request can be carried on
// from everywhere inside it, so the next sidecar is the better one.
[[noreturn]] void out_of_memory() {
  constexpr std::string_view kSentence =
      "glia-proxy: the system gives no more memory (is the address space limited, ulimit -v? "
      "limit memory by a cgroup or overload_manager instead); ends\n";
  // Nothing here may allocate.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kSentence.data(), kSentence.size());
  std::_Exit(1);
}

// As many descriptors as we may have: a proxy needs two a request.
void raise_descriptor_limit() {
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// Null: nobody asks us about the application.
Result<std::unique_ptr<AppProbes>> answer_probes(const Options& options, EventLoop& loop,
                                                 Network& network) {
  std::unique_ptr<AppProbes> probes;
  if (options.app_probes.empty()) return probes;
  std::vector<AppProbe> known;
  for (const std::string& text : options.app_probes) {
    TRY(AppProbe probe, parse_app_probe(text));
    known.push_back(std::move(probe));
  }
  probes = std::make_unique<AppProbes>(loop, network, std::move(known));
  const auto listen = [&probes](const Result<Address>& address) -> Result<void> {
    if (!address) return Error(address.error());
    return probes->listen(*address);
  };
  const bool everywhere = options.app_probes_address.empty();
  auto listening = listen(everywhere ? Address::ip("0.0.0.0", AppProbes::kPort)
                                     : Address::parse(options.app_probes_address));
  if (!listening) return std::move(listening).error().in("--app-probes-address");
  // Where there is no IPv6, nobody asks over it.
  if (everywhere) (void)listen(Address::ip("::", AppProbes::kPort));
  LOG(info, "answers probes of the application on ", probes->address().text());
  return probes;
}

int serve(const Options& options) {
  ::signal(SIGPIPE, SIG_IGN);
  std::set_new_handler(out_of_memory);
  if (!options.core_dumps) hide_memory();
  raise_descriptor_limit();
  auto backend = std::make_unique<LibeventBackend>();
  LibeventBackend& events = *backend;
  EventLoop loop(std::move(backend));
  std::unique_ptr<Proxy> proxy;
  // Before any thread starts, so that none of them gets the signals.
  SignalWatch signals(events, {SIGTERM, SIGINT, SIGUSR1}, [&](int signal) {
    if (signal == SIGUSR1) return proxy->reopen_logs_now();
    proxy->shut_down();
  });
  SocketNetwork network(loop);
  proxy = std::make_unique<Proxy>(options, loop, network);
  auto probes = answer_probes(options, loop, network);
  if (!probes) return fail(probes.error().message());
  auto source = Source::create(options, loop, events, network);
  if (!source) return fail(source.error().message());
  if (const auto started = (*source)->start(*proxy); !started) {
    return fail(started.error().message());
  }
  loop.run();
  const int code = proxy->failed() ? 1 : 0;
  source->reset();
  probes->reset();
  proxy.reset();
  loop.turn(0s);
  LOG(info, "ended");
  return code;
}

}  // namespace
}  // namespace glia

int main(int argc, char** argv) {
  using namespace glia;
  const auto options = parse_options({argv + 1, static_cast<std::size_t>(argc - 1)});
  if (!options) return fail(options.error().message());
  if (options->only_say) {
    std::fputs(options->only_say->c_str(), stdout);
    return 0;
  }
  set_log_level(options->log_level);
  for (const std::string& warning : options->warnings) LOG(warning, warning);
  if (options->mode == Options::Mode::kValidate) return validate(*options);
  return serve(*options);
}
