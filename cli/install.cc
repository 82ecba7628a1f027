// glia install: the manifests of deploy/ with this cluster's words, on standard output.
#include <algorithm>
#include <cstdio>
#include <vector>

#include "cli/commands.h"
#include "control_plane/inject/webhook.h"
#include "deploy/manifests.h"
#include "proxy/base/base64.h"
#include "proxy/base/text.h"
#include "proxy/base/version.h"
#include "proxy/net/ca_directory.h"

namespace glia {
namespace {

// As deploy/ has them.
constexpr std::string_view kNamespace = "glia-system", kMeshName = "  name: mesh\n",
                           kTrustDomain = "mesh.local", kReplicas = "  replicas: 2\n",
                           kOneIsLeft = "  minAvailable: 1\n";

// What others name comes before them. Some may be missing: what is there is printed.
constexpr std::string_view kCrds = "crds.yaml";
constexpr std::string_view kFirst[] = {"namespace.yaml", kCrds, "rbac.yaml"};
constexpr std::string_view kThen[] = {"service.yaml", "network-policy.yaml",
                                      "disruption-budget.yaml", "deployment.yaml"};

int fail(const Error& error) {
  std::fprintf(stderr, "glia install: %s\n", error.message().c_str());
  return 1;
}

bool is_label(std::string_view text) {
  return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-' &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == text.npos;
}

// Nothing that would end a word of YAML.
bool is_word(std::string_view text, std::string_view more) {
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && more.find(c) == more.npos) return false;
  }
  return !text.empty() && text.size() <= 255;
}

Result<void> check(const InstallOptions& options) {
  if (!is_label(options.name_space)) {
    return invalid(cat("--namespace ", options.name_space, ": not a name of a namespace"));
  }
  if (!is_label(options.mesh_name)) {
    return invalid(cat("--mesh-name ", options.mesh_name, ": not a name in lower case"));
  }
  if (!is_word(options.trust_domain, "._-")) {
    return invalid(cat("--trust-domain ", options.trust_domain, ": not a SPIFFE trust domain"));
  }
  if (!options.image.empty() && !is_word(options.image, "._-/:@+")) {
    return invalid(cat("--image ", options.image, ": not the name of an image"));
  }
  return {};
}

struct Change {
  std::string from, to;
};

// In one pass, so that what was put in is not taken for a word of deploy/.
std::string changed(std::string_view text, const std::vector<Change>& changes) {
  std::string out;
  while (!text.empty()) {
    const auto here = std::ranges::find_if(
        changes, [&](const Change& change) { return text.starts_with(change.from); });
    const bool found = here != changes.end();
    out += found ? std::string_view(here->to) : text.substr(0, 1);
    text.remove_prefix(found ? here->from.size() : 1);
  }
  return out;
}

std::string filled_in(std::string_view manifest, const InstallOptions& options) {
  std::vector<Change> changes = {
      {std::string(kNamespace), options.name_space},
      {std::string(kMeshName), cat("  name: ", options.mesh_name, "\n")},
      {std::string(kTrustDomain), options.trust_domain},
      {std::string(kReplicas), cat("  replicas: ", options.replicas, "\n")}};
  // With one replica, a budget that keeps one would keep its node from ever being drained.
  if (options.replicas == 1) changes.push_back({std::string(kOneIsLeft), "  maxUnavailable: 1\n"});
  if (!options.image.empty()) changes.push_back({cat("glia:", kGliaVersion), options.image});
  return changed(manifest, changes);
}

std::string secret(const CertificateAuthority& authority, const InstallOptions& options) {
  std::string certificate, key;
  append_base64(certificate, authority.certificate());
  append_base64(key, authority.private_key());
  return cat(
      "# The authority of the mesh: whoever reads its key can be anybody in it.\n"
      "apiVersion: v1\nkind: Secret\nmetadata:\n  name: glia-ca\n  namespace: ",
      options.name_space,
      "\n  labels: {app.kubernetes.io/part-of: glia, app.kubernetes.io/name: glia-control}\n"
      "type: Opaque\ndata:\n  ",
      kCaCertificateFile, ": ", certificate, "\n  ", kCaKeyFile, ": ", key, "\n");
}

void print(std::string_view document) {
  std::printf("---\n%.*s", static_cast<int>(document.size()), document.data());
}

void print_file(std::string_view name, const InstallOptions& options) {
  for (const Manifest& manifest : manifests()) {
    if (manifest.file != name) continue;
    // The kinds are the same everywhere, and speak of the defaults of the words that are put in.
    print(name == kCrds ? std::string(manifest.text) : filled_in(manifest.text, options));
  }
}

}  // namespace

int install_command(const InstallOptions& options) {
  if (const Result<void> good = check(options); !good) return fail(good.error());
  if (options.only_crds) {
    print_file(kCrds, options);
    return 0;
  }
  auto authority =
      open_ca_directory(options.ca_directory, options.trust_domain, SystemClock().wall_now());
  if (!authority) return fail(std::move(authority).error().in("--ca-dir"));
  std::fprintf(stderr,
               "glia install: the authority of the mesh is in %s: keep it, and give it again next "
               "time; whoever reads its key can be anybody in the mesh\n",
               options.ca_directory.c_str());
  for (const std::string_view file : kFirst) print_file(file, options);
  print(secret(*authority, options));
  for (const std::string_view file : kThen) print_file(file, options);
  print(filled_in(
      webhook_configuration(authority->certificate(), cat("glia-control.", kNamespace, ".svc")),
      options));
  print_file("mesh.yaml", options);
  return 0;
}

}  // namespace glia
