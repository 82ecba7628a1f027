// The kinds that say what runs: Mesh, Workload, Service.
#include <set>

#include "control_plane/objects/kind.h"
#include "proxy/telemetry/log_format.h"

namespace glia {

namespace {

constexpr Duration kMinCertificateLifetime = std::chrono::minutes(1);
constexpr Duration kMaxCertificateLifetime = std::chrono::hours(24 * 365);
constexpr std::size_t kMaxPorts = 64;
constexpr std::size_t kMaxEgress = 1000;

// Says where two items of a list have the same value of `what`.
template <class T, class Get>
void unique(const std::vector<T>& items, std::string_view list, std::string_view what, Get get,
            Reader& reader) {
  std::set<decltype(get(items[0]))> seen;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (seen.insert(get(items[i])).second) continue;
    reader.error_in(cat(list, "[", i, "].", what), items[i].at,
                    cat("is ", get(items[i]), ", as is another; each must be different"));
  }
}

void check_mesh(Mesh::Spec& spec, const YamlNode& node, Reader& reader) {
  if (spec.certificate_lifetime >= kMinCertificateLifetime &&
      spec.certificate_lifetime <= kMaxCertificateLifetime) {
    return;
  }
  const YamlNode& value = *node.find("certificateLifetime");
  reader.error_in("certificateLifetime", {value.line, value.column},
                  cat("must be from 1m to 8760h, not ", value.text));
}

void check_capture(const Workload::Spec& spec, Reader& reader) {
  if (!spec.capture) return;
  const uint16_t inbound = spec.capture->inbound_port;
  const bool taken = inbound == spec.outbound.port || inbound == spec.admin.port;
  if (taken) {
    reader.error_in("capture.inboundPort", spec.at,
                    cat("is ", inbound, ", which is the port of the ",
                        inbound == spec.admin.port ? "admin" : "outbound", " listener"));
  }
  for (std::size_t i = 0; i < spec.ports.size(); ++i) {
    if (spec.ports[i].port != inbound) continue;
    reader.error_in(cat("ports[", i, "].port"), spec.ports[i].at,
                    cat("is ", inbound, ", which is capture.inboundPort"));
  }
}

void check_workload(Workload::Spec& spec, const YamlNode&, Reader& reader) {
  unique(spec.ports, "ports", "name", [](const Workload::Port& p) { return p.name; }, reader);
  unique(spec.ports, "ports", "port", [](const Workload::Port& p) { return p.port; }, reader);
  for (std::size_t i = 0; i < spec.ports.size(); ++i) {
    Workload::Port& port = spec.ports[i];
    if (port.app_port == 0) port.app_port = port.port;
    // With capture nobody but the application listens there.
    const bool own =
        !spec.capture && port.app_port == port.port && spec.app_address == spec.address;
    if (own) {
      reader.error_in(cat("ports[", i, "].appPort"), port.at,
                      cat("and port are both ", port.port, " on ", spec.address,
                          ": sidecar and application cannot share it; choose another appPort or "
                          "appAddress"));
    }
    if (port.port == spec.outbound.port || port.port == spec.admin.port) {
      reader.error_in(cat("ports[", i, "].port"), port.at,
                      cat("is ", port.port, ", which is the port of the ",
                          port.port == spec.admin.port ? "admin" : "outbound", " listener"));
    }
  }
  check_capture(spec, reader);
  if (spec.outbound.port == spec.admin.port) {
    reader.error_in("admin.port", spec.at,
                    cat("is ", spec.admin.port, ", which is the port of the outbound listener"));
  }
  check_model_server(spec, reader);
  check_health(spec, reader);
  if (!spec.ready) return;
  if (spec.ready->port.empty() && !spec.ports.empty()) spec.ready->port = spec.ports[0].name;
  for (const Workload::Port& port : spec.ports) {
    if (port.name == spec.ready->port) return;
  }
  if (spec.ports.empty()) {
    return reader.error_in("ready", spec.ready->at, "asks a port, and this workload has no ports");
  }
  reader.error_in(
      "ready.port", spec.ready->at,
      cat("is ", spec.ready->port, ", which is not the name of a port of this workload"));
}

void check_service(MeshService::Spec& spec, const YamlNode&, Reader& reader) {
  unique(spec.ports, "ports", "port", [](const MeshService::Port& p) { return p.port; }, reader);
  if (spec.ports.size() == 1) return;
  unique(spec.ports, "ports", "name", [](const MeshService::Port& p) { return p.name; }, reader);
  for (std::size_t i = 0; i < spec.ports.size(); ++i) {
    if (!spec.ports[i].name.empty()) continue;
    reader.error_in(cat("ports[", i, "].name"), spec.ports[i].at,
                    "is missing; it may be left out only if the service has one port");
  }
}

Wrong check_cluster_ip(std::string_view text) {
  if (text == MeshService::kHeadless || !check_ip(text)) return {};
  return "must be None or an IP address";
}

Wrong check_log_path(std::string_view text) {
  if (text == Mesh::AccessLog::kNone || (text.starts_with('/') && text.size() > 1)) return {};
  return "must be an absolute path, or none";
}

Wrong check_log_key(std::string_view text) {
  if (!text.empty()) return {};
  return "must not be empty";
}

Wrong check_log_value(std::string_view text) {
  const auto checked = LogFormat::check(text);
  if (checked) return {};
  return cat("must be text with known operators (", checked.error().message(), ")");
}

Type<Mesh::AccessLog> access_log() {
  ObjectType<Mesh::AccessLog> type("the access log of every sidecar");
  type.optional("path", &Mesh::AccessLog::path,
                text("an absolute path, or none", "^(/.+|none)$", check_log_path),
                "A file on the machine of each sidecar, one line a request that it took or sent. "
                "`none`: no log.",
                "/dev/stdout")
      .optional("format", &Mesh::AccessLog::format,
                text_map("key to Envoy's operators", check_log_key, check_log_value),
                "Keys of a line of JSON and what each holds: `\"%RESPONSE_CODE%\"`. See "
                "access-log.md.",
                "the default line");
  return type;
}

Wrong check_service_key(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == text.npos) return check_label_name(text);
  const Wrong ns = check_label_name(text.substr(0, slash));
  return ns ? ns : check_label_name(text.substr(slash + 1));
}

