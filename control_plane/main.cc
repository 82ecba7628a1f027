// glia-control: the control plane of a mesh: reads its objects, gives workloads their identity, and
// tells every sidecar what to do.
#include <CLI/CLI.hpp>

#include <sys/stat.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "control_plane/control.h"
#include "control_plane/inject/webhook.h"
#include "control_plane/serve/front_door.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/base/version.h"
#include "proxy/net/process.h"
#include "proxy/net/signals.h"

namespace glia {
namespace {

int fail(const Error& error) {
  std::fprintf(stderr, "glia-control: %s\n", error.message().c_str());
  return 1;
}

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

struct Door {
  Address listen;
  std::string advertised;  // "": where it listens.
};

// Where the API server of a cluster asks about its pods; not at all, unless `listen` is set.
struct InjectDoor {
  std::string listen;
  InjectWebhookOptions options;
};

// Also writes what the cluster has to be told.
Result<std::unique_ptr<InjectWebhook>> open_webhook(EventLoop& loop, Network& network,
                                                    const CertificateAuthority& authority,
                                                    const std::string& state_directory,
                                                    const InjectWebhookOptions& options) {
  auto webhook = std::make_unique<InjectWebhook>(loop, network, authority, options);
  TRY_VOID(webhook->listen());
  const std::string path = cat(state_directory, "/inject-webhook.yaml");
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << webhook_configuration(authority.certificate(), options.service);
  if (!file.flush()) {
    return Error(ErrorKind::kInternal, Fault::kSelf, cat("cannot write ", path));
  }
  std::printf("glia-control: answers reviews of pods on %s; for the cluster: %s\n",
              webhook->address().text().c_str(), path.c_str());
  return webhook;
}

int run(const ControlOptions& options, const Door& wanted, const InjectDoor& inject) {
  auto* backend = new LibeventBackend;
  EventLoop loop{std::unique_ptr<LoopBackend>(backend)};
  // Before any thread, so that all of them leave these signals to us.
  bool ended = false;
  SignalWatch signals(*backend, {SIGTERM, SIGINT}, [&loop, &ended](int signal) {
    LOG(info, "stopping on ", signal == SIGTERM ? "SIGTERM" : "SIGINT");
    ended = true;
    loop.stop();
  });
  Result<std::unique_ptr<Control>> control = Control::start(loop, *backend, options, &ended);
  if (!control && ended) return 0;
  if (!control) return fail(control.error());
  Result<std::unique_ptr<FrontDoor>> door =
      FrontDoor::start(loop, (*control)->authority(),
                       {.listen = wanted.listen, .socket = (*control)->sockets().mesh});
  if (!door) return fail(door.error());
  const std::string address = (*door)->address().text();
  (*control)->plane().advertise(wanted.advertised.empty() ? address : wanted.advertised);

  SocketNetwork network(loop);
  std::unique_ptr<InjectWebhook> webhook;
  if (!inject.listen.empty()) {
    InjectWebhookOptions what = inject.options;
    // Sidecars that come with a token of their service account know us by it.
    if (options.kubernetes) what.settings.trust_bundle = (*control)->authority().certificate();
    auto opened =
        open_webhook(loop, network, (*control)->authority(), options.state_directory, what);
    if (!opened) return fail(std::move(opened).error().in("--inject-listen"));
    webhook = *std::move(opened);
    (*control)->keep_webhook_bundle();
  }
  const ObjectSet& objects = (*control)->plane().objects();
  std::printf("glia-control: serving %s (mesh %s, %zu workload%s)\n", address.c_str(),
              objects.mesh.metadata.name.c_str(), objects.workloads.size(),
              objects.workloads.size() == 1 ? "" : "s");
  std::fflush(stdout);
  loop.run();
  (*door)->drain();
  control->reset();  // Ends the calls that still come through the door.
  LOG(info, "stopped");
  return 0;
}

int main(int argc, char** argv) {
  CLI::App app("The control plane of a Glia mesh.", "glia-control");
  ControlOptions options;
  options.version = kGliaVersion;
  Door door;
  std::string listen = "127.0.0.1:15012", level = "info";
  app.add_option("--mesh", options.mesh, "File or directory with the mesh objects (YAML)");
  bool in_cluster = false;
  std::string kubeconfig;
  app.add_flag("--kubernetes", in_cluster,
               "The mesh is what the cluster holds in which this is a pod");
  app.add_option("--kubeconfig", kubeconfig, "The same for the cluster that this file names")
      ->excludes("--kubernetes");
  app.add_option("--state-dir", options.state_directory,
                 "Directory for the authority's key, tokens and sockets")
      ->required();
  app.add_option("--listen", listen, "Where sidecars reach the control plane")
      ->capture_default_str();
  app.add_option("--advertise", door.advertised,
                 "host:port that join files name, if it differs from --listen");
  app.add_option("--admin-socket", options.admin_socket,
                 "UNIX socket for glia status [STATE_DIR/control.sock]");
  app.add_option("--http-socket", options.http_socket,
                 "UNIX socket for mesh objects over HTTP [STATE_DIR/http.sock]");
  app.add_option("--ca-dir", options.ca_directory,
                 "Directory with ca.pem and ca-key.pem, the same for all replicas [made once, in "
                 "STATE_DIR]");
  InjectDoor inject;
  app.add_option("--inject-listen", inject.listen,
                 "Where the API server of Kubernetes asks about pods, by HTTPS [it does not]");
  app.add_option("--inject-service", inject.options.service, "As it calls us: NAME.NAMESPACE.svc")
      ->capture_default_str();
  app.add_option("--inject-image", inject.options.settings.image,
                 "Of the sidecars [that of this version]");
  app.add_option(
         "--forget-hosts-after-s", options.host_idle_s,
         "Seconds without use after which sidecars with discovery: OnDemand give back the way to "
         "a Service; 0: never [3600]")
      ->check(CLI::Range(0, 604'800));
  app.add_option(
         "--resource-ttl-s", options.resource_ttl_s,
         "Seconds after which a sidecar that does not reach us drops what we have sent it, 3 to "
         "604800; 0: never")
      ->capture_default_str();
  app.add_option("--log-level", level, "trace, debug, info, warning, error or off")
      ->capture_default_str();
  app.set_version_flag("--version", cat("glia-control ", kGliaVersion));
  CLI11_PARSE(app, argc, argv);

  const std::optional<LogLevel> log_level = parse_log_level(level);
  if (!log_level) {
    return fail(invalid(
        cat("--log-level ", level, " is not one of trace, debug, info, warning, error, off")));
  }
  set_log_level(*log_level);
  if (in_cluster || !kubeconfig.empty()) {
    Result<ApiAccess> access =
        in_cluster ? access_in_cluster(variable) : access_by_kubeconfig(kubeconfig);
    if (!access) return fail(access.error());
    options.kubernetes = *std::move(access);
  } else if (options.mesh.empty()) {
    return fail(invalid("say where the mesh is: --mesh FILE, --kubernetes or --kubeconfig FILE"));
  }
  Result<Address> address = Address::parse(listen);
  if (!address) return fail(std::move(address).error().in("--listen"));
  door.listen = *address;
  if (!inject.listen.empty()) {
    Result<Address> at = Address::parse(inject.listen);
    if (!at) return fail(std::move(at).error().in("--inject-listen"));
    inject.options.listen = *at;
    // Pods that are injected find us as everybody else does.
    if (!door.advertised.empty()) inject.options.settings.control = door.advertised;
  }
  constexpr int64_t kLeast = ControlPlane::kLeastTtl / 1s, kMost = ControlPlane::kMostTtl / 1s;
  const int64_t ttl = options.resource_ttl_s;
  if (ttl != 0 && (ttl < kLeast || ttl > kMost)) {
    return fail(invalid(cat("--resource-ttl-s ", ttl, ": not a time to live; use ", kLeast, " to ",
                            kMost, ", or 0 for none")));
  }
  ::umask(0077);  // Whatever we make holds secrets.
  hide_memory();
  return run(options, door, inject);
}

}  // namespace
}  // namespace glia

int main(int argc, char** argv) { return glia::main(argc, argv); }
