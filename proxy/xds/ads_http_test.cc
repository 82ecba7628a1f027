// The ADS call over the real HTTP/2 codecs and a simulated network, seen from a control plane.
#include "proxy/xds/ads_http.h"

#include <gtest/gtest.h>

#include "proxy/http/grpc.h"
#include "proxy/http/server.h"
#include "proxy/xds/wire.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

// Answers each request for a type with nothing at version 1, and keeps what it got.
class SmallControlPlane final : public Service,
                                public AcceptHandler,
                                public ServerConnection::Owner {
 public:
  explicit SmallControlPlane(SimWorld& world) : world_(world) {
    acceptor_ = *world.host("10.0.0.1").listen(*Address::ip("10.0.0.1", 15012), {}, *this);
  }
  std::vector<std::string> requests;  // Type and version.
  std::vector<std::string> paths;
  int answers_left = 1000;
  Duration answers_after = Duration::zero();

  Task<void> serve(ServerStream& stream) override {
    paths.emplace_back(stream.request().path);
    co_await sleep_for(world_.loop(), answers_after);
    Response response(stream.arena());
    response.status = 200;
    response.headers.add("content-type", "application/grpc");
    response.body = std::make_unique<Answers>(*this, *stream.request().body);
    co_await stream.respond(std::move(response));
  }

 private:
  // Pulls requests and makes answers of them.
  class Answers final : public Body {
   public:
    Answers(SmallControlPlane& owner, Body& requests)
        : owner_(owner), requests_(requests), decoder_(1 << 20), trailers_(ArenaRef::create()) {
      trailers_.add("grpc-status", "14");
      trailers_.add("grpc-message", "going%20away");
    }
    Piece poll() override {
      if (owner_.answers_left == 0) return {State::kEnd, {}};
      Piece piece = requests_.poll();
      if (piece.state != State::kData) return piece;
      decoder_.add(piece.data.view());
      std::string out;
      while (true) {
        auto message = decoder_.next();
        if (!message.ok() || !*message) break;
        out += owner_.answer(**message);
      }
      if (out.empty()) return poll();
      return {State::kData, Slice::copy(out)};
    }
    void wait(Waiter& waiter) override { requests_.wait(waiter); }
    const Headers* trailers() const override { return &trailers_; }

   private:
    SmallControlPlane& owner_;
    Body& requests_;
    GrpcDecoder decoder_;
    Headers trailers_;
  };

  std::string answer(std::string_view bytes) {
    const auto request =
        *decode_wire(*MessageSchema::find("envoy.service.discovery.v3.DiscoveryRequest"), bytes);
    const auto text = [&](std::string_view field) {
      const Entry* entry = request.find(field);
      return entry == nullptr ? std::string() : entry->text;
    };
    requests.push_back(text("type_url").substr(text("type_url").rfind('.') + 1) + " v" +
                       text("version_info"));
    if (!text("response_nonce").empty()) return "";  // An ACK.
    --answers_left;
    Message response(*MessageSchema::find("envoy.service.discovery.v3.DiscoveryResponse"));
    response.add_text("version_info", "1");
    response.add_text("type_url", text("type_url"));
    response.add_text("nonce", "n");
    std::string framed;
    append_grpc_message(framed, encode_wire(response));
    return framed;
  }
  void on_accept(std::unique_ptr<Stream> stream) override {
    connections_.push_back(
        serve_http(world_.loop(), std::move(stream), options_, *this, *this, stats_));
  }
  void on_finished(ServerConnection& connection) override {
    for (auto at = connections_.begin(); at != connections_.end(); ++at) {
      if (at->get() != &connection) continue;
      world_.loop().reap(std::move(*at));
      connections_.erase(at);
      return;
    }
  }

  SimWorld& world_;
  ServerOptions options_;
  HttpServerStats stats_;
  std::unique_ptr<Acceptor> acceptor_;
  std::vector<std::unique_ptr<ServerConnection>> connections_;
};

constexpr std::string_view kBootstrap = R"(
node: {id: n1}
static_resources:
  clusters:
  - name: control
    connect_timeout: 1s
    http2_protocol_options: {}
    load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 15012}}}}]}]}
dynamic_resources:
  lds_config: {ads: {}}
  cds_config: {ads: {}}
  ads_config: {api_type: GRPC, grpc_services: [{envoy_grpc: {cluster_name: control}}]}
)";

struct Proxy {
  explicit Proxy(SimWorld& world)
      : configuration(world.loop(), *bootstrap(), [](const SnapshotRef&) {}),
        client(world.loop(), configuration,
               ads_over_http(world.loop(), world.host("10.0.0.2"), configuration), world.seed()) {
    EXPECT_TRUE(configuration.start().ok());
    client.start();
  }
  static std::optional<Bootstrap> bootstrap() {
    Errors errors;
    return parse_bootstrap(kBootstrap, "boot.yaml", {}, errors);
  }
  Configuration configuration;
  AdsClient client;
};

