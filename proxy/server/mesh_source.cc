#include "proxy/server/mesh_source.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/server/held_secrets.h"
#include "proxy/server/proxy.h"
#include "proxy/xds/configuration.h"
#include "proxy/xds/push.h"

namespace glia {
namespace {

constexpr char kTranslator[] = "glia-translate";

// Beside us, in Bazel's output tree, or on PATH.
std::string translator_path() {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path here = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  const fs::path in_bazel = here / ".." / ".." / "control_plane" / "standalone";
  for (const fs::path& place : {here, in_bazel}) {
    if (fs::exists(place / kTranslator, ignored)) return (place / kTranslator).string();
  }
  return kTranslator;
}

template <class Tell>
void each_line(std::string_view text, Tell tell) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) tell(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// The pushes of an answer, and what they borrow from.
struct OpenedPushes {
  std::vector<PushedResources> opened;
  std::vector<Push> pushes;
};

Result<OpenedPushes> open_pushes(const StandaloneAnswer& answer) {
  OpenedPushes all;
  for (const std::string& bytes : answer.pushes) {
    TRY(PushedResources push, decode_push(bytes));
    if (!push.trouble.empty()) return invalid(push.trouble);
    all.opened.push_back(std::move(push));
  }
  for (const PushedResources& push : all.opened) {
    const auto kind = kind_of(push.type_url);
    if (!kind) return invalid(cat(kTranslator, " sends resources of type ", push.type_url));
    Push& one = all.pushes.emplace_back(Push{*kind, push.version, {}});
    for (const PushedResource& resource : push.resources) one.resources.push_back(resource.bytes);
  }
  return all;
}

std::string bootstrap_text(const WorkloadFacts& facts, const std::string& workload,
                           std::string_view admin) {
  const std::size_t colon = admin.rfind(':');
  return cat("node: {id: '", workload, "', cluster: '", facts.cluster,
             "'}\nadmin: {address: {socket_address: {address: '",
             trim(admin.substr(0, colon), "[]"), "', port_value: ", admin.substr(colon + 1),
             "}}}\n");
}

std::vector<std::string> translator_command(const Options& options) {
  std::vector<std::string> command = {translator_path(),
                                      "--mesh",
                                      options.mesh,
                                      "--workload",
                                      options.workload,
                                      "--security",
                                      options.ca_dir.empty() ? "clear-text" : "mutual-tls"};
  if (options.capture) command.emplace_back("--capture");
  return command;
}

// All of the answer as if it were static: what cannot be had then ends the proxy, with the reason.
Result<Bootstrap> bootstrap_of(const StandaloneAnswer& answer, const Options& options,
                               WallTime now) {
  TRY(const OpenedPushes opened, open_pushes(answer));
  const std::string& admin =
      options.admin_address.empty() ? answer.facts.admin_address : options.admin_address;
  Errors errors("standalone");
  std::optional<Bootstrap> bootstrap = parse_bootstrap(
      bootstrap_text(answer.facts, options.workload, admin), "standalone", now, errors);
  if (!bootstrap) return invalid(errors.joined());
  for (const Push& push : opened.pushes) {
    bootstrap->draft.apply(push.kind, push.version, push.resources, now, errors);
  }
  if (!errors.empty()) return invalid(errors.joined());
  return *std::move(bootstrap);
}

}  // namespace

MeshSource::MeshSource(const Options& options, EventLoop& loop, LibeventBackend& backend)
    : options_(options),
      loop_(loop),
      backend_(backend),
      again_(loop, [this] { edited(); }),
      certificate_(loop, options.ca_dir, [this](const HeldIdentity& identity) {
        return proxy_->set_secrets(secrets_of(identity));
      }) {}

Result<void> MeshSource::start(Proxy& proxy) {
  proxy_ = &proxy;
  if (options_.ca_dir.empty()) {
    LOG(warning,
        "no --ca-dir: this sidecar neither encrypts nor asks who calls; its listeners and "
        "its calls are in clear text, as must be those of all sidecars of the mesh");
  }
  // Watching begins before reading, so that no edit falls between the two.
  TRY(files_, FileWatch::start(loop_, backend_, {options_.mesh}, [this] { edited(); }));
  return translate();
}

void MeshSource::edited() {
  if (translating_) {
    edited_meanwhile_ = true;
    return;
  }
  if (const auto running = translate(); !running) refuse(running.error());
}

Result<void> MeshSource::translate() {
  TRY(translator_, Program::start(loop_, backend_, translator_command(options_),
                                  [this](const Program::Ending& ending) { translated(ending); }));
  translating_ = true;
  return {};
}

void MeshSource::translated(const Program::Ending& ending) {
  translating_ = false;
  const bool good = ending.trouble.empty();
  each_line(ending.errors, [&](std::string_view problem) {
    if (good)
      LOG(warning, problem);
    else
      LOG(error, problem);
  });
  const Result<void> applied =
      good ? apply(ending.output)
           : Error(ErrorKind::kInvalid, Fault::kSelf,
                   ending.errors.empty() ? cat(kTranslator, " ", ending.trouble)
                                         : "the mesh cannot be used, for the reasons above");
  if (!applied) refuse(applied.error());
  if (std::exchange(edited_meanwhile_, false)) again_.start(Duration::zero());
}

Result<void> MeshSource::apply(std::string_view bytes) {
  TRY(const StandaloneAnswer answer, decode_answer(bytes));
  const WorkloadFacts& facts = answer.facts;
  const OwnCertificate::Wish wish{facts.spiffe_id, facts.certificate_lifetime};
  std::optional<HeldIdentity> fresh;
  if (!options_.ca_dir.empty() && certificate_.wish() != wish) {
    TRY(fresh, certificate_.sign(wish));
  }
  const std::vector<SecretResource> secrets =
      fresh ? secrets_of(*fresh) : std::vector<SecretResource>();
  if (!begun_) {
    TRY_VOID(begin(answer, secrets));
    begun_ = true;
    admin_address_ = facts.admin_address;
  } else {
    TRY(const OpenedPushes opened, open_pushes(answer));
    TRY_VOID(proxy_->push(opened.pushes));
    TRY_VOID(proxy_->set_secrets(secrets));
  }
  if (fresh) certificate_.keep(wish, *std::move(fresh));
  if (facts.admin_address != admin_address_) {
    LOG(warning, "spec.admin of Workload ", options_.workload, " is now ", facts.admin_address,
        "; the admin pages move there when this proxy starts again");
  }
  return {};
}

Result<void> MeshSource::begin(const StandaloneAnswer& answer,
                               const std::vector<SecretResource>& secrets) {
  TRY(Bootstrap bootstrap, bootstrap_of(answer, options_, loop_.clock().wall_now()));
  for (const SecretResource& secret : secrets) bootstrap.draft.set_secret(secret);
  return proxy_->start(std::move(bootstrap));
}

void MeshSource::refuse(const Error& error) {
  if (begun_) {
    LOG(error, "the edit of ", options_.mesh, " is not in force: ", error.message());
    return;
  }
  LOG(error, error.message());
  proxy_->fail();
}

std::optional<Bootstrap> read_mesh(const Options& options) {
  auto backend = std::make_unique<LibeventBackend>();
  LibeventBackend& events = *backend;
  EventLoop loop(std::move(backend));
  std::optional<Program::Ending> end;
  const auto translator =
      Program::start(loop, events, translator_command(options), [&](Program::Ending ending) {
        end = std::move(ending);
        loop.stop();
      });
  const auto tell = [](const Error& error) {
    std::fprintf(stderr, "glia-proxy: %s\n", error.message().c_str());
    return std::nullopt;
  };
  if (!translator) return tell(translator.error());
  loop.run();
  std::fputs(end->errors.c_str(), stderr);
  if (!end->trouble.empty()) {
    if (end->errors.empty()) return tell(invalid(cat(kTranslator, " ", end->trouble)));
    return {};
  }
  Result<StandaloneAnswer> answer = decode_answer(end->output);
  if (!answer) return tell(answer.error());
  Result<Bootstrap> bootstrap = bootstrap_of(*answer, options, loop.clock().wall_now());
  if (!bootstrap) return tell(bootstrap.error());
  return *std::move(bootstrap);
}

}  // namespace glia
