#include "proxy/server/listener_host.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "proxy/net/x509.h"
#include "proxy/server/worker.h"
#include "test/sim/party.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

const Address kAt = *Address::ip("10.0.0.1", 443);

std::shared_ptr<const RouteTable> answers(const std::string& text) {
  Route route;
  route.name = text;
  route.direct = DirectAction{.status = 200, .body = text};
  std::vector<VirtualHost> hosts;
  hosts.push_back({.name = "any", .domains = {"*"}});
  hosts.back().routes.push_back(std::move(route));
  return std::make_shared<RouteTable>(text, "", std::move(hosts));
}

FilterChain chain(const std::string& name) {
  FilterChain made;
  made.name = name;
  made.http.stat_prefix = name;
  made.http.routes = answers(name);
  return made;
}

// A listener that takes TLS for two names, each with its certificate, and clear text.
class Chains : public testing::Test {
 protected:
  Chains() : worker_(0, world_.loop(), world_.host("10.0.0.1"), 1) { publish({a_, b_, clear_}); }

  void publish(std::vector<FilterChain> chains) {
    auto listener = std::make_shared<ListenerConfig>();
    listener->name = "front";
    listener->address = kAt;
    listener->chains = std::move(chains);
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->listeners.emplace("front", listener);
    EXPECT_TRUE(worker_.apply(snapshot, {{"front", kAt}}).empty());
  }

  static FilterChain clear() {
    FilterChain made = chain("clear");
    made.transport = "raw_buffer";
    return made;
  }
  FilterChain secure(const std::string& name) {
    const Identity identity = *issue(
        ca_, {.uri_san = "spiffe://m.test/x", .dns_sans = {name}, .now = kNow, .lifetime = 1h});
    FilterChain made = chain(name);
    made.server_names = {name};
    made.tls =
        *TlsContext::create(TlsContext::Side::kServer, {.certificate_chain = identity.certificate,
                                                        .private_key = identity.private_key,
                                                        .alpn = {"http/1.1"}});
    return made;
  }