Type<Workload::Port> workload_port() {
  ObjectType<Workload::Port> type("a port of a Workload");
  type.required("name", &Workload::Port::name, port_name(),
                "Unique in the workload; Services and policies refer to it.")
      .required("port", &Workload::Port::port, port_number(),
                "The sidecar listens here, with mutual TLS.")
      .optional(
          "protocol", &Workload::Port::protocol,
          enumeration<Workload::Protocol>({{"HTTP", Workload::Protocol::kHttp},
                                           {"HTTP2", Workload::Protocol::kHttp2},
                                           {"GRPC", Workload::Protocol::kGrpc},
                                           {"TCP", Workload::Protocol::kTcp}},
                                          {"TLS", "UDP"}),
          "What the application speaks: HTTP is HTTP/1.1. TCP: anything, whoever speaks first; "
          "sidecars relay it with mutual TLS, and callers need `capture` (see capture.md).",
          "HTTP")
      .optional("appPort", &Workload::Port::app_port, port_number(),
                "The application listens here, on appAddress.", "the number of `port`");
  return type;
}

constexpr char kDiscovery[] =
    "What a sidecar holds of the way to others. All: everything that it may call. OnDemand: what "
    "it "
    "has called; the first request to a Service waits until the control plane has sent the way "
    "there. "
    "See xds.md.";

Type<SidecarDiscovery> discovery() {
  return enumeration<SidecarDiscovery>(
      {{"All", SidecarDiscovery::kAll}, {"OnDemand", SidecarDiscovery::kOnDemand}});
}

// Names of its own namespace become keys, each once and in order.
void complete_egress(Workload& workload) {
  std::set<std::string> keys;
  for (const std::string& name : workload.spec.egress) {
    const bool whole = name.find('/') != name.npos;
    keys.insert(whole ? name : cat(workload.metadata.ns, "/", name));
  }
  workload.spec.egress.assign(keys.begin(), keys.end());
}

}  // namespace

