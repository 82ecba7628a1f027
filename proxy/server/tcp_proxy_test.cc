// Relayed TCP connections as a client and an upstream see them: the real worker, in virtual time.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "proxy/net/proxy_protocol.h"
#include "proxy/net/x509.h"
#include "proxy/server/worker.h"
#include "test/sim/party.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

const Address kAt = *Address::ip("10.0.0.1", 5432);

// Keeps whoever connects.
struct Backend final : AcceptHandler {
  Backend(SimWorld& world, const std::string& ip, std::shared_ptr<const TlsContext> secured = {})
      : world(world), tls(std::move(secured)), address(*Address::ip(ip, 5432)) {
    acceptor = *world.host(ip).listen(address, {}, *this);
  }
  void on_accept(std::unique_ptr<Stream> stream) override {
    if (tls != nullptr) stream = tls->wrap(world.loop(), std::move(stream), 5s);
    parties.push_back(std::make_unique<Party>(std::move(stream)));
    parties.back()->echo = echo;
  }
  Party& only() {
    CHECK(parties.size() == 1);
    return *parties.front();
  }

  SimWorld& world;
  std::shared_ptr<const TlsContext> tls;
  const Address address;
  bool echo = false;
  std::unique_ptr<Acceptor> acceptor;
  std::list<std::unique_ptr<Party>> parties;
};

// A listener that relays to cluster "db".
class Proxied {
 public:
  explicit Proxied(SimWorld& world)
      : world_(world), worker_(0, world.loop(), world.host("10.0.0.1"), world.seed()) {
    chain.name = "tcp";
    chain.tcp.emplace();
    chain.tcp->stat_prefix = "db";
    chain.tcp->targets = {{.cluster = "db"}};
    db.name = db.stat_name = "db";
  }
  void publish(std::vector<FilterChain> chains) {
    auto listener = std::make_shared<ListenerConfig>();
    listener->name = "tcp";
    listener->address = kAt;
    listener->chains = std::move(chains);
    auto set = std::make_shared<EndpointSet>();
    for (const Address& address : endpoints) set->endpoints.push_back({.address = address});
    auto cluster = std::make_shared<ClusterConfig>(db);
    cluster->endpoints = std::move(set);
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->listeners.emplace("tcp", listener);
    if (configured) snapshot->clusters.emplace("db", cluster);
    EXPECT_TRUE(worker_.apply(snapshot, {{"tcp", kAt}}).empty());
  }
  void publish() { publish({chain}); }
  std::unique_ptr<Stream> connect(const std::string& from = "10.0.9.9") {
    return world_.host(from).connect(kAt);
  }
  std::string metrics() const {
    MetricsPage page;
    worker_.collect(page);
    return page.prometheus();
  }
  bool counts(const std::string& line) const {
    return metrics().find(line + "\n") != std::string::npos;
  }
  Worker& worker() { return worker_; }

  FilterChain chain;
  ClusterConfig db;
  std::vector<Address> endpoints;
  bool configured = true;

 private:
  SimWorld& world_;
  Worker worker_;
};

class TcpProxyTest : public testing::Test {
 protected:
  TcpProxyTest() { proxy_.endpoints = {db_.address}; }
  bool eventually(const std::function<bool()>& done, Duration limit = 5s) {
    return world_.run_until(done, limit);
  }
  SimWorld world_{1};
  Backend db_{world_, "10.0.1.1"};
  Proxied proxy_{world_};
};

