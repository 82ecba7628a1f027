#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "control_plane/objects/object_set.h"

namespace glia {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Problem& problem) {
  return {{"file", problem.file},
          {"line", problem.line},
          {"column", problem.column},
          {"severity", problem.severity == Problem::Severity::kError ? "error" : "warning"},
          {"message", problem.message}};
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
  for (const Problem& problem : report.problems) std::printf("%s\n", problem.text().c_str());
  if (report.ok()) {
    std::printf("ok: %zu objects in %zu files, %zu warnings\n", report.objects.size(),
                report.files.size(), report.problems.size());
  } else {
    std::printf("%zu errors: a control plane would refuse this and keep what it has\n", errors);
  }
  return report.ok() ? 0 : 1;
}

}  // namespace glia
