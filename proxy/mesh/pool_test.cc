// Pools of connections as a client and an upstream see them: reuse and its races, HTTP/2 streams and
// GOAWAY, the ends of connections, connections made ahead, limits.
#include <gtest/gtest.h>

#include <algorithm>
#include <list>

#include "proxy/base/text.h"
#include "proxy/net/x509.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

const char kOrigin[] = "10.0.1.1";

// An HTTP/1.1 origin that closes a connection exactly when its n-th request arrives.
class RacingOrigin final : public AcceptHandler {
 public:
  RacingOrigin(SimWorld& world, int requests_each) : world_(world), requests_each_(requests_each) {
    acceptor_ = *world.host(kOrigin).listen(*Address::ip(kOrigin, 8080), {}, *this);
  }
  ~RacingOrigin() override {
    for (auto& connection : connections_) world_.loop().reap(std::move(connection));
    connections_.clear();
    world_.loop().turn(Duration(0));
  }
  std::vector<std::string> answered;  // Request lines.
  std::vector<std::string> dropped;
  int accepted = 0;
  Duration delay{0};

 private:
  struct Connection final : Stream::Watcher, Reapable {
    Connection(RacingOrigin& owner, std::unique_ptr<Stream> made)
        : origin(owner), stream(std::move(made)), later(owner.world_.loop(), [this] { answer(); }) {
      stream->watch(*this);
    }
    void on_open() override {}
    void on_writable() override {}
    void on_broken() override { origin.close(*this); }
    void on_readable() override {
      char bytes[64 * 1024];
      const IoResult got = stream->read(bytes);
      if (got.state == IoResult::State::kWait) return;
      if (got.state != IoResult::State::kDone) return origin.close(*this);
      received.append(bytes, got.bytes);
      const std::size_t head = received.find("\r\n\r\n");
      if (head == received.npos) return;
      if (served == origin.requests_each_) {
        origin.dropped.push_back(received.substr(0, received.find('\r')));
        return origin.close(*this);
      }
      const std::size_t length = received.find("content-length: ");
      const std::size_t body =
          length == received.npos ? 0 : std::stoul(received.substr(length + 16));
      if (received.size() < head + 4 + body) return;
      origin.answered.push_back(received.substr(0, received.find('\r')));
      received.clear();
      ++served;
      later.start(origin.delay);
    }
    void answer() {
      constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
      std::string_view rest = kAnswer;
      while (!rest.empty()) {
        const IoResult wrote = stream->write({&rest, 1});
        if (wrote.state != IoResult::State::kDone) return;
        rest.remove_prefix(wrote.bytes);
      }
    }
    RacingOrigin& origin;
    std::unique_ptr<Stream> stream;
    CallbackTimer later;
    std::string received;
    int served = 0;
    std::list<std::unique_ptr<Connection>>::iterator place;
    bool closed = false;
  };

  void on_accept(std::unique_ptr<Stream> stream) override {
    ++accepted;
    auto made = std::make_unique<Connection>(*this, std::move(stream));
    Connection& connection = *made;
    connection.place = connections_.insert(connections_.end(), std::move(made));
  }
  void close(Connection& connection) {
    if (std::exchange(connection.closed, true)) return;
    connection.stream->pause_reading(true);
    const auto place = connection.place;
    world_.loop().reap(std::move(*place));
    connections_.erase(place);
  }

  SimWorld& world_;
  const int requests_each_;
  std::unique_ptr<Acceptor> acceptor_;
  std::list<std::unique_ptr<Connection>> connections_;
};

// A world whose only endpoint is a RacingOrigin.
struct Race {
  Race(SimWorld& world, int requests_each) : t(world) {
    t.upstream(kOrigin).dies();
    origin = std::make_unique<RacingOrigin>(world, requests_each);
  }
  MeshWorld t;
  std::unique_ptr<RacingOrigin> origin;
};

bool shows(const MeshWorld& t, const std::string& line) {
  return t.metrics().find(line) != std::string::npos;
}

bool all_finish(SimWorld& world, const std::vector<std::shared_ptr<const Answer>>& answers,
                Duration limit) {
  return world.run_until(
      [&] { return std::ranges::all_of(answers, [](auto& one) { return one->finished; }); }, limit);
}

