#include "control_plane/serve/ads_session.h"

#include <gtest/gtest.h>

#include "control_plane/serve/ads_test_target.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

const TimePoint kStart{1000s};

// A proxy at the other end: verbs for what it does, and the kinds that reach it.
class AdsSessionTest : public testing::Test {
 protected:
  using Heard = AdsSession::Heard;

  void serve(const Target& target) {
    if (!session_) {
      session_.emplace(AdsVariant::kStateOfTheWorld, made(target));
    } else {
      session_->set_target(made(target), now_);
    }
  }
  Heard send(XdsType type, std::vector<std::string> names, const std::string& nonce,
             const std::string& refusal = "") {
    AdsSession::Request request;
    request.set_type_url(std::string(type_url(type)));
    for (std::string& name : names) request.add_resource_names(std::move(name));
    request.set_response_nonce(nonce);
    if (!refusal.empty()) request.mutable_error_detail()->set_message(refusal);
    const Result<Heard> heard = session_->on_request(request, now_);
    EXPECT_TRUE(heard.ok());
    return *heard;
  }
  void asks(XdsType type, std::vector<std::string> names = {}) {
    names_[type] = names;
    EXPECT_EQ(send(type, names, ""), Heard::kAsked);
  }
  // What arrives next, "clusters v1 [a b]", or "" if nothing does.
  std::string arrives() {
    const std::optional<AdsPush> push = session_->next(now_);
    if (!push) return "";
    last_ = to_response(*push);
    std::string text(name_of(*xds_type(last_.type_url())));
    text += " " + last_.version_info() + " [";
    for (const auto& any : last_.resources()) text += any.value() + " ";
    if (text.back() == ' ') text.pop_back();
    return text + "]";
  }
  void accepts() {
    const XdsType type = *xds_type(last_.type_url());
    EXPECT_EQ(send(type, names_[type], last_.nonce()), Heard::kAccepted);
  }
  void refuses(const std::string& why) {
    const XdsType type = *xds_type(last_.type_url());
    EXPECT_EQ(send(type, names_[type], last_.nonce(), why), Heard::kRefused);
  }
  // A proxy that holds `target` whole.
  void settle(const Target& target) {
    serve(target);
    asks(XdsType::kCluster);
    std::vector<std::string> names;
    for (const auto& [name, content] : target.endpoints) names.push_back(name);
    asks(XdsType::kEndpoints, names);
    asks(XdsType::kListener);
    names.clear();
    for (const auto& [name, content] : target.routes) names.push_back(name);
    asks(XdsType::kRoutes, names);
    for (int i = 0; i < 4; ++i) {
      ASSERT_NE(arrives(), "");
      accepts();
    }
    ASSERT_EQ(arrives(), "");
    passes(AdsSession::kDrainWait);
  }
  void passes(Duration time) { now_ += time; }
  AdsSession::KindStatus status_of(XdsType type) {
    for (const auto& kind : session_->status()) {
      if (kind.type == type) return kind;
    }
    ADD_FAILURE() << "never asked for";
    return {};
  }

  std::optional<AdsSession> session_;
  envoy::service::discovery::v3::DiscoveryResponse last_;
  std::map<XdsType, std::vector<std::string>> names_;
  TimePoint now_ = kStart;
};

TEST_F(AdsSessionTest, SendsNothingThatIsNotAskedFor) {
  serve(kSmall);
  EXPECT_EQ(arrives(), "");
  asks(XdsType::kListener);
  EXPECT_EQ(arrives(), "listeners in1 [in1]");
  accepts();
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsSessionTest, AnswersWhatIsAskedAtOnceInTheOrderOfUse) {
  serve(kSmall);
  asks(XdsType::kRoutes, {"out"});
  asks(XdsType::kListener);
  asks(XdsType::kEndpoints, {"a"});
  asks(XdsType::kCluster);
  EXPECT_EQ(arrives(), "clusters a1 [a1]");
  EXPECT_EQ(arrives(), "endpoints ea1 [ea1]") << "a proxy may acknowledge only when all is there";
  EXPECT_EQ(arrives(), "listeners in1 [in1]");
  EXPECT_EQ(arrives(), "routes r1 [r1]");
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsSessionTest, SendsOnlyTheKindThatChanged) {
  settle(kSmall);
  Target next = kSmall;
  next.routes = {{"out", "r2"}};
  serve(next);
  EXPECT_EQ(arrives(), "routes r2 [r2]");
  accepts();
  EXPECT_EQ(arrives(), "");
  serve(next);
  EXPECT_EQ(arrives(), "") << "the same again";
}

