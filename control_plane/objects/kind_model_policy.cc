// ModelPolicy: how a Service's model servers are chosen among, and which requests are sent twice.
#include "control_plane/objects/kind.h"
#include "control_plane/objects/route_filter.h"

namespace glia {

namespace {

using Policy = ModelPolicy;
using Balancing = Policy::Balancing;
using Hedge = Policy::Hedge;

Type<Policy::Target> target() {
  ObjectType<Policy::Target> type("the Service or InferencePool whose requests are meant");
  type.optional("group", &Policy::Target::group, backend_group(),
                "\"\", the group of Service, or that of InferencePool.", "\"\"")
      .optional("kind", &Policy::Target::kind, backend_kind_name(), "", "Service")
      .required("name", &Policy::Target::name, backend_name(), "Of the same namespace.")
      .check([](Policy::Target& target, const YamlNode&, Reader& reader) {
        check_backend_kind(target.group, target.kind, target.name, target.at, reader);
      });
  return type;
}

Type<Balancing::Weights> weights() {
  using Weights = Balancing::Weights;
  constexpr std::size_t kMostMetrics = 16;
  constexpr int64_t kMostPenalty = 1000;
  ObjectType<Weights> type("weights by reports");
  type.optional("blackout", &Weights::blackout, duration(),
                "A server's reports count only so long after its first.", "10s")
      .optional("expiry", &Weights::expiry, duration(), "Older reports do not count.", "180s")
      .optional("update", &Weights::update, duration(),
                "So often weights are made anew, from 100ms.", "1s")
      .optional("errorPenalty", &Weights::error_penalty, number("a factor", 0, kMostPenalty),
                "Errors per request, times this, count as utilization.", "1")
      .optional("metrics", &Weights::metrics,
                list(text("a name in a report", "^[!-~]{1,128}$"), 0, kMostMetrics),
                "What is taken for utilization, the highest of them: `named_metrics.NAME`, or a "
                "field of a report.",
                "application_utilization, else cpu_utilization")
      .check([](Weights& value, const YamlNode&, Reader& reader) {
        if (!value.update || *value.update >= 100ms) return;
        reader.error_in("update", value.at, "must be at least 100ms");
      });
  return type;
}

void check_balancing(Balancing& balancing, const YamlNode&, Reader& reader) {
  if (balancing.weights && balancing.picker != Balancing::Picker::kWeightedByReports) {
    reader.error_in("weights", balancing.weights->at,
                    "belongs to picker WeightedByReports; write that, or remove it");
  }
  if (balancing.half_life && *balancing.half_life < 1ms) {
    reader.error_in("halfLife", balancing.at, "must be at least 1ms");
  }
  const auto& told = balancing.oob_interval;
  if (told && (*told < 100ms || *told > 10min)) {
    reader.error_in("oobInterval", balancing.at, "must be from 100ms to 10m");
  }
}

Type<Balancing> balancing() {
  using Picker = Balancing::Picker;
  ObjectType<Balancing> type("how a server is chosen");
  type.optional(
          "picker", &Balancing::picker,
          enumeration<Picker>({{"Composed", Picker::kComposed},
                               {"LeastLoadedOfTwo", Picker::kLeastLoadedOfTwo},
                               {"HotCold", Picker::kHotCold},
                               {"PrefixAffinity", Picker::kPrefixAffinity},
                               {"AdapterAffinity", Picker::kAdapterAffinity},
                               {"SessionAffinity", Picker::kSessionAffinity},
                               {"WeightedByReports", Picker::kWeightedByReports}}),
          "`Composed`: load, speed, failures, KV cache, adapter, session, and what a server "
          "has seen of the prompt before. `PrefixAffinity`, `AdapterAffinity`, "
          "`SessionAffinity`: the same with only this one of the last three. "
          "`LeastLoadedOfTwo`: the emptier of two drawn by chance, by requests, those that "
          "wait, tokens of prompts that are not read yet, and KV cache. `HotCold`: Prequal's "
          "rule, the fastest of those that are not hot. `WeightedByReports`: turns by requests "
          "a second per use, as servers report them (gRFC A58).",
          "Composed")
      .optional("weights", &Balancing::weights, weights(), "Of `WeightedByReports`.")
      .optional("halfLife", &Balancing::half_life, duration(), "A report of this age counts half.",
                "1s")
      .optional("hotPercent", &Balancing::hot_percent, integer<uint32_t>("a number", 0, 100),
                "`HotCold`: who has more requests than this share of all is hot.", "84")
      .optional("probes", &Balancing::probes, integer<uint32_t>("a number", 0, 16),
                "`HotCold`: after each request so many servers are asked how they are; their "
                "sidecars answer. 0: what answers to requests say is all.",
                "2")
      .optional(
          "affinity", &Balancing::affinity, integer<uint32_t>("a number", 0, 1000),
          "`Composed`: so many requests are a session, or the tokens of a mean prompt, worth; "
          "0: prompts and sessions are not remembered.",
          "4")
      .optional("prefixBlocks", &Balancing::prefix_blocks,
                integer<uint32_t>("a number", 1, 1'000'000),
                "Of 64 tokens, remembered of each server.", "31250")
      .optional("sessionHeader", &Balancing::session_header, header_name(),
                "Requests with the same value stay together.", "x-session-id")
      .optional("oobInterval", &Balancing::oob_interval, duration(),
                "So often each server is asked to tell its load, also while no answer ends; 100ms "
                "to 10m.",
                "with answers only")
      .check(check_balancing);
  return type;
}

void check_hedge(Hedge& hedge, const YamlNode&, Reader& reader) {
  if (!hedge.after && !hedge.percentile) {
    return reader.error_in("after", hedge.at, "or percentile is missing");
  }
  if (hedge.after && (*hedge.after < 1ms || *hedge.after > 1h)) {
    reader.error_in("after", hedge.at, "must be from 1ms to 1h");
  }
}

Type<Hedge> hedge() {
  using Requests = Hedge::Requests;
  ObjectType<Hedge> type("second copies of requests");
  type.optional("after", &Hedge::after, duration(),
                "So long after its end a request that has no answer is sent to another server as "
                "well. With `percentile`, not before that. The first good answer is taken, and the "
                "other copy is cancelled.")
      .optional("percentile", &Hedge::percentile, integer<uint32_t>("a number", 50, 99),
                "When so many percent of the recent answers took less.")
      .optional("budgetPercent", &Hedge::budget_percent, integer<uint32_t>("a number", 0, 100),
                "At most so many second copies at once, in percent of the requests in progress.",
                "10")
      .optional("least", &Hedge::least, integer<uint32_t>("a number", 0, 1000),
                "So many may be in progress whatever that comes to.", "1")
      .optional("requests", &Hedge::requests,
                enumeration<Requests>({{"Models", Requests::kModels}, {"All", Requests::kAll}}),
                "`Models`: for the output of a model, but no streams, none of OpenAI's stored "
                "responses, and nothing that loads or unloads. `All`: every request but streams; "
                "write it if it does no harm that they are done twice.",
                "Models")
      .optional("keptBytes", &Hedge::kept_bytes, integer<uint32_t>("a number", 0, 16 << 20),
                "Requests with a larger body are sent once.", "65536")
      .check(check_hedge);
  return type;
}

}  // namespace

Kind model_policy_kind() {
  ObjectType<Policy::Spec> spec("spec of a ModelPolicy");
  spec.required("targetRef", &Policy::Spec::target_ref, target(), "")
      .optional("balancing", &Policy::Spec::balancing, balancing(), "")
      .optional("hedge", &Policy::Spec::hedge, hedge(), "Without it, nothing is sent twice.")
      .not_yet({"targetRefs"});
  Kind kind =
      make_kind<Policy, Policy::Spec>("glia.dev/v1", check_subdomain_name, spec,
                                      SpecNeed::kRequired, [](Policy&& policy, Draft& draft) {
                                        draft.objects.model_policies.push_back(std::move(policy));
                                      });
  kind.documentation =
      "How callers choose among the model servers of a Service or an InferencePool, and which "
      "requests they send twice. Nothing of it is needed "
      "([choosing an endpoint](choosing-an-endpoint.md) explains it). `hedge` is that of the "
      "Service that the caller names, `balancing` that of the Service or InferencePool that a "
      "route sends it to.";
  kind.example = R"(apiVersion: glia.dev/v1
kind: ModelPolicy
metadata: {name: classify}
spec:
  targetRef: {kind: Service, name: classify}
  balancing: {picker: HotCold, hotPercent: 80, oobInterval: 500ms}
  hedge: {after: 50ms, percentile: 95, budgetPercent: 5}
)";
  return kind;
}

}  // namespace glia