TEST(Pool, NoRequestIsLostToAnIdleConnectionThatEndsAsItArrives) {
  for_each_seed(20, [](SimWorld& world) {
    Race race(world, 3);
    race.t.start();
    for (int i = 0; i < 60; ++i) {
      const Answer answer =
          race.t.send({.method = i % 2 == 0 ? "GET" : "DELETE", .path = cat("/", i)});
      ASSERT_EQ(answer.status, 200) << i << ": " << answer.body;
    }
    EXPECT_EQ(race.origin->answered.size(), 60u) << "none was answered twice";
    EXPECT_GE(race.origin->dropped.size(), 15u) << "the race did not happen";
  });
}

TEST(Pool, ABodyThatIsKeptIsSentAgainButNoRequestWithAnEffectIs) {
  SimWorld world(1);
  Race race(world, 1);
  race.t.start();
  ASSERT_EQ(race.t.send({.method = "PUT", .path = "/1", .body = "one"}).status, 200);
  ASSERT_EQ(race.t.send({.method = "PUT", .path = "/2", .body = "two"}).status, 200);
  EXPECT_EQ(race.origin->dropped, std::vector<std::string>{"PUT /2 HTTP/1.1"});
  const Answer lost = race.t.send({.method = "POST", .path = "/3", .body = "three"});
  EXPECT_EQ(lost.status, 503);
  EXPECT_EQ(lost.header("x-glia-reason"), "upstream_reset");
  EXPECT_EQ(race.origin->dropped.back(), "POST /3 HTTP/1.1");
  EXPECT_EQ(race.origin->answered.size(), 2u);
  EXPECT_TRUE(shows(race.t, "upstream_rq_retry{envoy_cluster_name=\"service\"} 1"))
      << race.t.metrics();
}

TEST(Pool, ABodyAboveWhatIsKeptIsSentOnce) {
  SimWorld world(1);
  Race race(world, 1);
  race.t.start();
  const std::string large(100'000, 'x');
  ASSERT_EQ(race.t.send({.method = "PUT", .body = large}).status, 200);
  // The origin closes at the head: what was taken of the body by then decides.
  const Answer answer = race.t.send({.method = "PUT", .body = large});
  EXPECT_TRUE(answer.status == 200 || answer.status == 503) << answer.status;
  const std::size_t sent = race.origin->answered.size() + race.origin->dropped.size();
  EXPECT_EQ(sent, answer.status == 200 ? 3u : 2u);
}

// Every idle connection of the pool is as dead as the first one.
TEST(Pool, TheSecondAttemptIsOnAFreshConnection) {
  for (const uint32_t limit : {1024u, 4u}) {
    SimWorld world(1);
    Race race(world, 1);
    race.t.cluster().limits.connections = limit;
    race.origin->delay = 10ms;
    std::vector<std::unique_ptr<SimClient>> clients;
    std::vector<std::shared_ptr<const Answer>> answers;
    race.t.start();
    for (int i = 0; i < 4; ++i) {
      clients.push_back(std::make_unique<SimClient>(world, cat("10.0.9.", i + 1),
                                                    *Address::ip("10.0.0.1", 80), Codec::kHttp1));
      answers.push_back(clients.back()->send({}));
    }
    ASSERT_TRUE(all_finish(world, answers, 5s));
    ASSERT_EQ(race.origin->accepted, 4);
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(race.t.get().status, 200) << "request " << i << " with limit " << limit;
    }
    EXPECT_EQ(race.origin->answered.size(), 8u);
    clients.clear();
  }
}

TEST(Pool, AnOriginThatDropsEveryRequestIsAskedTwiceAndNotForEver) {
  SimWorld world(1);
  Race race(world, 1);
  race.t.start();
  ASSERT_EQ(race.t.get("/first").status, 200);
  race.origin.reset();
  race.origin = std::make_unique<RacingOrigin>(world, 0);
  world.run_for(1s);
  const Answer answer = race.t.get("/second");
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(race.origin->dropped.size(), 1u) << "a fresh connection that dies is no race";
}