TEST_F(AdsSessionTest, AChangeGoesStepByStepAndDropsOldClustersLast) {
  settle(kSmall);
  serve({.clusters = {{"b", "b1"}},
         .endpoints = {{"b", "eb1"}},
         .listeners = {{"in", "in2"}},
         .routes = {{"out", "r2"}}});
  EXPECT_EQ(arrives(), "clusters b1+ [a1 b1]");
  EXPECT_EQ(arrives(), "") << "not before the clusters are acknowledged";
  accepts();
  EXPECT_EQ(arrives(), "") << "not before the endpoints of b are asked for";
  names_[XdsType::kEndpoints] = {"a", "b"};
  send(XdsType::kEndpoints, {"a", "b"}, "2");
  EXPECT_EQ(arrives(), "endpoints eb1 [eb1]");
  EXPECT_EQ(arrives(), "");
  accepts();
  EXPECT_EQ(arrives(), "listeners in2 [in2]");
  EXPECT_EQ(arrives(), "");
  accepts();
  EXPECT_EQ(arrives(), "routes r2 [r2]");
  EXPECT_EQ(arrives(), "");
  accepts();
  EXPECT_EQ(arrives(), "") << "requests that chose a may be on their way";
  EXPECT_EQ(session_->wake_at(now_), now_ + AdsSession::kDrainWait);
  passes(AdsSession::kDrainWait);
  EXPECT_EQ(arrives(), "clusters b1 [b1]") << "nothing names a any more";
  accepts();
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsSessionTest, KeepsOldClustersWhileTheirRoutesAreStillInUse) {
  settle(kSmall);
  serve(
      {.clusters = {}, .endpoints = {}, .listeners = kSmall.listeners, .routes = {{"out", "r2"}}});
  EXPECT_EQ(arrives(), "routes r2 [r2]");
  refuses("no");
  EXPECT_EQ(arrives(), "") << "the proxy still routes to a";
}

TEST_F(AdsSessionTest, AClusterKeepsItsLastEndpointsAndIdentitiesUntilRoutesHaveMoved) {
  Target two = kSmall;
  two.clusters["b"] = "b1";
  two.endpoints["b"] = "eb1";
  settle(two);
  Target next = two;
  next.clusters["a"] = "a-of-nobody";
  next.endpoints["a"] = nobody("a");
  next.routes["out"] = "to-b";
  serve(next);
  EXPECT_EQ(arrives(), "routes to-b [to-b]") << "until then the old routes choose a";
  EXPECT_EQ(arrives(), "");
  accepts();
  EXPECT_EQ(arrives(), "");
  passes(AdsSession::kDrainWait);
  EXPECT_EQ(arrives(), "clusters a-of-nobodyb1 [a-of-nobody b1]");
  accepts();
  EXPECT_EQ(arrives(), cat("endpoints ", nobody("a"), "eb1 [", nobody("a"), " eb1]"));
  accepts();
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsSessionTest, WhatElseChangesIsSentWhileLastEndpointsAreKept) {
  Target two = kSmall;
  two.clusters["b"] = "b1";
  two.endpoints["b"] = "eb1";
  settle(two);
  Target next = two;
  next.endpoints = {{"a", nobody("a")}, {"b", "eb2"}};
  next.routes["out"] = "to-b";
  serve(next);
  EXPECT_EQ(arrives(), cat("endpoints ", nobody("a"), "eb2+ [ea1 eb2]"));
  accepts();
  EXPECT_EQ(arrives(), "routes to-b [to-b]");
  accepts();
  passes(AdsSession::kDrainWait);
  EXPECT_EQ(arrives(), cat("endpoints ", nobody("a"), "eb2 [", nobody("a"), " eb2]"));
}

