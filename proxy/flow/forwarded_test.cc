// Fields that tell the next hop who asked, as an upstream sees them, and what a client that lies about
// others can do.
#include <gtest/gtest.h>

#include "proxy/base/text.h"
#include "proxy/flow/forwarded.h"
#include "proxy/net/x509.h"
#include "test/harness/mesh_world.h"
#include "test/sim/party.h"

namespace glia {
namespace {

constexpr char kClientCert[] = "x-forwarded-client-cert";

class Forwarded : public testing::Test {
 protected:
  // Both sides show certificates.
  void secure() {
    t_.chain().tls = *TlsContext::create(TlsContext::Side::kServer, options("spiffe://m.test/us"));
  }
  TlsOptions options(std::string uri) {
    const Identity identity = *issue(ca_, {.uri_san = std::move(uri), .now = kNow, .lifetime = 1h});
    return {.certificate_chain = identity.certificate,
            .private_key = identity.private_key,
            .trusted_ca = ca_.certificate(),
            .request_client_certificate = true};
  }
  // What the upstream sees of a request with these lines in its head.
  Seen send(const std::string& lines) {
    t_.upstream("10.0.1.1").replies(200);
    t_.start();
    auto stream = world_.host("10.0.0.7").connect(*Address::ip("10.0.0.1", 80));
    if (t_.chain().tls != nullptr) {
      const auto context =
          *TlsContext::create(TlsContext::Side::kClient, options("spiffe://m.test/them"));
      stream = context->wrap(world_.loop(), std::move(stream), 10s);
    }
    Party client(std::move(stream));
    client.send("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + lines + "\r\n");
    EXPECT_TRUE(world_.run_until([&] { return client.ended; }, 10s)) << client.received;
    const auto& seen = t_.upstream("10.0.1.1").seen();
    return seen.empty() ? Seen() : seen.back();
  }

  const WallTime kNow{1767225600s};  // Where virtual time begins.
  SimWorld world_{1};
  CertificateAuthority ca_ = *CertificateAuthority::create("m.test", kNow, 24h);
  MeshWorld t_{world_};
};

TEST_F(Forwarded, ReplacesWhatAClientSaysOfItself) {
  secure();
  t_.manager().forward_client_cert = ForwardClientCert::kSanitizeSet;
  t_.manager().client_cert_details.uri = true;
  const std::string said =
      send(cat(kClientCert, ": URI=spiffe://m.test/admin\r\n")).header(kClientCert);
  EXPECT_TRUE(said.starts_with("By=spiffe://m.test/us;Hash=")) << said;
  EXPECT_TRUE(said.ends_with(";URI=spiffe://m.test/them")) << said;
  EXPECT_EQ(said.find("admin"), said.npos) << said;
}

TEST_F(Forwarded, DropsWhatAClientWithoutACertificateSays) {
  for (const auto mode : {ForwardClientCert::kSanitize, ForwardClientCert::kSanitizeSet,
                          ForwardClientCert::kForwardOnly, ForwardClientCert::kAppendForward}) {
    t_.manager().forward_client_cert = mode;
    const Seen seen = send(cat(kClientCert, ": URI=spiffe://m.test/admin\r\n"));
    EXPECT_FALSE(seen.headers.contains(kClientCert)) << static_cast<int>(mode);
  }
}

TEST_F(Forwarded, AppendsToWhatAVerifiedHopSays) {
  secure();
  t_.manager().forward_client_cert = ForwardClientCert::kAppendForward;
  t_.manager().client_cert_details.uri = true;
  const std::string said =
      send(cat(kClientCert, ": Hash=1;URI=spiffe://m.test/first\r\n", kClientCert, ": Hash=2\r\n"))
          .header(kClientCert);
  EXPECT_TRUE(said.starts_with("Hash=1;URI=spiffe://m.test/first,Hash=2,By=spiffe://m.test/us;"))
      << said;
}

// With a quotation left open, our element would be read as a part of the caller's.
TEST_F(Forwarded, DropsAnElementThatWouldSwallowOurs) {
  secure();
  t_.manager().forward_client_cert = ForwardClientCert::kAppendForward;
  const std::string said =
      send(cat(kClientCert, ": URI=spiffe://m.test/admin;Subject=\"x\r\n")).header(kClientCert);
  EXPECT_TRUE(said.starts_with("By=spiffe://m.test/us;Hash=")) << said;
}

TEST_F(Forwarded, AppendsThePeerToEveryAddressBefore) {
  t_.manager().use_remote_address = true;
  const Seen seen = send("x-forwarded-for: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\n");
  EXPECT_EQ(seen.header("x-forwarded-for"), "1.1.1.1,2.2.2.2,10.0.0.7");
}

// A certificate may name its owner with any byte; none of them ends the field.
TEST(ClientCertElement, HoldsNoControlByte) {
  TlsInfo tls;
  tls.peer_subject = "CN=a\r\nx-evil: 1";
  tls.peer_uri_sans = {"spiffe://m.test/a\r\n\r\nGET / HTTP/1.1"};
  tls.peer_dns_sans = {std::string("a\0b", 3), "plain"};
  const std::string said = client_cert_element(tls, {.subject = true, .dns = true, .uri = true});
  EXPECT_EQ(said,
            "Hash=;Subject=\"CN=a%0D%0Ax-evil: 1\";URI=spiffe://m.test/a%0D%0A%0D%0AGET / HTTP/1.1;"
            "DNS=a%00b;DNS=plain");
  // What is kept is that of the details that were asked for.
  EXPECT_EQ(client_cert_element(tls, {}), "Hash=");
  EXPECT_EQ(client_cert_element(tls, {.dns = true}), "Hash=;DNS=a%00b;DNS=plain");
}

// Over HTTP/2 a client writes the scheme itself.
TEST(ForwardedProto, IsThatOfTheConnection) {
  SimWorld world(1);
  MeshWorld t(world, Codec::kHttp2, Codec::kHttp2);
  t.upstream("10.0.1.1").replies(200);
  t.manager().use_remote_address = true;
  t.start();
  t.send({.scheme = "https", .headers = {{"x-forwarded-proto", "https"}}});
  ASSERT_EQ(t.upstream("10.0.1.1").seen().size(), 1u);
  EXPECT_EQ(t.upstream("10.0.1.1").seen()[0].header("x-forwarded-proto"), "http");
}

}  // namespace
}  // namespace glia