TEST(Pool, NoRequestIsLostWhenTheUpstreamSaysGoawayAfterEachFew) {
  for_each_seed(10, [](SimWorld& world) {
    MeshWorld t(world, Codec::kHttp2, Codec::kHttp2);
    SimUpstream& upstream = t.upstream(kOrigin);
    upstream.limits().requests_per_connection = 7;
    upstream.replies(200, "ok", 3ms);
    t.start();
    std::vector<std::shared_ptr<const Answer>> answers;
    for (int i = 0; i < 80; ++i) {
      answers.push_back(t.client().send({.method = "POST", .path = cat("/", i), .body = "call"}));
      if (i % 10 == 9) t.advance(1ms);
    }
    ASSERT_TRUE(all_finish(world, answers, 60s));
    std::size_t good = 0;
    for (const auto& answer : answers) good += answer->status == 200;
    EXPECT_EQ(good, answers.size());
    EXPECT_EQ(upstream.seen().size(), answers.size()) << "each was looked at once";
    for (const Seen& seen : upstream.seen()) EXPECT_EQ(seen.body, "call");
  });
}

TEST(Pool, MoreConnectionsAreMadeWhenThePeersStreamsAreFull) {
  SimWorld world(1);
  MeshWorld t(world, Codec::kHttp2, Codec::kHttp2);
  SimUpstream& upstream = t.upstream(kOrigin);
  upstream.limits().streams = 5;
  upstream.replies(200, "ok", 1s);
  t.start();
  // The first tells what the upstream allows.
  const auto first = t.client().send({});
  t.advance(100ms);
  std::vector<std::shared_ptr<const Answer>> answers{first};
  for (int i = 0; i < 49; ++i) answers.push_back(t.client().send({}));
  ASSERT_TRUE(all_finish(world, answers, 5s));
  for (const auto& answer : answers) EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(upstream.stats().connections, 10u);
  EXPECT_LT(world.passed(), 3s) << "they did not run side by side";
}

TEST(Pool, RequestsThatCameBeforeThePeersLimitWasKnownAreSentAgain) {
  SimWorld world(1);
  MeshWorld t(world, Codec::kHttp2, Codec::kHttp2);
  SimUpstream& upstream = t.upstream(kOrigin);
  upstream.limits().streams = 5;
  upstream.replies(200, "ok", 100ms);
  t.start();
  std::vector<std::shared_ptr<const Answer>> answers;
  for (int i = 0; i < 50; ++i) {
    answers.push_back(t.client().send({.method = "POST", .body = "call"}));
  }
  ASSERT_TRUE(all_finish(world, answers, 30s));
  for (const auto& answer : answers) EXPECT_EQ(answer->status, 200) << answer->body;
  EXPECT_EQ(upstream.seen().size(), 50u);
}

class Ends : public testing::TestWithParam<Codec> {};
INSTANTIATE_TEST_SUITE_P(Codecs, Ends, testing::Values(Codec::kHttp1, Codec::kHttp2),
                         [](const auto& info) {
                           return info.param == Codec::kHttp1 ? "Http1" : "Http2";
                         });

TEST_P(Ends, AConnectionCarriesNoMoreRequestsThanItMay) {
  SimWorld world(1);
  MeshWorld t(world, Codec::kHttp1, GetParam());
  SimUpstream& upstream = t.upstream(kOrigin);
  upstream.replies(200, "ok");
  t.cluster().requests_per_connection = 4;
  t.start();
  for (int i = 0; i < 12; ++i) ASSERT_EQ(t.get().status, 200);
  EXPECT_EQ(upstream.stats().connections, 3u);
  world.run_for(2s);
  EXPECT_EQ(upstream.stats().connections_active, 0u)
      << "the last stays open although it is used up";
  EXPECT_TRUE(shows(t, "upstream_cx_max_requests{envoy_cluster_name=\"service\"} 3"))
      << t.metrics();
}

TEST_P(Ends, AnOldConnectionFinishesWhatItCarriesAndIsReplaced) {
  SimWorld world(1);
  MeshWorld t(world, Codec::kHttp1, GetParam());
  SimUpstream& upstream = t.upstream(kOrigin);
  upstream.replies(200, "ok", 800ms);
  t.cluster().http.connection_age = 1s;
  t.start();
  for (int i = 0; i < 4; ++i) ASSERT_EQ(t.get().status, 200);  // The second is across the age.
  EXPECT_EQ(upstream.stats().connections, 2u);
  world.run_for(10s);
  EXPECT_EQ(upstream.stats().connections_active, 0u) << "an idle one outlives its age";
  EXPECT_TRUE(shows(t, "upstream_cx_max_duration_reached{envoy_cluster_name=\"service\"} 2"));
}