Type<std::string> port_name() {
  return text("a port name", "^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$", check_port_name);
}

Kind mesh_kind() {
  ObjectType<Mesh::Spec> spec("spec of a Mesh");
  spec.optional("trustDomain", &Mesh::Spec::trust_domain,
                text("a SPIFFE trust domain", "^[a-z0-9._-]{1,255}$", check_trust_domain),
                "The first part of every identity: spiffe://trustDomain/ns/.../sa/...",
                "mesh.local")
      .optional("certificateLifetime", &Mesh::Spec::certificate_lifetime, duration(),
                "How long a certificate of a sidecar is valid, from 1m to 8760h; it is renewed at "
                "half of that.",
                "24h")
      .optional("defaultAuthorization", &Mesh::Spec::default_authorization,
                enumeration<Mesh::Default>(
                    {{"Allow", Mesh::Default::kAllow}, {"Deny", Mesh::Default::kDeny}}),
                "What happens to calls of workloads that no AuthorizationPolicy with `action: "
                "Allow` selects.",
                "Allow")
      .optional("accessLog", &Mesh::Spec::access_log, access_log(), "")
      .optional("discovery", &Mesh::Spec::discovery, discovery(), kDiscovery, "All")
      .check(check_mesh);
  Kind kind = make_kind<Mesh, Mesh::Spec>(
      "glia.dev/v1", check_subdomain_name, spec, SpecNeed::kOptional,
      [](Mesh&& mesh, Draft& draft) { draft.meshes.push_back(std::move(mesh)); });
  kind.documentation = "The mesh itself. There is exactly one; all of `spec` may be left out.";
  kind.example = R"(apiVersion: glia.dev/v1
kind: Mesh
metadata: {name: demo}
spec:
  trustDomain: demo.mesh
  certificateLifetime: 1h
  defaultAuthorization: Allow
  accessLog: {path: /var/log/glia/access.log}
)";
  return kind;
}

