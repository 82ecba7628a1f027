// The discovery services of a whole glia-control, called by real gRPC clients: delta ADS, streams of
// single types in both variants, and client status.
#include "control_plane/control_test_support.h"
#include "control_plane/serve/ads_stream.h"
#include "control_plane/serve/peer.h"
#include "envoy/service/cluster/v3/cds.grpc.pb.h"
#include "envoy/service/discovery/v3/ads.grpc.pb.h"
#include "envoy/service/endpoint/v3/eds.grpc.pb.h"
#include "envoy/service/listener/v3/lds.grpc.pb.h"
#include "envoy/service/route/v3/rds.grpc.pb.h"
#include "envoy/service/status/v3/csds.grpc.pb.h"

namespace glia {
namespace {

namespace xds = envoy::service;
namespace csds = envoy::service::status::v3;
using Request = xds::discovery::v3::DiscoveryRequest;
using Response = xds::discovery::v3::DiscoveryResponse;
using DeltaRequest = xds::discovery::v3::DeltaDiscoveryRequest;
using DeltaResponse = xds::discovery::v3::DeltaDiscoveryResponse;
constexpr char kBackCluster[] = "outbound:80:back.default";

// One stream of front's sidecar.
template <class In, class Out>
struct OfFront : Talk<In, Out> {
  explicit OfFront(const auto& open) : Talk<In, Out>(kFront, open) {}
  void send(In request) {
    request.mutable_node()->set_id("default/front");
    Talk<In, Out>::send(request);
  }
};

using Delta = OfFront<DeltaRequest, DeltaResponse>;
using World = OfFront<Request, Response>;

DeltaRequest subscribe(XdsType type, const std::vector<std::string>& names) {
  DeltaRequest request;
  request.set_type_url(std::string(type_url(type)));
  for (const std::string& name : names) request.add_resource_names_subscribe(name);
  return request;
}
DeltaRequest answer(const DeltaResponse& response, const std::string& refusal = "") {
  DeltaRequest request;
  request.set_type_url(response.type_url());
  request.set_response_nonce(response.nonce());
  if (!refusal.empty()) request.mutable_error_detail()->set_message(refusal);
  return request;
}

class ControlXdsTest : public ControlFixture {
 protected:
  // The same service with another answer at its end.
  static std::string edited() { return mesh() + service("front"); }

