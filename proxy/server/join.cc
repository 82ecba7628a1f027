#include "proxy/server/join.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "proxy/base/log.h"
#include "proxy/base/random.h"
#include "proxy/base/text.h"
#include "proxy/server/held_secrets.h"
#include "proxy/server/proxy.h"
#include "proxy/xds/file.h"

namespace glia {
namespace {

constexpr std::size_t kMostJoinFile = 1 << 20;  // bytes

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return invalid(cat(path, " cannot be read"));
  if (text.str().size() > kMostJoinFile) return invalid(cat(path, " is no join file: too large"));
  return text.str();
}

Result<void> set_control(std::string_view address, ControlPlaneAddress& control) {
  const std::size_t colon = address.rfind(':');
  const auto port = colon == address.npos ? std::nullopt : parse_decimal(address.substr(colon + 1));
  if (!port || *port == 0 || *port > 65535) {
    return invalid(cat("the control plane's address \"", address, "\" is not host:port"));
  }
  control.host = trim(address.substr(0, colon), "[]");
  control.port = static_cast<uint16_t>(*port);
  return {};
}

// A file that is a token of a service account and nothing else: three parts of base64 with dots between them.
bool is_bare_token(std::string_view text) {
  text = trim(text, " \r\n");
  return text.starts_with("ey") && std::ranges::count(text, '.') == 2 &&
         text.find_first_of(" :\r\n") == text.npos;
}

std::string bare_token(const std::string& path) {
  const Result<std::string> text = read_file(path);
  return text ? std::string(trim(*text, " \r\n")) : "";
}

Result<JoinFacts> parse_join_file(const std::string& path) {
  TRY(const std::string text, read_file(path));
  JoinFacts facts;
  std::string control;
  try {
    const YAML::Node file = YAML::Load(text);
    for (const auto& entry : file) {
      const auto key = entry.first.as<std::string>();
      const auto value = entry.second.as<std::string>();
      if (key == "token")
        facts.token = value;
      else if (key == "workload")
        facts.workload = value;
      else if (key == "control")
        control = value;
      else if (key == "admin")
        facts.admin = value;
      else if (key == "trustBundle")
        facts.control.trust_bundle = value;
      else
        return invalid(cat(path, ": ", key, " is no field of a join file"));
    }
  } catch (const YAML::Exception& error) {
    return invalid(cat(path, ":", error.mark.line + 1, ": ", error.msg));
  }
  if (facts.workload.empty() || control.empty() || facts.control.trust_bundle.empty()) {
    return invalid(cat(path,
                       " is no join file: it needs workload, control and trustBundle; make one "
                       "with glia token"));
  }
  if (auto set = set_control(control, facts.control); !set) return std::move(set).error().in(path);
  if (const auto admin = Address::parse(facts.admin); !admin || admin->is_unix()) {
    return invalid(cat(path, ": the admin address \"", facts.admin, "\" is not IP:PORT"));
  }
  return facts;
}

// A text of the join file inside YAML, whatever it holds.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out.append(c == '\'' ? 2 : 1, c);
  return out + "'";
}

