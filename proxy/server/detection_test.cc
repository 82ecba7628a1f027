// What a listener finds out from a connection's first bytes, however they come: each chain here answers
// with its own name.
#include <gtest/gtest.h>

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/http/codecs.h"
#include "proxy/net/x509.h"
#include "proxy/server/inspection.h"
#include "proxy/server/sniff.h"
#include "proxy/server/worker.h"
#include "test/sim/party.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

using namespace std::literals;
using Kind = Sniffed::Kind;

const Address kAt = *Address::ip("10.0.0.1", 443);
const Address kBackend = *Address::ip("10.0.1.1", 9000);

// A ClientHello as a client of ours sends it.
std::string client_hello(const std::string& name, std::vector<std::string> alpn = {}) {
  struct Listening final : AcceptHandler {
    void on_accept(std::unique_ptr<Stream> stream) override {
      party = std::make_unique<Party>(std::move(stream));
    }
    std::unique_ptr<Party> party;
  };
  SimWorld world(7);
  Listening listening;
  const auto acceptor = *world.host("10.0.0.1").listen(kAt, {}, listening);
  const auto tls = *TlsContext::create(TlsContext::Side::kClient,
                                       {.alpn = std::move(alpn), .server_name = name});
  Party client(tls->wrap(world.loop(), world.host("10.0.0.2").connect(kAt), 1s));
  world.run_for(500ms);
  return listening.party->received;
}

struct Row {
  std::string bytes;
  Kind kind;
  std::size_t decided_at;  // bytes; not before, not later.
};

TEST(Sniff, DecidesAtTheFirstByteThatLeavesNoDoubt) {
  const std::string hello = client_hello("a.test");
  const Row rows[] = {
      {"GET / HTTP/1.1\r\n", Kind::kHttp1, 4},
      {"POST /x HTTP/1.1\r\n", Kind::kHttp1, 5},
      {"PROPFIND / HTTP/1.1\r\n", Kind::kHttp1, 9},
      {std::string(kHttp2Preface), Kind::kHttp2, kHttp2Preface.size()},
      {"PRI * HTTP/1.1\r\n", Kind::kOther, 12},
      {"PRIX", Kind::kOther, 4},
      {"GETX / HTTP/1.1\r\n", Kind::kOther, 4},
      {"get / http/1.1\r\n", Kind::kOther, 1},
      {"EHLO a.test\r\n", Kind::kOther, 1},
      {"USER a\r\n", Kind::kOther, 2},
      {"\x03\x00\x00\x2c"s, Kind::kOther, 1},
      {"\0\0\0\x08"s, Kind::kOther, 1},
      {"SSH-2.0-x\r\n", Kind::kOther, 2},
      {hello, Kind::kTls, hello.size()},
      {"\x16\x02\x01\x00\x05hello"s, Kind::kOther, 5},
      {"\x16\x03\x01\x00\x05\x02\x00\x00\x01x"s, Kind::kOther, 9},
  };
  for (const Row& row : rows) {
    for (std::size_t i = 0; i <= row.bytes.size(); ++i) {
      const Kind expected = i < row.decided_at ? Kind::kNeedMore : row.kind;
      EXPECT_EQ(sniff(row.bytes.substr(0, i), true, true).kind, expected)
          << row.bytes << " after " << i;
    }
  }
}

TEST(Sniff, LooksOnlyForWhatItIsAskedFor) {
  EXPECT_EQ(sniff("", false, false).kind, Kind::kOther);
  EXPECT_EQ(sniff("GET / HTTP/1.1\r\n", true, false).kind, Kind::kOther);
  EXPECT_EQ(sniff("\x16\x03\x01", false, true).kind, Kind::kOther);
  EXPECT_EQ(sniff("G", true, false).kind, Kind::kOther);
}

// Says "raw", and then what it was sent.
struct Backend final : AcceptHandler {
  void on_accept(std::unique_ptr<Stream> stream) override {
    parties.push_back(std::make_unique<Party>(std::move(stream)));
    parties.back()->send("raw\r\n");
  }
  std::list<std::unique_ptr<Party>> parties;
};

