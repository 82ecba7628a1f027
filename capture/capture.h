// Capture: which TCP connections of a network namespace go through the sidecar, and which do not; the
// one description from which the rules of every backend are written.
//
// The order of decisions is the same in all of them (docs/capture.md). Coming in: what is for the
// machine itself, unless its port or interface is left out. Going out: not DNS (port 53), not what
// stays on the machine, not what the proxy itself sends (by its user and group), not what is left
// out; the rest. Only the proxy's own connections to an address of its own machine come back in, as
// others' would: that is an application which calls its own Service. UDP is left alone.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/result.h"

namespace glia {

// Ports from `first` to `last`, both included.
struct PortRange {
  uint16_t first = 0, last = 0;
  friend bool operator==(const PortRange&, const PortRange&) = default;
};

// A network, in its canonical form: bits behind the prefix are 0.
struct IpNetwork {
  bool v6 = false;
  std::array<uint8_t, 16> bytes = {};  // IPv4: the first four.
  uint8_t prefix = 0;                  // bits

  std::string address() const;  // "10.0.0.0"
  bool contains(const IpNetwork& other) const;
  friend auto operator<=>(const IpNetwork&, const IpNetwork&) = default;
};

enum class CaptureBackend : uint8_t { kNft, kIptablesNft, kIptablesLegacy };

struct Capture {
  // How inbound connections reach the proxy; outbound ones are always redirected.
  // kTproxy: the proxy's socket takes them without translation of addresses, and needs NET_ADMIN.
  enum class Mode : uint8_t { kRedirect, kTproxy };
  enum class Families : uint8_t { kBoth, kV4, kV6 };

  CaptureBackend backend = CaptureBackend::kNft;
  Mode mode = Mode::kRedirect;
  Families families = Families::kBoth;
  uint16_t outbound_port = 15001, inbound_port = 15006;  // Of the proxy.
  uint32_t proxy_uid = 1337, proxy_gid = 1337;
  // Lists are in order and without overlap. An empty `include` list: all.
  std::vector<PortRange> include_inbound_ports, exclude_inbound_ports;
  std::vector<PortRange> include_outbound_ports, exclude_outbound_ports;
  std::vector<IpNetwork> include_outbound_networks, exclude_outbound_networks;
  std::vector<std::string> include_interfaces, exclude_interfaces;
  std::vector<uint32_t> exclude_uids, exclude_gids;  // Whose connections are not captured, too.

  bool v4() const { return families != Families::kV6; }
  bool v6() const { return families != Families::kV4; }
};

// A Capture as people write it: lists are separated by commas. "" is the default of docs/capture.md.
struct WrittenCapture {
  std::string backend, mode, families;  // "nft", "iptables-nft", "iptables-legacy"; ...
  std::string outbound_port, inbound_port, proxy_uid, proxy_gid;
  std::string include_inbound_ports, exclude_inbound_ports;
  std::string include_outbound_ports, exclude_outbound_ports;
  std::string include_outbound_networks, exclude_outbound_networks;
  std::string include_interfaces, exclude_interfaces;
  std::string exclude_uids, exclude_gids;
};

// Nobody locks himself out of a machine (22), and who asks for health and metrics reaches them.
inline constexpr std::string_view kNeverInbound = "22,15020-15021,15090";
// What is asked by name stays where the system's resolver finds it.
inline constexpr uint16_t kDnsPort = 53;
// Entries of one list. Kernels take more, people do not.
inline constexpr std::size_t kMostCaptureEntries = 1000;

// Errors name the flag, the value and the fix.
Result<Capture> read_capture(const WrittenCapture& written);

std::string_view name_of(CaptureBackend backend);

}  // namespace glia