TEST_P(Ends, AClientsOldConnectionIsDrainedAndLosesNoRequest) {
  SimWorld world(1);
  MeshWorld t(world, GetParam(), Codec::kHttp1);
  t.upstream(kOrigin).replies(200, "ok", 300ms);
  t.manager().server.limits.connection_age = 1s;
  t.start();
  for (int i = 0; i < 20; ++i) ASSERT_EQ(t.get().status, 200) << i;
  EXPECT_TRUE(
      shows(t, "downstream_cx_max_duration_reached{envoy_http_conn_manager_prefix=\"in\"} "))
      << t.metrics();
  world.run_for(10s);
  EXPECT_TRUE(shows(t, "downstream_cx_active{envoy_http_conn_manager_prefix=\"in\"} 0"))
      << t.metrics();
}

TEST(Pool, ConnectionsAreMadeAheadOfNeed) {
  SimWorld world(1);
  MeshWorld t(world);
  t.upstream(kOrigin).replies(200, "ok", 10ms);
  t.cluster().preconnect_ratio = 3;
  t.start();
  ASSERT_EQ(t.get().status, 200);
  EXPECT_EQ(t.upstream(kOrigin).stats().connections, 3u);
  for (int i = 0; i < 10; ++i) ASSERT_EQ(t.get().status, 200);
  EXPECT_EQ(t.upstream(kOrigin).stats().connections, 3u) << "not again for each request";
}

TEST(Pool, AnEndpointHasNoMoreConnectionsThanItMay) {
  SimWorld world(1);
  MeshWorld t(world, Codec::kHttp2, Codec::kHttp1);
  for (const char* ip : {kOrigin, "10.0.1.2"}) t.upstream(ip).replies(200, "ok", 100ms);
  t.cluster().limits.connections_per_endpoint = 3;
  t.start();
  std::vector<std::shared_ptr<const Answer>> answers;
  for (int i = 0; i < 40; ++i) answers.push_back(t.client().send({}));
  ASSERT_TRUE(all_finish(world, answers, 5s));
  for (const auto& answer : answers) EXPECT_EQ(answer->status, 200);
  for (const char* ip : {kOrigin, "10.0.1.2"}) {
    EXPECT_EQ(t.upstream(ip).stats().connections, 3u) << ip;
  }
}

TEST(Pool, TheTurnGoesOnWhenEndpointsChange) {
  SimWorld world(1);
  MeshWorld t(world);
  const std::vector<std::string> ips = {"10.0.1.1", "10.0.1.2", "10.0.1.3"};
  for (const std::string& ip : ips) t.upstream(ip).replies(200, ip);
  t.start();
  for (int i = 0; i < 30; ++i) {
    ASSERT_EQ(t.get().status, 200);
    t.publish();
  }
  for (const std::string& ip : ips) EXPECT_EQ(t.upstream(ip).seen().size(), 10u) << ip;
}

TEST(Pool, WhatWasResolvedStaysWhileTheResolverFindsNothing) {
  SimWorld world(1);
  MeshWorld t(world);
  t.upstream(kOrigin).replies(200, "ok");
  t.endpoint_by_name("model.test");
  t.cluster().dns_refresh = 1s;
  world.fabric().name("model.test", {kOrigin});
  t.start();
  ASSERT_EQ(t.get().body, "ok");
  world.fabric().name("model.test", {});  // The name is there, without an address.
  t.advance(5s);
  EXPECT_EQ(t.get().body, "ok");
  t.publish();  // A new drawing asks again.
  t.advance(5s);
  EXPECT_EQ(t.get().body, "ok");
}

