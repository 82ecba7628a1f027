// Response flags: Envoy's letters for what went wrong with a request. People search for them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace glia {

enum class ResponseFlag : uint8_t {
  kNoHealthyUpstream,      // UH
  kUpstreamConnectFailed,  // UF
  kUpstreamReset,          // UC
  kUpstreamOverflow,       // UO
  kNoRoute,                // NR
  kNoCluster,              // NC
  kUpstreamTimeout,        // UT
  kUpstreamProtocol,       // UPE
  kDownstreamGone,         // DC
  kDownstreamProtocol,     // DPE
  kIdleTimeout,            // SI
  kDurationTimeout,        // DT
  kOverload,               // OM
  kLocalReset,             // LR
  kRetryLimit,             // URX
  kRateLimited,            // RL
  kCount,
};

class ResponseFlags {
 public:
  void set(ResponseFlag flag) { bits_ |= 1u << static_cast<uint32_t>(flag); }
  bool has(ResponseFlag flag) const { return (bits_ >> static_cast<uint32_t>(flag)) & 1u; }
  bool empty() const { return bits_ == 0; }
  // "UF,UT", or "-" for none.
  std::string text() const;

 private:
  uint32_t bits_ = 0;
};

std::string_view letters_of(ResponseFlag flag);

}  // namespace glia
