#include "control_plane/objects/canary_check.h"

#include <algorithm>

#include "proxy/base/text.h"

namespace glia {

namespace {

class CanaryChecks {
 public:
  CanaryChecks(ObjectSet& objects, const Unread& unread, std::vector<Problem>& problems)
      : objects_(objects), unread_(unread), problems_(problems) {}

  void run() {
    for (std::size_t i = 0; i < objects_.canaries.size(); ++i) check(i);
    for (const Canary& canary : objects_.canaries) check_chain(canary);
  }

 private:
  void error(const Canary& canary, Place at, std::string_view sentence) {
    problems_.push_back({canary.metadata.file, at.line, at.column,
                         cat(Canary::kKind, " ", canary.metadata.display(), ": ", sentence),
                         Problem::Severity::kError});
  }

  MeshService* service_of(const Canary& canary, const std::string& name, Place at,
                          std::string_view what) {
    std::string mistake;
    MeshService* found = find_service(objects_, unread_, MeshService::kKind, canary.metadata.ns,
                                      name, what, mistake);
    if (!mistake.empty()) error(canary, at, mistake);
    return found;
  }

  void check(std::size_t place) {
    Canary& canary = objects_.canaries[place];
    const Canary::Spec& spec = canary.spec;
    MeshService* target =
        service_of(canary, spec.target_ref.name, spec.target_ref.at, "spec.targetRef.name");
    if (target == nullptr) return;
    if (target->canary) {
      return error(canary, spec.target_ref.at,
                   cat("spec.targetRef is the same as that of Canary ",
                       objects_.canaries[*target->canary].metadata.display(),
                       "; a Service can have one at a time"));
    }
    target->canary = place;
    if (canary.by_labels()) return check_labels(canary, *target);
    if (spec.candidate.service == spec.target_ref.name) {
      return error(canary, spec.candidate.at,
                   "spec.candidate.service is the target itself; name the Service of the new "
                   "version, or choose its workloads by labels");
    }
    if (spec.candidate.service == spec.stable.service) {
      return error(canary, spec.candidate.at,
                   "spec.stable and spec.candidate are the same Service; a canary needs two "
                   "versions");
    }
    check_backend(canary, *target, spec.candidate, "spec.candidate");
    check_backend(canary, *target, spec.stable, "spec.stable");
  }

  // A version that is a Service; none is the target.
  void check_backend(const Canary& canary, const MeshService& target,
                     const Canary::Version& version, const std::string& what) {
    const bool given = !version.service.empty();
    const MeshService* service =
        given ? service_of(canary, version.service, version.at, what + ".service") : &target;
    if (service == nullptr) return;
    const Place at = given ? version.at : canary.spec.at;
    for (const MeshService::Port& port : target.spec.ports) {
      if (service->port(port.port)) continue;
      error(canary, at,
            cat(what, ": Service ", service->metadata.display(), " has no port ", port.port,
                ", which the target has"));
    }
    if (!service->members.empty() || !service->slices.empty() || unread_.any()) return;
    error(canary, at,
          cat(what, ": nothing is behind Service ", service->metadata.display(),
              "; a canary needs two versions, so remove it once there is one"));
  }

  static std::string text_of(const TextMap& labels) {
    std::string out;
    for (const auto& [key, value] : labels) out += cat(out.empty() ? "" : ", ", key, "=", value);
    return out;
  }

  void check_labels(Canary& canary, const MeshService& target) {
    const Canary::Spec& spec = canary.spec;
    if (target.spec.selector.empty()) {
      return error(canary, spec.candidate.at,
                   cat("spec.candidate.labels chooses among the workloads of Service ",
                       target.metadata.display(),
                       ", which has no selector; name a Service for each version"));
    }
    for (const std::size_t member : target.members) {
      const TextMap& labels = objects_.workloads[member].metadata.labels;
      const bool candidate = selects(spec.candidate.labels, labels);
      const bool stable =
          spec.stable.labels.empty() ? !candidate : selects(spec.stable.labels, labels);
      if (candidate && stable) {
        error(canary, spec.candidate.at,
              cat("Workload ", objects_.workloads[member].metadata.display(),
                  " is of both versions; choose labels that tell them apart"));
      }
      if (candidate) canary.candidate_members.push_back(member);
      if (stable && !candidate) canary.stable_members.push_back(member);
    }
    if (unread_.any()) return;
    if (canary.candidate_members.empty()) {
      error(canary, spec.candidate.at,
            cat("spec.candidate.labels: no Workload of Service ", target.metadata.display(),
                " has the labels ", text_of(spec.candidate.labels),
                "; a canary needs two versions, so remove it once there is one"));
    }
    if (canary.stable_members.empty()) {
      error(canary, spec.stable.labels.empty() ? spec.at : spec.stable.at,
            cat("spec.stable: no Workload of Service ", target.metadata.display(),
                spec.stable.labels.empty() ? std::string(" is left for it")
                                           : cat(" has the labels ", text_of(spec.stable.labels)),
                "; a canary needs two versions, so remove it once there is one"));
    }
  }

  // What goes to the version of one canary would have to be shared by another.
  void check_chain(const Canary& canary) {
    for (const Canary::Version* version : {&canary.spec.stable, &canary.spec.candidate}) {
      if (version->service.empty() || version->service == canary.spec.target_ref.name) continue;
      const MeshService* service = objects_.service(canary.metadata.ns, version->service);
      if (service == nullptr || !service->canary) continue;
      error(canary, version->at,
            cat("Service ", version->service, " is the target of Canary ",
                objects_.canaries[*service->canary].metadata.display(),
                "; a version cannot have versions of its own"));
    }
  }

  ObjectSet& objects_;
  const Unread& unread_;
  std::vector<Problem>& problems_;
};

}  // namespace

void check_canaries(ObjectSet& objects, const Unread& unread, std::vector<Problem>& problems) {
  CanaryChecks(objects, unread, problems).run();
}

}  // namespace glia