TEST_F(TcpProxyTest, CarriesBytesBothWaysAndAnEndInEachDirectionByItself) {
  proxy_.publish();
  Party client(proxy_.connect());
  client.send("ask", /*then_finish=*/true);
  ASSERT_TRUE(eventually([&] { return db_.parties.size() == 1 && db_.only().ended; }));
  EXPECT_EQ(db_.only().received, "ask");
  world_.run_for(60s);
  EXPECT_FALSE(client.ended);
  const std::vector<std::string> shown = proxy_.worker().exchanges();
  ASSERT_EQ(shown.size(), 1u);
  EXPECT_TRUE(shown[0].starts_with("TCP 10.0.9.9:")) << shown[0];
  EXPECT_NE(shown[0].find(" to db at 10.0.1.1:5432, 3 bytes in, 0 out, last "), std::string::npos);
  db_.only().send("answer after the end of the question", /*then_finish=*/true);
  ASSERT_TRUE(eventually([&] { return client.ended; }));
  EXPECT_EQ(client.received, "answer after the end of the question");
  EXPECT_FALSE(client.broken || db_.only().broken);
  EXPECT_TRUE(eventually([&] { return proxy_.worker().connections() == 0; }));
  EXPECT_TRUE(proxy_.counts("envoy_tcp_downstream_cx_total{envoy_tcp_prefix=\"db\"} 1"));
  EXPECT_TRUE(proxy_.counts("envoy_tcp_downstream_cx_active{envoy_tcp_prefix=\"db\"} 0"));
  EXPECT_TRUE(proxy_.counts("envoy_tcp_downstream_cx_rx_bytes_total{envoy_tcp_prefix=\"db\"} 3"));
  EXPECT_TRUE(proxy_.counts("envoy_tcp_downstream_cx_tx_bytes_total{envoy_tcp_prefix=\"db\"} 36"));
  EXPECT_TRUE(proxy_.counts("envoy_cluster_upstream_cx_total{envoy_cluster_name=\"db\"} 1"));
  EXPECT_TRUE(
      proxy_.counts("envoy_cluster_upstream_cx_tx_bytes_total{envoy_cluster_name=\"db\"} 3"));
}

TEST_F(TcpProxyTest, LetsTheServerSpeakFirst) {
  proxy_.publish();
  Party client(proxy_.connect());
  ASSERT_TRUE(eventually([&] { return db_.parties.size() == 1; }));
  db_.only().send("220 welcome\r\n");
  EXPECT_TRUE(eventually([&] { return client.received == "220 welcome\r\n"; }));
  db_.only().send("bye", /*then_finish=*/true);
  EXPECT_TRUE(eventually([&] { return client.ended; }));
  client.send("still here", /*then_finish=*/true);
  EXPECT_TRUE(eventually([&] { return db_.only().ended; }));
  EXPECT_EQ(db_.only().received, "still here");
}

TEST_F(TcpProxyTest, PassesAResetOfTheClientOnAsAReset) {
  proxy_.publish();
  Party client(proxy_.connect());
  client.send("half a mess");
  ASSERT_TRUE(eventually([&] { return !db_.parties.empty() && !db_.only().received.empty(); }));
  client.stream->abort();
  client.stream.reset();
  EXPECT_TRUE(eventually([&] { return db_.only().broken; }));
  EXPECT_FALSE(db_.only().ended);
}

TEST_F(TcpProxyTest, PassesAResetOfTheUpstreamOnAsAReset) {
  proxy_.publish();
  Party client(proxy_.connect());
  client.send("x");
  ASSERT_TRUE(eventually([&] { return !db_.parties.empty() && !db_.only().received.empty(); }));
  db_.only().stream->abort();
  db_.only().stream.reset();
  EXPECT_TRUE(eventually([&] { return client.broken; }));
  EXPECT_FALSE(client.ended);
}

TEST_F(TcpProxyTest, TriesAnotherEndpointWhenOneDoesNotAnswer) {
  proxy_.endpoints = {*Address::ip("10.0.1.7", 5432), *Address::ip("10.0.1.8", 5432), db_.address};
  proxy_.publish();
  for (int i = 0; i < 3; ++i) {
    Party client(proxy_.connect());
    client.send("hello");
    EXPECT_TRUE(eventually([&] {
      return !db_.parties.empty() && db_.parties.back()->received == "hello" &&
             db_.parties.size() == static_cast<std::size_t>(i + 1);
    }));
  }
}

TEST_F(TcpProxyTest, GivesUpAfterSoManyEndpoints) {
  proxy_.endpoints = {*Address::ip("10.0.1.7", 5432), *Address::ip("10.0.1.8", 5432), db_.address};
  proxy_.chain.tcp->connect_attempts = 2;
  proxy_.publish();
  world_.fabric().kill("10.0.1.1");
  Party client(proxy_.connect());
  EXPECT_TRUE(eventually([&] { return client.ended || client.broken; }));
  EXPECT_TRUE(proxy_.counts("envoy_cluster_upstream_cx_connect_fail{envoy_cluster_name=\"db\"} 2"));
}

