// The fields of a Canary.
#include <algorithm>

#include "control_plane/objects/canary.h"
#include "control_plane/objects/kind.h"
#include "control_plane/objects/route_filter.h"

namespace glia {

namespace {

using Measure = Canary::Measure;

Choices<Measure> measures() {
  Choices<Measure> all;
  for (const Measure measure : Canary::kMeasures) all.emplace_back(name_of(measure), measure);
  return all;
}

std::optional<std::string> check_title(std::string_view title) {
  const bool plain = std::ranges::all_of(title, [](char c) { return c >= ' ' && c <= '~'; });
  if (title.empty() || title.size() > 100 || !plain) return "must be 1 to 100 printable bytes";
  return {};
}

Type<Canary::Target> target() {
  ObjectType<Canary::Target> type("the Service that callers name");
  type.optional("group", &Canary::Target::group, core_group(), "\"\", the group of Service.",
                "\"\"")
      .optional("kind", &Canary::Target::kind, service_kind_name(), "", "Service")
      .required("name", &Canary::Target::name, service_name(), "Of the same namespace.");
  return type;
}

Type<Canary::Version> version(std::string what) {
  ObjectType<Canary::Version> type(std::move(what));
  type.optional("service", &Canary::Version::service, service_name(),
                "A Service of the same namespace with all ports of the target.")
      .optional("labels", &Canary::Version::labels, labels(),
                "Those workloads of the target that have them.")
      .check([](Canary::Version& version, const YamlNode& node, Reader& reader) {
        if (version.service.empty() == version.labels.empty()) {
          reader.error(node, "must have either service or labels");
        }
      });
  return type;
}

Type<Canary::Step> step() {
  ObjectType<Canary::Step> type("a part of the requests");
  type.required("weight", &Canary::Step::weight, integer<uint32_t>("percent", 1, 99),
                "How many of the requests the candidate gets; more with every step.")
      .optional("pause", &Canary::Step::pause, duration(),
                "So long at least, whatever the analysis says.")
      .optional("untilResumed", &Canary::Step::until_resumed, boolean(),
                "Stays here until `glia canary resume`, if the analysis finds nothing wrong.",
                "false");
  return type;
}

Type<Canary::Header> header() {
  ObjectType<Canary::Header> type("a header");
  type.required("name", &Canary::Header::name, header_name(), "")
      .required("value", &Canary::Header::value, text("any text", "", check_header_value),
                "Exactly.");
  return type;
}

Type<Canary::Session> session() {
  const auto cookie =
      text("a cookie's name", "^[A-Za-z0-9!#$%&'*+\\-.^_`|~]{1,256}$", check_header_name);
  ObjectType<Canary::Session> type("what tells a user's requests from those of others");
  type.optional("header", &Canary::Session::header, header_name(), "Of requests.", "none")
      .optional("cookie", &Canary::Session::cookie, cookie, "Of requests; the mesh sets none.",
                "none")
      .check([](Canary::Session& session, const YamlNode& node, Reader& reader) {
        if (session.header.empty() != session.cookie.empty()) return;
        reader.error(node, "needs either header or cookie");
      });
  return type;
}

// "http://HOST[:PORT][/PATH]"; an IPv6 address stands in brackets.
template <class Peer>
std::optional<std::string> read_url(Peer& peer) {
  constexpr std::string_view kScheme = "http://";
  std::string_view rest = peer.url;
  if (!rest.starts_with(kScheme)) return "must begin with http://";
  rest.remove_prefix(kScheme.size());
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  if (slash < rest.size()) peer.path = rest.substr(slash);
  std::string_view authority = rest.substr(0, slash);
  const std::size_t colon = authority.rfind(':');
  if (colon != authority.npos && authority.find(']', colon) == authority.npos) {
    const auto port = parse_decimal(authority.substr(colon + 1));
    if (!port || *port == 0 || *port > kMaxPort) return "has a port that is not 1 to 65535";
    peer.port = static_cast<uint16_t>(*port);
    authority = authority.substr(0, colon);
  }
  if (authority.starts_with('[') && authority.ends_with(']')) {
    authority = authority.substr(1, authority.size() - 2);
  }
  peer.host = authority;
  if (check_ip(peer.host) && check_hostname(peer.host)) return "has no host";
  if (check_path(peer.path.substr(0, peer.path.find('?')))) return "has no proper path";
  return {};
}

template <class Peer>
void check_peer(Peer& peer, std::string_view field, Reader& reader) {
  if (const auto wrong = read_url(peer)) reader.error_in(field, peer.at, *wrong);
  if (peer.timeout >= 1s && peer.timeout <= 10min) return;
  reader.error_in("timeout", peer.at, "must be from 1s to 10m");
}

std::optional<std::string> check_query(std::string_view query) {
  if (query.empty() || query.size() > 4096) return "must be 1 to 4096 bytes";
  return {};
}

Type<Canary::Prometheus> prometheus() {
  ObjectType<Canary::Prometheus> type("a Prometheus that is asked");
  const auto query = text("a query in PromQL", "", check_query);
  type.required("address", &Canary::Prometheus::url,
                text("http://HOST[:PORT][/PATH]", "^http://.+$"),
                "Of its HTTP API, without `/api/v1/query`.")
      .required("candidate", &Canary::Prometheus::candidate, query,
                "One number for the candidate, in the metric's unit: percent, milliseconds, tokens "
                "a second.")
      .optional("stable", &Canary::Prometheus::stable, query,
                "The same for the stable version; without it the metric needs a `maximum` or "
                "`minimum`.",
                "none")
      .optional("title", &Canary::Prometheus::title, text("a few words", "", check_title),
                "What it is called in verdicts.", "the metric's name")
      .optional("timeout", &Canary::Prometheus::timeout, duration(), "From 1s to 10m.", "10s")
      .check([](Canary::Prometheus& from, const YamlNode&, Reader& reader) {
        check_peer(from, "address", reader);
      });
  return type;
}

void check_queried(const Canary::Metric& metric, Reader& reader) {
  if (metric.name == Measure::kShadowDifferences) {
    reader.error_in("prometheus", metric.at, "cannot tell how answers to copies differ");
  }
  if (metric.percentile) {
    reader.error_in("percentile", metric.at, "is what the query of Prometheus says");
  }
  if (metric.prometheus->stable.empty() && !metric.maximum && !metric.minimum) {
    reader.error_in("prometheus", metric.at,
                    "has no query for the stable version, so maximum or minimum must be given");
  }
  if (metric.prometheus->stable.empty() && metric.tolerance) {
    reader.error_in("tolerance", metric.at, "needs prometheus.stable to compare with");
  }
}

void check_metric(Canary::Metric& metric, Reader& reader) {
  const bool speed = metric.name == Measure::kTokensPerSecond;
  const bool any = metric.name == Measure::kValue;
  if (metric.prometheus) check_queried(metric, reader);
  if (any && !metric.prometheus) {
    reader.error_in("name", metric.at, "is Value, which a query says, so prometheus must be given");
  }
  if (metric.maximum && speed) {
    reader.error_in("maximum", metric.at, "is for what should be small; use minimum");
  }
  if (metric.minimum && !speed && !any) {
    reader.error_in("minimum", metric.at, "is for TokensPerSecond and Value; use maximum");
  }
  if (metric.maximum && metric.is_share() && *metric.maximum > 100) {
    reader.error_in("maximum", metric.at, "is a share in percent, so at most 100");
  }
}

Type<Canary::Metric> metric() {
  ObjectType<Canary::Metric> type("something to compare");
  type.required("name", &Canary::Metric::name, enumeration<Measure>(measures()),
                "See [canaries.md](canaries.md).")
      .optional("percentile", &Canary::Metric::percentile, integer<uint32_t>("percent", 1, 99),
                "Which one of times and speeds is compared.", "95; of TokensPerSecond 5")
      .optional("tolerance", &Canary::Metric::tolerance, number("a number", 0, 1000),
                "How much worse the candidate may be: points of percent of shares, percent of "
                "times and speeds.",
                "2 for shares, 20 for the rest")
      .optional("maximum", &Canary::Metric::maximum, number("a number", 0, 1'000'000'000),
                "What the candidate may have at most, whatever the stable version has: percent, or "
                "milliseconds.",
                "none")
      .optional("minimum", &Canary::Metric::minimum, number("a number", 0, 1'000'000'000),
                "Of TokensPerSecond and Value: what it must have at least.", "none")
      .optional("prometheus", &Canary::Metric::prometheus, prometheus(),
                "Asked for the metric in place of the sidecars.", "none")
      .check([](Canary::Metric& metric, const YamlNode&, Reader& reader) {
        check_metric(metric, reader);
      });
  return type;
}

void check_analysis(Canary::Analysis& analysis, Reader& reader) {
  if (analysis.interval < 1s || analysis.interval > 10min) {
    reader.error_in("interval", analysis.at, "must be from 1s to 10m");
  }
  if (analysis.confidence >= 100) {
    reader.error_in("confidence", analysis.at, "must be below 100: nothing is certain");
  }
  const auto queried = std::ranges::count_if(
      analysis.metrics, [](const Canary::Metric& metric) { return metric.prometheus.has_value(); });
  if (static_cast<std::size_t>(queried) > Canary::kMostQueried) {
    reader.error_in("metrics", analysis.at,
                    cat("asks Prometheus for ", queried, " metrics; at most ", Canary::kMostQueried,
                        " are possible"));
  }
  for (std::size_t i = 0; i < analysis.metrics.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const Canary::Metric &a = analysis.metrics[i], &b = analysis.metrics[j];
      if (a.title() != b.title()) continue;
      reader.error_in(cat("metrics[", i, "]"), a.at, cat("is there already, as metrics[", j, "]"));
    }
  }
}

Type<Canary::Analysis> analysis() {
  ObjectType<Canary::Analysis> type("how it is judged");
  type.optional("interval", &Canary::Analysis::interval, duration(),
                "Between two looks, 1s to 10m.", "10s")
      .optional("minimumRequests", &Canary::Analysis::minimum_requests,
                integer<uint32_t>("a number", 20, 1'000'000'000),
                "Of each version in a step, before anything is said.", "100")
      .optional("confidence", &Canary::Analysis::confidence, number("percent", 80, 100),
                "Of a hundred canaries without a fault, so many are not taken back, however often "
                "is looked; of a hundred steps of a canary that is worse than tolerated, so many "
                "are not taken.",
                "99")
      .optional("metrics", &Canary::Analysis::metrics, list(metric(), 1, 32), "",
                "Errors, OutputErrors, Latency, FirstToken, InterToken; with `shadow` "
                "ShadowDifferences")
      .check([](Canary::Analysis& analysis, const YamlNode&, Reader& reader) {
        check_analysis(analysis, reader);
      });
  return type;
}

std::optional<std::string> check_ignored(std::string_view field) {
  if (field.empty() || field.size() > 256) return "must be 1 to 256 bytes";
  return {};
}

Type<Canary::Shadow> shadow() {
  constexpr int64_t kMostTolerance = 1'000'000'000;

  ObjectType<Canary::Shadow> type("copies for the candidate before the first step");
  type.optional("percent", &Canary::Shadow::percent, integer<uint32_t>("percent", 1, 100),
                "How many of the requests are copied. Answers to copies are compared and dropped.",
                "10")
      .optional(
          "ignore", &Canary::Shadow::ignore, list(text("a field", "", check_ignored), 1, 32),
          "Fields of JSON answers that are not compared, wherever they stand (`seed`) or there "
          "only (`outputs[].seed`).",
          "id, created, usage, system_fingerprint, model_version")
      .optional("absoluteTolerance", &Canary::Shadow::absolute_tolerance,
                number("a number", 0, kMostTolerance),
                "Numbers are the same that differ by at most so much,", "0")
      .optional("relativeTolerance", &Canary::Shadow::relative_tolerance, number("a number", 0, 1),
                "and this part of the greater one.", "0");
  return type;
}

Type<Canary::Confirm> confirm() {
  ObjectType<Canary::Confirm> type("who is asked before every step and before the promotion");
  type.required("url", &Canary::Confirm::url, text("http://HOST[:PORT][/PATH]", "^http://.+$"),
                "Gets a POST with JSON: `canary`, `versions`, `from` and `to` (percent) and "
                "`reason`. 2xx: it goes on; 403: it is taken back; anything else: it stays and "
                "asks again.")
      .optional("timeout", &Canary::Confirm::timeout, duration(), "From 1s to 10m.", "10s")
      .check([](Canary::Confirm& confirm, const YamlNode&, Reader& reader) {
        check_peer(confirm, "url", reader);
      });
  return type;
}

void check_steps(Canary::Spec& spec, Reader& reader) {
  for (std::size_t i = 1; i < spec.steps.size(); ++i) {
    if (spec.steps[i].weight > spec.steps[i - 1].weight) continue;
    reader.error_in(cat("steps[", i, "].weight"), spec.steps[i].at,
                    cat("is ", spec.steps[i].weight, " after ", spec.steps[i - 1].weight,
                        "; every step must give the candidate more than the one before it"));
  }
  if (spec.steps.empty()) {
    for (const uint32_t weight : {10u, 25u, 50u}) spec.steps.push_back({.weight = weight});
  }
}

void check_spec(Canary::Spec& spec, Reader& reader) {
  check_steps(spec, reader);
  if (!spec.stable.service.empty() && !spec.candidate.labels.empty()) {
    reader.error_in("stable", spec.stable.at, "is a Service, so candidate must be one, too");
  }
  if (!spec.stable.labels.empty() && !spec.candidate.service.empty()) {
    reader.error_in("stable", spec.stable.at, "is chosen by labels, so candidate must be, too");
  }
  if (!spec.shadow) {
    for (std::size_t i = 0; i < spec.analysis.metrics.size(); ++i) {
      const Canary::Metric& metric = spec.analysis.metrics[i];
      if (metric.name != Measure::kShadowDifferences) continue;
      reader.error_in(cat("analysis.metrics[", i, "]"), metric.at, "needs spec.shadow");
    }
  }
  if (spec.time_limit < 1min) reader.error_in("timeLimit", spec.at, "must be at least 1m");
}

Type<Canary::Spec> canary_spec() {
  using OnSuccess = Canary::OnSuccess;
  using OnFailure = Canary::OnFailure;
  ObjectType<Canary::Spec> type("spec of a Canary");
  type.required("targetRef", &Canary::Spec::target_ref, target(), "")
      .required("candidate", &Canary::Spec::candidate, version("the new version"), "")
      .optional("stable", &Canary::Spec::stable, version("the version that is to be replaced"), "",
                "the target's workloads that are not the candidate's")
      .optional("shadow", &Canary::Spec::shadow, shadow(), "", "none")
      .optional("steps", &Canary::Spec::steps, list(step(), 1, 100), "", "10, 25 and 50 percent")
      .optional("header", &Canary::Spec::header, header(),
                "Requests with it always go to the candidate, until it is taken back.", "none")
      .optional("session", &Canary::Spec::session, session(),
                "Requests with the same value of it go to the same version: with every step some "
                "move to the candidate, and none back. Those without it go by chance.",
                "none")
      .optional("analysis", &Canary::Spec::analysis, analysis(), "")
      .optional("confirm", &Canary::Spec::confirm, confirm(), "", "nobody")
      .optional(
          "onSuccess", &Canary::Spec::on_success,
          enumeration<OnSuccess>({{"Promote", OnSuccess::kPromote}, {"Wait", OnSuccess::kWait}}),
          "After the last step: all requests go to the candidate, or it waits for `glia "
          "canary promote`.",
          "Promote")
      .optional(
          "onFailure", &Canary::Spec::on_failure,
          enumeration<OnFailure>({{"RollBack", OnFailure::kRollBack}, {"Hold", OnFailure::kHold}}),
          "No request goes to the candidate any more, or it stays and waits for a person.",
          "RollBack")
      .optional("timeLimit", &Canary::Spec::time_limit, duration(),
                "Whoever has not shown by then to be good has failed; the time that it waits for "
                "a person does not count.",
                "2h")
      .check([](Canary::Spec& spec, const YamlNode&, Reader& reader) { check_spec(spec, reader); });
  return type;
}

}  // namespace

Kind canary_kind() {
  Kind kind = make_kind<Canary, Canary::Spec>(
      "glia.dev/v1", check_subdomain_name, canary_spec(), SpecNeed::kRequired,
      [](Canary&& canary, Draft& draft) { draft.objects.canaries.push_back(std::move(canary)); });
  kind.documentation =
      "A new version of a Service gets a growing part of its requests, and is promoted or taken "
      "back by what it does. Wherever requests go to the target, by default or by a route, they "
      "are shared between the two versions. [canaries.md](canaries.md) says how it is judged. "
      "`targetRef` and `candidate` are enough.";
  kind.example = R"(apiVersion: glia.dev/v1
kind: Canary
metadata: {name: classify}
spec:
  targetRef: {name: classify}
  candidate: {labels: {version: v2}}
  stable: {labels: {version: v1}}
  shadow: {percent: 20, ignore: [id, seed], relativeTolerance: 0.01}
  steps:
    - {weight: 5, pause: 5m}
    - {weight: 25}
    - {weight: 50, untilResumed: true}
  header: {name: x-version, value: v2}
  session: {cookie: user}
  analysis:
    interval: 5s
    minimumRequests: 200
    metrics:
      - {name: Errors, tolerance: 1, maximum: 5}
      - {name: Latency, percentile: 99, tolerance: 10}
      - {name: ShadowDifferences, tolerance: 0.5}
  confirm: {url: "http://127.0.0.1:9000/canaries", timeout: 5s}
  onSuccess: Promote
  onFailure: RollBack
  timeLimit: 1h
)";
  return kind;
}

}  // namespace glia
