// The whole of glia-control behind its front door, met by real gRPC clients over its UNIX sockets.
// The clients own those sockets, so they say themselves who they are, as the front door would.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "control_plane/control_test_support.h"
#include "control_plane/serve/peer.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/service/discovery/v3/ads.grpc.pb.h"
#include "glia/v1/identity.grpc.pb.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

namespace fs = std::filesystem;
using Ads = envoy::service::discovery::v3::AggregatedDiscoveryService;

// One ADS stream of a sidecar.
class Sidecar {
 public:
  Sidecar(const std::shared_ptr<grpc::Channel>& channel, std::string node, const std::string& uri)
      : stub_(Ads::NewStub(channel)), node_(std::move(node)) {
    context_.set_deadline(std::chrono::system_clock::now() + 30s);
    if (!uri.empty()) context_.AddMetadata(kForwardedCertificateHeader, cat("Hash=00;URI=", uri));
    stream_ = stub_->StreamAggregatedResources(&context_);
  }
  ~Sidecar() {
    if (!ended_) context_.TryCancel(), stream_->Finish();
  }

  void ask(XdsType type, std::vector<std::string> names = {}) {
    names_[type] = names;
    send(type, "", "");
  }
  // The next response; it must be of `type`.
  AdsSession::Response receive(XdsType type) {
    AdsSession::Response response;
    EXPECT_TRUE(stream_->Read(&response));
    EXPECT_EQ(response.type_url(), type_url(type));
    return response;
  }
  void accept(const AdsSession::Response& response) {
    send(*xds_type(response.type_url()), response.nonce(), "");
  }
  void refuse(const AdsSession::Response& response, const std::string& why) {
    send(*xds_type(response.type_url()), response.nonce(), why);
  }
  // Asks for everything, as a proxy does at its start.
  void settle() {
    ask(XdsType::kCluster);
    AdsSession::Response clusters = receive(XdsType::kCluster);
    accept(clusters);
    std::vector<std::string> names;
    for (const auto& any : clusters.resources()) {
      envoy::config::cluster::v3::Cluster cluster;
      EXPECT_TRUE(any.UnpackTo(&cluster));
      if (cluster.name().starts_with("outbound:")) names.push_back(cluster.name());
    }
    ask(XdsType::kEndpoints, names);
    accept(receive(XdsType::kEndpoints));
    ask(XdsType::kListener);
    accept(receive(XdsType::kListener));
    ask(XdsType::kRoutes, {"outbound"});
    accept(receive(XdsType::kRoutes));
  }
  grpc::Status end() {
    AdsSession::Response response;
    while (stream_->Read(&response)) {
    }
    ended_ = true;
    return stream_->Finish();
  }

 private:
  void send(XdsType type, const std::string& nonce, const std::string& refusal) {
    AdsSession::Request request;
    request.mutable_node()->set_id(node_);
    request.set_type_url(std::string(type_url(type)));
    for (const std::string& name : names_[type]) request.add_resource_names(name);
    request.set_response_nonce(nonce);
    if (!refusal.empty()) request.mutable_error_detail()->set_message(refusal);
    stream_->Write(request);
  }
  std::unique_ptr<Ads::Stub> stub_;
  grpc::ClientContext context_;
  const std::string node_;
  std::unique_ptr<grpc::ClientReaderWriter<AdsSession::Request, AdsSession::Response>> stream_;
  std::map<XdsType, std::vector<std::string>> names_;
  bool ended_ = false;
};