Kind workload_kind() {
  using Spec = Workload::Spec;
  ObjectType<Workload::Outbound> outbound("the outbound listener");
  outbound.optional(
      "port", &Workload::Outbound::port, port_number(),
      "The application sends here what is for other services. On `address` if that is a "
      "loopback address, else on 127.0.0.1: who may use it speaks for the workload.",
      "15001");
  ObjectType<Workload::Admin> admin("the admin listener");
  admin.optional("port", &Workload::Admin::port, port_number(),
                 "On `address` if that is a loopback address, else on 127.0.0.1.", "15000");
  ObjectType<Workload::Ready> ready("how to ask whether the application is ready");
  ready
      .required("path", &Workload::Ready::path, text("an absolute path", "^/", check_path),
                "Answered with 200 when ready.")
      .optional("port", &Workload::Ready::port, port_name(),
                "Name of a port; it is asked on its appPort.", "the first port");
  using Capture = Workload::Capture;
  ObjectType<Capture> capture("how all traffic comes to the sidecar");
  capture
      .optional(
          "inbound", &Capture::inbound,
          enumeration<Capture::Inbound>({{"Strict", Capture::Inbound::kStrict},
                                         {"Permissive", Capture::Inbound::kPermissive}}),
          "Strict: mutual TLS, on the ports above, and nothing else. Permissive: plain text as "
          "well, and other ports as if there were no sidecar.",
          "Strict")
      .optional(
          "outbound", &Capture::outbound,
          enumeration<Capture::Outbound>({{"Allow", Capture::Outbound::kAllow},
                                          {"RegistryOnly", Capture::Outbound::kRegistryOnly}}),
          "What is for no Service of the mesh: Allow passes it on untouched, RegistryOnly "
          "refuses it.",
          "Allow")
      .optional("inboundPort", &Capture::inbound_port, port_number(),
                "The sidecar takes captured inbound connections here.", "15006")
      .optional("mode", &Capture::mode,
                enumeration<Capture::Mode>(
                    {{"Redirect", Capture::Mode::kRedirect}, {"TProxy", Capture::Mode::kTproxy}}),
                "As `glia capture install --mode`; TProxy needs NET_ADMIN.", "Redirect")
      .optional("families", &Capture::families,
                enumeration<Capture::Families>({{"Both", Capture::Families::kBoth},
                                                {"IPv4", Capture::Families::kIpv4},
                                                {"IPv6", Capture::Families::kIpv6}}),
                "Which the machine has; the sidecar listens on the loopback address of each.",
                "Both");
  ObjectType<Spec> spec("spec of a Workload");
  spec.optional("identity", &Spec::identity, label_name("a name in lower case"),
                "Last part of spiffe://trustDomain/ns/NAMESPACE/sa/IDENTITY.", "metadata.name")
      .required("address", &Spec::address, text("an IP address", "", check_reachable_ip),
                "Where the sidecar listens for the mesh. On one machine each workload takes its "
                "own of 127.0.0.0/8.")
      .optional("ports", &Spec::ports, list(workload_port(), 1, kMaxPorts),
                "What the application offers to the mesh.", "none: it only calls others")
      .optional("state", &Spec::state,
                enumeration<Workload::State>({{"Ready", Workload::State::kReady},
                                              {"Draining", Workload::State::kDraining},
                                              {"Away", Workload::State::kAway}}),
                "Whether callers choose it among the workloads of a Service. Draining: only where "
                "nobody is Ready; Away: not at all. Its sidecar goes on.",
                "Ready")
      .optional("appAddress", &Spec::app_address, text("an IP address", "", check_ip),
                "Where the application listens.", "127.0.0.1")
      .optional(
          "modelServer", &Spec::model_server, model_server(),
          "The application serves a model. Its sidecar tells callers how busy it is, and they "
          "choose among the workloads of a Service by that: see choosing-an-endpoint.md.")
      .optional("admission", &Spec::admission, admission(),
                "Requests beyond what the application works on at once wait in a fair line in its "
                "sidecar, and what cannot be answered in time is refused at once: see "
                "admission.md. `{}` is enough.")
      .optional("tokenBudgets", &Spec::token_budgets, token_budgets(),
                "Each request is charged to all that it falls under, by its sidecar: see "
                "token-budgets.md.",
                "none")
      .optional("sharedBudgets", &Spec::shared_budgets, shared_budgets(),
                "A Redis holds the token budgets, for all sidecars that name it and the share: see "
                "token-budgets.md.",
                "each sidecar has its own")
      .optional("outbound", &Spec::outbound, Type<Workload::Outbound>(outbound), "")
      .optional("admin", &Spec::admin, Type<Workload::Admin>(admin), "")
      .optional(
          "capture", &Spec::capture, Type<Capture>(capture),
          "All traffic comes to the sidecar by rules of the kernel, and the application need not "
          "know of it: see capture.md. `{}` is enough.")
      .optional(
          "egress", &Spec::egress,
          list(text("NAME or NAMESPACE/NAME of a Service", "", check_service_key), 1, kMaxEgress),
          "The Services that the application may call; its sidecar knows no others.",
          "all Services of the mesh")
      .optional("discovery", &Spec::discovery, discovery(), kDiscovery, "the Mesh's")
      .optional("command", &Spec::command, list(text("an argument")),
                "With this, `glia run` starts the application.")
      .optional("env", &Spec::env, text_map("environment variables", check_variable_name, nullptr),
                "Added to the environment of `command`.")
      .optional("workingDirectory", &Spec::working_directory, text("a path"),
                "Of `command`, relative to the directory of this file.", ".")
      .optional("ready", &Spec::ready, Type<Workload::Ready>(ready),
                "Without it, the application is ready when its first port accepts connections.")
      .optional("health", &Spec::health, health(),
                "Its sidecar, which must have come with a join file, looks whether the application "
                "is well and tells the control plane. Who is not well, or not heard of, is not "
                "among the endpoints of its Services: see virtual-machines.md. `{}` is enough.",
                "it is always among them")
      .check(check_workload);
  Kind kind = make_kind<Workload, Spec>("glia.dev/v1", check_label_name, spec, SpecNeed::kRequired,
                                        [](Workload&& workload, Draft& draft) {
                                          if (workload.spec.identity.empty())
                                            workload.spec.identity = workload.metadata.name;
                                          complete_egress(workload);
                                          draft.objects.workloads.push_back(std::move(workload));
                                        });
  kind.documentation = "One running instance of an application and its sidecar.";
  kind.example = R"(apiVersion: glia.dev/v1
kind: Workload
metadata:
  name: classify-v1
  labels: {app: classify, version: v1}
spec:
  identity: classify
  address: 127.0.1.3
  ports:
  - {name: rest, port: 8080, protocol: HTTP, appPort: 18080}
  - {name: grpc, port: 8081, protocol: GRPC, appPort: 18081}
  command: [python3, server.py, --port, "18080"]
  env: {MODEL: v1}
  ready: {path: /v2/health/ready, port: rest}
)";
  return kind;
}

