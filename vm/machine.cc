#include "vm/machine.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "proxy/base/base64.h"
#include "proxy/base/file.h"
#include "proxy/base/text.h"
#include "vm/hosts.h"

namespace glia {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTokenWord = "glia-vm-";
constexpr std::string_view kOurs = "# Written by `glia vm join`; `glia vm leave` removes it.\n";
constexpr std::size_t kMostToken = 1 << 20;  // bytes, as the largest join file.

struct File {
  std::string_view path;
  std::string content;
  mode_t mode;
};

Error failed(std::string_view doing, const std::string& path, int why) {
  const std::string fix = why == EACCES || why == EPERM ? "; run as root" : "";
  return Error(ErrorKind::kInternal, Fault::kSelf,
               cat("cannot ", doing, " ", path, ": ", std::strerror(why), fix));
}

// Nothing if there is no such file.
Result<std::string> read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::string();
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Result<void> not_of_others(const std::string& path) {
  TRY(const std::string there, read(path));
  if (!fs::exists(path) || there.starts_with(kOurs)) return {};
  return invalid(cat(path, " was not written by glia vm join; move it away first"));
}

// Whole or not at all, and never readable by more than `mode` says.
Result<void> write(const std::string& path, const File& file) {
  std::error_code trouble;
  fs::create_directories(fs::path(path).parent_path(), trouble);
  if (trouble) return failed("make the directory of", path, trouble.value());
  const int why = replace_file(path, cat(kOurs, file.content), file.mode);
  if (why != 0) return failed("write", path, why);
  return {};
}

// What a sidecar needs and nothing else.
constexpr std::string_view kHardening = R"(UMask=0077
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
PrivateDevices=yes
PrivateTmp=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
)";

std::string proxy_unit(const VmPlan& plan, const Capture& capture) {
  const bool tproxy = capture.mode == Capture::Mode::kTproxy;
  const std::string right = tproxy ? "CAP_NET_ADMIN" : "";
  return cat(R"([Unit]
Description=Glia sidecar
Documentation=man:glia-proxy(1)
Wants=network-online.target
After=network-online.target

[Service]
User=glia
Group=glia
LoadCredential=join.yaml:)",
             kJoinFile, "\nStateDirectory=glia\nStateDirectoryMode=0700\nExecStart=", plan.programs,
             "/glia-proxy --join ${CREDENTIALS_DIRECTORY}/join.yaml --state-dir ", kVmState,
             "\nRestart=always\nRestartSec=1\nTimeoutStopSec=45\nLimitNOFILE=1048576\n"
             "CapabilityBoundingSet=",
             right, "\nAmbientCapabilities=", right, "\n", kHardening,
             "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n"
             "SystemCallFilter=@system-service\n\n[Install]\nWantedBy=multi-user.target\n");
}

// The flags that were given, as words of a command line. read_capture() has seen that no value holds
// anything that systemd would take for more than a word.
std::string flags_of(const WrittenCapture& written) {
  const std::pair<std::string_view, const std::string&> flags[] = {
      {"--backend", written.backend},
      {"--mode", written.mode},
      {"--families", written.families},
      {"--outbound-port", written.outbound_port},
      {"--inbound-port", written.inbound_port},
      {"--proxy-uid", written.proxy_uid},
      {"--proxy-gid", written.proxy_gid},
      {"--include-inbound-ports", written.include_inbound_ports},
      {"--exclude-inbound-ports", written.exclude_inbound_ports},
      {"--include-outbound-ports", written.include_outbound_ports},
      {"--exclude-outbound-ports", written.exclude_outbound_ports},
      {"--include-outbound-networks", written.include_outbound_networks},
      {"--exclude-outbound-networks", written.exclude_outbound_networks},
      {"--include-interfaces", written.include_interfaces},
      {"--exclude-interfaces", written.exclude_interfaces},
      {"--exclude-uids", written.exclude_uids},
      {"--exclude-gids", written.exclude_gids}};
  std::string text;
  for (const auto& [flag, value] : flags) {
    std::string word;
    for (const char c : value) word += c == ' ' || c == '\t' ? "" : std::string(1, c);
    if (!word.empty()) text += cat(" ", flag, " ", word);
  }
  return text;
}

std::string capture_unit(const VmPlan& plan) {
  const std::string flags = flags_of(plan.capture);
  return cat(R"([Unit]
Description=All traffic of this machine through its Glia sidecar
Documentation=man:glia(1)
After=glia-proxy.service network-online.target nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=)",
             plan.programs, "/glia capture install", flags, "\nExecStart=", plan.programs,
             "/glia capture check", flags, "\nExecStop=", plan.programs,
             "/glia capture remove\n"
             "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_SETUID CAP_SETGID\n",
             kHardening,
             "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK\n"
             "SystemCallFilter=@system-service\n\n[Install]\nWantedBy=multi-user.target\n");
}

