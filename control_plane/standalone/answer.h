// StandaloneAnswer: what glia-translate says to `glia-proxy --mesh`: facts about the workload and the
// xDS resources of its sidecar.
//
// The two are separate programs because the translator needs the protobuf library, which would cost
// a sidecar more memory than all the rest of it. On the pipe between them: kAnswerMagic, the
// number of pushes, the facts as "name=value" lines, and the pushes, each an
// envoy.service.discovery.v3.DiscoveryResponse, in the order in which they are to be applied. Facts
// and pushes have their length before them; all numbers are four bytes, big-endian. Both programs are of one build; the magic number only
// tells a user who has mixed them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/base/time.h"

namespace glia {

inline constexpr std::string_view kAnswerMagic = "glia-translate 1\n";

struct WorkloadFacts {
  std::string spiffe_id;
  std::string cluster;        // Name of the workload's identity: node.cluster.
  std::string admin_address;  // host:port
  Duration certificate_lifetime = 24h;

  bool operator==(const WorkloadFacts&) const = default;
};

struct StandaloneAnswer {
  WorkloadFacts facts;
  std::vector<std::string> pushes;  // Serialized DiscoveryResponses.
};

std::string encode(const StandaloneAnswer& answer);
Result<StandaloneAnswer> decode_answer(std::string_view bytes);

}  // namespace glia