Kind service_kind() {
  using Spec = MeshService::Spec;
  ObjectType<MeshService::Port> port("a port of a Service");
  port.optional("name", &MeshService::Port::name, label_name("a name in lower case"),
                "Needed if there are several ports.")
      .required("port", &MeshService::Port::port, port_number(), "The number that callers use.")
      .optional("targetPort", &MeshService::Port::target_port, target_port(),
                "The port of the workloads behind it.", "the number of `port`")
      .optional(
          "appProtocol", &MeshService::Port::app_protocol,
          one_of({"http", "http2", "grpc", "kubernetes.io/h2c", "tcp", "tls"}, {"https"}),
          "What is spoken with endpoints outside of the mesh (see EndpointSlice); sidecars "
          "speak HTTP/2 with each other anyway. `tcp`: bytes that are relayed for captured "
          "callers (see capture.md), by clusterIP or workload address; `tls`: also by the name "
          "that a TLS client asks for.")
      .fixed("protocol", FieldShape::Support::kOptional, one_of({"TCP"}, {"UDP", "SCTP"}),
             "Only TCP.")
      .not_yet({"nodePort"});
  ObjectType<Spec> spec("spec of a Service");
  spec.optional("selector", &Spec::selector, labels(),
                "Workloads of the same namespace that have all of these labels are behind it. "
                "Without one, EndpointSlices say what is.")
      .required("ports", &Spec::ports, list(Type<MeshService::Port>(port), 1, kMaxPorts), "")
      .fixed("type", FieldShape::Support::kOptional,
             one_of({"ClusterIP"}, {"NodePort", "LoadBalancer", "ExternalName"}), "Only ClusterIP.")
      .optional("clusterIP", &Spec::cluster_ip,
                text("None, or an IP address", "", check_cluster_ip),
                "`None`: callers may also name one of its workloads, as `ADDRESS:PORT` or "
                "`WORKLOAD.NAME.NAMESPACE.svc.cluster.local`; no route is looked at then. An "
                "address is one more host name of the Service.")
      .not_yet({"clusterIPs", "externalIPs", "externalName", "externalTrafficPolicy",
                "internalTrafficPolicy", "ipFamilies", "ipFamilyPolicy", "loadBalancerIP",
                "loadBalancerClass", "loadBalancerSourceRanges", "allocateLoadBalancerNodePorts",
                "healthCheckNodePort", "publishNotReadyAddresses", "sessionAffinity",
                "sessionAffinityConfig", "trafficDistribution"})
      .check(check_service);
  Kind kind = make_kind<MeshService, Spec>("v1", check_service_name, spec, SpecNeed::kRequired,
                                           [](MeshService&& service, Draft& draft) {
                                             draft.objects.services.push_back(std::move(service));
                                           });
  kind.documentation =
      "A name under which workloads answer. An application uses it as host name at the outbound "
      "listener of its sidecar: `NAME` (same namespace), `NAME.NAMESPACE`, `NAME.NAMESPACE.svc` or "
      "`NAME.NAMESPACE.svc.cluster.local`, with `:PORT`; without, if the service has one port or "
      "a port 80.";
  kind.example = R"(apiVersion: v1
kind: Service
metadata: {name: classify}
spec:
  selector: {app: classify}
  ports:
  - {name: rest, port: 80, targetPort: rest, appProtocol: http}
  - {name: grpc, port: 81, targetPort: grpc, appProtocol: grpc}
)";
  return kind;
}

}  // namespace glia