TEST(Pool, ANameWithTooManyAddressesIsBounded) {
  SimWorld world(1);
  MeshWorld t(world);
  std::vector<std::string> ips;
  for (std::size_t i = 0; i < Cluster::kMostAddresses + 500; ++i) {
    ips.push_back(cat("10.1.", i / 250, ".", i % 250 + 1));
  }
  t.endpoint_by_name("many.test");
  world.fabric().name("many.test", ips);
  t.start();
  t.advance(1s);
  EXPECT_TRUE(shows(t, cat("envoy_cluster_membership_total{envoy_cluster_name=\"service\"} ",
                           Cluster::kMostAddresses)))
      << t.metrics();
}

TEST(Pool, AClusterThatGoesWhileARequestWaitsForDnsIsFreed) {
  SimWorld world(1);
  MeshWorld t(world);
  t.endpoint_by_name("model.test");
  SimFaults& faults = world.fabric().faults();
  const SimFaults quick = std::exchange(faults, {.least_latency = 10s, .most_latency = 10s});
  t.start();  // The look-up takes its time.
  faults = quick;
  const auto answer = t.client().send({});
  ASSERT_TRUE(world.run_until(
      [&] { return shows(t, "downstream_rq_active{envoy_http_conn_manager_prefix=\"in\"} 1"); },
      1s));
  t.remove_cluster("service");
  t.publish();
  ASSERT_TRUE(world.run_until([&] { return answer->finished; }, 1s));
  EXPECT_EQ(answer->status, 503);
  EXPECT_EQ(answer->header("x-glia-reason"), "no_cluster");
  EXPECT_EQ(t.worker().clusters().retired(), 0u);
}

TEST(Pool, WhoWaitsForDnsCountsAsOneThatWaits) {
  SimWorld world(1);
  MeshWorld t(world, Codec::kHttp2);
  t.endpoint_by_name("model.test");
  t.cluster().limits.pending_requests = 2;
  SimFaults& faults = world.fabric().faults();
  const SimFaults quick = std::exchange(faults, {.least_latency = 10s, .most_latency = 10s});
  t.start();  // The look-up takes its time.
  faults = quick;
  std::vector<std::shared_ptr<const Answer>> answers;
  for (int i = 0; i < 5; ++i) answers.push_back(t.client().send({}));
  t.advance(1s);
  EXPECT_TRUE(
      shows(t, "envoy_cluster_upstream_rq_pending_active{envoy_cluster_name=\"service\"} 2"));
  EXPECT_FALSE(answers[0]->finished);
  EXPECT_FALSE(answers[1]->finished);
  for (std::size_t i = 2; i < answers.size(); ++i) {
    EXPECT_EQ(answers[i]->header("x-glia-reason"), "overflow") << i;
  }
}

// The upstream's side of TLS, and what the proxy makes of it.
struct Secure : testing::Test {
  Secure() {
    t.upstream(kOrigin).replies(200, "ok");
    t.upstream(kOrigin).secured(side(TlsContext::Side::kServer, ca.certificate()));
  }
  std::shared_ptr<const TlsContext> side(TlsContext::Side which, const std::string& trusted,
                                         Duration lifetime = 24h) {
    const Identity identity =
        *issue(ca, {.uri_san = "spiffe://m.test/x", .now = kNow, .lifetime = lifetime});
    return *TlsContext::create(which, {.certificate_chain = identity.certificate,
                                       .private_key = identity.private_key,
                                       .trusted_ca = trusted,
                                       .request_client_certificate = true,
                                       .require_client_certificate = true});
  }
  uint64_t connections() { return t.upstream(kOrigin).stats().connections; }

  const WallTime kNow{1767225600s};  // Where virtual time begins.
  CertificateAuthority ca = *CertificateAuthority::create("m.test", kNow, 24h * 365);
  CertificateAuthority other = *CertificateAuthority::create("other.test", kNow, 24h * 365);
  SimWorld world{1};
  MeshWorld t{world};
};

