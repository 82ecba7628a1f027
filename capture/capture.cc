#include "capture/capture.h"

#include <arpa/inet.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "proxy/base/text.h"

namespace glia {
namespace {

// The kernel's IFNAMSIZ, without the zero.
constexpr std::size_t kLongestInterface = 15;
// 4294967295 means "no user" to the system.
constexpr uint64_t kMostId = 0xFFFF'FFFE;

Error bad(std::string_view flag, std::string_view value, std::string_view fix) {
  return invalid(cat(flag, " ", value, ": ", fix));
}

Result<std::vector<std::string_view>> split(std::string_view flag, std::string_view text) {
  std::vector<std::string_view> items;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view item = trim(text.substr(0, comma));
    if (item.empty()) return bad(flag, text, "an entry is empty; write VALUE,VALUE");
    items.push_back(item);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  if (items.size() > kMostCaptureEntries) {
    return invalid(
        cat(flag, " has ", items.size(), " entries; at most ", kMostCaptureEntries, " are taken"));
  }
  return items;
}

std::optional<uint16_t> port_of(std::string_view text) {
  const auto number = parse_decimal(text);
  if (!number || *number < 1 || *number > 65535) return {};
  return static_cast<uint16_t>(*number);
}

// In order, and those that touch or overlap made one.
std::vector<PortRange> joined(std::vector<PortRange> ranges) {
  std::ranges::sort(ranges, {}, &PortRange::first);
  std::vector<PortRange> out;
  for (const PortRange& range : ranges) {
    if (!out.empty() && range.first <= uint32_t{out.back().last} + 1) {
      out.back().last = std::max(out.back().last, range.last);
    } else {
      out.push_back(range);
    }
  }
  return out;
}

Result<std::vector<PortRange>> read_ports(std::string_view flag, std::string_view text) {
  TRY(const auto items, split(flag, text));
  std::vector<PortRange> ranges;
  for (const std::string_view item : items) {
    const std::size_t dash = item.find('-');
    const auto first = port_of(item.substr(0, dash));
    const auto last = dash == item.npos ? first : port_of(item.substr(dash + 1));
    if (!first || !last || *last < *first) {
      return bad(flag, item, "not a port; write 8080, or a range as 8000-8010");
    }
    ranges.push_back({*first, *last});
  }
  return joined(std::move(ranges));
}

std::optional<IpNetwork> network_of(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  IpNetwork network;
  network.v6 = address.find(':') != address.npos;
  const unsigned bits = network.v6 ? 128 : 32;
  if (::inet_pton(network.v6 ? AF_INET6 : AF_INET, address.c_str(), network.bytes.data()) != 1) {
    return {};
  }
  const auto prefix = slash == text.npos ? bits : parse_decimal(text.substr(slash + 1));
  if (!prefix || *prefix > bits) return {};
  network.prefix = static_cast<uint8_t>(*prefix);
  for (unsigned bit = network.prefix; bit < 128; ++bit) {
    network.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80u >> bit % 8));
  }
  return network;
}

Result<std::vector<IpNetwork>> read_networks(std::string_view flag, std::string_view text) {
  TRY(const auto items, split(flag, text));
  std::vector<IpNetwork> all;
  for (const std::string_view item : items) {
    const auto network = network_of(item);
    if (!network) {
      return bad(flag, item, "not a network; write 10.0.0.0/8, 192.0.2.7 or fd00::/8");
    }
    all.push_back(*network);
  }
  std::ranges::sort(all);
  // A network stands before those in it: their addresses are not lower, nor their prefixes shorter.
  std::vector<IpNetwork> out;
  for (const IpNetwork& network : all) {
    if (out.empty() || !out.back().contains(network)) out.push_back(network);
  }
  return out;
}

