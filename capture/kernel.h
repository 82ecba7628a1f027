// Brings a Capture into the kernel of the current network namespace, and out again, by the programs
// nft or iptables-restore. Each change of a table is one transaction: there is no moment without rules
// while they are replaced. What others have put there is never touched.
#pragma once

#include <string>

#include "capture/capture.h"

namespace glia {

enum class Installed : uint8_t {
  kNothing,  // No rules of ours.
  kOther,    // Rules of ours, but not these.
  kAsWanted,
};

// Errors name what is missing (the program, the right, the kernel's module) and the fix.
Result<Installed> installed(const Capture& capture);

// Returns what was there before; kAsWanted: nothing was changed.
Result<Installed> install(const Capture& capture);

// Takes away what is ours, of every backend whose program is here. Returns what it took away, as
// words for people; "" if there was nothing.
Result<std::string> remove_capture();

// The best backend of this machine: native nftables; else iptables, of that kind which already has
// rules in this namespace.
Result<CaptureBackend> usable_backend();

// All that would be given to the kernel's programs.
std::string printed(const Capture& capture);

}  // namespace glia
