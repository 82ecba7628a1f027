// glia canary: what the control plane says of canaries, and what a person tells it.
#include <google/protobuf/util/json_util.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "cli/commands.h"
#include "cli/control_client.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::chrono::seconds kRefresh(1);
constexpr char kClearScreen[] = "\x1b[H\x1b[2J";

int fail(const Error& error) {
  std::fprintf(stderr, "glia canary: %s\n", error.message().c_str());
  return 1;
}

int print_json(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  std::printf("%s\n", json.c_str());
  return 0;
}

bool is_over(const v1::CanaryStatus& canary) {
  return canary.phase() == "promoted" || canary.phase() == "rolled back";
}
bool is_bad(const v1::CanaryStatus& canary) {
  return canary.phase() == "rolled back" || canary.phase() == "failed";
}

// "[10] 25 50": where it is.
std::string stages_of(const v1::CanaryStatus& canary) {
  std::string out;
  for (int i = 0; i < canary.stages_size(); ++i) {
    const v1::CanaryStage& stage = canary.stages(i);
    const std::string word =
        stage.shadow() > 0 ? cat("copies of ", stage.shadow(), " %") : cat(stage.weight(), " %");
    const bool here = static_cast<int>(canary.stage()) == i + 1 && !is_over(canary);
    out += cat(out.empty() ? "" : "  ", here ? "[" : "", word, here ? "]" : "");
  }
  return out;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value >= 100 ? "%.0f" : "%.2f", value);
  return text;
}

void print_version(const char* name, const v1::CanaryVersion& version) {
  std::printf("%-10s %10llu %8llu %10s %10s %9u\n", name,
              static_cast<unsigned long long>(version.requests()),
              static_cast<unsigned long long>(version.errors()), number(version.p50_ms()).c_str(),
              number(version.p95_ms()).c_str(), version.sidecars());
}

std::string duration_text(int64_t seconds) {
  if (seconds < 60) return cat(seconds, "s");
  if (seconds < 3600) return cat(seconds / 60, "m", seconds % 60, "s");
  return cat(seconds / 3600, "h", seconds % 3600 / 60, "m");
}

void print(const v1::CanaryStatus& canary) {
  std::printf("canary %s  (%s)\n", canary.name().c_str(), canary.versions().c_str());
  std::printf("phase      %s, %u %% of the requests to the candidate\n", canary.phase().c_str(),
              canary.weight());
  std::printf("steps      %s\n", stages_of(canary).c_str());
  std::printf("so far     %s, %llu requests answered by the candidate, %u look%s at this step\n",
              duration_text(canary.spent_s()).c_str(),
              static_cast<unsigned long long>(canary.touched()), canary.looks(),
              canary.looks() == 1 ? "" : "s");
  if (!canary.verdict().empty()) std::printf("verdict    %s\n", canary.verdict().c_str());
  std::printf("because    %s\n", canary.reason().c_str());
  std::printf("\n%-10s %10s %8s %10s %10s %9s\n", "THIS STEP", "REQUESTS", "ERRORS", "P50 MS",
              "P95 MS", "SIDECARS");
  print_version("stable", canary.stable());
  print_version("candidate", canary.candidate());
  if (canary.findings().empty()) return;
  std::printf("\n%-10s %s\n", "VERDICT", "METRIC");
  for (const v1::CanaryFinding& finding : canary.findings()) {
    std::printf("%-10s %s\n", finding.verdict().c_str(), finding.sentence().c_str());
  }
}

}  // namespace

int canary_list_command(const std::string& state_directory, Output output) {
  const auto answer = ask_canaries(control_directory(state_directory), "");
  if (!answer) return fail(answer.error());
  if (output == Output::kJson) return print_json(*answer);
  std::printf("%-24s %-12s %-7s %-8s %s\n", "CANARY", "PHASE", "WEIGHT", "STEP", "BECAUSE");
  for (const v1::CanaryStatus& canary : answer->canaries()) {
    std::printf("%-24s %-12s %-7s %-8s %s\n", canary.name().c_str(), canary.phase().c_str(),
                cat(canary.weight(), " %").c_str(),
                cat(canary.stage(), "/", canary.stages_size()).c_str(), canary.reason().c_str());
  }
  return 0;
}

int canary_show_command(const std::string& state_directory, const std::string& name, Watch watch,
                        Output output) {
  for (;;) {
    const auto answer = ask_canaries(control_directory(state_directory), name);
    if (!answer) return fail(answer.error());
    const v1::CanaryStatus& canary = answer->canaries(0);
    if (output == Output::kText && watch == Watch::kYes) std::fputs(kClearScreen, stdout);
    if (output == Output::kJson) {
      print_json(canary);
    } else {
      print(canary);
    }
    std::fflush(stdout);
    if (watch == Watch::kNo || is_over(canary)) return is_bad(canary) ? 1 : 0;
    std::this_thread::sleep_for(kRefresh);
  }
}

int canary_change_command(const std::string& state_directory, const std::string& name,
                          const std::string& command) {
  const auto canary = change_canary(control_directory(state_directory), name, command);
  if (!canary) return fail(canary.error());
  std::printf("canary %s is %s: %u %% of the requests go to the candidate\n",
              canary->name().c_str(), canary->phase().c_str(), canary->weight());
  return 0;
}

}  // namespace glia
