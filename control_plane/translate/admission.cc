#include "control_plane/translate/admission.h"

#include "control_plane/translate/pack.h"
#include "glia/v1/admission.pb.h"
#include "glia/v1/budget.pb.h"
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

glia::v1::TokenBudget::StopStreams message_of(Workload::TokenBudget::Stop stop) {
  switch (stop) {
    case Workload::TokenBudget::Stop::kNever: return glia::v1::TokenBudget::NEVER;
    case Workload::TokenBudget::Stop::kWhenEmpty: return glia::v1::TokenBudget::WHEN_EMPTY;
    case Workload::TokenBudget::Stop::kAtReservation: return glia::v1::TokenBudget::AT_RESERVATION;
  }
  CHECK(!"unknown stop");
}

glia::v1::Redis::WhenAway message_of(Workload::SharedBudgets::WhenAway when) {
  switch (when) {
    case Workload::SharedBudgets::WhenAway::kLocal: return glia::v1::Redis::LOCAL;
    case Workload::SharedBudgets::WhenAway::kAllow: return glia::v1::Redis::ALLOW;
    case Workload::SharedBudgets::WhenAway::kRefuse: return glia::v1::Redis::REFUSE;
  }
  CHECK(!"unknown policy");
}

void set_redis(const Workload::SharedBudgets& shared, glia::v1::Redis& redis) {
  redis.set_address(shared.redis);
  redis.set_share(shared.share);
  redis.set_username(shared.username);
  redis.set_password_file(shared.password_file);
  set_duration(shared.timeout, *redis.mutable_timeout());
  redis.set_when_away(message_of(shared.when_away));
}

std::string application_of(const Workload& workload) {
  return cat(workload.metadata.ns, "/", workload.metadata.name);
}

void add_filter(
    const char* name, const google::protobuf::Message& message,
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager) {
  auto* filter = manager.add_http_filters();
  filter->set_name(name);
  filter->set_is_optional(true);
  pack(message, *filter->mutable_typed_config());
}

glia::v1::TokenBudgets budgets_of(const Workload& workload) {
  glia::v1::TokenBudgets budgets;
  budgets.set_application(application_of(workload));
  for (const Workload::TokenBudget& asked : workload.spec.token_budgets) {
    auto* budget = budgets.add_budgets();
    budget->set_name(asked.name);
    budget->set_tokens(asked.tokens);
    set_duration(asked.per, *budget->mutable_per());
    budget->set_model(asked.model);
    budget->set_tenant(asked.tenant);
    budget->set_each_model(asked.each_model);
    budget->set_each_tenant(asked.each_tenant);
    budget->set_stop_streams(message_of(asked.stop_streams));
  }
  if (workload.spec.shared_budgets) {
    set_redis(*workload.spec.shared_budgets, *budgets.mutable_redis());
  }
  return budgets;
}

}  // namespace

void add_admission(
    const Workload& workload,
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager) {
  if (!workload.spec.token_budgets.empty()) {
    // First: who has no budget does not wait.
    add_filter("glia.token_budgets", budgets_of(workload), manager);
  }
  if (!workload.spec.admission) return;
  const Workload::Admission& asked = *workload.spec.admission;
  glia::v1::Admission admission;
  admission.set_application(application_of(workload));
  if (asked.concurrency > 0) admission.mutable_concurrency()->set_value(asked.concurrency);
  admission.set_cost_at_once(asked.cost_at_once);
  admission.mutable_queue()->set_value(asked.queue);
  set_duration(asked.wait, *admission.mutable_wait());
  if (asked.heartbeat) set_duration(*asked.heartbeat, *admission.mutable_heartbeat());
  admission.set_cost(message_of(asked.cost));
  if (asked.tenants == Workload::Admission::Tenants::kCallers) {
    admission.set_tenants(glia::v1::Admission::CALLERS);
  }
  add_filter("glia.admission", admission, manager);
}

}  // namespace glia
