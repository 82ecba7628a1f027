// Admission: what the application behind this sidecar cannot work on yet waits here in a fair line, and
// what would wait in vain is refused at once (glia.v1.Admission, docs/admission.md).
//
// The line itself is the process's (proxy/admission/admission_desk.h); this asks it for each request,
// says what that costs and whose it is, and gives the place back when the answer ends.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "proxy/admission/admission_desk.h"
#include "proxy/flow/filter.h"

namespace glia {

class AdmissionFilter final : public Filter {
 public:
  // `before` (may be null) is the filter that this one replaces.
  AdmissionFilter(std::shared_ptr<const AdmissionConfig> config, const AdmissionFilter* before);
  ~AdmissionFilter() override;

  Task<Reply> handle(Exchange& exchange, Next next) override;
  void collect(MetricsPage& page) const override;

 private:
  class Waiting;

  // Waits for the turn of what `place` was asked for, and asks the application. The place is in the
  // answer from then on.
  Task<Reply> take_turn(Exchange& exchange, Next next, std::unique_ptr<AdmissionPlace> place,
                        std::string tenant);
  Response refuse(Exchange& exchange, const AdmissionPlace& place, std::string_view tenant);

  const std::shared_ptr<const AdmissionConfig> config_;
  const std::shared_ptr<const AdmissionDesk> desk_;
};

}  // namespace glia