// Names go into rules as they are, so only what needs no quoting there is taken.
Result<std::vector<std::string>> read_interfaces(std::string_view flag, std::string_view text) {
  TRY(const auto items, split(flag, text));
  std::vector<std::string> names;
  for (const std::string_view item : items) {
    const bool plain = std::ranges::all_of(item, [](char c) {
      return (c >= '0' && c <= '9') || (to_lower(c) >= 'a' && to_lower(c) <= 'z') || c == '-' ||
             c == '_' || c == '.' || c == '@';
    });
    if (!plain || item.size() > kLongestInterface) {
      return bad(flag, item, "not the name of an interface, as in eth1 or docker0");
    }
    names.emplace_back(item);
  }
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Result<void> read_port(std::string_view flag, const std::string& text, uint16_t& port) {
  if (text.empty()) return {};
  const auto number = port_of(text);
  if (!number) return bad(flag, text, "not a port; use 1 to 65535");
  port = *number;
  return {};
}

Result<void> read_id(std::string_view flag, const std::string& text, uint32_t& id) {
  if (text.empty()) return {};
  const auto number = parse_decimal(text);
  if (!number || *number > kMostId) {
    return bad(flag, text, "not the number of a user or group; `id -u NAME` says it");
  }
  // Without one, no rule could tell the proxy's connections from the application's.
  if (*number == 0) {
    return bad(flag, text, "the proxy must not run as root: give it a user of its own");
  }
  id = static_cast<uint32_t>(*number);
  return {};
}

Result<std::vector<uint32_t>> read_ids(std::string_view flag, std::string_view text) {
  TRY(const auto items, split(flag, text));
  std::vector<uint32_t> ids;
  for (const std::string_view item : items) {
    const auto number = parse_decimal(item);
    if (!number || *number > kMostId) {
      return bad(flag, item, "not the number of a user or group; `id -u NAME` says it");
    }
    ids.push_back(static_cast<uint32_t>(*number));
  }
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

template <class Value>
struct Word {
  std::string_view text;
  Value value;
};
constexpr Word<CaptureBackend> kBackends[] = {{"nft", CaptureBackend::kNft},
                                              {"iptables-nft", CaptureBackend::kIptablesNft},
                                              {"iptables-legacy", CaptureBackend::kIptablesLegacy}};
constexpr Word<Capture::Mode> kModes[] = {{"redirect", Capture::Mode::kRedirect},
                                          {"tproxy", Capture::Mode::kTproxy}};
constexpr Word<Capture::Families> kFamilies[] = {{"both", Capture::Families::kBoth},
                                                 {"v4", Capture::Families::kV4},
                                                 {"v6", Capture::Families::kV6}};

template <class Value, std::size_t n>
Result<void> read_word(std::string_view flag, const std::string& text,
                       const Word<Value> (&words)[n], Value& value) {
  if (text.empty()) return {};
  std::string known;
  for (const Word<Value>& word : words) {
    if (word.text == text) return value = word.value, Result<void>();
    known += cat(known.empty() ? "" : ", ", word.text);
  }
  return bad(flag, text, cat("is none of ", known));
}

Result<void> read_lists(const WrittenCapture& written, Capture& capture) {
  TRY(capture.include_inbound_ports,
      read_ports("--include-inbound-ports", written.include_inbound_ports));
  TRY(capture.exclude_inbound_ports,
      read_ports("--exclude-inbound-ports",
                 cat(written.exclude_inbound_ports,
                     written.exclude_inbound_ports.empty() ? "" : ",", kNeverInbound)));
  TRY(capture.include_outbound_ports,
      read_ports("--include-outbound-ports", written.include_outbound_ports));
  TRY(capture.exclude_outbound_ports,
      read_ports("--exclude-outbound-ports",
                 cat(written.exclude_outbound_ports,
                     written.exclude_outbound_ports.empty() ? "" : ",", kDnsPort)));
  TRY(capture.include_outbound_networks,
      read_networks("--include-outbound-networks", written.include_outbound_networks));
  TRY(capture.exclude_outbound_networks,
      read_networks("--exclude-outbound-networks", written.exclude_outbound_networks));
  TRY(capture.include_interfaces,
      read_interfaces("--include-interfaces", written.include_interfaces));
  TRY(capture.exclude_interfaces,
      read_interfaces("--exclude-interfaces", written.exclude_interfaces));
  TRY(capture.exclude_uids, read_ids("--exclude-uids", written.exclude_uids));
  TRY(capture.exclude_gids, read_ids("--exclude-gids", written.exclude_gids));
  return {};
}

}  // namespace

std::string IpNetwork::address() const {
  char text[INET6_ADDRSTRLEN];
  ::inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), text, sizeof text);
  return text;
}

bool IpNetwork::contains(const IpNetwork& other) const {
  if (v6 != other.v6 || other.prefix < prefix) return false;
  for (unsigned bit = 0; bit < prefix; ++bit) {
    if (((bytes[bit / 8] ^ other.bytes[bit / 8]) & 0x80u >> bit % 8) != 0) return false;
  }
  return true;
}

std::string_view name_of(CaptureBackend backend) {
  for (const auto& word : kBackends) {
    if (word.value == backend) return word.text;
  }
  return "";
}

Result<Capture> read_capture(const WrittenCapture& written) {
  Capture capture;
  TRY_VOID(read_word("--backend", written.backend, kBackends, capture.backend));
  TRY_VOID(read_word("--mode", written.mode, kModes, capture.mode));
  TRY_VOID(read_word("--families", written.families, kFamilies, capture.families));
  TRY_VOID(read_port("--outbound-port", written.outbound_port, capture.outbound_port));
  TRY_VOID(read_port("--inbound-port", written.inbound_port, capture.inbound_port));
  if (capture.outbound_port == capture.inbound_port) {
    return invalid(cat("--outbound-port and --inbound-port are both ", capture.inbound_port,
                       "; the proxy tells the directions apart by them, so give two"));
  }
  TRY_VOID(read_id("--proxy-uid", written.proxy_uid, capture.proxy_uid));
  TRY_VOID(read_id("--proxy-gid", written.proxy_gid, capture.proxy_gid));
  TRY_VOID(read_lists(written, capture));
  return capture;
}

}  // namespace glia