TEST_F(AdsSessionTest, LastEndpointsThatNoRouteWaitsForAreDroppedAtOnce) {
  settle(kSmall);
  Target next = kSmall;
  next.endpoints["a"] = nobody("a");
  serve(next);
  EXPECT_EQ(arrives(), cat("endpoints ", nobody("a"), " [", nobody("a"), "]"));
}

TEST_F(AdsSessionTest, DoesNotWaitForEverForAnAnswer) {
  settle(kSmall);
  Target next = kSmall;
  next.clusters["a"] = "a2";
  next.routes["out"] = "r2";
  serve(next);
  EXPECT_EQ(arrives(), "clusters a2 [a2]");
  EXPECT_EQ(arrives(), "");
  EXPECT_EQ(session_->wake_at(now_), now_ + AdsSession::kAnswerWait);
  passes(AdsSession::kAnswerWait);
  EXPECT_EQ(arrives(), "endpoints ea1 [ea1]");
  passes(AdsSession::kAnswerWait);
  EXPECT_EQ(arrives(), "routes r2 [r2]");
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsSessionTest, DoesNotWaitForEverForASubscriptionToEndpoints) {
  serve(kSmall);
  asks(XdsType::kCluster);
  asks(XdsType::kRoutes, {"out"});
  arrives(), accepts();
  arrives(), accepts();
  Target next = kSmall;
  next.clusters["b"] = "b1";
  next.endpoints["b"] = "eb1";
  next.routes["out"] = "r2";
  serve(next);
  EXPECT_EQ(arrives(), "clusters a1b1 [a1 b1]");
  accepts();
  EXPECT_EQ(arrives(), "");
  EXPECT_EQ(session_->wake_at(now_), now_ + AdsSession::kSubscribeWait);
  passes(AdsSession::kSubscribeWait);
  EXPECT_EQ(arrives(), "routes r2 [r2]");
}

TEST_F(AdsSessionTest, AChangedClusterHearsItsEndpointsAgain) {
  settle(kSmall);
  Target next = kSmall;
  next.clusters["a"] = "a2";
  serve(next);
  EXPECT_EQ(arrives(), "clusters a2 [a2]");
  accepts();
  EXPECT_EQ(arrives(), "endpoints ea1 [ea1]");
  accepts();
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsSessionTest, NeverRepeatsWhatWasRefused) {
  settle(kSmall);
  Target bad = kSmall;
  bad.listeners["in"] = "bad";
  serve(bad);
  EXPECT_EQ(arrives(), "listeners bad [bad]");
  refuses("listener in: no");
  EXPECT_EQ(arrives(), "");
  EXPECT_EQ(status_of(XdsType::kListener).refusal, "listener in: no");
  EXPECT_EQ(status_of(XdsType::kListener).sent_version, "bad");
  EXPECT_EQ(status_of(XdsType::kListener).accepted_version, "in1");
  passes(1h);
  serve(bad);
  EXPECT_EQ(arrives(), "");
  bad.listeners["in"] = "good";
  serve(bad);
  EXPECT_EQ(arrives(), "listeners good [good]");
  accepts();
  EXPECT_EQ(status_of(XdsType::kListener).refusal, "");
}

TEST_F(AdsSessionTest, GoingBackAfterARefusalNeedsNoPush) {
  settle(kSmall);
  Target bad = kSmall;
  bad.listeners["in"] = "bad";
  serve(bad);
  arrives();
  refuses("no");
  serve(kSmall);
  EXPECT_EQ(arrives(), "");
  EXPECT_EQ(status_of(XdsType::kListener).refusal, "");
  EXPECT_EQ(status_of(XdsType::kListener).sent_version, "in1");
}

