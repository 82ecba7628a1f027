// RBAC: refuses with 403 what the policies do not let through, and says which policy decided.
//
// Envoy's envoy.filters.http.rbac. Shadow rules only count and log. A route may bring its own
// configuration or switch the filter off. It sees the path that routing saw, before any rewrite.
#pragma once

#include <memory>
#include <string>

#include "filters/rbac_eval.h"
#include "proxy/flow/filter.h"

namespace glia {

class RbacFilter final : public Filter {
 public:
  // `name` as configured. `before` (may be null) is the filter that this one replaces after a change of
  // configuration; its counts go on.
  RbacFilter(std::string name, std::shared_ptr<const RbacConfig> config, std::string stat_prefix,
             const RbacFilter* before);

  Task<Reply> handle(Exchange& exchange, Next next) override;
  void collect(MetricsPage& page) const override;

 private:
  std::string name_;  // Routes bring their own settings under it.
  std::string stat_prefix_;
  std::shared_ptr<const RbacConfig> config_;
  RbacCounts counts_;
};

}  // namespace glia