class ControlTest : public ControlFixture {
 protected:
  std::string token(const std::string& workload, int64_t lifetime_s = 0) {
    grpc::ClientContext context;
    v1::CreateTokenRequest request;
    request.set_workload(workload);
    request.set_lifetime_s(lifetime_s);
    v1::CreateTokenResponse response;
    const auto stub = v1::StatusService::NewStub(channel("control.sock"));
    const grpc::Status called = stub->CreateToken(&context, request, &response);
    if (!called.ok()) return called.error_message();
    join_file_ = response.join_file();
    const std::size_t at = join_file_.find("token: ") + 7;
    return join_file_.substr(at, join_file_.find('\n', at) - at);
  }
  struct Signed {
    grpc::Status status;
    v1::SignCertificateResponse response;
  };
  Signed sign(const std::string& workload, const std::string& token, const std::string& caller,
              const std::string& key = make_private_key()) {
    grpc::ClientContext context;
    if (!caller.empty()) context.AddMetadata(kForwardedCertificateHeader, cat("URI=", caller));
    v1::SignCertificateRequest request;
    request.set_csr_pem(*make_signing_request(key, "spiffe://evil/whatever"));
    request.set_token(token);
    request.set_workload(workload);
    Signed out;
    const auto stub = v1::IdentityService::NewStub(channel("grpc.sock"));
    out.status = stub->SignCertificate(&context, request, &out.response);
    return out;
  }
  grpc::Status refused_stream(const std::string& node, const std::string& uri) {
    Sidecar sidecar(channel("grpc.sock"), node, uri);
    sidecar.ask(XdsType::kCluster);
    return sidecar.end();
  }

  std::string join_file_;
};