class Detection : public testing::Test {
 protected:
  Detection() : worker_(0, world_.loop(), world_.host("10.0.0.1"), 1) {
    acceptor_ = *world_.host("10.0.1.1").listen(kBackend, {}, backend_);
    listener_.name = "front";
    listener_.address = kAt;
    listener_.http_inspector = true;
    listener_.inspection_timeout = 100ms;
    listener_.continue_on_timeout = true;
    FilterChain secure = http("secure");
    secure.transport = "tls";
    const Identity identity =
        *issue(ca_, {.uri_san = "spiffe://m.test/x", .dns_sans = {"a.test"}, .now = kNow});
    secure.tls = *TlsContext::create(
        TlsContext::Side::kServer,
        {.certificate_chain = identity.certificate, .private_key = identity.private_key});
    FilterChain plain = http("plain");
    plain.transport = "raw_buffer";
    plain.application_protocols = {"http/1.1", "h2c"};
    FilterChain raw;
    raw.name = "raw";
    raw.transport = "raw_buffer";  // Else the chain before it is the more specific one for all.
    raw.tcp.emplace();
    raw.tcp->stat_prefix = "raw";
    raw.tcp->targets = {{.cluster = "db"}};
    listener_.chains = {secure, plain, raw};
    publish();
  }
  static FilterChain http(const std::string& name) {
    Route route;
    route.name = name;
    route.direct = DirectAction{.status = 200, .body = name};
    std::vector<VirtualHost> hosts;
    hosts.push_back({.name = "any", .domains = {"*"}});
    hosts.back().routes.push_back(std::move(route));
    FilterChain made;
    made.name = made.http.stat_prefix = name;
    made.http.routes = std::make_shared<RouteTable>(name, "", std::move(hosts));
    return made;
  }
  void publish() {
    auto set = std::make_shared<EndpointSet>();
    set->endpoints.push_back({.address = kBackend});
    auto cluster = std::make_shared<ClusterConfig>();
    cluster->name = cluster->stat_name = "db";
    cluster->endpoints = std::move(set);
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->listeners.emplace("front", std::make_shared<ListenerConfig>(listener_));
    snapshot->clusters.emplace("db", std::move(cluster));
    EXPECT_TRUE(worker_.apply(snapshot, {{"front", kAt}}).empty());
  }
  std::unique_ptr<Stream> connect() { return world_.host("10.0.0.2").connect(kAt); }
  bool eventually(const std::function<bool()>& done, Duration limit = 5s) {
    return world_.run_until(done, limit);
  }
  // Sends `bytes`, a byte each millisecond if `slowly`; the connection's chain by what it answers.
  std::string chain_of(const std::string& bytes, bool slowly) {
    Party client(connect());
    if (!slowly) client.send(bytes);
    for (const char byte : bytes) {
      if (!slowly) break;
      client.send(std::string(1, byte));
      world_.run_for(1ms);
    }
    const auto answered = [&](std::string_view text) {
      return client.received.find(text) != std::string::npos;
    };
    eventually(
        [&] { return client.ended || client.broken || answered("raw\r\n") || answered("plain"); });
    if (answered("raw\r\n")) {
      Party& backend = *backend_.parties.back();
      EXPECT_TRUE(eventually([&] { return backend.received == bytes; }));
    }
    return answered("raw\r\n") ? "raw" : answered("plain") ? "plain" : "none";
  }
  std::string metrics() const {
    MetricsPage page;
    worker_.collect(page);
    return page.prometheus();
  }

  const WallTime kNow{1767225600s};  // Where virtual time begins.
  SimWorld world_{1};
  CertificateAuthority ca_ = *CertificateAuthority::create("m.test", kNow, 24h);
  Worker worker_;
  Backend backend_;
  std::unique_ptr<Acceptor> acceptor_;
  ListenerConfig listener_;
};

TEST_F(Detection, FindsTheChainWhetherTheBytesComeAtOnceOrOneByOne) {
  const std::string settings = "\0\0\0\x04\0\0\0\0\0"s;
  for (const bool slowly : {false, true}) {
    EXPECT_EQ(chain_of("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", slowly), "plain");
    EXPECT_EQ(chain_of("EHLO a.test\r\n", slowly), "raw");
    EXPECT_EQ(chain_of("GETX / HTTP/1.1\r\n", slowly), "raw");
    EXPECT_EQ(chain_of("\x03\x00\x00\x2c\x27"s, slowly), "raw");
    EXPECT_EQ(chain_of("\x16\x03\x01\x00\x05\x02\x00\x00\x01x"s, slowly), "raw");
    Party h2(connect());
    const std::string opening = std::string(kHttp2Preface) + settings;
    for (std::size_t i = 0; i < opening.size(); i += slowly ? 1 : opening.size()) {
      h2.send(opening.substr(i, slowly ? 1 : opening.npos));
      world_.run_for(1ms);
    }
    // The server's SETTINGS, and its ACK of ours.
    EXPECT_TRUE(eventually([&] { return h2.received.size() > 9 && h2.received[3] == 4; }))
        << slowly;
  }
}

TEST_F(Detection, EndsTlsForWhoeverBeginsIt) {
  const auto tls = *TlsContext::create(TlsContext::Side::kClient,
                                       {.trusted_ca = ca_.certificate(), .server_name = "a.test"});
  Party client(tls->wrap(world_.loop(), connect(), 5s));
  client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return client.received.find("secure") != std::string::npos; }));
}

