// CHECK: a broken invariant ends the process at once, in every build.
//
// It is for bugs of ours only. Trouble that a peer, a file or a network can cause is a Result.
#pragma once

namespace glia {

// Writes "file:line: CHECK failed: what" and a backtrace to standard error, then aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* what);

}  // namespace glia

#define CHECK(condition)                                    \
  do {                                                      \
    if (!(condition)) [[unlikely]]                          \
      ::glia::check_failed(__FILE__, __LINE__, #condition); \
  } while (false)
