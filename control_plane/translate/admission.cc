#include "control_plane/translate/admission.h"

#include "control_plane/translate/pack.h"
#include "glia/v1/admission.pb.h"
#include "proxy/base/check.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

using Cost = Workload::Admission::Cost;

glia::v1::Admission::Cost message_of(Cost cost) {
  switch (cost) {
    case Cost::kTokens: return glia::v1::Admission::TOKENS;
    case Cost::kRows: return glia::v1::Admission::ROWS;
    case Cost::kRequests: return glia::v1::Admission::REQUESTS;
  }
  CHECK(!"unknown cost");
}

}  // namespace

void add_admission(
    const Workload& workload,
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager) {
  if (!workload.spec.admission) return;
  const Workload::Admission& asked = *workload.spec.admission;
  glia::v1::Admission admission;
  admission.set_application(cat(workload.metadata.ns, "/", workload.metadata.name));
  if (asked.concurrency > 0) admission.mutable_concurrency()->set_value(asked.concurrency);
  admission.set_cost_at_once(asked.cost_at_once);
  admission.mutable_queue()->set_value(asked.queue);
  set_duration(asked.wait, *admission.mutable_wait());
  admission.set_cost(message_of(asked.cost));
  if (asked.tenants == Workload::Admission::Tenants::kCallers) {
    admission.set_tenants(glia::v1::Admission::CALLERS);
  }
  auto* filter = manager.add_http_filters();
  filter->set_name("glia.admission");
  filter->set_is_optional(true);
  pack(admission, *filter->mutable_typed_config());
}

}  // namespace glia