TEST_F(Detection, WaitsForASilentClientOnlySoLong) {
  Party silent(connect());
  EXPECT_FALSE(eventually([&] { return !silent.received.empty(); }, 99ms));
  EXPECT_TRUE(eventually([&] { return silent.received == "raw\r\n"; }, 20ms));
}

TEST_F(Detection, WaitsForTheRestOfAWordOnlySoLong) {
  for (const std::string& begun :
       {"G"s, "PRI * HTT"s, "\x16"s, client_hello("a.test").substr(0, 90)}) {
    Party client(connect());
    client.send(begun);
    EXPECT_FALSE(eventually([&] { return !client.received.empty(); }, 99ms));
    EXPECT_TRUE(eventually([&] { return client.received == "raw\r\n"; }, 20ms));
    EXPECT_TRUE(eventually([&] { return backend_.parties.back()->received == begun; }));
  }
}

TEST_F(Detection, DoesNotWaitForMoreWhenTheClientHasEnded) {
  Party client(connect());
  client.send("GE", /*then_finish=*/true);
  EXPECT_TRUE(eventually([&] { return client.received == "raw\r\n"; }, 50ms));
  EXPECT_TRUE(eventually([&] { return backend_.parties.back()->ended; }));
  EXPECT_EQ(backend_.parties.back()->received, "GE");
}

TEST_F(Detection, ClosesASilentClientUnlessItIsToldToGoOn) {
  listener_.continue_on_timeout = false;
  publish();
  Party silent(connect());
  EXPECT_FALSE(eventually([&] { return silent.ended || silent.broken; }, 99ms));
  EXPECT_TRUE(eventually([&] { return silent.ended || silent.broken; }, 20ms));
  EXPECT_NE(metrics().find("envoy_listener_downstream_pre_cx_timeout{envoy_listener_address="
                           "\"10.0.0.1_443\"} 1\n"),
            std::string::npos);
}

