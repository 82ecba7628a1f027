#include "proxy/xds/decode_filter.h"

#include <algorithm>
#include <variant>

#include "proxy/base/text.h"
#include "proxy/xds/decode_admission.h"
#include "proxy/xds/decode_budget.h"
#include "proxy/xds/decode_cors.h"
#include "proxy/xds/decode_rbac.h"

namespace glia {
namespace {

struct FilterKind {
  std::string_view word;
  std::string_view type;
  FilterSettings (*decode)(const Reader& config);
  std::string_view type_of_route;  // "": a route has no say.
  FilterSettings (*decode_of_route)(const Reader& config);
};

// One row an alternative of FilterSettings, in its order.
constexpr FilterKind kKinds[] = {
    {"RBAC", "envoy.extensions.filters.http.rbac.v3.RBAC",
     [](const Reader& config) -> FilterSettings { return decode_rbac(config); },
     "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
     [](const Reader& config) -> FilterSettings { return decode_rbac_per_route(config); }},
    {"CORS", "envoy.extensions.filters.http.cors.v3.Cors",
     [](const Reader& config) -> FilterSettings { return decode_cors(config); },
     "envoy.extensions.filters.http.cors.v3.CorsPolicy",
     [](const Reader& config) -> FilterSettings { return decode_cors_policy(config); }},
    {"Admission", "glia.v1.Admission",
     [](const Reader& config) -> FilterSettings { return decode_admission(config); }, "", nullptr},
    {"TokenBudgets", "glia.v1.TokenBudgets",
     [](const Reader& config) -> FilterSettings { return decode_token_budgets(config); },
     "glia.v1.TokenBudgets",
     [](const Reader& config) -> FilterSettings { return decode_token_budgets_of_route(config); }},
};
static_assert(std::size(kKinds) == std::variant_size_v<FilterSettings>);

// Would the filter of this name read it?
void check_name(const Reader& config, const std::string& name, const FilterKind& kind,
                const std::vector<FilterConfig>& filters) {
  std::vector<std::string_view> names;
  for (const FilterConfig& filter : filters) {
    if (&kKinds[filter.settings.index()] == &kind) names.push_back(filter.name);
  }
  if (std::ranges::count(names, name) > 0) return;
  const auto meant = closest_of(name, names);
  config.fail(cat("no ", kind.word, " filter of the listener has this name, so nobody reads it; ",
                  names.empty() ? "there is none"
                  : meant       ? cat("did you mean ", *meant, "?")
                                : cat("there is ", names.front())));
}

}  // namespace

std::optional<FilterSettings> decode_filter(const Reader& config) {
  const auto kind = std::ranges::find(kKinds, config.type(), &FilterKind::type);
  if (kind != std::end(kKinds)) return kind->decode(config);
  config.accept_all();
  config.fail(cat("the filter ", config.type(), " is not supported by glia-proxy"));
  return {};
}

std::optional<FilterSettings> decode_filter_of_route(const Reader& config, const std::string& name,
                                                     const std::vector<FilterConfig>& filters) {
  const auto kind = std::ranges::find(kKinds, config.type(), &FilterKind::type_of_route);
  if (kind == std::end(kKinds) || kind->decode_of_route == nullptr) return {};
  check_name(config, name, *kind, filters);
  return kind->decode_of_route(config);
}

}  // namespace glia
