// Finds out by connecting whether capture works in this network namespace: a connection to a far
// address, that of a documentation network which nobody has (RFC 5737, RFC 3849), must be taken on
// this machine.
//
// While no proxy runs, the check listens on the capture ports itself and sees which address the
// connection was for; beside a running proxy it sees only that somebody takes it.
#pragma once

#include <string>
#include <vector>

#include "capture/capture.h"

namespace glia {

// How long a probe may take; nothing leaves the machine where capture works.
inline constexpr int kProbeMs = 2000;

// One sentence for each thing that was seen to work, for people. An error: what does not, and the fix.
Result<std::vector<std::string>> check_capture(const Capture& capture);

}  // namespace glia