TEST_F(AdsSessionTest, RefusedClustersHoldBackWhatWouldNameThem) {
  settle(kSmall);
  Target next = kSmall;
  next.clusters["b"] = "b1";
  next.routes["out"] = "to-b";
  serve(next);
  EXPECT_EQ(arrives(), "clusters a1b1 [a1 b1]");
  refuses("cluster b: no");
  passes(1h);
  EXPECT_EQ(arrives(), "");
  next.clusters["b"] = "b2";
  serve(next);
  EXPECT_EQ(arrives(), "clusters a1b2 [a1 b2]");
  accepts();
  EXPECT_EQ(arrives(), "routes to-b [to-b]");
  accepts();
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsSessionTest, IgnoresAStaleNonce) {
  settle(kSmall);
  const std::string old_nonce = last_.nonce();
  Target next = kSmall;
  next.routes["out"] = "r2";
  serve(next);
  arrives();
  EXPECT_EQ(send(XdsType::kRoutes, {"out"}, old_nonce, "too late"), Heard::kStale);
  EXPECT_EQ(status_of(XdsType::kRoutes).refusal, "");
  EXPECT_EQ(status_of(XdsType::kRoutes).accepted_version, "r1");
  accepts();
  EXPECT_EQ(status_of(XdsType::kRoutes).accepted_version, "r2");
}

TEST_F(AdsSessionTest, ANonceOfAnEarlierStreamIsAFirstRequest) {
  serve(kSmall);
  send(XdsType::kCluster, {}, "4711");
  EXPECT_EQ(arrives(), "clusters a1 [a1]");
}

TEST_F(AdsSessionTest, AnAnswerTwiceCountsOnce) {
  serve(kSmall);
  asks(XdsType::kCluster);
  arrives();
  accepts();
  EXPECT_EQ(send(XdsType::kCluster, {}, last_.nonce(), "changed my mind"), Heard::kAsked);
  EXPECT_EQ(status_of(XdsType::kCluster).refusal, "");
}

TEST_F(AdsSessionTest, AnswersNewNamesAndNotFewerNames) {
  Target two = kSmall;
  two.endpoints["b"] = "eb1";
  serve(two);
  asks(XdsType::kEndpoints, {"a"});
  EXPECT_EQ(arrives(), "endpoints ea1eb1 [ea1]");
  send(XdsType::kEndpoints, {"a", "b"}, last_.nonce());
  EXPECT_EQ(arrives(), "endpoints ea1eb1 [ea1 eb1]");
  send(XdsType::kEndpoints, {"b"}, last_.nonce());
  EXPECT_EQ(arrives(), "");
  send(XdsType::kEndpoints, {"a", "b"}, last_.nonce());
  EXPECT_EQ(arrives(), "endpoints ea1eb1 [ea1 eb1]") << "asked again, answered again";
}

TEST_F(AdsSessionTest, AnswersANameThatDoesNotExistWithNothing) {
  serve(kSmall);
  asks(XdsType::kRoutes, {"nowhere"});
  EXPECT_EQ(arrives(), "routes r1 []");
  accepts();
  Target next = kSmall;
  next.routes["nowhere"] = "here";
  serve(next);
  EXPECT_EQ(arrives(), "routes herer1 [here]") << "it may appear later";
}

TEST_F(AdsSessionTest, AnEmptyListMeansAllOnlyUntilANameWasSent) {
  Target two = kSmall;
  two.clusters["b"] = "b1";
  serve(two);
  asks(XdsType::kCluster, {"b"});
  EXPECT_EQ(arrives(), "clusters a1b1 [b1]");
  send(XdsType::kCluster, {}, last_.nonce());
  EXPECT_EQ(arrives(), "") << "unsubscribed from everything";
  two.clusters["b"] = "b2";
  serve(two);
  EXPECT_EQ(arrives(), "");
  send(XdsType::kCluster, {"*"}, last_.nonce());
  EXPECT_EQ(arrives(), "clusters a1b2 [a1 b2]");
}

TEST_F(AdsSessionTest, ASecondChangeWaitsForTheAnswerToTheFirstAndSkipsWhatIsOutdated) {
  settle(kSmall);
  Target next = kSmall;
  for (const char* content : {"r2", "r3", "r4"}) {
    next.routes["out"] = content;
    serve(next);
    if (content == std::string("r2")) EXPECT_EQ(arrives(), "routes r2 [r2]");
    EXPECT_EQ(arrives(), "");
  }
  accepts();
  EXPECT_EQ(arrives(), "routes r4 [r4]");
}

