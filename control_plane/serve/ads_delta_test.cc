// The rules of incremental xDS, one test each, against a session in its delta variant.
#include "control_plane/serve/ads_delta_test_support.h"

namespace glia {
namespace {

TEST_F(AdsDeltaTest, AFirstRequestWithoutNamesAsksForEverything) {
  serve(kTwo);
  EXPECT_EQ(arrives(), "");
  send(XdsType::kCluster, {});
  EXPECT_EQ(arrives(), "clusters [a=a1 b=b1]");
  accepts();
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsDeltaTest, AStarAsksForEverythingToo) {
  serve(kTwo);
  send(XdsType::kCluster, {.subscribe = {"*"}});
  EXPECT_EQ(arrives(), "clusters [a=a1 b=b1]");
  send(XdsType::kEndpoints, {.subscribe = {"*"}});
  EXPECT_EQ(arrives(), "endpoints [a=ea1 b=eb1]") << "of every type";
}

TEST_F(AdsDeltaTest, EverythingIsAnsweredEvenIfItIsNothing) {
  serve({});
  send(XdsType::kListener, {});
  EXPECT_EQ(arrives(), "listeners []");
  accepts();
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsDeltaTest, AFirstRequestOfEndpointsWithoutNamesAsksForNothing) {
  serve(kTwo);
  send(XdsType::kEndpoints, {});
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsDeltaTest, ANameGetsItsResourceAndAnUnknownOneIsSaidToBeAbsent) {
  serve(kTwo);
  send(XdsType::kEndpoints, {.subscribe = {"a", "nowhere"}});
  EXPECT_EQ(arrives(), "endpoints [a=ea1] -[nowhere]");
  accepts();
  Target next = kTwo;
  next.endpoints["nowhere"] = "here";
  next.endpoints["b"] = "eb2";
  serve(next);
  EXPECT_EQ(arrives(), "endpoints [nowhere=here]") << "it may appear later; b was not asked for";
}

TEST_F(AdsDeltaTest, OnlyWhatChangedIsSent) {
  settle(kTwo);
  Target next = kTwo;
  next.endpoints["b"] = "eb2";
  serve(next);
  EXPECT_EQ(arrives(), "endpoints [b=eb2]");
  EXPECT_EQ(last_.system_version_info(), "ea1eb2");
  accepts();
  EXPECT_EQ(arrives(), "");
  EXPECT_EQ(status_of(XdsType::kEndpoints).accepted_version, "ea1eb2");
  EXPECT_EQ(status_of(XdsType::kEndpoints).resources, 2u);
}

TEST_F(AdsDeltaTest, WhatIsGoneIsRemovedLast) {
  settle(kTwo);
  serve({.clusters = {{"b", "b1"}, {"c", "c1"}},
         .endpoints = {{"b", "eb1"}, {"c", "ec1"}},
         .listeners = {{"in", "in2"}},
         .routes = {{"out", "r2"}}});
  EXPECT_EQ(arrives(), "clusters [c=c1]");
  EXPECT_EQ(last_.system_version_info(), "b1c1+");
  EXPECT_EQ(arrives(), "") << "not before the clusters are acknowledged";
  accepts();
  EXPECT_EQ(arrives(), "") << "not before the endpoints of c are asked for";
  send(XdsType::kEndpoints, {.subscribe = {"c"}});
  EXPECT_EQ(arrives(), "endpoints [c=ec1]");
  EXPECT_EQ(arrives(), "");
  accepts();
  EXPECT_EQ(arrives(), "listeners [in=in2]");
  EXPECT_EQ(arrives(), "");
  accepts();
  EXPECT_EQ(arrives(), "routes [out=r2]");
  EXPECT_EQ(arrives(), "");
  accepts();
  EXPECT_EQ(arrives(), "") << "requests that chose a may be on their way";
  now_ += AdsSession::kDrainWait;
  EXPECT_EQ(arrives(), "clusters [] -[a]") << "nothing names a any more";
  accepts();
  EXPECT_EQ(arrives(), "endpoints [] -[a]");
  accepts();
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsDeltaTest, AListenerThatIsGoneIsRemovedBeforeItsRoutesChange) {
  Target three = kTwo;
  three.listeners["extra"] = "x1";
  settle(three);
  Target next = kTwo;
  next.routes["out"] = "r2";
  serve(next);
  EXPECT_EQ(arrives(), "listeners [] -[extra]");
  accepts();
  EXPECT_EQ(arrives(), "routes [out=r2]");
}

TEST_F(AdsDeltaTest, EndpointsStayUntilRoutesHaveMoved) {
  settle(kTwo);
  Target next = kTwo;
  next.clusters["a"] = "a-of-nobody";
  next.endpoints["a"] = nobody("a");
  next.routes["out"] = "to-b";
  serve(next);
  EXPECT_EQ(arrives(), "routes [out=to-b]") << "until then the old routes choose a";
  accepts();
  EXPECT_EQ(arrives(), "");
  now_ += AdsSession::kDrainWait;
  EXPECT_EQ(arrives(), "clusters [a=a-of-nobody]");
  accepts();
  EXPECT_EQ(arrives(), cat("endpoints [a=", nobody("a"), "]"));
}

TEST_F(AdsDeltaTest, AskingAgainIsAnsweredAgain) {
  settle(kTwo);
  send(XdsType::kEndpoints, {.subscribe = {"a"}});
  EXPECT_EQ(arrives(), "endpoints [a=ea1]") << "although it is the same";
  accepts();
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsDeltaTest, WhatIsUnsubscribedIsNotSpokenOf) {
  settle(kTwo);
  send(XdsType::kEndpoints, {.unsubscribe = {"a"}});
  EXPECT_EQ(arrives(), "");
  Target next = kTwo;
  next.endpoints["a"] = "ea2";
  serve(next);
  EXPECT_EQ(arrives(), "");
  next.endpoints.erase("a");
  serve(next);
  EXPECT_EQ(arrives(), "");
  serve(kTwo);
  send(XdsType::kEndpoints, {.subscribe = {"a"}});
  EXPECT_EQ(arrives(), "endpoints [a=ea1]");
}

TEST_F(AdsDeltaTest, UnsubscribingANameWhileAllAreWantedIsAnswered) {
  serve(kTwo);
  send(XdsType::kCluster, {.subscribe = {"*", "a", "nowhere"}});
  EXPECT_EQ(arrives(), "clusters [a=a1 b=b1] -[nowhere]");
  accepts();
  send(XdsType::kCluster, {.unsubscribe = {"a"}});
  EXPECT_EQ(arrives(), "clusters [a=a1]") << "everything has it";
  accepts();
  send(XdsType::kCluster, {.unsubscribe = {"nowhere"}});
  EXPECT_EQ(arrives(), "clusters [] -[nowhere]");
}

TEST_F(AdsDeltaTest, UnsubscribingFromEverythingKeepsWhatHasAName) {
  serve(kTwo);
  send(XdsType::kCluster, {.subscribe = {"*", "a"}});
  arrives(), accepts();
  send(XdsType::kCluster, {.unsubscribe = {"*"}});
  EXPECT_EQ(arrives(), "");
  serve({.clusters = {{"a", "a2"}, {"b", "b2"}}});
  EXPECT_EQ(arrives(), "clusters [a=a2]");
  accepts();
  send(XdsType::kCluster, {.subscribe = {"*"}});
  EXPECT_EQ(arrives(), "clusters [b=b2]") << "a is held";
}

TEST_F(AdsDeltaTest, ALaterNameLeavesTheFirstRequestsEverything) {
  serve(kTwo);
  send(XdsType::kCluster, {});
  arrives(), accepts();
  send(XdsType::kCluster, {.subscribe = {"a"}});
  EXPECT_EQ(arrives(), "clusters [a=a1]");
  accepts();
  serve({.clusters = {{"a", "a1"}, {"b", "b2"}}});
  EXPECT_EQ(arrives(), "clusters [b=b2]");
}

TEST_F(AdsDeltaTest, ASubscriptionCountsWhateverItsNonce) {
  serve(kTwo);
  send(XdsType::kEndpoints, {.subscribe = {"a"}});
  arrives();
  EXPECT_EQ(send(XdsType::kEndpoints, {.subscribe = {"b"}, .nonce = "old"}), Heard::kStale);
  EXPECT_EQ(arrives(), "") << "the first answer is still out";
  accepts();
  EXPECT_EQ(arrives(), "endpoints [b=eb1]");
}

TEST_F(AdsDeltaTest, AStaleRefusalIsNoAnswer) {
  settle(kTwo);
  const std::string old_nonce = last_.nonce();
  Target next = kTwo;
  next.routes["out"] = "r2";
  serve(next);
  arrives();
  EXPECT_EQ(send(XdsType::kRoutes, {.nonce = old_nonce, .refusal = "late"}), Heard::kStale);
  EXPECT_EQ(status_of(XdsType::kRoutes).refusal, "");
  accepts();
  EXPECT_EQ(status_of(XdsType::kRoutes).accepted_version, "r2");
}

TEST_F(AdsDeltaTest, ARequestWithoutNonceIsNoAnswer) {
  serve(kTwo);
  send(XdsType::kEndpoints, {.subscribe = {"a"}});
  arrives();
  EXPECT_EQ(send(XdsType::kEndpoints, {.subscribe = {"b"}}), Heard::kAsked);
  EXPECT_EQ(status_of(XdsType::kEndpoints).accepted_version, "");
  accepts();
  EXPECT_NE(status_of(XdsType::kEndpoints).accepted_version, "");
}

TEST_F(AdsDeltaTest, WhatWasRefusedIsNotRepeatedAndIsShown) {
  settle(kTwo);
  Target bad = kTwo;
  bad.listeners["in"] = "bad";
  serve(bad);
  EXPECT_EQ(arrives(), "listeners [in=bad]");
  refuses("listener in: no");
  now_ += 1h;
  serve(bad);
  EXPECT_EQ(arrives(), "");
  EXPECT_EQ(status_of(XdsType::kListener).refusal, "listener in: no");
  EXPECT_EQ(status_of(XdsType::kListener).accepted_version, "in1");
  serve(kTwo);
  EXPECT_EQ(arrives(), "") << "the proxy runs that";
  EXPECT_EQ(status_of(XdsType::kListener).refusal, "");
}

TEST_F(AdsDeltaTest, AfterARefusalTheDifferenceIsToWhatTheProxyHolds) {
  settle(kTwo);
  Target next = kTwo;
  next.clusters = {{"a", "bad"}, {"b", "b1"}, {"c", "c1"}};
  serve(next);
  EXPECT_EQ(arrives(), "clusters [a=bad c=c1]");
  refuses("cluster a: no");
  next.clusters["a"] = "a3";
  serve(next);
  EXPECT_EQ(arrives(), "clusters [a=a3 c=c1]") << "c was refused with it";
}

TEST_F(AdsDeltaTest, RefusedClustersHoldBackWhatWouldNameThem) {
  settle(kTwo);
  Target next = kTwo;
  next.clusters["c"] = "c1";
  next.routes["out"] = "to-c";
  serve(next);
  EXPECT_EQ(arrives(), "clusters [c=c1]");
  refuses("cluster c: no");
  now_ += 1h;
  EXPECT_EQ(arrives(), "");
  next.clusters["c"] = "c2";
  serve(next);
  EXPECT_EQ(arrives(), "clusters [c=c2]");
  accepts();
  EXPECT_EQ(arrives(), "routes [out=to-c]");
}

TEST_F(AdsDeltaTest, ASecondPushOfATypeWaitsForTheAnswerAndOtherTypesNotForEver) {
  settle(kTwo);
  Target next = kTwo;
  next.clusters["a"] = "a2";
  next.routes["out"] = "r2";
  serve(next);
  EXPECT_EQ(arrives(), "clusters [a=a2]");
  next.clusters["a"] = "a3";
  serve(next);
  EXPECT_EQ(arrives(), "");
  EXPECT_EQ(session_->wake_at(now_), now_ + AdsSession::kAnswerWait);
  now_ += AdsSession::kAnswerWait;
  EXPECT_EQ(arrives(), "endpoints [a=ea1]");
  now_ += AdsSession::kAnswerWait;
  EXPECT_EQ(arrives(), "routes [out=r2]");
  now_ += 1h;
  send(XdsType::kCluster, {.subscribe = {"a"}});
  EXPECT_EQ(arrives(), "") << "what comes next depends on the answer";
}

TEST_F(AdsDeltaTest, AChangedClusterHearsItsEndpointsAgain) {
  settle(kTwo);
  Target next = kTwo;
  next.clusters["a"] = "a2";
  serve(next);
  EXPECT_EQ(arrives(), "clusters [a=a2]");
  accepts();
  EXPECT_EQ(arrives(), "endpoints [a=ea1]") << "and b does not";
  accepts();
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsDeltaTest, ASubscriptionIsAnsweredWithoutTheRestOfAChange) {
  settle(kTwo);
  Target next = kTwo;
  next.clusters["a"] = "a2";
  next.endpoints["b"] = "eb2";
  next.routes = {{"out", "r2"}, {"other", "o1"}};
  serve(next);
  EXPECT_EQ(arrives(), "clusters [a=a2]");
  send(XdsType::kRoutes, {.subscribe = {"other"}});
  EXPECT_EQ(arrives(), "routes [other=o1]") << "and not r2, which may need the new endpoints";
  accepts();
  send(XdsType::kCluster, {.nonce = "5"});
  EXPECT_EQ(arrives(), "endpoints [a=ea1 b=eb2]");
  accepts();
  EXPECT_EQ(arrives(), "routes [out=r2]");
}

}  // namespace
}  // namespace glia
