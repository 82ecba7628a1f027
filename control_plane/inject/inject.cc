#include "control_plane/inject/inject.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/base/version.h"

namespace glia {
namespace {

constexpr char kInitName[] = "glia-init", kProxyName[] = "glia-proxy";
constexpr char kTokenVolume[] = "glia-token", kStateVolume[] = "glia-state";
constexpr char kProbesAnnotation[] = "glia.dev/probes";  // Those of the application, as they were.
constexpr int kProbePort = 15020;                        // proxy/server/app_probes.h
constexpr char kDefaultContainer[] = "kubectl.kubernetes.io/default-container";
// A token that is stolen is of use for so long, and only to the mesh; kubelet renews it at 80 %.
constexpr int kTokenSeconds = 43'200;
// Until the sidecar has its configuration: as long as a control plane may take to come up.
constexpr int kStartSeconds = 120;
constexpr int kUsualGrace = 30;  // Seconds that Kubernetes gives a pod to end.
// Of the sidecar's admin pages, which capture leaves out; others than the pod see only whether it is ready,
// and its metrics (docs/admin.md). It listens once it has joined.
constexpr int kReadyPort = 15021;

Json security(int user, bool capture) {
  Json context = {{"allowPrivilegeEscalation", false},
                  {"capabilities", {{"drop", {"ALL"}}}},
                  {"privileged", false},
                  {"readOnlyRootFilesystem", true},
                  {"runAsGroup", user},
                  {"runAsNonRoot", user != 0},
                  {"runAsUser", user},
                  {"seccompProfile", {{"type", "RuntimeDefault"}}}};
  if (capture) context["capabilities"]["add"] = {"NET_ADMIN", "NET_RAW"};
  return context;
}

std::string image_of(const InjectSettings& settings) {
  return settings.image.empty() ? cat("glia:", kGliaVersion) : settings.image;
}

// Installs the rules, or checks those of the CNI plugin: a pod without capture must not start.
Json init_container(const InjectSettings& settings) {
  const bool installs = settings.capture == InjectSettings::Capture::kInit;
  Json command = {"glia", "capture", installs ? "install" : "check"};
  for (const auto& [flag, value] : settings.capture_flags) {
    command.push_back(flag);
    command.push_back(value);
  }
  return {{"name", kInitName},
          {"image", image_of(settings)},
          {"command", command},
          {"resources",
           {{"requests", {{"cpu", "10m"}, {"memory", "16Mi"}}},
            {"limits", {{"cpu", "100m"}, {"memory", "64Mi"}}}}},
          {"securityContext", installs ? security(0, true) : security(1337, false)}};
}

std::string drain_of(const InjectSettings& settings, const Json& spec) {
  if (!settings.drain_seconds.empty()) return settings.drain_seconds;
  const auto found = spec.find("terminationGracePeriodSeconds");
  const int64_t grace = found != spec.end() && found->is_number_integer()
                            ? std::clamp<int64_t>(found->get<int64_t>(), 0, 86'400)
                            : kUsualGrace;
  return cat(std::max<int64_t>(0, grace - 5));
}

Json from_field(const char* name, const char* path) {
  return {{"name", name}, {"valueFrom", {{"fieldRef", {{"fieldPath", path}}}}}};
}

Json proxy_container(const InjectSettings& settings, const Json& spec) {
  Json command = {"glia-proxy",
                  "--control",
                  settings.control,
                  "--workload",
                  "$(POD_NAMESPACE)/$(POD_NAME)",
                  "--token-file",
                  "/var/run/secrets/glia/token",
                  "--state-dir",
                  "/var/lib/glia",
                  "--admin-address",
                  cat("0.0.0.0:", kReadyPort),
                  "--log-level",
                  settings.log_level,
                  "--drain-time-s",
                  drain_of(settings, spec)};
  if (!settings.concurrency.empty()) {
    command.push_back("--concurrency");
    command.push_back(settings.concurrency);
  }
  Json container = {{"name", kProxyName}, {"image", image_of(settings)}};
  if (settings.native) container["restartPolicy"] = "Always";
  container["command"] = command;
  container["env"] = {from_field("POD_NAME", "metadata.name"),
                      from_field("POD_NAMESPACE", "metadata.namespace")};
  if (!settings.trust_bundle.empty()) {
    container["env"].push_back({{"name", "GLIA_TRUST_BUNDLE"}, {"value", settings.trust_bundle}});
  }
  container["startupProbe"] = {{"httpGet", {{"path", "/ready"}, {"port", kReadyPort}}},
                               {"periodSeconds", 1},
                               {"failureThreshold", kStartSeconds}};
  container["resources"] = {
      {"requests", {{"cpu", settings.cpu}, {"memory", settings.memory}}},
      {"limits", {{"cpu", settings.cpu_limit}, {"memory", settings.memory_limit}}}};
  container["securityContext"] = security(1337, false);
  container["volumeMounts"] = {
      {{"name", kTokenVolume}, {"mountPath", "/var/run/secrets/glia"}, {"readOnly", true}},
      {{"name", kStateVolume}, {"mountPath", "/var/lib/glia"}}};
  return container;
}

Json token_volume() {
  return {
      {"name", kTokenVolume},
      {"projected",
       {{"sources",
         {{{"serviceAccountToken",
            {{"audience", "glia"}, {"expirationSeconds", kTokenSeconds}, {"path", "token"}}}}}}}}};
}

// In memory: it holds the sidecar's key. And its configuration, twice while it is written: 1 MB for 1,000
// Services.
Json state_volume() {
  return {{"name", kStateVolume}, {"emptyDir", {{"medium", "Memory"}, {"sizeLimit", "32Mi"}}}};
}

// "$(VAR)" in a command is replaced by Kubernetes, "$$" is a dollar.
std::string escaped_dollars(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '$' ? std::string("$$") : std::string(1, c);
  return out;
}

// The number of a port, which may be the name of one of the container's; 0: it has none.
int64_t port_of(const Json& probe, const Json& container) {
  const auto found = probe.find("port");
  if (found == probe.end()) return 0;
  if (found->is_number_integer()) return found->get<int64_t>();
  const std::string name = text_at(probe, "port");
  if (const auto number = parse_decimal(name)) return static_cast<int64_t>(*number);
  for (const Json& port : list_at(container, "ports")) {
    if (text_at(port, "name") != name || !port.contains("containerPort")) continue;
    if (port["containerPort"].is_number_integer()) return port["containerPort"].get<int64_t>();
  }
  return 0;
}

// What the sidecar asks in the place of kubelet: "http://:8080/ready"; "": nothing, it stays as it is.
std::string target_of(const Json& probe, const Json& container) {
  const Json& http = object_at(probe, "httpGet");
  if (!http.empty()) {
    const std::string scheme = text_at(http, "scheme"), path = text_at(http, "path");
    const int64_t port = port_of(http, container);
    // Of another host it says nothing of this pod, and what it asks by TLS is not ours to read.
    const bool ours = text_at(http, "host").empty() && (scheme.empty() || scheme == "HTTP");
    if (!ours || port < 1 || port > 65535 || path.find(' ') != path.npos) return "";
    return cat("http://:", port, path.starts_with('/') ? "" : "/", path);
  }
  const Json& tcp = object_at(probe, "tcpSocket");
  const int64_t port = tcp.empty() ? 0 : port_of(tcp, container);
  const bool ours = port >= 1 && port <= 65535 && text_at(tcp, "host").empty();
  return ours ? cat("tcp://:", port) : "";
}

// Kubelet asks the sidecar, and that the application: kubelet has no certificate. Adds what the sidecar has
// to know to its command, and returns the probes as they were, by container.
Json lead_probes(Json& containers, Json& command) {
  constexpr std::pair<const char*, const char*> kProbes[] = {
      {"startupProbe", "startup"}, {"readinessProbe", "readiness"}, {"livenessProbe", "liveness"}};
  Json before = Json::object();
  for (Json& container : containers) {
    const std::string name = text_at(container, "name");
    for (const auto& [field, word] : kProbes) {
      if (!container.contains(field) || !container[field].is_object()) continue;
      Json& probe = container[field];
      const std::string target = target_of(probe, container);
      if (target.empty() || name.empty()) continue;
      const bool http = probe.contains("httpGet");
      const char* const kind = http ? "httpGet" : "tcpSocket";
      before[name][field] = {{kind, probe[kind]}};
      command.push_back("--app-probe");
      command.push_back(escaped_dollars(cat(name, "/", word, "=", target)));
      Json get = {{"path", cat("/app-probe/", name, "/", word)}, {"port", kProbePort}};
      if (http && probe["httpGet"].contains("httpHeaders")) {
        get["httpHeaders"] = probe["httpGet"]["httpHeaders"];
      }
      probe.erase(kind);
      probe["httpGet"] = std::move(get);
    }
  }
  return before;
}

void restore_probes(Json& spec, const std::string& annotation) {
  const Json before = Json::parse(annotation, nullptr, false);
  if (!before.is_object() || list_at(spec, "containers").empty()) return;
  for (Json& container : spec["containers"]) {
    const Json& probes = object_at(before, text_at(container, "name").c_str());
    for (const auto& [field, was] : probes.items()) {
      if (!container.contains(field) || !container[field].is_object() || !was.is_object()) continue;
      container[field].erase("httpGet");
      for (const auto& [kind, value] : was.items()) container[field][kind] = value;
    }
  }
}

// The field, made if it is not there; what is of another type is nothing that an API server takes.
Json& made(Json& parent, const char* key, Json empty) {
  if (!parent.contains(key) || parent[key].type() != empty.type()) parent[key] = std::move(empty);
  return parent[key];
}

// The names that we give must be ours.
Result<void> check_names(const Json& spec) {
  for (const char* const list : {"containers", "initContainers"}) {
    for (const Json& container : list_at(spec, list)) {
      const std::string name = text_at(container, "name");
      if (name != kInitName && name != kProxyName) continue;
      return invalid(
          cat("container ", name,
              " is not of Glia's making (there is no annotation glia.dev/injected); give "
              "it another name"));
    }
  }
  for (const Json& volume : list_at(spec, "volumes")) {
    const std::string name = text_at(volume, "name");
    if (name != kTokenVolume && name != kStateVolume) continue;
    return invalid(cat("volume ", name, " is not of Glia's making; give it another name"));
  }
  return {};
}

void take_out(Json& parent, const char* key, std::initializer_list<std::string_view> names) {
  if (list_at(parent, key).empty()) return;
  Json left = Json::array();
  for (Json& item : parent[key]) {
    if (std::ranges::find(names, text_at(item, "name")) == names.end()) left.push_back(item);
  }
  if (left.empty()) {
    parent.erase(key);
  } else {
    parent[key] = std::move(left);
  }
}

}  // namespace

Json without_sidecar(Json pod) {
  const Json& known = object_at(object_at(pod, "metadata"), "annotations");
  const std::string how = text_at(known, kInjectedAnnotation);
  if (how.empty()) return pod;
  Json& annotations = pod["metadata"]["annotations"];
  annotations.erase(kInjectedAnnotation);
  const std::string probes = text_at(annotations, kProbesAnnotation);
  annotations.erase(kProbesAnnotation);
  if (how.ends_with("+default-container")) annotations.erase(kDefaultContainer);
  if (annotations.empty()) pod["metadata"].erase("annotations");
  if (pod["metadata"].empty()) pod.erase("metadata");
  if (!pod.contains("spec") || !pod["spec"].is_object()) return pod;
  restore_probes(pod["spec"], probes);
  take_out(pod["spec"], "initContainers", {kInitName, kProxyName});
  take_out(pod["spec"], "containers", {kProxyName});
  take_out(pod["spec"], "volumes", {kTokenVolume, kStateVolume});
  return pod;
}

Result<Json> with_sidecar(const Json& before, const std::string& kind,
                          const InjectSettings& defaults) {
  Json pod = without_sidecar(before);
  TRY(const InjectSettings settings, settings_of(defaults, pod));
  TRY_VOID(check_names(object_at(pod, "spec")));
  if (!settings.native && (kind == "Job" || kind == "CronJob")) {
    return invalid(cat("a classic sidecar would keep this ", kind,
                       " from ending; use a native one (Kubernetes 1.29 or newer), or leave it out "
                       "of the mesh with the label glia.dev/inject: \"false\""));
  }
  Json& spec = pod["spec"];
  Json proxy = proxy_container(settings, spec);
  Json probes;
  if (settings.rewrite_probes && settings.capture != InjectSettings::Capture::kNone) {
    probes = lead_probes(spec["containers"], proxy["command"]);
  }
  std::string how = settings.native ? "native" : "classic";
  if (settings.native) {
    Json inits = Json::array();
    if (settings.capture != InjectSettings::Capture::kNone)
      inits.push_back(init_container(settings));
    inits.push_back(proxy);
    // Those of the application come behind: the network that they find is the sidecar's, and it runs.
    for (const Json& init : list_at(spec, "initContainers")) inits.push_back(init);
    spec["initContainers"] = std::move(inits);
  } else {
    // The last: while the application's run, there is no sidecar yet, and nothing leads to it.
    if (settings.capture != InjectSettings::Capture::kNone) {
      made(spec, "initContainers", Json::array()).push_back(init_container(settings));
    }
    const Json& annotations = object_at(object_at(pod, "metadata"), "annotations");
    if (text_at(annotations, kDefaultContainer).empty()) how += "+default-container";
    spec["containers"].push_back(proxy);
  }
  Json& volumes = made(spec, "volumes", Json::array());
  volumes.push_back(token_volume());
  volumes.push_back(state_volume());
  const std::string first = text_at(spec["containers"][0], "name");
  // A new field of the pod moves the others: `spec` is not looked at any more.
  Json& annotations = made(made(pod, "metadata", Json::object()), "annotations", Json::object());
  if (how.ends_with("+default-container")) annotations[kDefaultContainer] = first;
  annotations[kInjectedAnnotation] = how;
  if (!probes.empty())
    annotations[kProbesAnnotation] = probes.dump(-1, ' ', false, Json::error_handler_t::replace);
  return pod;
}

}  // namespace glia
