#include "filters/all.h"

#include "filters/rbac.h"
#include "filters/rbac_gate.h"

namespace glia {

std::unique_ptr<Filter> make_filter(const FilterConfig& config, const HttpManager& manager,
                                    const Filter* before) {
  if (config.rbac != nullptr) {
    return std::make_unique<RbacFilter>(config, manager.stat_prefix,
                                        dynamic_cast<const RbacFilter*>(before));
  }
  CHECK(!"a filter that the guest list does not know was let through by xds/decode");
}

std::unique_ptr<Gate> make_gate(const TcpProxy& proxy, const Gate* before) {
  if (proxy.rbac == nullptr) return nullptr;
  return std::make_unique<RbacGate>(proxy.rbac, dynamic_cast<const RbacGate*>(before));
}

}  // namespace glia
