// A mesh of any size in files, as people would keep it, and the edits whose cost is measured: where
// one endpoint is, what one weight is, whom one policy refuses.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>

#include "proxy/base/text.h"

namespace glia {

struct ControlMesh {
  int services = 100, workloads = 100;
  int egress = 0;       // Services that each workload may call; 0: all.
  int narrow_only = 0;  // Only every so-manieth workload may call all of them; 0: as `egress` says.
  int canaries = 0;     // Of the fourth Service of the first files, which every workload may call.
  // What changes.
  int moved = 0, weight = 0, policy = 0;

  static constexpr int kServicesOfFile = 10;  // And as many workloads as it takes.

  int files() const { return (services + kServicesOfFile - 1) / kServicesOfFile; }
  std::string file_name(int number) const { return cat("mesh-", 10'000 + number, ".yaml"); }
  std::string file(int number) const {
    std::string text;
    if (number == 0) {
      text =
          "apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: bench}\nspec: {trustDomain: "
          "bench.mesh, accessLog: {path: none}}\n";
    }
    const int first = number * kServicesOfFile;
    const int last = std::min(services, first + kServicesOfFile);
    for (int i = first; i < last; ++i) text += service(i);
    for (int i = number; i < workloads; i += files()) text += workload(i);
    return text + route(number) + refusals(number) + (number < canaries ? canary(number) : "");
  }

  static int target(int canary) { return canary * kServicesOfFile + 3; }

 private:
  std::string canary(int number) const {
    const int i = target(number);
    return cat(head("glia.dev/v1", "Canary"), "metadata: {name: c", number,
               "}\nspec: {targetRef: {name: s", i, "}, candidate: {service: s", i + 1,
               "}, steps: [{weight: 10, untilResumed: true}], timeLimit: 24h}\n");
  }
  static std::string head(std::string_view api, std::string_view kind) {
    return cat("---\napiVersion: ", api, "\nkind: ", kind, "\n");
  }
  std::string service(int i) const {
    return cat(head("v1", "Service"), "metadata: {name: s", i, "}\nspec: {selector: {app: a", i,
               "}, ports: [{port: 80, targetPort: http}]}\n");
  }
  std::string workload(int i) const {
    const int host = i == 0 ? 60'000 + moved % 2 : i;
    std::string names;
    const bool all = egress == 0 || (narrow_only > 0 && i % narrow_only == 0);
    for (int s = 0; !all && s < egress; ++s) {
      names += cat(s == 0 ? "" : ", ", "s", (i + s) % services);
    }
    for (int c = 0; !all && c < canaries; ++c) {
      const bool named = ((target(c) - i) % services + services) % services < egress;
      if (!named) names += cat(", s", target(c));
    }
    return cat(head("glia.dev/v1", "Workload"), "metadata: {name: w", i, ", labels: {app: a",
               i % services, "}}\nspec: {address: 10.", host / 65'536, ".", host / 256 % 256, ".",
               host % 256, ", ports: [{name: http, port: 8080, appPort: 8081}]",
               all ? "" : cat(", egress: [", names, "]"), "}\n");
  }
  // The last Service of a file is split over its second and third.
  std::string route(int number) const {
    const int first = number * kServicesOfFile;
    const int i = std::min(first + kServicesOfFile, services) - 1;
    return cat(head("gateway.networking.k8s.io/v1", "HTTPRoute"), "metadata: {name: r", i,
               "}\nspec:\n  parentRefs: [{group: '', kind: Service, name: s", i,
               "}]\n  rules: [{backendRefs: [{name: s", (first + 1) % services,
               ", port: 80, weight: ", number == 0 ? 1 + weight : 1, "}, {name: s",
               (first + 2) % services, ", port: 80, weight: 100}]}]\n");
  }
  std::string refusals(int number) const {
    return cat(head("glia.dev/v1", "AuthorizationPolicy"), "metadata: {name: p", number,
               "}\nspec: {selector: {app: a", number * kServicesOfFile,
               "}, action: Deny, rules: [{to: [{paths: [/x", number == 0 ? policy : 0, "]}]}]}\n");
  }
};

}  // namespace glia