TEST_F(AdsSessionTest, IgnoresKindsThatItDoesNotServe) {
  serve(kSmall);
  AdsSession::Request request;
  request.set_type_url("type.googleapis.com/envoy.service.runtime.v3.Runtime");
  EXPECT_EQ(*session_->on_request(request, now_), Heard::kUnknownType);
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsSessionTest, RefusesARequestWithTooManyNames) {
  serve(kSmall);
  AdsSession::Request request;
  request.set_type_url(std::string(type_url(XdsType::kEndpoints)));
  for (std::size_t i = 0; i <= AdsTopic::kMostNames; ++i) request.add_resource_names("x");
  const auto heard = session_->on_request(request, now_);
  ASSERT_FALSE(heard.ok());
  EXPECT_EQ(heard.error().kind(), ErrorKind::kTooLarge);
}

TEST_F(AdsSessionTest, RefusesANameThatIsTooLong) {
  serve(kSmall);
  AdsSession::Request request;
  request.set_type_url(std::string(type_url(XdsType::kEndpoints)));
  request.add_resource_names(std::string(AdsTopic::kLongestName + 1, 'x'));
  const auto heard = session_->on_request(request, now_);
  ASSERT_FALSE(heard.ok());
  EXPECT_EQ(heard.error().kind(), ErrorKind::kTooLarge);
}

TEST_F(AdsSessionTest, WhatWasRefusedAndIsWantedNoMoreIsNotSentWithTheNext) {
  settle(kSmall);
  Target next = kSmall;
  next.clusters["bad"] = "bad";
  next.routes["out"] = "r2";
  serve(next);
  EXPECT_EQ(arrives(), "clusters a1bad [a1 bad]");
  refuses("cluster bad: no");
  next.clusters.erase("bad");
  next.clusters["good"] = "good";
  serve(next);
  EXPECT_EQ(arrives(), "clusters a1good [a1 good]") << "nobody holds the bad one";
}

// In state of the world they come inside a Resource; only where an absence says nothing without contents.
TEST_F(AdsSessionTest, HeartbeatsTakeNothingAway) {
  serve(kSmall);
  session_->live_for(30s);
  settle(kSmall);
  envoy::service::discovery::v3::Resource one;
  ASSERT_TRUE(last_.resources(0).UnpackTo(&one));
  EXPECT_EQ(one.ttl().seconds(), 30);
  EXPECT_EQ(one.resource().value(), "r1");
  passes(10s);
  const std::optional<AdsPush> beat = session_->next(now_);
  ASSERT_TRUE(beat);
  const auto response = to_response(*beat);
  EXPECT_EQ(response.type_url(), type_url(XdsType::kCluster));
  EXPECT_EQ(response.version_info(), "a1");
  ASSERT_EQ(response.resources_size(), 1);
  ASSERT_TRUE(response.resources(0).UnpackTo(&one));
  EXPECT_EQ(one.name(), "a");
  EXPECT_EQ(one.version(), "a1");
  EXPECT_EQ(one.resource().value(), "a1") << "whoever hears of no cluster has none";
  EXPECT_EQ(send(XdsType::kCluster, {}, response.nonce()), Heard::kAsked);
  const std::optional<AdsPush> of_endpoints = session_->next(now_);
  ASSERT_TRUE(of_endpoints);
  ASSERT_TRUE(to_response(*of_endpoints).resources(0).UnpackTo(&one));
  EXPECT_EQ(one.name(), "a");
  EXPECT_FALSE(one.has_resource());
  // Names that a proxy had sent before it heard are sent again with its answer.
  EXPECT_EQ(send(XdsType::kCluster, {}, "1"), Heard::kStale);
}

TEST_F(AdsSessionTest, KeepsNoMoreThanSoMuchOfARefusal) {
  serve(kSmall);
  asks(XdsType::kCluster);
  arrives();
  refuses(std::string(1'000'000, 'x'));
  EXPECT_EQ(status_of(XdsType::kCluster).refusal.size(), AdsTopic::kLongestRefusal);
}

}  // namespace
}  // namespace glia
