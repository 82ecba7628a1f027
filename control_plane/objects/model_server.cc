// Workload.spec.modelServer.
#include "control_plane/objects/kind.h"

namespace glia {

namespace {

constexpr Duration kShortestInterval = std::chrono::milliseconds(50);
constexpr Duration kLongestInterval = std::chrono::minutes(1);

struct EngineWord {
  const char* word;
  uint16_t metrics_port;  // Unless told otherwise; 0: that of the first port.
};
constexpr EngineWord kEngines[] = {{"vllm", 0},         {"sglang", 0}, {"tensorrt-llm", 0},
                                   {"triton", 8002},    {"tgi", 0},    {"mlserver", 8082},
                                   {"tf-serving", 8501}};

std::vector<std::string> words() {
  std::vector<std::string> all;
  for (const EngineWord& engine : kEngines) all.push_back(engine.word);
  return all;
}

void check_interval(Workload::ModelServer& server, const YamlNode& node, Reader& reader) {
  if (server.interval >= kShortestInterval && server.interval <= kLongestInterval) return;
  const YamlNode& value = *node.find("interval");
  reader.error_in("interval", {value.line, value.column},
                  cat("must be from 50ms to 1m, not ", value.text));
}

}  // namespace

Type<Workload::ModelServer> model_server() {
  using Server = Workload::ModelServer;
  ObjectType<Server> type("the model server behind a sidecar");
  type.required("engine", &Server::engine, one_of(words()), "Whose metrics it shows.")
      .optional("metricsPort", &Server::metrics_port, port_number(),
                "Where its metrics page is, on appAddress.",
                "the first port's appPort; triton: 8002, mlserver: 8082, tf-serving: 8501")
      .optional("metricsPath", &Server::metrics_path, text("an absolute path", "^/", check_path),
                "The path of that page.",
                "/metrics; tensorrt-llm: /prometheus/metrics, tf-serving: "
                "/monitoring/prometheus/metrics")
      .optional("interval", &Server::interval, duration(), "How often it is read, from 50ms to 1m.",
                "500ms")
      .check(check_interval);
  return type;
}

void check_model_server(Workload::Spec& spec, Reader& reader) {
  if (!spec.model_server) return;
  Workload::ModelServer& server = *spec.model_server;
  if (spec.ports.empty()) {
    return reader.error_in("modelServer", server.at,
                           "has no meaning without ports; add the port that it answers on");
  }
  if (server.metrics_port != 0) return;
  for (const EngineWord& engine : kEngines) {
    if (server.engine == engine.word) server.metrics_port = engine.metrics_port;
  }
  if (server.metrics_port == 0) server.metrics_port = spec.ports[0].app_port;
}

}  // namespace glia