TEST_F(TcpProxyTest, GivesUpOnAnEndpointThatIsSilentForTheConnectTimeout) {
  proxy_.db.connect_timeout = 2s;
  proxy_.chain.tcp->connect_attempts = 1;
  proxy_.publish();
  world_.fabric().partition("10.0.0.1", "10.0.1.1");
  Party client(proxy_.connect());
  EXPECT_FALSE(eventually([&] { return client.ended || client.broken; }, 1900ms));
  EXPECT_TRUE(eventually([&] { return client.ended || client.broken; }, 200ms));
}

TEST_F(TcpProxyTest, ClosesWhatHasNowhereToGo) {
  proxy_.configured = false;
  proxy_.publish();
  Party client(proxy_.connect());
  EXPECT_TRUE(eventually([&] { return client.ended || client.broken; }));
  EXPECT_TRUE(proxy_.counts("envoy_tcp_downstream_cx_no_route{envoy_tcp_prefix=\"db\"} 1"));
  proxy_.configured = true;
  proxy_.endpoints.clear();
  proxy_.publish();
  Party other(proxy_.connect());
  EXPECT_TRUE(eventually([&] { return other.ended || other.broken; }));
}

TEST_F(TcpProxyTest, RefusesMoreThanTheClustersConnections) {
  proxy_.db.limits.connections = 1;
  proxy_.publish();
  Party first(proxy_.connect());
  ASSERT_TRUE(eventually([&] { return db_.parties.size() == 1; }));
  Party second(proxy_.connect());
  EXPECT_TRUE(eventually([&] { return second.ended || second.broken; }));
  EXPECT_FALSE(first.ended || first.broken);
  EXPECT_TRUE(proxy_.counts("envoy_cluster_upstream_cx_overflow{envoy_cluster_name=\"db\"} 1"));
}

TEST_F(TcpProxyTest, EndsAConnectionOnWhichNothingMoves) {
  proxy_.chain.tcp->idle_timeout = 10s;
  proxy_.publish();
  Party client(proxy_.connect());
  world_.run_for(6s);
  db_.only().send("still here");
  world_.run_for(9s);
  EXPECT_FALSE(client.ended || client.broken);
  EXPECT_TRUE(eventually([&] { return client.ended || client.broken; }, 2s));
  EXPECT_TRUE(eventually([&] { return db_.only().ended || db_.only().broken; }, 2s));
  EXPECT_TRUE(proxy_.counts("envoy_tcp_idle_timeout{envoy_tcp_prefix=\"db\"} 1"));
}

TEST_F(TcpProxyTest, EndsAConnectionThatLastsTooLong) {
  proxy_.chain.tcp->longest = 10s;
  proxy_.publish();
  Party client(proxy_.connect());
  for (int i = 0; i < 9; ++i) {
    client.send("x");
    world_.run_for(1s);
  }
  EXPECT_FALSE(client.ended || client.broken);
  EXPECT_TRUE(eventually([&] { return client.ended || client.broken; }, 2s));
  EXPECT_TRUE(
      proxy_.counts("envoy_tcp_max_downstream_connection_duration{envoy_tcp_prefix=\"db\"} 1"));
}

TEST_F(TcpProxyTest, StopsAClientThatIsFasterThanItsUpstream) {
  proxy_.chain.tcp->buffer = 16 * 1024;
  proxy_.publish();
  Party client(proxy_.connect());
  ASSERT_TRUE(eventually([&] { return db_.parties.size() == 1; }));
  db_.only().stream->pause_reading(true);
  const std::string much(1 << 20, 'x');
  client.send(much, /*then_finish=*/true);
  world_.run_for(10s);
  EXPECT_LE(client.sent, 2 * 64 * 1024u + 16 * 1024u);  // Two pipes and one buffer.
  EXPECT_FALSE(proxy_.counts(
      "envoy_tcp_downstream_flow_control_paused_reading_total{envoy_tcp_prefix=\"db\"} 0"));
  db_.only().stream->pause_reading(false);
  ASSERT_TRUE(eventually([&] { return db_.only().ended; }, 600s));
  EXPECT_EQ(db_.only().received.size(), much.size());
}

