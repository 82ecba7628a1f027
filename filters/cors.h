// CORS: tells browsers which pages of other origins may read the answers of a route.
//
// Envoy's envoy.filters.http.cors. The question that a browser asks before a request (preflight) is
// answered here and reaches no upstream; other requests go up whatever their origin, because it is
// the browser that keeps the answer from a page which the fields do not name.
#pragma once

#include <memory>
#include <string>

#include "proxy/flow/filter.h"
#include "proxy/mesh/cors.h"

namespace glia {

class CorsFilter final : public Filter {
 public:
  // `name` as configured. `before` (may be null) is the filter that this one replaces after a
  // change of configuration; its counts go on.
  CorsFilter(std::string name, std::shared_ptr<const CorsPolicy> config, std::string stat_prefix,
             const CorsFilter* before);

  Task<Reply> handle(Exchange& exchange, Next next) override;
  void collect(MetricsPage& page) const override;

 private:
  std::string name_;  // Routes bring their policy under it.
  std::string stat_prefix_;
  std::shared_ptr<const CorsPolicy> config_;
  uint64_t valid_ = 0, invalid_ = 0;  // Requests by whether a policy names their origin.
};

}  // namespace glia
