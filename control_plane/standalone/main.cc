// glia-translate: reads a mesh and says what the sidecar of one workload shall do; the part of
// `glia-proxy --mesh` that needs the protobuf library.
//
// Problems go to standard error, one "file:line:column: sentence" a line; with an error there is no
// output and the status is 1. Else the answer (answer.h) goes to standard output.
#include <CLI/CLI.hpp>

#include <cstdio>

#include "control_plane/objects/object_set.h"
#include "control_plane/standalone/answer.h"
#include "control_plane/translate/pack.h"
#include "control_plane/translate/translate.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "proxy/base/text.h"
#include "proxy/base/version.h"

namespace glia {
namespace {

template <class Message>
std::string push_of(const std::vector<Message>& resources, const std::string& version) {
  envoy::service::discovery::v3::DiscoveryResponse push;
  push.set_version_info(version);
  push.set_type_url(cat("type.googleapis.com/", Message::descriptor()->full_name()));
  for (const Message& resource : resources) pack(resource, *push.add_resources());
  return serialize(push);
}

StandaloneAnswer answer_for(const ObjectSet& objects, const Workload& workload,
                            HopSecurity security) {
  const Resources resources = translate(objects, workload, security);
  return {.facts = {.spiffe_id = objects.spiffe_id(workload),
                    .cluster = workload.spec.identity,
                    .admin_address = workload.admin_address(),
                    .certificate_lifetime = objects.mesh.spec.certificate_lifetime},
          // What is referred to before what refers to it.
          .pushes = {push_of(resources.clusters, resources.clusters_version),
                     push_of(resources.endpoints, resources.endpoints_version),
                     push_of(resources.listeners, resources.listeners_version),
                     push_of(resources.routes, resources.routes_version)}};
}

int unknown_workload(const ObjectSet& objects, const std::string& name) {
  std::string known;
  for (const Workload& workload : objects.workloads) known += cat(" ", workload.metadata.key());
  std::fprintf(stderr, "the mesh has no Workload %s; it has%s\n", name.c_str(),
               known.empty() ? " none" : known.c_str());
  return 1;
}

int main(int argc, char** argv) {
  CLI::App app("The translator of a standalone mesh; glia-proxy --mesh runs it.", "glia-translate");
  std::string mesh, workload, security = "mutual-tls";
  app.add_option("--mesh", mesh, "File or directory with the mesh objects (YAML)")->required();
  app.add_option("--workload", workload, "NAMESPACE/NAME")->required();
  app.add_option("--security", security, "Between sidecars: mutual-tls or clear-text")
      ->check(CLI::IsMember({"mutual-tls", "clear-text"}))
      ->capture_default_str();
  bool capture = false;
  app.add_flag("--capture", capture,
               "Listen for captured traffic, as spec.capture says or by default");
  app.set_version_flag("--version", cat("glia-translate ", kGliaVersion));
  CLI11_PARSE(app, argc, argv);

  LoadReport report = load({mesh});
  for (const Problem& problem : report.problems) {
    std::fprintf(stderr, "%s\n", problem.text().c_str());
  }
  if (!report.ok()) return 1;
  const Workload* found = report.objects.workload(workload);
  if (found == nullptr) return unknown_workload(report.objects, workload);
  if (capture) {
    auto& own =
        report.objects.workloads[static_cast<std::size_t>(found - report.objects.workloads.data())];
    if (!own.spec.capture) own.spec.capture.emplace();
  }
  const std::string bytes = encode(
      answer_for(report.objects, *found,
                 security == "clear-text" ? HopSecurity::kClearText : HopSecurity::kMutualTls));
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size() &&
                       std::fflush(stdout) == 0;
  return written ? 0 : 1;
}

}  // namespace
}  // namespace glia

int main(int argc, char** argv) { return glia::main(argc, argv); }