TEST_F(TcpProxyTest, StopsAnUpstreamThatIsFasterThanItsClient) {
  proxy_.publish();
  Party client(proxy_.connect());
  ASSERT_TRUE(eventually([&] { return db_.parties.size() == 1 && client.opened > 0; }));
  client.stream->pause_reading(true);
  const std::string much(1 << 20, 'x');
  db_.only().send(much, /*then_finish=*/true);
  world_.run_for(10s);
  EXPECT_LE(db_.only().sent, 2 * 64 * 1024u + 256 * 1024u);
  client.stream->pause_reading(false);
  ASSERT_TRUE(eventually([&] { return client.ended; }, 600s));
  EXPECT_EQ(client.received.size(), much.size());
}

TEST_F(TcpProxyTest, SplitsConnectionsByWeight) {
  proxy_.chain.tcp->targets = {{.cluster = "db", .weight = 3}, {.cluster = "none", .weight = 1}};
  proxy_.chain.tcp->total_weight = 4;
  proxy_.publish();
  constexpr int kClients = 400;
  std::list<Party> clients;
  for (int i = 0; i < kClients; ++i) clients.emplace_back(proxy_.connect());
  world_.run_for(5s);
  EXPECT_NEAR(static_cast<double>(db_.parties.size()), kClients * 0.75, 40);
}

TEST_F(TcpProxyTest, KeepsItsConnectionsWhenTheirEndpointIsRemoved) {
  Backend other(world_, "10.0.1.2");
  proxy_.publish();
  Party client(proxy_.connect());
  ASSERT_TRUE(eventually([&] { return db_.parties.size() == 1; }));
  proxy_.endpoints = {other.address};
  proxy_.publish();
  client.send("hello");
  EXPECT_TRUE(eventually([&] { return db_.only().received == "hello"; }));
  proxy_.configured = false;
  proxy_.publish();
  client.send(" again", /*then_finish=*/true);
  EXPECT_TRUE(eventually([&] { return db_.only().ended; }));
  EXPECT_EQ(db_.only().received, "hello again");
  db_.only().send("", /*then_finish=*/true);
  EXPECT_TRUE(eventually([&] { return client.ended; }));
}

TEST_F(TcpProxyTest, CutsItsConnectionsSomeTimeAfterTheirChainIsGone) {
  proxy_.publish();
  Party client(proxy_.connect());
  ASSERT_TRUE(eventually([&] { return db_.parties.size() == 1; }));
  FilterChain other = proxy_.chain;
  other.server_names = {"a.test"};
  proxy_.publish({other});
  const Duration patience = kDrainTime;
  EXPECT_FALSE(eventually([&] { return client.ended || client.broken; }, patience - 1s));
  EXPECT_TRUE(eventually([&] { return client.ended || client.broken; }, 2s));
}

using Judging = std::shared_ptr<const RbacConfig>;

Judging judge(RbacRules::Action action, RbacRule permission, RbacRule principal) {
  RbacConfig config;
  config.rules =
      RbacRules{action, {{.name = "p", .permissions = {permission}, .principals = {principal}}}};
  return std::make_shared<RbacConfig>(std::move(config));
}

Judging only_from(const std::string& ip) {
  RbacRule who;
  who.kind = RbacRule::Kind::kSourceIp;
  who.cidr = *CidrRange::create(ip, 32);
  return judge(RbacRules::Action::kAllow, {}, who);
}

TEST_F(TcpProxyTest, LetsInWhomThePolicyAllows) {
  proxy_.chain.tcp->rbac = only_from("10.0.9.1");
  proxy_.publish();
  Party stranger(proxy_.connect("10.0.9.2"));
  EXPECT_TRUE(eventually([&] { return stranger.ended || stranger.broken; }));
  EXPECT_TRUE(db_.parties.empty());
  Party friendly(proxy_.connect("10.0.9.1"));
  EXPECT_TRUE(eventually([&] { return db_.parties.size() == 1; }));
  EXPECT_TRUE(proxy_.counts("envoy_tcp_rbac_allowed{envoy_tcp_prefix=\"db\"} 1"));
  EXPECT_TRUE(proxy_.counts("envoy_tcp_rbac_denied{envoy_tcp_prefix=\"db\"} 1"));
}