  std::unique_ptr<Delta> delta_ads() {
    const auto ads = xds::discovery::v3::AggregatedDiscoveryService::NewStub(channel("grpc.sock"));
    return std::make_unique<Delta>(
        [&](grpc::ClientContext* context) { return ads->DeltaAggregatedResources(context); });
  }
  // Asks for a type and accepts what comes.
  static DeltaResponse take(Delta& stream, XdsType type, const std::vector<std::string>& names) {
    stream.send(subscribe(type, names));
    DeltaResponse response = stream.receive();
    EXPECT_EQ(response.type_url(), type_url(type));
    stream.send(answer(response));
    return response;
  }
  csds::ClientStatusResponse client_status(const csds::ClientStatusRequest& request = {}) {
    grpc::ClientContext context;
    csds::ClientStatusResponse response;
    const auto stub = csds::ClientStatusDiscoveryService::NewStub(channel("control.sock"));
    const grpc::Status called = stub->FetchClientStatus(&context, request, &response);
    EXPECT_TRUE(called.ok()) << called.error_message();
    return response;
  }
};

bool accepted(const v1::Status& status, std::size_t types) {
  if (status.proxies_size() != 1) return false;
  const auto& all = status.proxies(0).types();
  return static_cast<std::size_t>(all.size()) == types &&
         std::all_of(all.begin(), all.end(), [](const v1::ResourceType& type) {
           return !type.sent_version().empty() && type.sent_version() == type.acked_version();
         });
}

TEST_F(ControlXdsTest, DeltaSendsWhatChangedAndNothingElse) {
  ASSERT_EQ(start(), "");
  const auto stream = delta_ads();
  const DeltaResponse clusters = take(*stream, XdsType::kCluster, {});
  ASSERT_EQ(clusters.resources_size(), 2);
  EXPECT_EQ(clusters.resources(0).name(), "inbound:http");
  EXPECT_EQ(clusters.resources(1).name(), kBackCluster);
  EXPECT_EQ(clusters.resources(1).version().size(), 16u);
  take(*stream, XdsType::kEndpoints, {kBackCluster});
  take(*stream, XdsType::kListener, {});
  take(*stream, XdsType::kRoutes, {"outbound"});
  status_when([](const v1::Status& status) { return accepted(status, 4); });

  save(edited());
  const DeltaResponse more = stream->receive();
  ASSERT_EQ(more.resources_size(), 1);
  EXPECT_EQ(more.resources(0).name(), "outbound:80:front.default");
  EXPECT_EQ(more.removed_resources_size(), 0);
  take(*stream, XdsType::kEndpoints, {"outbound:80:front.default"});
  stream->send(answer(more));
  const DeltaResponse routes = stream->receive();
  EXPECT_EQ(routes.type_url(), type_url(XdsType::kRoutes));
  stream->send(answer(routes));

  save(mesh());
  const DeltaResponse back = stream->receive();
  EXPECT_EQ(back.type_url(), type_url(XdsType::kRoutes)) << "the cluster goes last";
  stream->send(answer(back));
  const DeltaResponse less = stream->receive();
  EXPECT_EQ(less.resources_size(), 0);
  ASSERT_EQ(less.removed_resources_size(), 1);
  EXPECT_EQ(less.removed_resources(0), "outbound:80:front.default");
}

TEST_F(ControlXdsTest, DeltaThatComesBackAfterARestartIsSentNothingAgain) {
  ASSERT_EQ(start(), "");
  DeltaRequest again = subscribe(XdsType::kCluster, {});
  {
    const auto stream = delta_ads();
    const DeltaResponse clusters = take(*stream, XdsType::kCluster, {});
    for (const auto& resource : clusters.resources()) {
      (*again.mutable_initial_resource_versions())[resource.name()] = resource.version();
    }
  }
  ASSERT_EQ(start(), "");
  const auto stream = delta_ads();
  stream->send(again);
  const DeltaResponse heard = stream->receive();
  EXPECT_EQ(heard.type_url(), type_url(XdsType::kCluster));
  EXPECT_EQ(heard.resources_size() + heard.removed_resources_size(), 0);
  stream->send(answer(heard));
  take(*stream, XdsType::kListener, {});
  status_when([](const v1::Status& status) { return accepted(status, 2); });
}

// Of what it is sent when it comes, which nobody has tried out.
TEST_F(ControlXdsTest, ARefusalInDeltaIsShownWithTheSidecarsSentence) {
  ASSERT_EQ(start(), "");
  const auto stream = delta_ads();
  stream->send(subscribe(XdsType::kCluster, {}));
  stream->send(answer(stream->receive(), "cluster[outbound:80:back.default]: no"));
  const v1::Status status = status_when([](const v1::Status& status) {
    return status.proxies_size() == 1 && status.proxies(0).types_size() == 1 &&
           !status.proxies(0).types(0).nack_error().empty();
  });
  EXPECT_EQ(status.proxies(0).types(0).nack_error(), "cluster[outbound:80:back.default]: no");
  EXPECT_NE(status.proxies(0).types(0).sent_version(), status.proxies(0).types(0).acked_version());

  bool seen = false;
  const csds::ClientStatusResponse held = client_status();
  for (const auto& one : held.config(0).generic_xds_configs()) {
    if (one.name() != kBackCluster) continue;
    seen = true;
    EXPECT_EQ(one.client_status(), envoy::admin::v3::NACKED);
    EXPECT_EQ(one.config_status(), csds::ERROR);
    EXPECT_EQ(one.error_state().details(), "cluster[outbound:80:back.default]: no");
  }
  EXPECT_TRUE(seen);
}

TEST_F(ControlXdsTest, ASidecarOnDemandIsSentWhatItAsksForByName) {
  ASSERT_EQ(start(), "");
  std::string on_demand = mesh() + service("front");
  const std::string lifetime = "certificateLifetime: 1h";
  on_demand.replace(on_demand.find(lifetime), lifetime.size(), lifetime + ", discovery: OnDemand");
  save(on_demand);
  status_when([&](const v1::Status& status) {
    return std::ranges::any_of(status.objects(), [](const v1::ObjectCount& one) {
      return one.kind() == "Service" && one.count() == 2;
    });
  });
  const auto stream = delta_ads();
  DeltaRequest first = subscribe(XdsType::kCluster, {});
  first.mutable_node()->add_client_features("glia.v1.Host");
  stream->send(first);
  const DeltaResponse own = stream->receive();
  ASSERT_EQ(own.resources_size(), 1);
  EXPECT_EQ(own.resources(0).name(), "inbound:http");
  stream->send(answer(own));

  DeltaRequest demand;
  demand.set_type_url(std::string(kHostUrl));
  for (const char* host : {"back", "nothing"}) demand.add_resource_names_subscribe(host);
  stream->send(demand);
  const DeltaResponse hosts = stream->receive();
  EXPECT_EQ(hosts.type_url(), kHostUrl);
  ASSERT_EQ(hosts.resources_size(), 2);
  v1::Host host;
  ASSERT_TRUE(hosts.resources(0).resource().UnpackTo(&host));
  EXPECT_EQ(hosts.resources(0).name(), "back");
  EXPECT_EQ(host.status(), 0u);
  ASSERT_TRUE(hosts.resources(1).resource().UnpackTo(&host));
  EXPECT_EQ(host.status(), 404u);
  EXPECT_TRUE(host.sentence().starts_with("no Service has the host name nothing"));
  stream->send(answer(hosts));
  const DeltaResponse more = stream->receive();
  ASSERT_EQ(more.resources_size(), 1);
  EXPECT_EQ(more.resources(0).name(), kBackCluster);
  stream->send(answer(more));

  DeltaRequest back;  // It is not needed any more.
  back.set_type_url(std::string(kHostUrl));
  back.add_resource_names_unsubscribe("back.default:80");
  stream->send(back);
  const DeltaResponse gone = stream->receive();
  EXPECT_EQ(gone.resources_size(), 0);
  ASSERT_EQ(gone.removed_resources_size(), 1);
  EXPECT_EQ(gone.removed_resources(0), kBackCluster);
}

TEST_F(ControlXdsTest, WhoAsksForTooManyHostsAtATimeLosesTheStream) {
  ASSERT_EQ(start(), "");
  const auto stream = delta_ads();
  DeltaRequest demand;
  demand.set_type_url(std::string(kHostUrl));
  for (std::size_t i = 0; i <= AdsStream::kMostHostsAsked; ++i) {
    demand.add_resource_names_subscribe("back");
  }
  stream->send(demand);
  EXPECT_EQ(stream->end().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

// A real Envoy, say.
TEST_F(ControlXdsTest, WhoCannotAskForHostsHasAllOfThem) {
  ASSERT_EQ(start(), "");
  std::string on_demand = mesh();
  const std::string lifetime = "certificateLifetime: 1h";
  on_demand.replace(on_demand.find(lifetime), lifetime.size(), lifetime + ", discovery: OnDemand");
  save(on_demand);
  const auto stream = delta_ads();
  EXPECT_EQ(take(*stream, XdsType::kCluster, {}).resources_size(), 2);
}

// The streams of one type: what is the same of all of them.
template <class Service>
struct SingleType;
template <>
struct SingleType<xds::cluster::v3::ClusterDiscoveryService> {
  static constexpr XdsType kType = XdsType::kCluster;
  static auto world(auto& stub, grpc::ClientContext* c) { return stub.StreamClusters(c); }
  static auto delta(auto& stub, grpc::ClientContext* c) { return stub.DeltaClusters(c); }
};
template <>
struct SingleType<xds::endpoint::v3::EndpointDiscoveryService> {
  static constexpr XdsType kType = XdsType::kEndpoints;
  static auto world(auto& stub, grpc::ClientContext* c) { return stub.StreamEndpoints(c); }
  static auto delta(auto& stub, grpc::ClientContext* c) { return stub.DeltaEndpoints(c); }
};
template <>
struct SingleType<xds::listener::v3::ListenerDiscoveryService> {
  static constexpr XdsType kType = XdsType::kListener;
  static auto world(auto& stub, grpc::ClientContext* c) { return stub.StreamListeners(c); }
  static auto delta(auto& stub, grpc::ClientContext* c) { return stub.DeltaListeners(c); }
};
template <>
struct SingleType<xds::route::v3::RouteDiscoveryService> {
  static constexpr XdsType kType = XdsType::kRoutes;
  static auto world(auto& stub, grpc::ClientContext* c) { return stub.StreamRoutes(c); }
  static auto delta(auto& stub, grpc::ClientContext* c) { return stub.DeltaRoutes(c); }
};

std::vector<std::string> names_for(XdsType type) {
  if (type == XdsType::kEndpoints) return {kBackCluster};
  if (type == XdsType::kRoutes) return {"outbound"};
  return {};
}

template <class Service>
void expect_served(const std::shared_ptr<grpc::Channel>& channel) {
  using Single = SingleType<Service>;
  const auto stub = Service::NewStub(channel);
  World world([&](grpc::ClientContext* context) { return Single::world(*stub, context); });
  Request request;  // Without a type: the stream has only one.
  for (const std::string& name : names_for(Single::kType)) request.add_resource_names(name);
  world.send(request);
  const Response response = world.receive();
  EXPECT_EQ(response.type_url(), type_url(Single::kType));
  EXPECT_GT(response.resources_size(), 0);

  Delta delta([&](grpc::ClientContext* context) { return Single::delta(*stub, context); });
  delta.send(subscribe(Single::kType, names_for(Single::kType)));
  const DeltaResponse changes = delta.receive();
  EXPECT_EQ(changes.type_url(), type_url(Single::kType));
  ASSERT_EQ(changes.resources_size(), response.resources_size());
  for (int i = 0; i < changes.resources_size(); ++i) {
    EXPECT_EQ(changes.resources(i).resource().value(), response.resources(i).value());
  }

  Delta wrong([&](grpc::ClientContext* context) { return Single::delta(*stub, context); });
  wrong.send(
      subscribe(Single::kType == XdsType::kCluster ? XdsType::kListener : XdsType::kCluster, {}));
  const grpc::Status status = wrong.end();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("this stream carries"), std::string::npos);
}

TEST_F(ControlXdsTest, ServesEachTypeOnAStreamOfItsOwn) {
  ASSERT_EQ(start(), "");
  const auto socket = channel("grpc.sock");
  expect_served<xds::cluster::v3::ClusterDiscoveryService>(socket);
  expect_served<xds::endpoint::v3::EndpointDiscoveryService>(socket);
  expect_served<xds::listener::v3::ListenerDiscoveryService>(socket);
  expect_served<xds::route::v3::RouteDiscoveryService>(socket);
}

TEST_F(ControlXdsTest, StatusOfASidecarIsThatOfAllItsStreams) {
  ASSERT_EQ(start(), "");
  const auto socket = channel("grpc.sock");
  const auto clusters = xds::cluster::v3::ClusterDiscoveryService::NewStub(socket);
  const auto listeners = xds::listener::v3::ListenerDiscoveryService::NewStub(socket);
  Delta of_clusters([&](grpc::ClientContext* c) { return clusters->DeltaClusters(c); });
  Delta of_listeners([&](grpc::ClientContext* c) { return listeners->DeltaListeners(c); });
  take(of_clusters, XdsType::kCluster, {});
  take(of_listeners, XdsType::kListener, {});
  status_when([](const v1::Status& status) { return accepted(status, 2); });
}

TEST_F(ControlXdsTest, ClientStatusSaysWhatEachSidecarHolds) {
  ASSERT_EQ(start(), "");
  const auto stream = delta_ads();
  const DeltaResponse clusters = take(*stream, XdsType::kCluster, {});
  take(*stream, XdsType::kEndpoints, {kBackCluster, "nowhere"});
  status_when([](const v1::Status& status) { return accepted(status, 2); });
  const csds::ClientStatusResponse all = client_status();
  ASSERT_EQ(all.config_size(), 1);
  EXPECT_EQ(all.config(0).node().id(), "default/front");
  ASSERT_EQ(all.config(0).generic_xds_configs_size(), 4);
  for (int i = 0; i < 2; ++i) {
    const auto& one = all.config(0).generic_xds_configs(i);
    EXPECT_EQ(one.name(), clusters.resources(i).name());
    EXPECT_EQ(one.version_info(), clusters.resources(i).version());
    EXPECT_EQ(one.xds_config().value(), clusters.resources(i).resource().value());
    EXPECT_EQ(one.config_status(), csds::SYNCED);
    EXPECT_EQ(one.client_status(), envoy::admin::v3::ACKED);
  }
  const auto& nowhere = all.config(0).generic_xds_configs(2);
  EXPECT_EQ(nowhere.name(), "nowhere");
  EXPECT_EQ(nowhere.client_status(), envoy::admin::v3::DOES_NOT_EXIST);

  csds::ClientStatusRequest some;
  some.set_exclude_resource_contents(true);
  some.add_node_matchers()->mutable_node_id()->set_prefix("default/");
  const csds::ClientStatusResponse names = client_status(some);
  EXPECT_FALSE(names.config(0).generic_xds_configs(0).has_xds_config());
  some.mutable_node_matchers(0)->mutable_node_id()->set_exact("default/back");
  EXPECT_EQ(client_status(some).config_size(), 0);
}

TEST_F(ControlXdsTest, ClientStatusOnAStreamAnswersEachRequest) {
  ASSERT_EQ(start(), "");
  grpc::ClientContext context;
  const auto stub = csds::ClientStatusDiscoveryService::NewStub(channel("control.sock"));
  const auto stream = stub->StreamClientStatus(&context);
  for (int i = 0; i < 3; ++i) {
    csds::ClientStatusResponse response;
    ASSERT_TRUE(stream->Write({}));
    ASSERT_TRUE(stream->Read(&response));
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(ControlXdsTest, ClientStatusIsForOperatorsOnly) {
  ASSERT_EQ(start(), "");
  grpc::ClientContext context;
  context.AddMetadata(kForwardedCertificateHeader, cat("Hash=00;URI=", kFront));
  csds::ClientStatusResponse response;
  const auto stub = csds::ClientStatusDiscoveryService::NewStub(channel("grpc.sock"));
  EXPECT_EQ(stub->FetchClientStatus(&context, {}, &response).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace glia
