// What an admission is told: how much the application behind it works on at once, and who waits how
// long (glia.v1.Admission, docs/admission.md).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "proxy/base/time.h"

namespace glia {

class AdmissionDesk;

struct AdmissionConfig {
  // What a request costs, for the shares of tenants and for cost_at_once.
  enum class Cost : uint8_t {
    kTokens,    // Of its input and the most that it asks for; its rows, where there are no tokens.
    kRows,      // Else 1.
    kRequests,  // 1.
  };
  // Whose share a request comes out of.
  enum class Tenants : uint8_t {
    kNamed,    // Whom the request names, else the caller.
    kCallers,  // The caller: its identity, else its address.
  };

  // Filters of this name share one queue; those of one application should. "": the listener's own.
  std::string application;
  uint32_t concurrency = 0;          // Requests at work at once; 0: learned.
  uint32_t most_concurrency = 1000;  // What may be learned.
  uint64_t cost_at_once = 0;         // None begins while those at work cost so much; 0: no limit.
  uint32_t queue = 512;              // Requests that wait.
  Duration wait = 30s;               // The longest.
  // A streaming request that waits longer gets the head of its answer, and a comment so often; 0: none
  // before its turn.
  Duration heartbeat = 0s;
  Cost cost = Cost::kTokens;
  uint32_t usual_output_tokens = 256;  // Of a request that does not say how much it asks for.
  Tenants tenants = Tenants::kNamed;
  // The queue of the process; set when the configuration is frozen, and kept from drawing to drawing.
  std::shared_ptr<const AdmissionDesk> desk;
};

}  // namespace glia
