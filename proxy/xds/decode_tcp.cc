#include "proxy/xds/decode_tcp.h"

#include "proxy/base/text.h"
#include "proxy/xds/decode_accesslog.h"

namespace glia {

namespace {

void decode_targets(const Reader& proxy, TcpProxy& tcp) {
  constexpr uint64_t kMostWeight = 0xFFFFFFFF;
  if (proxy.has("cluster")) {
    tcp.targets.push_back({.cluster = proxy.text("cluster")});
    return;
  }
  const Reader weighted = proxy.message("weighted_clusters");
  tcp.total_weight = 0;
  weighted.each("clusters", [&](const Reader& target, std::size_t) {
    TcpProxy::Target decoded{.cluster = target.text("name")};
    if (decoded.cluster.empty()) target.fail("has no name");
    decoded.weight = static_cast<uint32_t>(target.number("weight", 0, kMostWeight, 1));
    tcp.total_weight += decoded.weight;
    tcp.targets.push_back(std::move(decoded));
  });
  if (tcp.targets.empty()) proxy.fail("needs cluster or weighted_clusters");
  if (tcp.total_weight > kMostWeight) weighted.fail("the weights add up to more than 4294967295");
  if (!tcp.targets.empty() && tcp.total_weight == 0) weighted.fail("all weights are 0");
}

}  // namespace

TcpProxy decode_tcp_proxy(const Reader& proxy) {
  constexpr uint64_t kMostAttempts = 100;
  TcpProxy tcp;
  tcp.stat_prefix = proxy.text("stat_prefix");
  if (tcp.stat_prefix.empty()) proxy.fail("has no stat_prefix");
  decode_targets(proxy, tcp);
  tcp.idle_timeout = proxy.duration("idle_timeout", tcp.idle_timeout);
  tcp.longest = proxy.duration("max_downstream_connection_duration", tcp.longest);
  if (proxy.has("max_downstream_connection_duration") && tcp.longest == Duration::zero()) {
    proxy.fail("max_downstream_connection_duration", "must be above 0s");
  }
  tcp.connect_attempts = static_cast<uint32_t>(
      proxy.number("max_connect_attempts", tcp.connect_attempts, kMostAttempts, 1));
  proxy.each("access_log", [&](const Reader& log, std::size_t) {
    if (auto decoded = decode_access_log(log)) tcp.access_logs.push_back(*std::move(decoded));
  });
  return tcp;
}

}  // namespace glia