TEST(AdsOverHttp, AsksAcknowledgesAndSettles) {
  for_each_seed(20, [](SimWorld& world) {
    SmallControlPlane server(world);
    Proxy proxy(world);
    ASSERT_TRUE(world.run_until([&] { return server.requests.size() == 4; }, 5s));
    EXPECT_TRUE(proxy.client.settled());
    EXPECT_EQ(server.paths[0],
              "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources");
    EXPECT_EQ(server.requests[0], "Cluster v");
    EXPECT_EQ(server.requests[3], "Listener v1");
    EXPECT_EQ(proxy.configuration.snapshot()->version, "cds=1 lds=1");
  });
}

TEST(AdsOverHttp, ComesBackAfterTheServerEndedTheStreamWithAStatus) {
  SimWorld world(3);
  SmallControlPlane server(world);
  server.answers_left = 2;
  Proxy proxy(world);
  ASSERT_TRUE(world.run_until([&] { return !proxy.client.last_end().empty(); }, 20s));
  EXPECT_EQ(proxy.client.last_end(),
            "the control plane ended the stream with status 14 going away");
  server.answers_left = 1000;
  const std::size_t before = server.paths.size();
  ASSERT_TRUE(world.run_until(
      [&] { return server.paths.size() > before && proxy.client.connected(); }, 20s));
  EXPECT_EQ(proxy.configuration.snapshot()->version, "cds=1 lds=1");
}

TEST(AdsOverHttp, SurvivesAControlPlaneThatDiesAndComesBack) {
  for_each_seed(10, [](SimWorld& world) {
    SmallControlPlane server(world);
    Proxy proxy(world);
    ASSERT_TRUE(world.run_until([&] { return proxy.client.settled(); }, 5s));
    world.fabric().reset_all(*Address::ip("10.0.0.1", 15012));
    ASSERT_TRUE(world.run_until([&] { return !proxy.client.connected(); }, 5s));
    ASSERT_TRUE(world.run_until([&] { return proxy.client.connected(); }, 60s));
    EXPECT_EQ(proxy.configuration.snapshot()->version, "cds=1 lds=1");
  });
}

TEST(AdsOverHttp, NoticesAControlPlaneThatVanishedWithoutAnEnd) {
  for_each_seed(10, [](SimWorld& world) {
    SmallControlPlane server(world);
    Proxy proxy(world);
    ASSERT_TRUE(world.run_until([&] { return proxy.client.settled(); }, 5s));
    // Nobody says anything for long, and that is no reason to leave.
    world.run_for(600s);
    ASSERT_TRUE(proxy.client.connected());
    EXPECT_EQ(server.paths.size(), 1u);
    world.fabric().partition("10.0.0.1", "10.0.0.2");
    ASSERT_TRUE(world.run_until([&] { return !proxy.client.connected(); }, 41s));
    EXPECT_EQ(proxy.client.last_end(), "the upstream did not answer a PING in time");
    world.fabric().heal("10.0.0.1", "10.0.0.2");
    ASSERT_TRUE(world.run_until([&] { return proxy.client.connected(); }, 60s));
    EXPECT_EQ(proxy.configuration.snapshot()->version, "cds=1 lds=1");
  });
}

TEST(AdsOverHttp, AHostThatDoesNotAnswerIsGivenUpInTime) {
  SimWorld world(4);
  world.host("10.0.0.1");
  world.fabric().partition("10.0.0.1", "10.0.0.2");
  Proxy proxy(world);
  ASSERT_TRUE(world.run_until([&] { return !proxy.client.last_end().empty(); }, 3s));
  EXPECT_EQ(proxy.client.last_end(), "no connection within the cluster's connect_timeout");
  EXPECT_TRUE(world.run_until([&] { return proxy.client.settled(); }, 20s));
}

struct Ear final : AdsCall::Watcher {
  void on_message(std::string_view) override { heard.emplace_back("message"); }
  void on_end(std::string_view why) override { heard.emplace_back(why); }
  std::vector<std::string> heard;
};

TEST(AdsOverHttp, NothingIsHeardAfterTheEnd) {
  for_each_seed(20, [](SimWorld& world) {
    SmallControlPlane server(world);
    server.answers_after = 1100ms;  // The cluster's connect_timeout is 1 s.
    Configuration configuration(world.loop(), *Proxy::bootstrap(), [](const SnapshotRef&) {});
    ASSERT_TRUE(configuration.start().ok());
    Message request(*MessageSchema::find("envoy.service.discovery.v3.DiscoveryRequest"));
    request.add_text("type_url", "type.googleapis.com/envoy.config.cluster.v3.Cluster");
    Ear ear;
    const auto call = ads_over_http(world.loop(), world.host("10.0.0.2"), configuration)(ear);
    call->send(encode_wire(request));
    world.run_for(5s);
    ASSERT_EQ(server.paths.size(), 1u);
    EXPECT_EQ(ear.heard,
              std::vector<std::string>{"no connection within the cluster's connect_timeout"});
  });
}

}  // namespace
}  // namespace glia