TEST_F(Secure, NewConnectionsResumeTheSessionsOfTheirEndpoint) {
  t.cluster().tls = side(TlsContext::Side::kClient, ca.certificate());
  t.cluster().requests_per_connection = 1;
  t.start();
  for (int i = 0; i < 10; ++i) ASSERT_EQ(t.get().status, 200);
  EXPECT_TRUE(shows(t, "envoy_cluster_ssl_handshake{envoy_cluster_name=\"service\"} 10"));
  EXPECT_TRUE(shows(t, "envoy_cluster_ssl_session_reused{envoy_cluster_name=\"service\"} 9"))
      << t.metrics();
  t.publish();  // Nothing of the rules changes.
  ASSERT_EQ(t.get().status, 200);
  EXPECT_TRUE(shows(t, "envoy_cluster_ssl_session_reused{envoy_cluster_name=\"service\"} 10"));
  t.cluster().tls = side(TlsContext::Side::kClient, ca.certificate());
  t.publish();
  ASSERT_EQ(t.get().status, 200);
  EXPECT_TRUE(shows(t, "envoy_cluster_ssl_session_reused{envoy_cluster_name=\"service\"} 10"))
      << "under another certificate of ours nothing is resumed";
}

TEST_F(Secure, AConnectionEndsWhenItsPeersCertificateHasRunOut) {
  t.upstream(kOrigin).secured(side(TlsContext::Side::kServer, ca.certificate(), 1h));
  t.cluster().tls = side(TlsContext::Side::kClient, ca.certificate());
  t.start();
  ASSERT_EQ(t.get().status, 200);
  t.upstream(kOrigin).secured(side(TlsContext::Side::kServer, ca.certificate()));
  world.time().shift_wall_clock(1h);
  ASSERT_EQ(t.get().status, 200);
  EXPECT_EQ(connections(), 1u);
  t.advance(kExpiredGrace + kPeerCheck + 1s);
  EXPECT_EQ(t.upstream(kOrigin).stats().connections_active, 0u);
  ASSERT_EQ(t.get().status, 200);
  EXPECT_EQ(connections(), 2u);
}

TEST_F(Secure, ARequestInProgressIsCutOffWhenItsAuthorityHasLeft) {
  t.upstream(kOrigin).hangs();
  t.cluster().tls = side(TlsContext::Side::kClient, ca.certificate() + other.certificate());
  t.route().forward->timeout = 0s;
  t.start();
  const auto answer = t.client().send({});
  t.advance(1s);
  ASSERT_EQ(t.upstream(kOrigin).active(), 1u);
  t.cluster().tls = side(TlsContext::Side::kClient, ca.certificate() + other.certificate());
  t.publish();  // Only a new certificate of ours: what runs may finish.
  t.advance(120s);
  EXPECT_FALSE(answer->finished);
  t.cluster().tls = side(TlsContext::Side::kClient, other.certificate());
  t.publish();
  ASSERT_TRUE(world.run_until([&] { return answer->finished; }, 60s));
  EXPECT_EQ(answer->status, 503);
}

// An origin that says no at the head, and one that says it and ends.
TEST(Pool, AnEarlyNoStopsTheRequestAndEndsTheConnection) {
  for (const bool ends : {false, true}) {
    SimWorld world(1);
    MeshWorld t(world);
    t.upstream(kOrigin).dies();
    struct Origin : AcceptHandler, Stream::Watcher {
      void on_accept(std::unique_ptr<Stream> made) override {
        stream = std::move(made);
        stream->watch(*this);
      }
      void on_open() override {}
      void on_writable() override {}
      void on_broken() override { over = true; }
      void on_readable() override {
        char bytes[16 * 1024];
        const IoResult got = stream->read(bytes);
        read += got.bytes;
        over = over || got.state == IoResult::State::kEnd || got.state == IoResult::State::kError;
        if (over) return stream->pause_reading(true);
        if (std::exchange(answered, true)) return;
        std::string_view rest = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno";
        while (!rest.empty()) rest.remove_prefix(stream->write({&rest, 1}).bytes);
        if (ends) stream->finish_writing();
      }
      std::unique_ptr<Stream> stream;
      std::size_t read = 0;
      bool ends = false, answered = false, over = false;
    } origin;
    origin.ends = ends;
    const auto acceptor = *world.host(kOrigin).listen(*Address::ip(kOrigin, 8080), {}, origin);
    t.start();
    const Answer answer = t.send({.method = "POST", .body = std::string(5'000'000, 'x')});
    EXPECT_EQ(answer.status, 413);
    EXPECT_EQ(answer.body, "no");
    EXPECT_TRUE(world.run_until([&] { return origin.over; }, 1s)) << "the connection stays open";
    EXPECT_LT(origin.read, 1'000'000u);
  }
}

}  // namespace
}  // namespace glia
