// What the API server says of tokens, and what is put into the configuration of the webhook.
#include "control_plane/kubernetes/token_reviews.h"

#include <gtest/gtest.h>

#include "control_plane/kubernetes/api_server_test_support.h"
#include "control_plane/kubernetes/webhook_bundle.h"

namespace glia {
namespace {

std::string review(std::string_view status) {
  return cat(R"({"kind": "TokenReview", "status": )", status, "}");
}
constexpr char kGood[] = R"({"authenticated": true, "audiences": ["glia"], "user": {
  "username": "system:serviceaccount:shop:seller", "extra": {
    "authentication.kubernetes.io/pod-name": ["web-1"],
    "authentication.kubernetes.io/pod-uid": ["u"]}}})";

std::string refusal(int status, const std::string& body) {
  const auto holder = read_token_review({status, body});
  EXPECT_FALSE(holder.ok());
  return holder ? "" : holder.error().message();
}

TEST(TokenReview, NamesTheAccountAndThePod) {
  const auto holder = read_token_review({201, review(kGood)});
  ASSERT_TRUE(holder.ok()) << holder.error().message();
  EXPECT_EQ(holder->ns, "shop");
  EXPECT_EQ(holder->service_account, "seller");
  EXPECT_EQ(holder->pod, "web-1");
}

TEST(TokenReview, WhatIsNotForUsIsRefused) {
  std::string other = kGood;
  other.replace(other.find("[\"glia\"]"), 8, "[\"vault\"]");
  EXPECT_EQ(refusal(201, review(other)), "the service account token is not for the audience glia");
  // One that does not know of audiences says none.
  other = kGood;
  other.replace(other.find("\"audiences\": [\"glia\"],"), 22, "");
  EXPECT_EQ(refusal(201, review(other)), "the service account token is not for the audience glia");
}

TEST(TokenReview, WhatIsNotGoodIsRefused) {
  EXPECT_EQ(refusal(201, review(R"({"error": "token has expired"})")),
            "the service account token is not good: token has expired");
  EXPECT_EQ(refusal(201, "nonsense"), "the service account token is not good");
  EXPECT_EQ(refusal(201, review(R"({"authenticated": true, "audiences": ["glia"],
                                    "user": {"username": "admin"}})")),
            "the token is of no service account");
  EXPECT_NE(refusal(403, R"({"message": "forbidden"})")
                .find("grant the service account the verb "
                      "create on tokenreviews"),
            std::string::npos);
}

TEST(WebToken, IsNotOneOfOurs) {
  EXPECT_TRUE(is_web_token("eyJhbGciOiJSUzI1NiJ9.eyJhdWQi.c2ln"));
  EXPECT_FALSE(is_web_token("glia-286ebd12ac551e9e"));
  EXPECT_FALSE(is_web_token("eyJhbGci.only-two"));
}

class ReviewsTest : public testing::Test {
 protected:
  SimWorld world_{1};
  SimApiServer server_{world_};
  ApiServer api_{world_.loop(), world_.host("10.0.0.2"), SimApiServer::access()};
};

TEST_F(ReviewsTest, AsksTheApiServerForOurAudience) {
  TokenReviews reviews(api_);
  server_.will_say({.status = 201, .body = review(kGood)});
  std::string pod;
  reviews.review("e.y.z",
                 [&](const Result<TokenHolder>& holder) { pod = holder ? holder->pod : "?"; });
  EXPECT_EQ(pod, "");
  world_.run_for(1s);
  EXPECT_EQ(pod, "web-1");
  ASSERT_EQ(server_.asked.size(), 1u);
  EXPECT_EQ(server_.asked[0].method, "POST");
  EXPECT_EQ(server_.asked[0].path, "/apis/authentication.k8s.io/v1/tokenreviews");
  EXPECT_NE(server_.asked[0].body.find(R"("audiences":["glia"])"), std::string::npos);
}

TEST_F(ReviewsTest, MoreThanTheLimitAreRefusedWithoutTheApiServer) {
  TokenReviews reviews(api_);
  int refused = 0, most = static_cast<int>(TokenReviews::kReviews.burst) + 50;
  for (int i = 0; i < most; ++i) {
    reviews.review("e.y.z", [&](const Result<TokenHolder>& holder) {
      refused += !holder && holder.error().kind() == ErrorKind::kOverflow;
    });
  }
  EXPECT_EQ(refused, 50);
  world_.run_for(1s);
  // Those beyond what may be under way at once.
  EXPECT_EQ(refused, most - static_cast<int>(ApiQuestions::kMostAtOnce));
  EXPECT_EQ(server_.asked.size(), ApiQuestions::kMostAtOnce);
}

