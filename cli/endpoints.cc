#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/fetch.h"
#include "control_plane/objects/object_set.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using Json = nlohmann::ordered_json;

// The clusters of a service are named "outbound:80:classify.default", and those of the versions of a
// canary "stable:80:..." and "candidate:80:..."; that of an InferencePool "pool:llama.default".
bool is_of(const std::string& cluster, const std::string& service) {
  const std::size_t kind = cluster.find(':') + 1;
  const std::string word = cluster.substr(0, kind);
  if (word == MeshService::kPoolMark) {
    const std::string own = cluster.substr(kind);
    return own == service || own.substr(0, own.rfind('.')) == service;
  }
  const std::size_t name = cluster.find(':', kind);
  if (word != "outbound:" && word != "stable:" && word != "candidate:") return false;
  if (name == cluster.npos) return false;
  const std::string own = cluster.substr(name + 1);
  return own == service || own.substr(0, own.find('.')) == service;
}

std::string workload_at(const ObjectSet& objects, const std::string& address) {
  for (const Workload& workload : objects.workloads) {
    for (const Workload::Port& port : workload.spec.ports) {
      if (socket_text(workload.spec.address, port.port) == address) {
        return workload.metadata.display();
      }
    }
  }
  return address;
}

// What the sidecar of `caller` believes of the service's endpoints, added to `rows`.
Result<void> ask(const ObjectSet& objects, const Workload& caller, const std::string& service,
                 Json& rows) {
  TRY(const std::string page, fetch(caller.admin_address(), "/endpoints?format=json"));
  const Json answer = Json::parse(page, nullptr, /*allow_exceptions=*/false);
  if (!answer.contains("endpoints")) return invalid("an answer that is no list of endpoints");
  for (const Json& endpoint : answer["endpoints"]) {
    if (!is_of(endpoint.value("cluster", ""), service)) continue;
    Json row = {{"from", caller.metadata.display()},
                {"endpoint", workload_at(objects, endpoint.value("address", ""))}};
    row.update(endpoint);
    rows.push_back(std::move(row));
  }
  return {};
}

void print(const Json& rows) {
  std::printf("%-18s %-18s %7s %7s %9s %8s %8s  %s\n", "FROM", "ENDPOINT", "LOAD", "SCORE",
              "AGE MS", "BELIEVED", "PICKED", "WHY");
  for (const Json& row : rows) {
    const auto age = row.value("report_age_ms", -1);
    std::printf("%-18s %-18s %7.1f %7.1f %9s %8.2f %8llu  %s\n", row.value("from", "").c_str(),
                row.value("endpoint", "").c_str(), row.value("load", 0.0), row.value("score", 0.0),
                age < 0 ? "never" : std::to_string(age).c_str(), row.value("confidence", 0.0),
                row.value("picked", 0ULL), row.value("why", "").c_str());
  }
}

}  // namespace

int endpoints_command(const std::string& state_directory, const std::string& service,
                      const std::string& from, Output output) {
  const LoadReport report = load({state_directory + "/mesh"});
  if (!report.ok()) {
    std::fprintf(stderr, "glia endpoints: the mesh has errors:\n%s\n", report.errors().c_str());
    return 1;
  }
  Json rows = Json::array();
  std::size_t answered = 0, asked = 0;
  std::string trouble;
  for (const Workload& workload : report.objects.workloads) {
    if (!from.empty() && workload.metadata.name != from && workload.metadata.key() != from)
      continue;
    ++asked;
    const Result<void> done = ask(report.objects, workload, service, rows);
    if (done)
      ++answered;
    else
      trouble = cat(workload.metadata.display(), ": ", done.error().message());
  }
  if (asked == 0) {
    std::fprintf(stderr, "glia endpoints: there is no Workload %s\n", from.c_str());
    return 1;
  }
  if (answered == 0) {
    std::fprintf(stderr, "glia endpoints: no sidecar answers; is the mesh running? %s\n",
                 trouble.c_str());
    return 1;
  }
  if (output == Output::kJson) {
    std::printf("%s\n", rows.dump(2).c_str());
    return 0;
  }
  if (rows.empty()) {
    std::fprintf(stderr,
                 "glia endpoints: no sidecar chooses endpoints of %s by their load; give its "
                 "workloads a modelServer\n",
                 service.c_str());
    return 1;
  }
  print(rows);
  return 0;
}

}  // namespace glia
