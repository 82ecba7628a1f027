// Canaries of a whole glia-control, as `glia canary` and a sidecar see them.
#include <algorithm>

#include "control_plane/control_test_support.h"
#include "control_plane/serve/node_resources.h"
#include "control_plane/serve/peer.h"
#include "envoy/service/discovery/v3/ads.grpc.pb.h"
#include "glia/v1/canary.grpc.pb.h"

namespace glia {
namespace {

namespace discovery = envoy::service::discovery::v3;

class ControlCanaryTest : public ControlFixture {
 protected:
  static std::string canary(std::string_view candidate) {
    return cat(mesh(), workload("back-v2", "127.0.1.3", 18083), service("back-v2"),
               workload("back-v3", "127.0.1.4", 18084), service("back-v3"),
               "---\napiVersion: glia.dev/v1\nkind: Canary\nmetadata: {name: back}\nspec:\n"
               "  targetRef: {name: back}\n  candidate: {service: ",
               candidate, "}\n");
  }
  template <class Answer, class Call>
  grpc::Status call(Answer& answer, Call call) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 30s);
    return call(*v1::CanaryService::NewStub(channel("control.sock")), context, answer);
  }
  v1::CanaryStatus show(const std::string& name = "back") {
    v1::ListCanariesRequest request;
    request.set_name(name);
    v1::ListCanariesResponse answer;
    const grpc::Status called = call(answer, [&](auto& stub, auto& context, auto& out) {
      return stub.ListCanaries(&context, request, &out);
    });
    EXPECT_TRUE(called.ok()) << called.error_message();
    return answer.canaries_size() == 1 ? answer.canaries(0) : v1::CanaryStatus();
  }
  grpc::Status change(const std::string& name, const std::string& command) {
    v1::ChangeCanaryRequest request;
    request.set_name(name);
    request.set_command(command);
    v1::CanaryStatus answer;
    return call(answer, [&](auto& stub, auto& context, auto& out) {
      return stub.ChangeCanary(&context, request, &out);
    });
  }
};

// The routes that front's sidecar is sent.
class Routes {
 public:
  explicit Routes(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(discovery::AggregatedDiscoveryService::NewStub(channel)) {
    context_.set_deadline(std::chrono::system_clock::now() + 30s);
    context_.AddMetadata(kForwardedCertificateHeader, cat("Hash=00;URI=", kFront));
    stream_ = stub_->StreamAggregatedResources(&context_);
    request_.mutable_node()->set_id("default/front");
    request_.set_type_url(std::string(type_url(XdsType::kRoutes)));
    request_.add_resource_names("outbound");
    stream_->Write(request_);
  }
  ~Routes() {
    context_.TryCancel();
    stream_->Finish();
  }
  // Of the next answer: the candidate's share of requests for `back`.
  uint32_t weight() {
    discovery::DiscoveryResponse response;
    EXPECT_TRUE(stream_->Read(&response));
    request_.set_version_info(response.version_info());
    request_.set_response_nonce(response.nonce());
    stream_->Write(request_);
    envoy::config::route::v3::RouteConfiguration table;
    EXPECT_TRUE(response.resources(0).UnpackTo(&table));
    const auto host = std::ranges::find(table.virtual_hosts(), "back.default:80",
                                        [](const auto& h) { return h.name(); });
    EXPECT_NE(host, table.virtual_hosts().end());
    const auto& shares = host->routes(0).route().weighted_clusters();
    EXPECT_NE(shares.clusters(0).name(), "outbound:80:back.default");
    return shares.clusters(0).weight().value();
  }

 private:
  std::unique_ptr<discovery::AggregatedDiscoveryService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<
      grpc::ClientReaderWriter<discovery::DiscoveryRequest, discovery::DiscoveryResponse>>
      stream_;
  discovery::DiscoveryRequest request_;
};

TEST_F(ControlCanaryTest, APersonsWordReachesTheSidecarsAndSurvivesARestart) {
  save(canary("back-v2"));
  ASSERT_EQ(start(), "");
  const v1::CanaryStatus begun = show();
  EXPECT_EQ(begun.name(), "default/back");
  EXPECT_EQ(begun.phase(), "progressing");
  EXPECT_EQ(begun.versions(), "Service back: Service back -> Service back-v2");
  EXPECT_EQ(begun.weight(), 10u);
  {
    Routes routes(channel("grpc.sock"));
    EXPECT_EQ(routes.weight(), 10u);
    ASSERT_TRUE(change("back", "abort").ok());
    EXPECT_EQ(routes.weight(), 0u);
  }
  ASSERT_EQ(start(), "");
  EXPECT_EQ(show().phase(), "rolled back");
  EXPECT_EQ(show().reason(), "taken back by a person");
  Routes routes(channel("grpc.sock"));
  EXPECT_EQ(routes.weight(), 0u);
  // The promoted version keeps all requests; the next one begins with few, never with all.
  ASSERT_TRUE(change("default/back", "promote").ok());
  EXPECT_EQ(routes.weight(), 100u);
  save(canary("back-v3"));
  EXPECT_EQ(routes.weight(), 10u);
}

TEST_F(ControlCanaryTest, WhatCannotBeDoneIsSaid) {
  save(canary("back-v2"));
  ASSERT_EQ(start(), "");
  EXPECT_EQ(change("bak", "abort").error_message(),
            "there is no canary bak; there is default/back");
  EXPECT_EQ(change("back", "resume").error_message(),
            "canary default/back is progressing, so there is nothing to resume");
  EXPECT_EQ(change("back", "destroy").error_message(),
            "command destroy is not one of promote, abort, pause, resume");
}

}  // namespace
}  // namespace glia
