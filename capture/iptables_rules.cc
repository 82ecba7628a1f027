#include <algorithm>

#include "capture/rules.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::string_view kInbound = "GLIA_INBOUND", kArriving = "GLIA_ARRIVING",
                           kOutbound = "GLIA_OUTBOUND";

std::string port_match(const PortRange& range) {
  if (range.first == range.last) return cat(" -p tcp -m tcp --dport ", range.first);
  return cat(" -p tcp -m tcp --dport ", range.first, ":", range.last);
}

// One table under construction.
class Writer {
 public:
  Writer(std::string table, bool v6) : v6_(v6) { table_.name = std::move(table); }
  void chain(std::string_view name) { table_.chains.emplace_back(name); }
  void jump(std::string line) { table_.jumps.push_back(std::move(line)); }
  void rule(std::string_view chain, std::string_view match, std::string_view verdict) {
    table_.rules.push_back(cat("-A ", chain, match, " ", verdict));
  }
  // Where only some ports are wanted, a rule for each; else one for all.
  void rule_for(std::string_view chain, std::string_view match,
                const std::vector<PortRange>& wanted, std::string_view verdict) {
    if (wanted.empty()) rule(chain, cat(match, " -p tcp"), verdict);
    for (const PortRange& range : wanted) rule(chain, cat(match, port_match(range)), verdict);
  }
  std::vector<std::string> of_family(const std::vector<IpNetwork>& networks) const {
    std::vector<std::string> texts;
    for (const IpNetwork& network : networks) {
      if (network.v6 == v6_) texts.push_back(cat(network.address(), "/", network.prefix));
    }
    return texts;
  }
  bool v6() const { return v6_; }
  IptablesTable take() { return std::move(table_); }

 private:
  IptablesTable table_;
  bool v6_;
};

// " -o eth0" for each that is wanted; one "" for all.
std::vector<std::string> by_interface(const Capture& capture, std::string_view flag) {
  std::vector<std::string> matches;
  for (const std::string& name : capture.include_interfaces) {
    matches.push_back(cat(" ", flag, " ", name));
  }
  if (matches.empty()) matches.emplace_back();
  return matches;
}

// A connection that was there before the rules would look like a new one when its next packet comes: the
// kernel has not followed it. Only what begins now is led to the sidecar.
constexpr std::string_view kBegins = " -m tcp --tcp-flags FIN,SYN,RST,ACK SYN";

void jump_from_outside(const Capture& capture, std::string_view chain, std::string_view match,
                       Writer& out) {
  for (const std::string& from : by_interface(capture, "-i")) {
    out.jump(cat("-A PREROUTING", from.empty() ? " ! -i lo" : from,
                 " -p tcp -m addrtype --dst-type LOCAL", match, " -j ", chain));
  }
}

void write_inbound(const Capture& capture, std::string_view chain, std::string_view verdict,
                   Writer& out) {
  for (const std::string& name : capture.exclude_interfaces) {
    out.rule(chain, cat(" -i ", name), "-j RETURN");
  }
  for (const PortRange& range : capture.exclude_inbound_ports) {
    out.rule(chain, port_match(range), "-j RETURN");
  }
  out.rule_for(chain, "", capture.include_inbound_ports, verdict);
}

void write_outbound(const Capture& capture, Writer& out) {
  for (const std::string& name : capture.exclude_interfaces) {
    out.rule(kOutbound, cat(" -o ", name), "-j RETURN");
  }
  out.rule(kOutbound, cat(" -s ", out.v6() ? "::1/128" : "127.0.0.0/8", " -o lo"), "-j RETURN");
  const std::string by_uid = cat(" -m owner --uid-owner ", capture.proxy_uid);
  const std::string by_gid = cat(" -m owner --gid-owner ", capture.proxy_gid);
  const std::string self = cat("-g ", kInbound);
  out.rule(kOutbound, " -o lo" + by_uid, self);
  out.rule(kOutbound, " -o lo" + by_gid, self);
  out.rule(kOutbound, " -o lo", "-j RETURN");
  out.rule(kOutbound, by_uid, "-j RETURN");
  out.rule(kOutbound, by_gid, "-j RETURN");
  for (const uint32_t uid : capture.exclude_uids) {
    out.rule(kOutbound, cat(" -m owner --uid-owner ", uid), "-j RETURN");
  }
  for (const uint32_t gid : capture.exclude_gids) {
    out.rule(kOutbound, cat(" -m owner --gid-owner ", gid), "-j RETURN");
  }
  for (const PortRange& range : capture.exclude_outbound_ports) {
    out.rule(kOutbound, port_match(range), "-j RETURN");
  }
  for (const std::string& network : out.of_family(capture.exclude_outbound_networks)) {
    out.rule(kOutbound, " -d " + network, "-j RETURN");
  }
  const std::string redirect = cat("-j REDIRECT --to-ports ", capture.outbound_port);
  for (const std::string& by : by_interface(capture, "-o")) {
    if (capture.include_outbound_networks.empty()) {
      out.rule_for(kOutbound, by, capture.include_outbound_ports, redirect);
    }
    for (const std::string& network : out.of_family(capture.include_outbound_networks)) {
      out.rule_for(kOutbound, cat(" -d ", network, by), capture.include_outbound_ports, redirect);
    }
  }
}

IptablesTable nat_table(const Capture& capture, bool v6) {
  Writer out("nat", v6);
  out.chain(kInbound);
  out.chain(kOutbound);
  if (capture.mode == Capture::Mode::kRedirect) {
    jump_from_outside(capture, kInbound, kBegins, out);
  }
  out.jump(cat("-A OUTPUT -p tcp", kBegins, " -j ", kOutbound));
  write_inbound(capture, kInbound, cat("-j REDIRECT --to-ports ", capture.inbound_port), out);
  write_outbound(capture, out);
  return out.take();
}

IptablesTable mangle_table(const Capture& capture, bool v6) {
  Writer out("mangle", v6);
  out.chain(kArriving);
  // As in nft_rules.cc: answers to what was translated here are for a machine behind us.
  out.rule(kArriving, " -m conntrack --ctdir REPLY", "-j RETURN");
  jump_from_outside(capture, kArriving, "", out);
  write_inbound(capture, kArriving,
                cat("-j TPROXY --on-port ", capture.inbound_port, " --on-ip ",
                    v6 ? "::" : "0.0.0.0", " --tproxy-mark 0x0/0x0"),
                out);
  return out.take();
}

}  // namespace

std::vector<IptablesTable> iptables_rules(const Capture& capture, IpVersion version) {
  const bool v6 = version == IpVersion::kV6;
  if (v6 ? !capture.v6() : !capture.v4()) return {};
  std::vector<IptablesTable> tables = {nat_table(capture, v6)};
  if (capture.mode == Capture::Mode::kTproxy) tables.push_back(mangle_table(capture, v6));
  return tables;
}

std::string iptables_text(const std::vector<IptablesTable>& tables) {
  std::string text;
  for (const IptablesTable& table : tables) {
    text += cat("*", table.name, "\n");
    for (const std::string& chain : table.chains) text += cat(":", chain, " - [0:0]\n");
    for (const std::string& jump : table.jumps) text += jump + "\n";
    for (const std::string& rule : table.rules) text += rule + "\n";
    text += "COMMIT\n";
  }
  return text;
}

}  // namespace glia