  // What a client gets for a request, or "" if the connection ended.
  std::string ask(std::unique_ptr<Stream> stream) {
    Party client(std::move(stream));
    client.send("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    world_.run_until([&] { return client.ended || client.broken; }, 30s);
    const std::size_t head = client.received.find("\r\n\r\n");
    return head == std::string::npos ? "" : client.received.substr(head + 4);
  }
  // The same on a connection that is kept.
  std::string ask_again(Party& client) {
    client.received.clear();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    world_.run_for(1s);
    const std::size_t head = client.received.find("\r\n\r\n");
    return head == std::string::npos ? "" : client.received.substr(head + 4);
  }
  std::unique_ptr<Stream> connect() { return world_.host("10.0.0.2").connect(kAt); }
  std::unique_ptr<Stream> connect_tls(const std::string& name) {
    const auto context = *TlsContext::create(
        TlsContext::Side::kClient, {.trusted_ca = ca_.certificate(),
                                    .peer_sans = {{.type = SanMatch::Type::kDns, .value = name}},
                                    .server_name = name});
    return context->wrap(world_.loop(), connect(), 10s);
  }

  const WallTime kNow{1767225600s};  // Where virtual time begins.
  SimWorld world_{1};
  CertificateAuthority ca_ = *CertificateAuthority::create("m.test", kNow, 24h);
  Worker worker_;
  const FilterChain a_ = secure("a.test"), b_ = secure("b.test"), clear_ = clear();
};

TEST_F(Chains, AreChosenByTheNameThatTheClientSends) {
  EXPECT_EQ(ask(connect_tls("a.test")), "a.test");
  EXPECT_EQ(ask(connect_tls("b.test")), "b.test");
}

TEST_F(Chains, TakeClearTextBesideTls) { EXPECT_EQ(ask(connect()), "clear"); }

TEST_F(Chains, CloseAConnectionThatNoneTakes) { EXPECT_EQ(ask(connect_tls("c.test")), ""); }

TEST_F(Chains, LetGoOfAClientThatSaysNothing) {
  Party silent(connect());
  const Duration patience = ListenerConfig().inspection_timeout;
  EXPECT_FALSE(world_.run_until([&] { return silent.ended || silent.broken; }, patience - 1s));
  EXPECT_TRUE(world_.run_until([&] { return silent.ended || silent.broken; }, 2s));
}

TEST_F(Chains, KeepTheirConnectionsWhenTheirPlaceInTheListChanges) {
  Party client(connect_tls("b.test"));
  EXPECT_EQ(ask_again(client), "b.test");
  publish({b_, clear_});
  EXPECT_EQ(ask_again(client), "b.test");
  publish({clear_, a_, b_});
  EXPECT_EQ(ask_again(client), "b.test");
}

TEST_F(Chains, EndTheirConnectionsWhenTheyAreRemoved) {
  Party client(connect());
  Party other(connect_tls("a.test"));
  EXPECT_EQ(ask_again(client), "clear");
  EXPECT_EQ(ask_again(other), "a.test");
  publish({a_, b_});
  EXPECT_TRUE(world_.run_until([&] { return client.ended; }, 5s));
  EXPECT_EQ(ask_again(other), "a.test");
}

// TLS was asked for where there was none: who came in before must not stay.
TEST_F(Chains, EndTheirConnectionsWhenTheyBecomeSecure) {
  FilterChain any = chain("any");
  publish({any});
  Party client(connect());
  EXPECT_EQ(ask_again(client), "any");
  any.tls = a_.tls;
  publish({any});
  EXPECT_TRUE(world_.run_until([&] { return client.ended; }, 5s));
}

// A client may hold its connection for open and have sent a request that has not arrived yet.
TEST_F(Chains, AnswerARequestThatWasOnItsWayWhenADrainBegan) {
  Party client(connect());
  world_.run_for(1s);
  worker_.drain(30s);
  client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  EXPECT_TRUE(world_.run_until([&] { return client.ended; }, 5s));
  EXPECT_TRUE(client.received.ends_with("\r\n\r\nclear")) << client.received;
}

TEST_F(Chains, EndAConnectionThatStaysSilentInADrain) {
  publish({chain("any")});
  Party client(connect());
  world_.run_for(1s);
  worker_.drain(30s);
  EXPECT_TRUE(world_.run_until([&] { return worker_.drained(); }, 3s));
}

struct OneOfManyChains : Chains {
  void TestBody() override {}
  // Begins to drain so long after a TLS client began to connect. Was it open, and answered?
  std::pair<bool, bool> drain_after(Duration delay) {
    Party client(connect_tls("a.test"));
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    world_.run_for(delay);
    worker_.drain(30s);
    world_.run_until([&] { return client.ended || client.broken; }, 10s);
    return {client.opened > 0, client.received.ends_with("\r\n\r\na.test")};
  }
};

TEST(ChainsInADrain, NeverOpenAConnectionAndThenLeaveItsRequestUnanswered) {
  int opened = 0;
  for (Duration delay = 0us; delay < 3ms; delay += 50us) {
    const auto [open, answered] = OneOfManyChains().drain_after(delay);
    EXPECT_EQ(open, answered) << delay / 1us << " us";
    opened += open;
  }
  EXPECT_GT(opened, 0);
}

// The connection gives up waiting for its peer in the turn in which the drain does.
TEST_F(Chains, AreCutAtTheEndOfADrainThoughAClientDoesNotAnswer) {
  Party client(connect());
  EXPECT_EQ(ask_again(client), "clear");
  world_.fabric().partition("10.0.0.1", "10.0.0.2");
  worker_.drain(2s, false);
  world_.run_for(10s);
  EXPECT_TRUE(worker_.drained());
}

// One chain that asks its callers for certificates.
class Callers : public Chains {
 protected:
  void trust(const std::string& authorities, std::vector<SanMatch> names = {}) {
    const Identity identity =
        *issue(ca_, {.uri_san = "spiffe://m.test/x", .now = kNow, .lifetime = 24h});
    FilterChain made = chain("mutual");
    made.tls =
        *TlsContext::create(TlsContext::Side::kServer, {.certificate_chain = identity.certificate,
                                                        .private_key = identity.private_key,
                                                        .trusted_ca = authorities,
                                                        .request_client_certificate = true,
                                                        .require_client_certificate = true,
                                                        .peer_sans = std::move(names),
                                                        .alpn = {"http/1.1"}});
    publish({made});
  }
  std::unique_ptr<Party> call(const CertificateAuthority& authority, const std::string& id,
                              Duration lifetime = 24h) {
    const Identity identity = *issue(authority, {.uri_san = id, .now = kNow, .lifetime = lifetime});
    const auto context = *TlsContext::create(
        TlsContext::Side::kClient,
        {.certificate_chain = identity.certificate, .private_key = identity.private_key});
    return std::make_unique<Party>(context->wrap(world_.loop(), connect(), 10s));
  }
  bool ends(const Party& caller, Duration limit) {
    return world_.run_until([&] { return caller.ended || caller.broken; }, limit);
  }
  const CertificateAuthority friends_ = *CertificateAuthority::create("friends.test", kNow, 24h);
};

// Checklist F11.
TEST_F(Callers, GoWithinAMinuteWhenTheirAuthorityLeavesTheBundle) {
  trust(ca_.certificate() + friends_.certificate());
  auto own = call(ca_, "spiffe://m.test/a");
  auto other = call(friends_, "spiffe://friends.test/b");
  EXPECT_EQ(ask_again(*own), "mutual");
  EXPECT_EQ(ask_again(*other), "mutual");
  trust(ca_.certificate() + friends_.certificate());  // Only a new certificate of ours.
  EXPECT_FALSE(ends(*other, 120s));
  EXPECT_EQ(ask_again(*other), "mutual");
  trust(ca_.certificate());
  EXPECT_TRUE(ends(*other, 60s));
  auto again = call(friends_, "spiffe://friends.test/b");
  EXPECT_EQ(ask_again(*again), "");
  EXPECT_TRUE(ends(*own, 60s)) << "asked to come again under the new rules";
  own = call(ca_, "spiffe://m.test/a");
  EXPECT_EQ(ask_again(*own), "mutual");
}

TEST_F(Callers, GoWhenTheirNameIsNoLongerTaken) {
  trust(ca_.certificate());
  auto caller = call(ca_, "spiffe://m.test/a");
  EXPECT_EQ(ask_again(*caller), "mutual");
  trust(ca_.certificate(), {{.value = "spiffe://m.test/b"}});
  EXPECT_TRUE(ends(*caller, 60s));
}

// One that is in the middle of a request is asked first and cut off then.
TEST_F(Callers, AreCutOffWhenTheyDoNotGo) {
  trust(ca_.certificate());
  auto caller = call(ca_, "spiffe://m.test/a");
  caller->send("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n");  // Never complete.
  EXPECT_FALSE(ends(*caller, 5s));
  trust(friends_.certificate());
  EXPECT_TRUE(ends(*caller, 60s));
}

// Checklist F10.
TEST_F(Callers, GoWhenTheirCertificateHasRunOut) {
  trust(ca_.certificate());
  auto caller = call(ca_, "spiffe://m.test/a", 1h);
  EXPECT_EQ(ask_again(*caller), "mutual");
  world_.time().shift_wall_clock(1h);
  EXPECT_FALSE(ends(*caller, 30s)) << "not at once: a clock may be a little ahead";
  EXPECT_TRUE(ends(*caller, kExpiredGrace + kPeerCheck));
}

}  // namespace
}  // namespace glia