#include "test/sim_mesh/sim_proxy.h"

#include <sstream>

#include "proxy/base/text.h"
#include "proxy/xds/ads_http.h"

namespace glia {
namespace {

std::string bootstrap_text(const std::string& workload, const Address& control,
                           std::string_view trust_domain, std::string_view api_type) {
  return cat("node: {id: '", workload, R"('}
dynamic_resources:
  ads_config: {api_type: )",
             api_type, R"(, grpc_services: [{envoy_grpc: {cluster_name: glia-control}}]}
  lds_config: {ads: {}}
  cds_config: {ads: {}}
static_resources:
  clusters:
  - name: glia-control
    connect_timeout: 2s
    http2_protocol_options: {}
    load_assignment:
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: ')",
             control.ip_text(), "', port_value: ", control.port(), R"(}}}}]}]
    transport_socket:
      name: tls
      typed_config:
        "@type": t/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context:
          alpn_protocols: [h2]
          tls_certificate_sds_secret_configs: [{name: default}]
          combined_validation_context:
            default_validation_context:
              match_typed_subject_alt_names:
              - {san_type: URI, matcher: {exact: 'spiffe://)",
             trust_domain, R"(/glia-control'}}
            validation_context_sds_secret_config: {name: ROOTCA}
)");
}

SecretResource own_secret(const std::string& spiffe_id, const CertificateAuthority& authority,
                          WallTime now) {
  auto own = issue(authority, {.uri_san = spiffe_id, .now = now});
  CHECK(own.ok());
  return {
      .name = "default", .certificate_chain = own->certificate, .private_key = own->private_key};
}

Bootstrap make_bootstrap(const std::string& workload, const std::string& spiffe_id,
                         const CertificateAuthority& authority, const Address& control,
                         std::string_view api_type, WallTime now) {
  Errors errors;
  auto bootstrap = parse_bootstrap(
      bootstrap_text(workload, control, authority.trust_domain(), api_type), "", now, errors);
  CHECK(bootstrap.has_value());
  bootstrap->draft.set_secret(own_secret(spiffe_id, authority, now));
  bootstrap->draft.set_secret({.name = "ROOTCA", .trusted_ca = authority.certificate()});
  return *std::move(bootstrap);
}

}  // namespace

SimProxy::SimProxy(SimWorld& world, const std::string& ip, const std::string& workload,
                   const std::string& spiffe_id, const CertificateAuthority& authority,
                   const Address& control)
    : loop_(world.loop()),
      workload_(workload),
      spiffe_id_(spiffe_id),
      worker_(0, world.loop(), world.host(ip), world.random().next()) {
  const WallTime now = world.loop().clock().wall_now();
  const std::string_view api_type = world.random().below(2) == 0 ? "GRPC" : "DELTA_GRPC";
  configuration_ = std::make_unique<Configuration>(
      world.loop(), make_bootstrap(workload, spiffe_id, authority, control, api_type, now),
      [this](const SnapshotRef& snapshot) { publish(snapshot); });
  CHECK(configuration_->start().ok());
  ads_ = std::make_unique<AdsClient>(world.loop(), *configuration_,
                                     ads_over_http(world.loop(), world.host(ip), *configuration_),
                                     world.random().next());
  ads_->start();
}

SimProxy::~SimProxy() = default;

void SimProxy::renew(const CertificateAuthority& authority) {
  const WallTime now = loop_.clock().wall_now();
  CHECK(configuration_->set_secret(own_secret(spiffe_id_, authority, now)).ok());
}

void SimProxy::publish(const SnapshotRef& snapshot) {
  ListenAddresses addresses;
  for (const auto& [name, listener] : snapshot->listeners) {
    addresses.emplace(name, listener->address);
  }
  for (std::string& problem : worker_.apply(snapshot, addresses)) {
    problems_.push_back(std::move(problem));
  }
}

std::map<std::string, std::string> SimProxy::resources() const {
  std::map<std::string, std::string> all;
  for (const ResourceKind kind : kResourceKinds) {
    for (const auto& [name, resource] : configuration_->draft().of(kind)) {
      if (!resource->is_static) all[cat(type_url_of(kind), " ", name)] = resource->bytes;
    }
  }
  return all;
}

std::vector<std::string> SimProxy::in_hand() const {
  std::vector<std::string> all = worker_.exchanges();
  MetricsPage page;
  worker_.collect(page);
  std::istringstream lines(page.prometheus());
  for (std::string line; std::getline(lines, line);) {
    const bool requests =
        line.find("_rq_active") != line.npos || line.find("_rq_pending_active") != line.npos;
    if (requests && !line.starts_with('#') && !line.ends_with(" 0")) all.push_back(line);
  }
  for (const EndpointRow& row : worker_.endpoints()) {
    if (row.rq_active != 0) all.push_back(cat(row.cluster, " ", row.address, " ", row.rq_active));
  }
  return all;
}

}  // namespace glia
