// glia config explain, diff and schema.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "cli/commands.h"
#include "cli/control_client.h"
#include "control_plane/explain/diff.h"
#include "control_plane/explain/explain.h"
#include "control_plane/explain/made_of.h"
#include "control_plane/objects/kinds.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using Json = nlohmann::ordered_json;

int complain(const char* command, const std::string& sentence) {
  std::fprintf(stderr, "glia config %s: %s\n", command, sentence.c_str());
  return 1;
}

// Nothing, and a complaint, if there are errors.
std::optional<ObjectSet> read(const char* command, const std::vector<std::string>& paths) {
  LoadReport report = load(paths);
  if (report.ok()) return std::move(report.objects);
  complain(command, cat("the mesh has errors:\n", report.errors()));
  return {};
}

Json to_json(const Explanation::Share& share) {
  Json hops = Json::array();
  for (const Explanation::Hop& hop : share.hops) {
    hops.push_back({{"address", hop.address},
                    {"workload", hop.workload},
                    {"allowed", hop.allowed},
                    {"why", hop.why}});
  }
  return {{"percent", share.percent},
          {"cluster", share.cluster},
          {"service", share.service},
          {"changes", share.changes},
          {"endpoints", hops}};
}

Json to_json(const Explanation& e) {
  Json passed = Json::array(), shares = Json::array();
  for (const auto& p : e.passed) passed.push_back({{"route", p.route}, {"because", p.because}});
  for (const auto& share : e.shares) shares.push_back(to_json(share));
  return {{"from", e.caller},       {"request", e.request}, {"host", e.host},
          {"notTaken", passed},     {"route", e.route},     {"origin", e.route_origin},
          {"because", e.because},   {"policy", e.policy},   {"changes", e.changes},
          {"answer", e.answer},     {"shares", shares},     {"mirrors", e.mirrors},
          {"onDemand", e.on_demand}};
}

// When a sidecar has a resource; `held`: what it has now, if it was asked.
std::string when(const MadeOf& made, const std::optional<std::set<std::string>>& held) {
  if (held && held->contains(made.resource)) return "held now";
  if (made.on_demand)
    return held ? "not held, comes with the first use" : "comes with the first use";
  return held ? "not held" : "held";
}

int explain_resources(const ObjectSet& objects, const ExplainOptions& options, Output output) {
  const Workload* workload = objects.workload(options.from);
  if (workload == nullptr) return complain("explain", cat("there is no Workload ", options.from));
  std::optional<std::set<std::string>> held;
  if (!options.state_directory.empty()) {
    auto asked = ask_held(control_directory(options.state_directory), workload->metadata.key());
    if (!asked) return complain("explain", asked.error().message());
    held = *std::move(asked);
  }
  const std::vector<MadeOf> all = made_of(objects, *workload);
  if (output == Output::kJson) {
    Json json = Json::array();
    for (const MadeOf& made : all) {
      json.push_back(
          {{"resource", made.resource}, {"objects", made.objects}, {"when", when(made, held)}});
    }
    std::printf("%s\n", json.dump(2).c_str());
    return 0;
  }
  const bool always = !held && std::ranges::none_of(all, &MadeOf::on_demand);
  for (const MadeOf& made : all) {
    std::printf("%s%s\n", made.resource.c_str(),
                always ? "" : cat(" (", when(made, held), ")").c_str());
    for (const std::string& object : made.objects) std::printf("    %s\n", object.c_str());
  }
  return 0;
}

}  // namespace

int explain_command(const ExplainOptions& options, Output output) {
  const auto objects = read("explain", options.mesh);
  if (!objects) return 1;
  if (options.to.empty()) return explain_resources(*objects, options, output);
  Question question;
  question.from = options.from;
  if (const auto url = question.read_url(options.to); !url) {
    return complain("explain", url.error().message());
  }
  if (!options.method.empty()) question.method = options.method;
  for (const std::string& header : options.headers) {
    const std::size_t colon = header.find(':');
    if (colon == header.npos || colon == 0) {
      return complain("explain", cat("-H \"", header, "\" is not NAME:VALUE"));
    }
    question.headers.emplace_back(to_lower(header.substr(0, colon)),
                                  trim(std::string_view(header).substr(colon + 1)));
  }
  const auto explanation = explain(*objects, question);
  if (!explanation) return complain("explain", explanation.error().message());
  if (output == Output::kJson)
    std::printf("%s\n", to_json(*explanation).dump(2).c_str());
  else
    std::fputs(explanation->text().c_str(), stdout);
  return 0;
}

int diff_command(const std::string& before, const std::string& after) {
  const auto old_objects = read("diff", {before});
  const auto new_objects = read("diff", {after});
  if (!old_objects || !new_objects) return 2;
  const MeshDiff changes = diff(*old_objects, *new_objects);
  std::fputs(changes.text().c_str(), stdout);
  return changes.empty() ? 0 : 1;
}

int schema_command(const std::string& kind) {
  if (kind.empty()) {
    std::fputs(json_schema_of_all().c_str(), stdout);
    return 0;
  }
  if (const auto schema = json_schema(kind)) {
    std::fputs(schema->c_str(), stdout);
    return 0;
  }
  std::string names;
  for (const std::string_view name : kind_names()) names += cat(names.empty() ? "" : ", ", name);
  return complain("schema", cat("there is no kind ", kind, "; the kinds are ", names));
}

}  // namespace glia
