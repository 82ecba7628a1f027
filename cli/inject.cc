// glia inject.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>

#include "cli/commands.h"
#include "control_plane/inject/manifest.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using Verdict = Decision::Verdict;

constexpr std::size_t kLargestManifest = 64 * 1024 * 1024;  // bytes

int complain(const std::string& sentence) {
  std::fprintf(stderr, "glia inject: %s\n", sentence.c_str());
  return 1;
}

std::optional<std::string> read(const std::string& path) {
  std::ifstream file;
  if (path != "-") file.open(path, std::ios::binary);
  std::istream& in = path == "-" ? std::cin : file;
  if (!in) return {};
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad() || text.size() > kLargestManifest) return {};
  return text;
}

InjectSettings settings_of(const InjectOptions& options) {
  using enum InjectSettings::Capture;
  InjectSettings settings;
  settings.native = !options.classic;
  settings.capture = options.capture == "cni" ? kCni : options.capture == "none" ? kNone : kInit;
  settings.image = options.image;
  if (!options.control.empty()) settings.control = options.control;
  return settings;
}

void tell(const ManifestLine& line, bool uninject) {
  const Decision& decision = line.decision;
  const char* const what = decision.verdict == Verdict::kRefuse  ? "refused"
                           : decision.verdict == Verdict::kLeave ? "left as it is"
                           : uninject                            ? "done"
                                                                 : "injected";
  std::fprintf(stderr, "glia inject: %s: %s: %s\n", line.object.c_str(), what,
               decision.why.c_str());
}

}  // namespace

int inject_command(const InjectOptions& options) {
  const InjectSettings settings = settings_of(options);
  std::string all;
  bool refused = false;
  for (const std::string& path : options.paths) {
    const std::optional<std::string> text = read(path);
    if (!text) {
      return complain(cat(path, " cannot be read, or is larger than ", kLargestManifest, " bytes"));
    }
    const Result<ManifestText> made =
        inject_manifest(*text, options.uninject ? Direction::kUninject : Direction::kInject,
                        settings, options.name_space);
    if (!made) return complain(cat(path, ": ", made.error().message()));
    if (!all.empty() && !all.ends_with('\n')) all += '\n';
    if (!all.empty() && !made->text.starts_with("---")) all += "---\n";
    all += made->text;
    for (const ManifestLine& line : made->lines) tell(line, options.uninject);
    if (made->lines.empty()) complain(cat(path, ": there is no pod in it"));
    refused = refused || made->refused();
  }
  // A half of what was meant is not for `kubectl apply`.
  if (refused) return complain("nothing is written, because of what was refused");
  std::fwrite(all.data(), 1, all.size(), stdout);
  return 0;
}

}  // namespace glia
