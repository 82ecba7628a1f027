#include <cstdio>

#include "capture/check.h"
#include "capture/kernel.h"
#include "cli/commands.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

int fail(const char* command, const Error& error) {
  std::fprintf(stderr, "glia capture %s: %s\n", command, error.message().c_str());
  return 1;
}

// The backend, where none was asked for, is the best that is here.
Result<Capture> chosen(const WrittenCapture& written) {
  TRY(Capture capture, read_capture(written));
  if (!written.backend.empty()) return capture;
  TRY(capture.backend, usable_backend());
  return capture;
}

}  // namespace

int capture_install_command(const WrittenCapture& written) {
  const auto capture = chosen(written);
  if (!capture) return fail("install", capture.error());
  const Result<Installed> before = install(*capture);
  if (!before) return fail("install", before.error());
  const std::string backend(name_of(capture->backend));
  std::printf("%s: %s\n", backend.c_str(),
              *before == Installed::kAsWanted ? "nothing to do, the rules are as they should be"
              : *before == Installed::kOther  ? "the rules that were there are replaced"
                                              : "the rules are installed");
  return 0;
}

int capture_check_command(const WrittenCapture& written) {
  const auto capture = chosen(written);
  if (!capture) return fail("check", capture.error());
  const auto seen = check_capture(*capture);
  if (!seen) return fail("check", seen.error());
  for (const std::string& sentence : *seen) std::printf("%s\n", sentence.c_str());
  return 0;
}

int capture_print_command(const WrittenCapture& written) {
  const auto capture = chosen(written);
  if (!capture) return fail("print", capture.error());
  std::fputs(printed(*capture).c_str(), stdout);
  return 0;
}

int capture_remove_command() {
  const Result<std::string> gone = remove_capture();
  if (!gone) return fail("remove", gone.error());
  std::printf("%s\n", gone->empty() ? "nothing to do, there are no rules of Glia here"
                                    : cat("removed: ", *gone).c_str());
  return 0;
}

}  // namespace glia