TEST_F(TcpProxyTest, EndsConnectionsThatANewPolicyDoesNotAllow) {
  proxy_.publish();
  Party stranger(proxy_.connect("10.0.9.2"));
  Party friendly(proxy_.connect("10.0.9.1"));
  ASSERT_TRUE(eventually([&] { return db_.parties.size() == 2; }));
  proxy_.chain.tcp->rbac = only_from("10.0.9.1");
  proxy_.publish();
  EXPECT_TRUE(eventually([&] { return stranger.ended || stranger.broken; }));
  EXPECT_FALSE(friendly.ended || friendly.broken);
}

class SecureTcpProxyTest : public TcpProxyTest {
 protected:
  std::shared_ptr<const TlsContext> server(const std::string& name) {
    const Identity identity =
        *issue(ca_, {.uri_san = "spiffe://m.test/" + name, .dns_sans = {name}, .now = kNow});
    return *TlsContext::create(TlsContext::Side::kServer,
                               {.certificate_chain = identity.certificate,
                                .private_key = identity.private_key,
                                .trusted_ca = ca_.certificate(),
                                .request_client_certificate = true});
  }
  std::shared_ptr<const TlsContext> client(const std::string& server_name,
                                           const std::string& name = "") {
    TlsOptions options{.trusted_ca = ca_.certificate(), .server_name = server_name};
    if (!name.empty()) {
      const Identity identity = *issue(ca_, {.uri_san = "spiffe://m.test/" + name, .now = kNow});
      options.certificate_chain = identity.certificate;
      options.private_key = identity.private_key;
    }
    return *TlsContext::create(TlsContext::Side::kClient, options);
  }
  std::unique_ptr<Stream> secure_connect(const TlsContext& tls) {
    return tls.wrap(world_.loop(), proxy_.connect(), 5s);
  }

  const WallTime kNow{1767225600s};  // Where virtual time begins.
  CertificateAuthority ca_ = *CertificateAuthority::create("m.test", kNow, 24h);
};

TEST_F(SecureTcpProxyTest, EndsTlsOnOneSideAndBeginsItOnTheOther) {
  Backend secure(world_, "10.0.1.2", server("db"));
  secure.echo = true;
  proxy_.endpoints = {secure.address};
  proxy_.db.tls = client("db", "proxy");
  proxy_.chain.tls = server("front");
  proxy_.publish();
  Party caller(secure_connect(*client("front")));
  const std::string much(3 << 20, 'y');
  caller.send(much);
  ASSERT_TRUE(eventually([&] { return caller.received.size() == much.size(); }, 60s));
  caller.send("", /*then_finish=*/true);
  ASSERT_TRUE(eventually([&] { return secure.only().ended; }));
  secure.only().send(much, /*then_finish=*/true);
  EXPECT_TRUE(eventually([&] { return caller.ended; }, 60s));
  EXPECT_EQ(caller.received.size(), 2 * much.size());
  EXPECT_FALSE(caller.broken || secure.only().broken);
}

// Records that a socket does not take at once must not be lost when both sides have ended.
TEST_F(SecureTcpProxyTest, DeliversTheLastBytesToASlowReader) {
  proxy_.chain.tls = server("front");
  proxy_.publish();
  Party caller(secure_connect(*client("front")));
  ASSERT_TRUE(eventually([&] { return db_.parties.size() == 1; }));
  caller.send("", /*then_finish=*/true);
  ASSERT_TRUE(eventually([&] { return db_.only().ended; }));
  caller.stream->pause_reading(true);
  const std::string much(75 * 1024, 'z');
  db_.only().send(much, /*then_finish=*/true);
  world_.run_for(10s);
  ASSERT_EQ(db_.only().sent, much.size());
  caller.stream->pause_reading(false);
  ASSERT_TRUE(eventually([&] { return caller.ended || caller.broken; }, 60s));
  EXPECT_TRUE(caller.ended);
  EXPECT_EQ(caller.received.size(), much.size());
}

