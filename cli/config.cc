#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/commands.h"
#include "control_plane/objects/kinds.h"
#include "control_plane/objects/object_set.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using Json = nlohmann::ordered_json;

// The part of the reference page about the kind that the sentence begins with; else its top.
std::string page_of(const Problem& problem) {
  const std::string_view kind =
      std::string_view(problem.message).substr(0, problem.message.find_first_of(" :"));
  for (const std::string_view known : kind_names()) {
    if (known == kind) return cat("docs/mesh-objects.md#", to_lower(kind));
  }
  return "docs/mesh-objects.md";
}

Json to_json(const Problem& problem) {
  return {{"file", problem.file},
          {"line", problem.line},
          {"column", problem.column},
          {"severity", problem.severity == Problem::Severity::kError ? "error" : "warning"},
          {"message", problem.message},
          {"page", page_of(problem)}};
}

}  // namespace

int validate_command(const std::vector<std::string>& paths, Output output) {
  const LoadReport report = load(paths);
  std::size_t errors = 0;
  for (const Problem& problem : report.problems) {
    errors += problem.severity == Problem::Severity::kError;
  }
  if (output == Output::kJson) {
    Json problems = Json::array();
    for (const Problem& problem : report.problems) problems.push_back(to_json(problem));
    const Json answer = {{"ok", report.ok()},
                         {"objects", report.objects.size()},
                         {"version", report.objects.version},
                         {"problems", problems}};
    std::printf("%s\n", answer.dump(2).c_str());
    return report.ok() ? 0 : 1;
  }
  std::set<std::string> pages;
  for (const Problem& problem : report.problems) {
    std::printf("%s\n", problem.text().c_str());
    pages.insert(page_of(problem));
  }
  for (const std::string& page : pages) std::printf("see %s\n", page.c_str());
  if (report.ok()) {
    std::printf("ok: %zu objects in %zu files, %zu warnings\n", report.objects.size(),
                report.files.size(), report.problems.size());
  } else {
    std::printf("%zu errors: a control plane would refuse this and keep what it has\n", errors);
  }
  return report.ok() ? 0 : 1;
}

}  // namespace glia
