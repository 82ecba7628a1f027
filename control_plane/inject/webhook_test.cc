// The webhook as a server: TLS, its certificate, and callers that do not behave.
#include "control_plane/inject/webhook.h"

#include <gtest/gtest.h>

#include <deque>

#include "control_plane/objects/yaml.h"
#include "proxy/base/text.h"
#include "proxy/mesh/connected.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

constexpr char kReview[] =
    R"({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1",)"
    R"("kind":{"group":"","version":"v1","kind":"Pod"},"operation":"CREATE","namespace":"shop",)"
    R"("object":{"metadata":{"name":"a"},"spec":{"containers":[{"name":"app"}]}}}})";

// A body that never comes.
class NoBody final : public Body {
 public:
  Piece poll() override { return {State::kPending, {}}; }
  void wait(Waiter&) override {}
};

// Connects, and never says a word.
struct Silent final : Stream::Watcher {
  void on_open() override {}
  void on_readable() override {}
  void on_writable() override {}
  void on_broken() override {}
};

struct Got {
  bool over = false;
  int status = 0;
  std::string body, error;
  WallTime not_after{};  // Of the server's certificate.
};

Task<void> post(EventLoop& loop, std::unique_ptr<Stream> stream, std::unique_ptr<Body> body,
                Got& got) {
  auto connected =
      std::make_unique<Connected>(loop, std::move(stream), ClientOptions{.codec = Codec::kAuto});
  while (!connected->decided()) co_await wait_in(connected->changed());
  if (connected->error()) {
    got.error = connected->error()->message();
  } else {
    got.not_after = connected->connection().info().tls->peer_not_after;
    const ArenaRef arena = ArenaRef::create();
    Request request(arena);
    request.method = "POST";
    request.scheme = "https";
    request.authority = "glia-control";
    request.path = "/inject/namespace?timeout=5s";
    request.body = std::move(body);
    const std::unique_ptr<Call> call = connected->connection().start(request);
    Result<Response> head = co_await head_of(*call);
    if (!head) {
      got.error = head.error().message();
    } else {
      got.status = head->status;
      const Result<std::string> text = co_await read_all(*call, 1 << 20);
      (text ? got.body : got.error) = text ? *text : text.error().message();
    }
  }
  loop.reap(std::move(connected));
  got.over = true;
}

class WebhookTest : public testing::Test {
 protected:
  WebhookTest()
      : authority_(*CertificateAuthority::create("shop.example", world_.loop().clock().wall_now(),
                                                 24h * 365)) {
    InjectWebhookOptions options;
    options.listen = *Address::ip("10.0.0.1", 443);
    webhook_.emplace(world_.loop(), world_.host("10.0.0.1"), authority_, options);
    EXPECT_TRUE(webhook_->listen().ok());
  }
  std::unique_ptr<Stream> connect(std::string name = "glia-control.glia-system.svc") {
    TlsOptions options;
    options.trusted_ca = authority_.certificate();
    options.peer_sans = {
        {.type = SanMatch::Type::kDns, .kind = SanMatch::Kind::kExact, .value = std::move(name)}};
    options.alpn = {"h2"};
    const auto context = TlsContext::create(TlsContext::Side::kClient, options);
    EXPECT_TRUE(context.ok());
    contexts_.push_back(*context);
    return (*context)->wrap(world_.loop(),
                            world_.host("10.0.0.2").connect(*Address::ip("10.0.0.1", 443)), 5s);
  }
  Got& send(std::unique_ptr<Stream> stream, std::unique_ptr<Body> body) {
    Got& got = got_.emplace_back();
    tasks_.push_back(post(world_.loop(), std::move(stream), std::move(body), got));
    tasks_.back().start();
    world_.run_for(1s);
    return got;
  }
  Got& ask() { return send(connect(), std::make_unique<TextBody>(Slice::literal(kReview))); }

  SimWorld world_{1};
  CertificateAuthority authority_;
  std::optional<InjectWebhook> webhook_;
  std::vector<std::shared_ptr<const TlsContext>> contexts_;
  std::deque<Got> got_;
  std::vector<Task<void>> tasks_;
};

TEST_F(WebhookTest, AnswersUnderTheNameOfItsService) {
  const Got& got = ask();
  EXPECT_EQ(got.status, 200) << got.error;
  EXPECT_EQ(Json::parse(got.body)["response"]["uid"], "u-1");
  const Got& other =
      send(connect("another.glia-system.svc"), std::make_unique<TextBody>(Slice::literal(kReview)));
  EXPECT_TRUE(other.over);
  EXPECT_NE(other.error, "");
}

TEST_F(WebhookTest, I1ItsCertificateIsRenewedWithoutARestart) {
  const WallTime first = ask().not_after;
  world_.run_for(InjectWebhook::kCertificateLifetime / 2 + 1min);
  const Got& later = ask();
  EXPECT_EQ(later.status, 200);
  EXPECT_GE(later.not_after, first + InjectWebhook::kCertificateLifetime / 2);
  // Signed by the same authority: the configuration of the cluster stays right.
  world_.run_for(InjectWebhook::kCertificateLifetime);
  EXPECT_EQ(ask().status, 200);
}

TEST_F(WebhookTest, ARequestThatDoesNotComeIsCutOff) {
  const Got& got = send(connect(), std::make_unique<NoBody>());
  EXPECT_FALSE(got.over);
  world_.run_for(InjectWebhook::kLongestReviewTime);
  EXPECT_TRUE(got.over);
  EXPECT_NE(got.error, "");
  EXPECT_EQ(ask().status, 200);
}

TEST_F(WebhookTest, WhoNeverShakesHandsHoldsNobodyUp) {
  Silent nobody;
  std::vector<std::unique_ptr<Stream>> silent;
  for (std::size_t i = 0; i < SmallServer::kMostConnections + 5; ++i) {
    silent.push_back(world_.host("10.0.0.3").connect(*Address::ip("10.0.0.1", 443)));
    silent.back()->watch(nobody);
    silent.back()->pause_reading(true);
  }
  world_.run_for(1s);
  EXPECT_NE(ask().error, "");  // It is full.
  world_.run_for(InjectWebhook::kHandshakeTime);
  EXPECT_EQ(ask().status, 200);
}

TEST(WebhookConfigurationTest, IsYamlWithTheAuthorityInIt) {
  const std::string text = webhook_configuration("PEM", "plane.mesh.svc");
  const YamlFile file = read_yaml(text);
  ASSERT_FALSE(file.failure) << file.failure->message;
  const YamlNode& webhooks = *file.documents.at(0).find("webhooks");
  ASSERT_EQ(webhooks.items.size(), 2u);
  for (const YamlNode& webhook : webhooks.items) {
    const YamlNode& client = *webhook.find("clientConfig");
    EXPECT_EQ(client.find("service")->find("name")->text, "plane");
    EXPECT_EQ(client.find("service")->find("namespace")->text, "mesh");
    EXPECT_EQ(client.find("caBundle")->text, "UEVN");
    EXPECT_EQ(webhook.find("failurePolicy")->text, "Fail");
  }
}

}  // namespace
}  // namespace glia