TEST_F(SecureTcpProxyTest, JudgesWhoTheCertificateNames) {
  RbacRule who;
  who.kind = RbacRule::Kind::kAuthenticated;
  who.text = *TextMatcher::create(TextMatcher::Kind::kExact, "spiffe://m.test/friend");
  proxy_.chain.tcp->rbac = judge(RbacRules::Action::kAllow, {}, who);
  proxy_.chain.tls = server("front");
  proxy_.publish();
  for (const std::string name : {"", "stranger"}) {
    Party refused(secure_connect(*client("front", name)));
    EXPECT_TRUE(eventually([&] { return refused.ended || refused.broken; })) << name;
  }
  EXPECT_TRUE(db_.parties.empty());
  Party friendly(secure_connect(*client("front", "friend")));
  friendly.send("hello");
  EXPECT_TRUE(eventually([&] { return !db_.parties.empty() && db_.only().received == "hello"; }));
}

TEST_F(SecureTcpProxyTest, PassesTlsThroughByTheNameThatTheClientSends) {
  Backend secure(world_, "10.0.1.2", server("a.test"));
  proxy_.endpoints = {secure.address};
  proxy_.chain.server_names = {"a.test"};
  proxy_.publish();
  Party caller(secure_connect(*client("a.test")));
  caller.send("through");
  ASSERT_TRUE(
      eventually([&] { return !secure.parties.empty() && !secure.only().received.empty(); }));
  EXPECT_EQ(secure.only().received, "through");
  Party other(secure_connect(*client("b.test")));
  EXPECT_TRUE(eventually([&] { return other.broken; }));
  Party clear(proxy_.connect());
  clear.send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return clear.ended || clear.broken; }));
  EXPECT_EQ(secure.parties.size(), 1u);
}

// A policy can only ask for a name where TLS passes through if somebody looked at it.
TEST_F(SecureTcpProxyTest, JudgesTheNameThatPassesThrough) {
  Backend secure(world_, "10.0.1.2", server("a.test"));
  proxy_.endpoints = {secure.address};
  RbacRule name;
  name.kind = RbacRule::Kind::kServerName;
  name.text = *TextMatcher::create(TextMatcher::Kind::kExact, "b.test");
  proxy_.chain.tcp->rbac = judge(RbacRules::Action::kDeny, name, {});
  proxy_.publish();
  Party refused(secure_connect(*client("b.test")));
  EXPECT_TRUE(eventually([&] { return refused.broken; }));
  EXPECT_TRUE(secure.parties.empty());
  Party caller(secure_connect(*client("a.test")));
  caller.send("through");
  EXPECT_TRUE(
      eventually([&] { return !secure.parties.empty() && secure.only().received == "through"; }));
}

TEST_F(TcpProxyTest, TellsTheUpstreamWhoseConnectionItIs) {
  for (const ProxyVersion version : {ProxyVersion::kV1, ProxyVersion::kV2}) {
    proxy_.db.proxy_protocol = version;
    proxy_.publish();
    Party client(proxy_.connect("10.0.9.1"));
    client.send("hello", /*then_finish=*/true);
    ASSERT_TRUE(eventually([&] { return !db_.parties.empty() && db_.parties.back()->ended; }));
    const std::string received = db_.parties.back()->received;
    const ProxyHeader header = read_proxy_header(received);
    ASSERT_EQ(header.state, ProxyHeader::State::kComplete);
    EXPECT_EQ(header.source->ip_text(), "10.0.9.1");
    EXPECT_EQ(header.destination->text(), kAt.text());
    EXPECT_EQ(received.substr(header.size), "hello");
  }
}

TEST_F(SecureTcpProxyTest, TellsTheUpstreamWhoseConnectionItIsBeforeTls) {
  proxy_.db.proxy_protocol = ProxyVersion::kV1;
  proxy_.db.tls = client("db");
  proxy_.publish();
  Party client(proxy_.connect("10.0.9.1"));
  ASSERT_TRUE(eventually([&] { return !db_.parties.empty() && db_.only().received.size() > 150; }));
  const ProxyHeader header = read_proxy_header(db_.only().received);
  ASSERT_EQ(header.state, ProxyHeader::State::kComplete);
  EXPECT_EQ(db_.only().received[header.size], 0x16);  // A record of a handshake.
}