TEST(WebhookBundlePatch, ChangesOnlyWhatIsNotRight) {
  const Json configuration = Json::parse(R"({"webhooks": [
    {"name": "a", "clientConfig": {"caBundle": "UklHSFQ="}},
    {"name": "b", "clientConfig": {"url": "https://x"}}]})");
  EXPECT_EQ(WebhookBundle::patch_of(configuration, "UklHSFQ="),
            R"([{"op":"test","path":"/webhooks/1/name","value":"b"},)"
            R"({"op":"add","path":"/webhooks/1/clientConfig/caBundle","value":"UklHSFQ="}])");
  EXPECT_NE(WebhookBundle::patch_of(configuration, "T1RIRVI=").find("/webhooks/0/"),
            std::string::npos);
  Json right = configuration;
  right["webhooks"][1]["clientConfig"]["caBundle"] = "UklHSFQ=";
  EXPECT_EQ(WebhookBundle::patch_of(right, "UklHSFQ="), "");
}

TEST_F(ReviewsTest, TheAuthorityIsPutBackWhenItIsTakenOut) {
  constexpr char kList[] = R"({"metadata": {"resourceVersion": "7"}, "items": [)";
  const auto configuration = [](std::string_view bundle) {
    return cat(R"({"metadata": {"name": "glia-inject", "resourceVersion": "8"}, "webhooks": [
      {"name": "a", "clientConfig": {"caBundle": ")",
               bundle, R"("}}]})");
  };
  std::string one_line = cat(R"({"type": "MODIFIED", "object": )", configuration("Qk9HVVM="), "}");
  std::erase(one_line, '\n');
  server_.will_say({.body = cat(kList, configuration("UklHSFQ="), "]}")});
  server_.will_say({.status = 200, .body = one_line + "\n", .stays = true});
  server_.will_say({.body = "{}"});
  WebhookBundle bundle(api_, "RIGHT", 3);
  world_.run_for(2s);
  ASSERT_EQ(server_.asked.size(), 3u);
  EXPECT_NE(server_.asked[0].path.find("fieldSelector=metadata.name%3Dglia-inject"),
            std::string::npos);
  EXPECT_EQ(server_.asked[2].method, "PATCH");
  EXPECT_NE(server_.asked[2].body.find("UklHSFQ="), std::string::npos);
}

TEST_F(ReviewsTest, TheAuthorityIsPutThereAgainAfterAFailureAndNotWithoutAPause) {
  constexpr char kWrong[] = R"({"metadata": {"name": "glia-inject", "resourceVersion": "8"},
    "webhooks": [{"name": "a", "clientConfig": {"caBundle": "Qk9HVVM="}}]})";
  std::string event = cat(R"({"type": "MODIFIED", "object": )", kWrong, "}");
  std::erase(event, '\n');
  server_.will_say(
      {.body = cat(R"({"metadata": {"resourceVersion": "7"}, "items": [)", kWrong, "]}")});
  server_.will_say({.stays = true});
  server_.will_say({.status = 500, .body = R"({"message": "etcd is slow"})"});
  server_.will_say({.body = "{}"});
  server_.will_say({.body = "{}"});
  WebhookBundle bundle(api_, "RIGHT", 3);
  world_.run_for(WebhookBundle::kPause / 2);
  const auto patches = [&] {
    return std::ranges::count(server_.asked, "PATCH", &SimApiServer::Asked::method);
  };
  EXPECT_EQ(patches(), 1);
  world_.run_for(WebhookBundle::kPause);
  EXPECT_EQ(patches(), 2);
  // Somebody else puts his there, again and again.
  for (int i = 0; i < 20; ++i) {
    server_.tell(event + "\n");
    world_.run_for(WebhookBundle::kPause / 100);
  }
  EXPECT_EQ(patches(), 2);
  world_.run_for(WebhookBundle::kPause);
  EXPECT_EQ(patches(), 3);
}

}  // namespace
}  // namespace glia
