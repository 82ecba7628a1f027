// Workload.spec.health.
#include "control_plane/objects/kind.h"

namespace glia {

namespace {

using Health = Workload::Health;

constexpr Duration kShortestInterval = std::chrono::milliseconds(100);
constexpr Duration kLongestInterval = std::chrono::minutes(5);
constexpr uint32_t kMostInARow = 100;

void check(Health& health, const YamlNode& node, Reader& reader) {
  const auto wrong = [&](const char* field, std::string_view must) {
    const YamlNode* const value = node.find(field);
    const Place at = value == nullptr ? health.at : Place{value->line, value->column};
    reader.error_in(field, at,
                    cat("must be ", must, value == nullptr ? "" : cat(", not ", value->text)));
  };
  if (health.interval < kShortestInterval || health.interval > kLongestInterval) {
    return wrong("interval", "from 100ms to 5m");
  }
  // Of short intervals only a part is waited for, unless told otherwise.
  if (node.find("timeout") == nullptr) health.timeout = std::min(health.timeout, health.interval);
  if (health.timeout < std::chrono::milliseconds(1) || health.timeout > health.interval) {
    wrong("timeout", "from 1ms to the interval");
  }
}

}  // namespace

Type<Workload::Health> health() {
  ObjectType<Health> type("how its sidecar sees that the application is well");
  type.optional("path", &Health::path, text("an absolute path", "^/", check_path),
                "Asked by GET; a status of 2xx says that it is well.",
                "none: that it takes a connection is enough")
      .optional("port", &Health::port, port_name(), "Name of a port; it is asked on its appPort.",
                "the first port")
      .optional("interval", &Health::interval, duration(), "How often, from 100ms to 5m.", "2s")
      .optional("timeout", &Health::timeout, duration(), "The longest that an answer may take.",
                "1s, or the interval if that is shorter")
      .optional("failures", &Health::failures, integer<uint32_t>("a number", 1, kMostInARow),
                "So many in a row: it leaves the endpoints.", "2")
      .optional("successes", &Health::successes, integer<uint32_t>("a number", 1, kMostInARow),
                "So many in a row: it is among them again.", "1")
      .check(check);
  return type;
}

void check_health(Workload::Spec& spec, Reader& reader) {
  if (!spec.health) return;
  Health& health = *spec.health;
  if (spec.ports.empty()) {
    return reader.error_in("health", health.at,
                           "has no meaning without ports; add the port that is asked");
  }
  if (health.port.empty()) health.port = spec.ports[0].name;
  for (const Workload::Port& port : spec.ports) {
    if (port.name == health.port) return;
  }
  reader.error_in("health.port", health.at,
                  cat("is ", health.port, ", which is not the name of a port of this workload"));
}

}  // namespace glia