// Root, because the hosts file is root's; and no right of root's but to write there, in the place of a file of
// the same owner.
std::string names_unit(const VmPlan& plan) {
  return cat(R"([Unit]
Description=Names of the mesh's Services in /etc/hosts
Documentation=man:glia(1)
After=glia-proxy.service

[Service]
ExecStart=)",
             plan.programs, "/glia vm names --follow\nExecStopPost=", plan.programs,
             "/glia vm names --remove\nRestart=always\nRestartSec=5\n"
             "CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER\n",
             kHardening,
             "ReadWritePaths=/etc\nRestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n"
             "SystemCallFilter=@system-service\n\n[Install]\nWantedBy=multi-user.target\n");
}

std::string user_file(const Capture& capture) {
  return cat("g glia ", capture.proxy_gid, "\nu glia ", capture.proxy_uid, ":", capture.proxy_gid,
             " \"Glia sidecar\" ", kVmState, "\n");
}

std::string below(const std::string& root, std::string_view path) {
  return cat(trim(root, "/").empty() ? ""
             : root.ends_with('/')   ? root.substr(0, root.size() - 1)
                                     : root,
             path);
}

bool is_plain_path(std::string_view path) {
  return path.starts_with('/') && path.find_first_of(" \t\n\"'\\%$;") == path.npos;
}

}  // namespace

std::string vm_token(std::string_view join_file) {
  std::string token(kTokenWord);
  append_base64(token, join_file);
  return token;
}

Result<std::string> join_file_of(std::string_view vm_token) {
  const std::string_view text = trim(vm_token, " \t\r\n");
  std::string file;
  const bool whole = text.starts_with(kTokenWord) && text.size() <= kMostToken &&
                     parse_base64(text.substr(kTokenWord.size()), file);
  for (const std::string_view needed : {"workload: ", "control: ", "token: ", "trustBundle: "}) {
    if (whole && file.find(needed) != file.npos) continue;
    return invalid(
        cat("this is no token for a machine, or not all of it; "
            "`glia vm token WORKLOAD` on the control plane makes one, beginning with ",
            kTokenWord));
  }
  return file;
}

Result<std::vector<std::string>> join_machine(const VmPlan& plan) {
  TRY(const Capture capture, read_capture(plan.capture));
  if (!is_plain_path(plan.programs)) {
    return invalid(cat("--programs ", plan.programs, ": not an absolute path without blanks"));
  }
  std::vector<File> files = {{kJoinFile, plan.join_file, 0600},
                             {kUserFile, user_file(capture), 0644},
                             {kProxyUnit, proxy_unit(plan, capture), 0644},
                             {kCaptureUnit, capture_unit(plan), 0644}};
  if (plan.names) files.push_back({kNamesUnit, names_unit(plan), 0644});
  for (const File& file : files) TRY_VOID(not_of_others(below(plan.root, file.path)));
  std::vector<std::string> written;
  for (const File& file : files) {
    TRY_VOID(write(below(plan.root, file.path), file));
    written.push_back(below(plan.root, file.path));
  }
  return written;
}

Result<std::vector<std::string>> leave_machine(const std::string& root) {
  constexpr std::string_view kFiles[] = {kNamesUnit, kCaptureUnit, kProxyUnit, kUserFile,
                                         kJoinFile};
  for (const std::string_view file : kFiles) TRY_VOID(not_of_others(below(root, file)));
  std::vector<std::string> gone;
  for (const std::string_view file : kFiles) {
    const std::string path = below(root, file);
    if (::unlink(path.c_str()) == 0) {
      gone.push_back(path);
    } else if (errno != ENOENT && errno != ENOTDIR) {
      return failed("remove", path, errno);
    }
  }
  const std::string hosts = below(root, kHostsFile);
  if (fs::exists(hosts)) {
    TRY(const bool had_names, write_names(hosts, {}));
    if (had_names) gone.push_back(cat("names of the mesh in ", hosts));
  }
  std::error_code trouble;
  fs::remove(below(root, "/etc/glia"), trouble);  // Unless somebody has put something there.
  trouble.clear();
  const std::string state = below(root, kVmState);
  if (fs::remove_all(state, trouble) > 0 && !trouble) gone.push_back(state);
  if (trouble) return failed("remove", state, trouble.value());
  return gone;
}

}  // namespace glia
