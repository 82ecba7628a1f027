// A virtual machine's part in a mesh: the files that make systemd run its sidecar and capture its
// traffic, written below a root directory, and taken away again.
//
// Nothing is started here. Every file of ours says so in its first line; a file of that name that does
// not is somebody else's and is never overwritten or removed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "capture/capture.h"
#include "proxy/base/result.h"

namespace glia {

// A join file (docs/joining.md) in one line, for people to paste. It is as secret as the file.
std::string vm_token(std::string_view join_file);
// The join file. Errors say what is wrong with the token and how to get another.
Result<std::string> join_file_of(std::string_view vm_token);

struct VmPlan {
  std::string root = "/";
  std::string programs = "/usr/bin";  // Where glia and glia-proxy are, as the machine sees it.
  std::string join_file;
  WrittenCapture capture;  // Its flags are those of the unit's `glia capture`.
  bool names = true;       // Names of Services stand in /etc/hosts.
};

// Where they are, without the root.
inline constexpr std::string_view kJoinFile = "/etc/glia/join.yaml";
inline constexpr std::string_view kProxyUnit = "/etc/systemd/system/glia-proxy.service";
inline constexpr std::string_view kCaptureUnit = "/etc/systemd/system/glia-capture.service";
inline constexpr std::string_view kNamesUnit = "/etc/systemd/system/glia-names.service";
inline constexpr std::string_view kUserFile = "/etc/sysusers.d/glia.conf";
inline constexpr std::string_view kVmState =
    "/var/lib/glia";  // Key and certificate; systemd makes it.

// Writes all of them, each whole. Returns their paths.
Result<std::vector<std::string>> join_machine(const VmPlan& plan);
// Removes them and the state. Returns what it removed.
Result<std::vector<std::string>> leave_machine(const std::string& root);

}  // namespace glia
