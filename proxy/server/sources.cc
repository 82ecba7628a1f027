#include "proxy/server/sources.h"

#include <cstdio>
#include <optional>
#include <utility>

#include "proxy/base/text.h"
#include "proxy/server/join.h"
#include "proxy/server/mesh_source.h"
#include "proxy/server/proxy.h"
#include "proxy/xds/file.h"
#include "proxy/xds/print.h"

namespace glia {
namespace {

std::optional<Bootstrap> read(const Options& options, Errors& errors) {
  const WallTime now = SystemClock().wall_now();
  if (options.config_path.empty()) {
    return parse_bootstrap(options.config_yaml, "--config-yaml", now, errors);
  }
  return read_bootstrap(options.config_path, now, errors);
}

std::string lines(const Errors& errors) {
  std::string all;
  for (const std::string& sentence : errors.sentences()) {
    all += cat(all.empty() ? "" : "\n  ", sentence);
  }
  return all;
}

// -c: all that is static is there at once.
class FileSource final : public Source {
 public:
  explicit FileSource(Bootstrap bootstrap) : bootstrap_(std::move(bootstrap)) {}
  Result<void> start(Proxy& proxy) override { return proxy.start(std::move(bootstrap_)); }

 private:
  Bootstrap bootstrap_;
};

}  // namespace

Result<std::unique_ptr<Source>> Source::create(const Options& options, EventLoop& loop,
                                               LibeventBackend& backend, Network& network) {
  if (options.source == Options::Source::kMesh) {
    return std::unique_ptr<Source>(std::make_unique<MeshSource>(options, loop, backend));
  }
  if (options.source != Options::Source::kBootstrap) {
    TRY(JoinFacts facts, join_facts(options));
    return std::unique_ptr<Source>(
        std::make_unique<JoinSource>(options, std::move(facts), loop, network));
  }
  Errors errors(options.config_path);
  std::optional<Bootstrap> bootstrap = read(options, errors);
  if (!bootstrap) return invalid(lines(errors));
  return std::unique_ptr<Source>(std::make_unique<FileSource>(std::move(*bootstrap)));
}

int validate(const Options& options) {
  const bool mesh = options.source == Options::Source::kMesh;
  if (!mesh && options.source != Options::Source::kBootstrap) {
    std::fputs(
        "glia-proxy: --mode validate checks files (-c or --mesh); what a control plane sends is "
        "checked when it comes\n",
        stderr);
    return 1;
  }
  Errors errors(options.config_path);
  const std::optional<Bootstrap> bootstrap = mesh ? read_mesh(options) : read(options, errors);
  if (!bootstrap) {
    if (!mesh) {
      std::fprintf(stderr, "glia-proxy: %zu mistakes:\n  %s\n", errors.size(),
                   lines(errors).c_str());
    }
    return 1;
  }
  const Result<SnapshotRef> snapshot = Freezer(bootstrap->node).freeze(bootstrap->draft);
  if (!snapshot) {
    std::fprintf(stderr, "glia-proxy: %s\n", snapshot.error().message().c_str());
    return 1;
  }
  if (options.print) std::fputs(print(**snapshot).c_str(), stdout);
  std::printf("%s: OK\n", (mesh ? options.mesh : options.config_path).c_str());
  return 0;
}

}  // namespace glia