TEST_F(ControlTest, ASidecarJoinsOnceWithItsTokenAndRenewsWithItsCertificate) {
  ASSERT_EQ(start(), "");
  const std::string secret = token("front");
  const Signed joined = sign("default/front", secret, "");
  ASSERT_TRUE(joined.status.ok()) << joined.status.error_message();
  EXPECT_EQ(joined.response.spiffe_id(), kFront) << "the names in the request do not count";
  EXPECT_NE(join_file_.find(
                "workload: default/front\ncontrol: 127.0.0.1:15012\nadmin: \"127.0.1.1:15000\"\n"),
            std::string::npos)
      << join_file_;
  const int64_t lifetime = joined.response.not_after_unix_s() - joined.response.not_before_unix_s();
  EXPECT_NEAR(static_cast<double>(lifetime), 3600 + 60, 2) << "of Mesh.certificateLifetime";

  const Signed again = sign("default/front", secret, "");
  EXPECT_EQ(again.status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(again.status.error_message().find("was used already"), std::string::npos);

  EXPECT_TRUE(sign("default/front", "", kFront).status.ok());
}

TEST_F(ControlTest, AnswersALostJoinAgainForTheSameKeyOnly) {
  ASSERT_EQ(start(), "");
  const std::string secret = token("front"), key = make_private_key();
  EXPECT_TRUE(sign("default/front", secret, "", key).status.ok());
  EXPECT_TRUE(sign("default/front", secret, "", key).status.ok());
  EXPECT_FALSE(sign("default/front", secret, "").status.ok());
}

TEST_F(ControlTest, RefusesIdentitiesThatTheCallerMayNotHave) {
  ASSERT_EQ(start(), "");
  struct Case {
    std::string workload, token, caller, sentence;
  };
  const std::string of_front = token("front");
  for (const Case& c :
       {Case{"default/front", "glia-guess", "", "is not known here"},
        Case{"default/back", of_front, "", "for another workload than default/back"},
        Case{"default/back", "", kFront, "may not renew the certificate of workload default/back"},
        Case{"default/nobody", of_front, "", "there is no workload default/nobody"},
        Case{"default/front", "", "", "needs a client certificate"},
        Case{"default/front", "", "nonsense", "spiffe"}}) {
    const grpc::Status status = sign(c.workload, c.token, c.caller).status;
    EXPECT_FALSE(status.ok()) << c.sentence;
    EXPECT_NE(status.error_message().find(c.sentence), std::string::npos) << status.error_message();
  }
  EXPECT_TRUE(sign("default/front", of_front, "").status.ok()) << "wrong tries do not use it up";
}

TEST_F(ControlTest, LimitsHowOftenAWorkloadGetsACertificate) {
  ASSERT_EQ(start(), "");
  bool limited = false;
  for (int i = 0; i < 50 && !limited; ++i) {
    const grpc::Status status = sign("default/front", "", kFront).status;
    limited = status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED;
  }
  EXPECT_TRUE(limited);
  EXPECT_TRUE(sign("default/back", "", kBack).status.ok()) << "one that loops harms no other";
}

TEST_F(ControlTest, ARestartKeepsTheAuthorityAndWhatWasUsed) {
  ASSERT_EQ(start(), "");
  const std::string secret = token("front"), unused = token("back");
  const Signed first = sign("default/front", secret, "");
  ASSERT_TRUE(first.status.ok());
  ASSERT_EQ(start(), "");
  EXPECT_FALSE(sign("default/front", secret, "").status.ok());
  const Signed second = sign("default/back", unused, "");
  ASSERT_TRUE(second.status.ok()) << second.status.error_message();
  EXPECT_EQ(second.response.trust_bundle_pem(), first.response.trust_bundle_pem());
}

TEST_F(ControlTest, RefusesToSignForAnotherTrustDomain) {
  ASSERT_EQ(start(), "");
  save(mesh("other.mesh"));
  status_when([](const v1::Status& s) { return s.config_errors_size() > 0; });
  EXPECT_NE(status().config_errors(0).find("spec.trustDomain cannot change from demo.mesh to "
                                           "other.mesh"),
            std::string::npos);
  EXPECT_NE(start().find("holds the certificate authority of trust domain demo.mesh"),
            std::string::npos);
}

TEST_F(ControlTest, SaysWhyItDoesNotStart) {
  save("kind: Nonsense\n");
  EXPECT_NE(start().find("mesh.yaml:1"), std::string::npos) << running_->failure();
  save(mesh());
  ASSERT_EQ(start(), "");
  struct stat status = {};
  ASSERT_EQ(::stat((root_ + "/state/control.sock").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat((root_ + "/state/grpc.sock").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(ControlTest, ASaveReachesTheSidecarAndABadOneDoesNot) {
  ASSERT_EQ(start(), "");
  Sidecar front(channel("grpc.sock"), "default/front", kFront);
  front.settle();
  const std::string in_force = status_when([](const v1::Status& s) {
                                 return s.proxies_size() == 1 && s.proxies(0).types_size() == 4 &&
                                        s.proxies(0).types(3).acked_version() != "";
                               }).config_version();

  save(mesh() +
       "---\napiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {selektor: {}}\n");
  const v1::Status bad =
      status_when([](const v1::Status& s) { return s.config_errors_size() > 0; });
  EXPECT_NE(bad.config_errors(0).find("mesh.yaml:"), std::string::npos) << bad.config_errors(0);
  EXPECT_EQ(bad.config_version(), in_force);

  const auto began = std::chrono::steady_clock::now();
  save(mesh() + service("front"));
  const AdsSession::Response clusters = front.receive(XdsType::kCluster);
  const auto took = std::chrono::steady_clock::now() - began;
  RecordProperty("save_to_push_ms", static_cast<int>(took / 1ms));
  EXPECT_LT(took, 2s) << "the bar is 200 ms; a busy machine may be slower";
  front.accept(clusters);
  front.ask(XdsType::kEndpoints, {"outbound:80:back.default", "outbound:80:front.default"});
  front.accept(front.receive(XdsType::kEndpoints));
  const AdsSession::Response routes = front.receive(XdsType::kRoutes);
  envoy::config::route::v3::RouteConfiguration table;
  ASSERT_TRUE(routes.resources(0).UnpackTo(&table));
  EXPECT_NE(table.DebugString().find("front.default"), std::string::npos)
      << "listeners did not change and were not sent";
  EXPECT_TRUE(status().config_errors().empty());
}

TEST_F(ControlTest, TheStatusSaysWhoRefusedWhatAndWhy) {
  ASSERT_EQ(start(), "");
  {
    Sidecar front(channel("grpc.sock"), "default/front", kFront);
    front.ask(XdsType::kListener);
    front.refuse(front.receive(XdsType::kListener), "listener[x]: no\nthanks");
    const v1::Status now = status_when([](const v1::Status& s) {
      return s.proxies_size() == 1 && s.proxies(0).types_size() == 1 &&
             s.proxies(0).types(0).nack_error() != "";
    });
    EXPECT_EQ(now.mesh(), "demo");
    EXPECT_EQ(now.version(), "test");
    EXPECT_EQ(now.proxies(0).workload(), "default/front");
    EXPECT_EQ(now.proxies(0).spiffe_id(), kFront);
    EXPECT_GT(now.proxies(0).connected_unix_s(), 0);
    EXPECT_EQ(now.proxies(0).types(0).nack_error(), "listener[x]: no thanks");
    EXPECT_EQ(now.proxies(0).types(0).acked_version(), "");
    EXPECT_GT(now.proxies(0).types(0).resources(), 0);
  }
  status_when([](const v1::Status& s) {
    return s.proxies_size() == 1 && s.proxies(0).connected_unix_s() == 0 &&
           s.proxies(0).types_size() == 1;
  });
}

TEST_F(ControlTest, AStreamIsForTheWorkloadsOwnIdentityOnly) {
  ASSERT_EQ(start(), "");
  struct Case {
    std::string node, uri, sentence;
  };
  for (const Case& c : {Case{"default/front", "", "needs a client certificate"},
                        Case{"default/front", kBack,
                             "workload default/front is spiffe://demo.mesh/ns/default/sa/front"},
                        Case{"default/nobody", kFront,
                             "names a workload that is not in the mesh: default/nobody"}}) {
    const grpc::Status status = refused_stream(c.node, c.uri);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << c.sentence;
    EXPECT_NE(status.error_message().find(c.sentence), std::string::npos) << status.error_message();
  }
  EXPECT_EQ(refused_stream("", kFront).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ControlTest, AWorkloadThatIsTakenOutLosesItsStream) {
  ASSERT_EQ(start(), "");
  Sidecar front(channel("grpc.sock"), "default/front", kFront);
  Sidecar back(channel("grpc.sock"), "default/back", kBack);
  back.ask(XdsType::kListener);
  back.accept(back.receive(XdsType::kListener));
  front.settle();
  std::string smaller = mesh();
  smaller.resize(smaller.find(workload("back", "127.0.1.2", 18082)));
  save(smaller);
  const grpc::Status status = back.end();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(status.error_message(), "workload default/back was taken out of the mesh");
  front.receive(XdsType::kRoutes);
}

TEST_F(ControlTest, AFloodEndsItsOwnStreamAndNoOther) {
  ASSERT_EQ(start(), "");
  Sidecar quiet(channel("grpc.sock"), "default/back", kBack);
  quiet.ask(XdsType::kListener);
  quiet.accept(quiet.receive(XdsType::kListener));
  {
    Sidecar flood(channel("grpc.sock"), "default/front", kFront);
    for (int i = 0; i < 5000; ++i) flood.ask(XdsType::kCluster);
    EXPECT_EQ(flood.end().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
  quiet.ask(XdsType::kCluster);
  EXPECT_GT(quiet.receive(XdsType::kCluster).resources_size(), 0);
}

TEST_F(ControlTest, AWorkloadHasFewStreams) {
  ASSERT_EQ(start(), "");
  std::vector<std::unique_ptr<Sidecar>> sidecars;
  for (int i = 0; i < ControlPlane::kMostStreamsOfWorkload; ++i) {
    sidecars.push_back(std::make_unique<Sidecar>(channel("grpc.sock"), "default/front", kFront));
    sidecars.back()->ask(XdsType::kListener);
    sidecars.back()->receive(XdsType::kListener);
  }
  EXPECT_EQ(refused_stream("default/front", kFront).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused_stream("default/back", kFront).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(ControlTest, StopsWhileStreamsAreOpen) {
  ASSERT_EQ(start(), "");
  Sidecar front(channel("grpc.sock"), "default/front", kFront);
  front.settle();
  running_.reset();
  EXPECT_EQ(front.end().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace glia