// The bootstrap of a member: everything but the way to the control plane comes over ADS.
std::string bootstrap_text(const JoinFacts& facts, const HeldIdentity& identity) {
  const std::size_t slash = facts.workload.find('/');
  const bool numeric = Address::ip(facts.control.host, facts.control.port).ok();
  constexpr std::size_t kScheme = std::string_view("spiffe://").size();
  const std::string_view id = identity.spiffe_id;
  const Address admin = *Address::parse(facts.admin);
  const std::string_view domain = id.substr(kScheme, id.find('/', kScheme) - kScheme);
  return cat("node: {id: ", quoted(facts.workload),
             ", cluster: ", quoted(facts.workload.substr(slash + 1)),
             "}\nadmin: {address: {socket_address: {address: ", quoted(admin.ip_text()),
             ", port_value: ", admin.port(), R"(}}}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services: [{envoy_grpc: {cluster_name: glia-control}}]
  lds_config: {resource_api_version: V3, ads: {}}
  cds_config: {resource_api_version: V3, ads: {}}
static_resources:
  clusters:
  - name: glia-control
    type: )",
             numeric ? "STATIC" : "STRICT_DNS", R"(
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: glia-control
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: )",
             quoted(facts.control.host), ", port_value: ", facts.control.port, R"(}}}}]}]
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: )",
             kControlPlaneName, R"(
        common_tls_context:
          alpn_protocols: [h2]
          tls_certificate_sds_secret_configs: [{name: )",
             kHeldCertificate, R"(}]
          combined_validation_context:
            default_validation_context:
              match_typed_subject_alt_names:
              - {san_type: URI, matcher: {exact: )",
             quoted(cat("spiffe://", domain, "/glia-control")), R"(}}
            validation_context_sds_secret_config: {name: )",
             kHeldTrustBundle, "}\n");
}

}  // namespace

Result<JoinFacts> join_facts(const Options& options) {
  if (options.source == Options::Source::kJoin) return parse_join_file(options.join_file);
  JoinFacts facts;
  if (!options.token_file.empty()) {
    TRY(const std::string text, read_file(options.token_file));
    if (is_bare_token(text)) {
      facts.token_file = options.token_file;
      facts.control.trust_bundle = options.trust_bundle;
      if (options.trust_bundle.empty()) {
        return invalid(cat(options.token_file,
                           " is only a token, so the control plane cannot be recognized; set "
                           "GLIA_TRUST_BUNDLE to the mesh's authority (PEM), as the webhook does"));
      }
    } else {
      TRY(facts, parse_join_file(options.token_file));
    }
  }
  if (!options.workload.empty()) facts.workload = options.workload;
  if (facts.workload.find('/') == std::string::npos) facts.workload = "default/" + facts.workload;
  TRY_VOID(set_control(options.control, facts.control));
  return facts;
}

JoinSource::JoinSource(const Options& options, JoinFacts facts, EventLoop& loop, Network& network)
    : options_(options),
      facts_(std::move(facts)),
      identity_(loop,
                {.workload = facts_.workload,
                 .token = facts_.token,
                 .fresh_token = facts_.token_file.empty()
                                    ? std::function<std::string()>()
                                    : [this] { return bare_token(facts_.token_file); },
                 .trust_bundle = facts_.control.trust_bundle,
                 .state_directory = options.state_dir},
                sign_over_http(loop, network, facts_.control), random_seed(),
                [this](const HeldIdentity& identity) { use(identity); }) {}

Result<void> JoinSource::start(Proxy& proxy) {
  proxy_ = &proxy;
  identity_.start();
  return {};
}

void JoinSource::use(const HeldIdentity& identity) {
  LOG(info, "certificate for ", identity.spiffe_id, ", renewed at half of its life");
  if (proxy_->started()) {
    const auto set = proxy_->set_secrets(secrets_of(identity));
    if (!set) LOG(error, "the new certificate cannot be used: ", set.error().message());
    return;
  }
  Errors errors("join");
  std::optional<Bootstrap> bootstrap =
      parse_bootstrap(bootstrap_text(facts_, identity), "join", SystemClock().wall_now(), errors);
  if (!bootstrap) {  // The join file's address is none.
    LOG(error, errors.joined());
    return proxy_->fail();
  }
  bootstrap->tells_reports = true;
  bootstrap->identity = identity.spiffe_id;
  // Whoever came with a join file is on a machine of its own. Of pods kubelet knows how they are.
  bootstrap->tells_health = options_.source == Options::Source::kJoin;
  for (SecretResource& secret : secrets_of(identity)) {
    bootstrap->draft.set_secret(std::move(secret));
  }
  if (const auto started = proxy_->start(std::move(*bootstrap)); !started) {
    LOG(error, started.error().message());
    proxy_->fail();
  }
}

}  // namespace glia
