// Workload.spec.admission.
#include "control_plane/objects/kind.h"

namespace glia {

namespace {

using Admission = Workload::Admission;

constexpr uint32_t kMostConcurrency = 1'000'000, kMostQueue = 65'536;
constexpr uint64_t kMostCost = uint64_t{1} << 40;
constexpr Duration kLongestWait = std::chrono::hours(1);

void check(Admission& admission, const YamlNode& node, Reader& reader) {
  if (admission.heartbeat && (*admission.heartbeat < 100ms || *admission.heartbeat > 1min)) {
    const YamlNode& value = *node.find("heartbeat");
    reader.error_in("heartbeat", {value.line, value.column},
                    cat("must be from 100ms to 1m, not ", value.text));
  }
  if (admission.wait <= kLongestWait) return;
  const YamlNode& value = *node.find("wait");
  reader.error_in("wait", {value.line, value.column}, cat("must be at most 1h, not ", value.text));
}

}  // namespace

Type<Workload::Admission> admission() {
  ObjectType<Admission> type("what the application works on at once, and who waits");
  type.optional("concurrency", &Admission::concurrency,
                integer<uint32_t>("a number", 1, kMostConcurrency),
                "Requests that the application works on at once.",
                "learned from how long they take")
      .optional("costAtOnce", &Admission::cost_at_once,
                integer<uint64_t>("a number", 1, static_cast<int64_t>(kMostCost)),
                "No request begins while those at work cost so much.", "no such limit")
      .optional("queue", &Admission::queue, integer<uint32_t>("a number", 0, kMostQueue),
                "Requests that wait; further ones are refused at once.", "512")
      .optional("wait", &Admission::wait, duration(),
                "The longest that one waits, at most 1h; who would have to wait longer is refused "
                "at once.",
                "30s")
      .optional("cost", &Admission::cost,
                enumeration<Admission::Cost>({{"Tokens", Admission::Cost::kTokens},
                                              {"Rows", Admission::Cost::kRows},
                                              {"Requests", Admission::Cost::kRequests}}),
                "Of a request, in the shares of tenants and for costAtOnce. Tokens: of its input "
                "and the most that it asks for; its rows, where there are none. Requests: 1, and "
                "nothing of a request is read.",
                "Tokens")
      .optional("tenants", &Admission::tenants,
                enumeration<Admission::Tenants>({{"Named", Admission::Tenants::kNamed},
                                                 {"Callers", Admission::Tenants::kCallers}}),
                "Who shares. Named: whom the request names in x-llm-d-inference-fairness-id, else "
                "its caller. Callers: the identity that calls.",
                "Named")
      .optional("heartbeat", &Admission::heartbeat, duration(),
                "A streaming request that waits longer gets the head of its answer at once and a "
                "comment so often, 100ms to 1m; whatever goes wrong then is told in an event.",
                "the head comes from the application")
      .check(check);
  return type;
}

}  // namespace glia