TEST_F(Detection, NeverFallsThroughToClearText) {
  listener_.chains.pop_back();  // No raw chain.
  listener_.chains.erase(listener_.chains.begin() + 1);
  publish();
  EXPECT_EQ(chain_of("GET / HTTP/1.1\r\nhost: a\r\n\r\n", false), "none");
  EXPECT_EQ(chain_of("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + client_hello("a.test"), false), "none");
  EXPECT_EQ(chain_of("\x16\x03\x01garbage garbage garbage"s, false), "none");
  EXPECT_TRUE(backend_.parties.empty());
  EXPECT_NE(metrics().find("envoy_listener_no_filter_chain_match{envoy_listener_address="
                           "\"10.0.0.1_443\"} 3\n"),
            std::string::npos);
}

// A PROXY header in front of everything, believed only where it is asked for.
class ProxyHeaders : public Detection {
 protected:
  ProxyHeaders() {
    listener_.proxy_protocol = true;
    RbacRule who;
    who.kind = RbacRule::Kind::kSourceIp;
    who.cidr = *CidrRange::create("203.0.113.7", 32);
    auto rbac = std::make_shared<RbacConfig>();
    rbac->rules =
        RbacRules{.policies = {{.name = "client", .permissions = {{}}, .principals = {who}}}};
    listener_.chains[2].tcp->rbac = rbac;
    publish();
  }
};

const std::string kLine = "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n";

TEST_F(ProxyHeaders, NameTheClientThatPoliciesSee) {
  for (const bool slowly : {false, true}) {
    Party client(connect());
    const std::string bytes = kLine + "EHLO a.test\r\n";
    for (std::size_t i = 0; i < bytes.size(); i += slowly ? 1 : bytes.size()) {
      client.send(bytes.substr(i, slowly ? 1 : bytes.npos));
      world_.run_for(1ms);
    }
    EXPECT_TRUE(eventually([&] { return client.received == "raw\r\n"; }));
    EXPECT_TRUE(eventually([&] { return backend_.parties.back()->received == "EHLO a.test\r\n"; }));
    Party other(connect());
    other.send("PROXY TCP4 203.0.113.8 10.0.0.1 4711 443\r\nEHLO a.test\r\n");
    EXPECT_TRUE(eventually([&] { return other.ended || other.broken; }));
    Party own(connect());
    own.send("PROXY UNKNOWN\r\nEHLO a.test\r\n");
    EXPECT_TRUE(eventually([&] { return own.ended || own.broken; }));
  }
}

TEST_F(ProxyHeaders, StandBeforeTlsAndHttp) {
  Party plain(connect());
  plain.send(kLine + "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return plain.received.find("plain") != std::string::npos; }));
  const std::string binary =
      "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x0a\0\0\x01\x12\x67\x01\xbb"s;
  Party raw(connect());
  raw.send(binary + client_hello("a.test"));
  // A ServerHello: a record of a handshake.
  EXPECT_TRUE(eventually([&] { return !raw.received.empty() && raw.received[0] == 0x16; }));
}

TEST_F(ProxyHeaders, AreRequired) {
  for (const std::string& bytes :
       {"GET / HTTP/1.1\r\nhost: a\r\n\r\n"s, client_hello("a.test"), "PROXY TCP4 a b c d\r\n"s,
        "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\nEHLO\r\n"s}) {
    Party client(connect());
    client.send(bytes);
    EXPECT_TRUE(eventually([&] { return client.ended || client.broken; }, 50ms)) << bytes;
    EXPECT_EQ(client.received, "");
  }
  EXPECT_TRUE(backend_.parties.empty());
  EXPECT_NE(metrics().find("envoy_listener_downstream_cx_proxy_proto_error{envoy_listener_address="
                           "\"10.0.0.1_443\"} 4\n"),
            std::string::npos);
}

// However long it is waited for the rest: without a header nobody knows whose connection it is.
TEST_F(ProxyHeaders, AreNotGivenUpOnWhenTimeRunsOut) {
  for (const std::string& begun : {""s, "PROXY TCP4 203.0.113.7"s}) {
    Party client(connect());
    client.send(begun);
    EXPECT_TRUE(eventually([&] { return client.ended || client.broken; }, 150ms));
    EXPECT_EQ(client.received, "");
  }
}

TEST_F(ProxyHeaders, LetAServerSpeakFirst) {
  Party client(connect());
  client.send(kLine);
  EXPECT_TRUE(eventually([&] { return client.received == "raw\r\n"; }, 150ms));
}

// A listener that only inspects, in front of a server that may speak first.
class Between final : public AcceptHandler {
 public:
  Between(SimWorld& world, const Address& server) : world_(world), server_(server) {}
  void on_accept(std::unique_ptr<Stream> stream) override {
    inspection = std::make_unique<Inspection>(
        world_.loop(),
        Inspection::Plan{
            .proxy_header = false, .tls = true, .http = true, .patience = 5s, .go_on = true},
        std::move(stream),
        [this](Inspection&, Inspection::Finding finding) {
          found.emplace(std::move(finding));
          if (found->upstream != nullptr) upstream.emplace(std::move(found->upstream));
        },
        [this] {
          ++dialled;
          return world_.host("10.0.0.1").connect(server_);
        });
  }
  std::unique_ptr<Inspection> inspection;
  std::optional<Inspection::Finding> found;
  std::optional<Party> upstream;
  int dialled = 0;

 private:
  SimWorld& world_;
  const Address server_;
};

struct GreetingServer final : AcceptHandler {
  void on_accept(std::unique_ptr<Stream> stream) override {
    party = std::make_unique<Party>(std::move(stream));
    party->send("220 welcome\r\n");
  }
  std::unique_ptr<Party> party;
};

struct FirstWords : testing::Test {
  SimWorld world{3};
  GreetingServer server;
  Between between{world, kBackend};
  std::unique_ptr<Acceptor> behind = *world.host("10.0.1.1").listen(kBackend, {}, server);
  std::unique_ptr<Acceptor> front = *world.host("10.0.0.1").listen(kAt, {}, between);
};

TEST_F(FirstWords, OfAServerEndTheWaitForThoseOfItsClient) {
  Party client(world.host("10.0.0.2").connect(kAt));
  const TimePoint start = world.loop().now();
  ASSERT_TRUE(world.run_until([&] { return between.found.has_value(); }, 10s));
  EXPECT_LT(world.loop().now() - start, 500ms);
  EXPECT_EQ(between.found->sniffed.kind, Kind::kOther);
  ASSERT_TRUE(between.upstream.has_value());
  between.upstream->stream->pause_reading(false);
  EXPECT_TRUE(world.run_until([&] { return between.upstream->received == "220 welcome\r\n"; }, 1s));
}

TEST_F(FirstWords, OfAClientAreAllThatIsNeeded) {
  Party client(world.host("10.0.0.2").connect(kAt));
  client.send("GET / HTTP/1.1\r\n");
  ASSERT_TRUE(world.run_until([&] { return between.found.has_value(); }, 10s));
  EXPECT_EQ(between.found->sniffed.kind, Kind::kHttp1);
  EXPECT_FALSE(between.upstream.has_value());
}

TEST_F(FirstWords, OfAServerThatIsNotThereAreNotWaitedFor) {
  behind.reset();  // Connections are refused: there is no server to wait for.
  Party client(world.host("10.0.0.2").connect(kAt));
  const TimePoint start = world.loop().now();
  ASSERT_TRUE(world.run_until([&] { return between.found.has_value(); }, 10s));
  EXPECT_LT(world.loop().now() - start, 500ms);
  EXPECT_EQ(between.found->outcome, Inspection::Finding::Outcome::kFound);
  EXPECT_FALSE(between.upstream.has_value());
}

}  // namespace
}  // namespace glia
