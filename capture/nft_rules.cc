#include <algorithm>

#include "capture/rules.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

// "22", "{ 22, 15020-15021 }". In the order of nft's own listing, which is that of the values.
std::string set_of(const std::vector<std::string>& items) {
  if (items.size() == 1) return items[0];
  std::string text;
  for (const std::string& item : items) text += cat(text.empty() ? "" : ", ", item);
  return cat("{ ", text, " }");
}

std::string ports(const std::vector<PortRange>& ranges) {
  std::vector<std::string> items;
  for (const PortRange& range : ranges) {
    items.push_back(range.first == range.last ? cat(range.first)
                                              : cat(range.first, "-", range.last));
  }
  return set_of(items);
}

std::vector<std::string> networks(const std::vector<IpNetwork>& all, bool v6) {
  std::vector<std::string> items;
  for (const IpNetwork& network : all) {
    if (network.v6 != v6) continue;
    const bool one = network.prefix == (v6 ? 128 : 32);
    items.push_back(one ? network.address() : cat(network.address(), "/", network.prefix));
  }
  return items;
}

class Writer {
 public:
  void open(std::string_view name) {
    text_ += cat(first_ ? "" : "\n", "\tchain ", name, " {\n");
    first_ = false;
  }
  void line(std::string_view rule) { text_ += cat("\t\t", rule, "\n"); }
  void close() { text_ += "\t}\n"; }
  std::string take() { return cat("table inet ", kNftTable, " {\n", text_, "}\n"); }

 private:
  std::string text_;
  bool first_ = true;
};

std::string family_of(const Capture& capture) {
  if (capture.families == Capture::Families::kV4) return "meta nfproto ipv4 ";
  return capture.families == Capture::Families::kV6 ? "meta nfproto ipv6 " : "";
}

void write_inbound(const Capture& capture, std::string_view chain, std::string_view verdict,
                   Writer& out) {
  out.open(chain);
  for (const std::string& name : capture.exclude_interfaces) {
    out.line(cat("iifname \"", name, "\" return"));
  }
  if (!capture.exclude_inbound_ports.empty()) {
    out.line(cat("tcp dport ", ports(capture.exclude_inbound_ports), " return"));
  }
  if (!capture.include_inbound_ports.empty()) {
    out.line(cat("tcp dport != ", ports(capture.include_inbound_ports), " return"));
  }
  out.line(cat("meta l4proto tcp counter ", verdict, " to :", capture.inbound_port));
  out.close();
}

// Only what goes to these networks is captured.
void write_included_networks(const Capture& capture, Writer& out) {
  if (capture.include_outbound_networks.empty()) return;
  for (const bool v6 : {false, true}) {
    const std::vector<std::string> wanted = networks(capture.include_outbound_networks, v6);
    const std::string_view field = v6 ? "ip6" : "ip";
    out.line(wanted.empty() ? cat("meta nfproto ipv", v6 ? "6" : "4", " return")
                            : cat(field, " daddr != ", set_of(wanted), " return"));
  }
}

void write_outbound(const Capture& capture, Writer& out) {
  out.open("outbound");
  for (const std::string& name : capture.exclude_interfaces) {
    out.line(cat("oifname \"", name, "\" return"));
  }
  out.line("oifname \"lo\" ip saddr 127.0.0.0/8 return");
  out.line("oifname \"lo\" ip6 saddr ::1 return");
  out.line(cat("oifname \"lo\" meta skuid ", capture.proxy_uid, " goto inbound"));
  out.line(cat("oifname \"lo\" meta skgid ", capture.proxy_gid, " goto inbound"));
  out.line("oifname \"lo\" return");
  out.line(cat("meta skuid ", capture.proxy_uid, " return"));
  out.line(cat("meta skgid ", capture.proxy_gid, " return"));
  if (!capture.include_interfaces.empty()) {
    std::vector<std::string> quoted;
    for (const std::string& name : capture.include_interfaces) {
      quoted.push_back(cat("\"", name, "\""));
    }
    out.line(cat("oifname != ", set_of(quoted), " return"));
  }
  for (const uint32_t uid : capture.exclude_uids) out.line(cat("meta skuid ", uid, " return"));
  for (const uint32_t gid : capture.exclude_gids) out.line(cat("meta skgid ", gid, " return"));
  if (!capture.exclude_outbound_ports.empty()) {
    out.line(cat("tcp dport ", ports(capture.exclude_outbound_ports), " return"));
  }
  if (!capture.include_outbound_ports.empty()) {
    out.line(cat("tcp dport != ", ports(capture.include_outbound_ports), " return"));
  }
  for (const bool v6 : {false, true}) {
    const std::vector<std::string> left = networks(capture.exclude_outbound_networks, v6);
    if (!left.empty()) out.line(cat(v6 ? "ip6" : "ip", " daddr ", set_of(left), " return"));
  }
  write_included_networks(capture, out);
  out.line(cat("meta l4proto tcp counter redirect to :", capture.outbound_port));
  out.close();
}

}  // namespace

std::string nft_rules(const Capture& capture) {
  const bool tproxy = capture.mode == Capture::Mode::kTproxy;
  // A connection that was there before the rules would look like a new one when its next packet comes:
  // the kernel has not followed it. Only what begins now is led to the sidecar.
  const std::string begins = cat(family_of(capture), "tcp flags syn / fin,syn,rst,ack ");
  const std::string tcp = tproxy ? cat(family_of(capture), "meta l4proto tcp ") : begins;
  Writer out;
  out.open("prerouting");
  out.line(cat("type ", tproxy ? "filter" : "nat", " hook prerouting priority ",
               tproxy ? "mangle" : "dstnat", "; policy accept;"));
  // Answers to what another program's network address translation sent from here (a container's) are
  // for a machine behind us, which is known only after this.
  if (tproxy) out.line("ct direction reply return");
  const auto arriving = [&](const std::string& from) {
    out.line(cat("iifname ", from, " fib daddr type local ", tcp, "jump ",
                 tproxy ? "arriving" : "inbound"));
  };
  if (capture.include_interfaces.empty()) arriving("!= \"lo\"");
  for (const std::string& name : capture.include_interfaces) arriving(cat("\"", name, "\""));
  out.close();
  out.open("output");
  out.line("type nat hook output priority -100; policy accept;");
  out.line(cat(begins, "jump outbound"));
  out.close();
  if (tproxy) write_inbound(capture, "arriving", "tproxy", out);
  write_inbound(capture, "inbound", "redirect", out);
  write_outbound(capture, out);
  return out.take();
}

}  // namespace glia