// A pooled connection would say of one client's request that it is another's.
TEST_F(TcpProxyTest, TellsTheUpstreamWhoseRequestItIs) {
  Route route;
  route.name = "all";
  route.match.path.text = *TextMatcher::create(TextMatcher::Kind::kPrefix, "/");
  route.forward = ForwardAction{};
  route.forward->clusters.push_back({.cluster = "db"});
  route.forward->total_weight = 1;
  std::vector<VirtualHost> hosts;
  hosts.push_back({.name = "any", .domains = {"*"}, .routes = {route}});
  proxy_.chain.tcp.reset();
  proxy_.chain.http.stat_prefix = "in";
  proxy_.chain.http.routes = std::make_shared<RouteTable>("all", "", std::move(hosts));
  proxy_.db.proxy_protocol = ProxyVersion::kV1;
  proxy_.publish();
  Party one(proxy_.connect("10.0.9.1")), two(proxy_.connect("10.0.9.2"));
  std::size_t asked = 0;
  for (const auto& [client, ip] :
       {std::pair(&one, "10.0.9.1"), std::pair(&two, "10.0.9.2"), std::pair(&one, "10.0.9.1")}) {
    client->received.clear();
    client->send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    ++asked;
    ASSERT_TRUE(eventually([&] {
      return db_.parties.size() == asked &&
             db_.parties.back()->received.find("\r\n\r\n") != std::string::npos;
    }));
    const std::string& received = db_.parties.back()->received;
    const ProxyHeader header = read_proxy_header(received);
    ASSERT_EQ(header.state, ProxyHeader::State::kComplete);
    EXPECT_EQ(header.source->ip_text(), ip);
    EXPECT_EQ(received.substr(header.size, 15), "GET / HTTP/1.1\r");
    db_.parties.back()->send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    ASSERT_TRUE(eventually([&] { return client->received.ends_with("\r\n\r\nok"); }));
    EXPECT_TRUE(
        eventually([&] { return db_.parties.back()->ended || db_.parties.back()->broken; }));
  }
  EXPECT_TRUE(proxy_.counts("envoy_cluster_upstream_cx_active{envoy_cluster_name=\"db\"} 0"));
  world_.fabric().kill("10.0.1.1");
  one.received.clear();
  one.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return one.received.starts_with("HTTP/1.1 503"); }));
}

// Short reads and writes, refused and broken connections: no byte is lost, changed or made up.
TEST(TcpProxyStress, CarriesWhatItWasGiven) {
  SimFaults faults;
  faults.reset = 0.2;
  faults.refuse = 0.05;
  faults.pipe_capacity = 3000;
  for_each_seed(
      60,
      [](SimWorld& world) {
        Proxied proxy(world);
        Backend db(world, "10.0.1.1");
        db.echo = true;
        proxy.endpoints = {db.address};
        proxy.chain.tcp->buffer = static_cast<uint32_t>(1024 + world.random().below(8192));
        proxy.publish();
        std::list<Party> clients;
        std::vector<std::string> sent;
        for (int i = 0; i < 10; ++i) {
          clients.emplace_back(proxy.connect());
          std::string text;
          const std::size_t size = world.random().below(20'000);
          while (text.size() < size) text += static_cast<char>('a' + world.random().below(26));
          sent.push_back(text);
          clients.back().send(std::move(text));
        }
        const auto settled = [&](const Party& client, const std::string& text) {
          return client.broken || client.ended || client.received.size() == text.size();
        };
        ASSERT_TRUE(world.run_until(
            [&] {
              auto text = sent.begin();
              return std::ranges::all_of(clients,
                                         [&](const Party& one) { return settled(one, *text++); });
            },
            300s));
        auto text = sent.begin();
        for (Party& client : clients) {
          EXPECT_EQ(client.received, text->substr(0, client.received.size()));
          ++text;
        }
        clients.clear();
        for (const auto& party : db.parties) party->send("", /*then_finish=*/true);
        EXPECT_TRUE(world.run_until([&] { return proxy.worker().connections() == 0; }, 4000s));
      },
      faults);
}

}  // namespace
}  // namespace glia
