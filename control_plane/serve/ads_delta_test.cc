// The rules of incremental xDS, one test each, against a session in its delta variant.
#include <gtest/gtest.h>

#include "control_plane/serve/ads_session.h"
#include "control_plane/serve/ads_test_target.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using Names = std::vector<std::string>;
using Versions = std::map<std::string, std::string>;

// A proxy at the other end: verbs for what it does, and what reaches it as text.
class AdsDeltaTest : public testing::Test {
 protected:
  using Heard = AdsSession::Heard;

  void serve(const Target& target) {
    if (!session_) {
      session_.emplace(AdsVariant::kDelta, made(target));
    } else {
      session_->set_target(made(target), now_);
    }
  }
  struct Words {
    Names subscribe = {}, unsubscribe = {};
    std::string nonce = "", refusal = "";
    Versions held = {};
  };
  Heard send(XdsType type, const Words& words) {
    AdsSession::DeltaRequest request;
    request.set_type_url(std::string(type_url(type)));
    for (const std::string& name : words.subscribe) request.add_resource_names_subscribe(name);
    for (const std::string& name : words.unsubscribe) request.add_resource_names_unsubscribe(name);
    request.set_response_nonce(words.nonce);
    if (!words.refusal.empty()) request.mutable_error_detail()->set_message(words.refusal);
    for (const auto& [name, version] : words.held) {
      (*request.mutable_initial_resource_versions())[name] = version;
    }
    const Result<Heard> heard = session_->on_request(request, now_);
    EXPECT_TRUE(heard.ok());
    return *heard;
  }
  // What arrives next: "endpoints 1 [a=ea1] -[b]", or "" if nothing does.
  std::string arrives() {
    const std::optional<AdsPush> push = session_->next(now_);
    if (!push) return "";
    last_ = to_delta_response(*push);
    std::string text = cat(name_of(*xds_type(last_.type_url())), " [");
    for (const auto& one : last_.resources()) {
      EXPECT_EQ(one.version(), "v" + one.resource().value());
      text += cat(one.name(), "=", one.resource().value(), " ");
    }
    if (text.back() == ' ') text.pop_back();
    text += "]";
    if (last_.removed_resources_size() == 0) return text;
    text += " -[";
    for (const std::string& name : last_.removed_resources()) text += name + " ";
    text.back() = ']';
    return text;
  }
  void accepts() {
    EXPECT_EQ(send(*xds_type(last_.type_url()), {.nonce = last_.nonce()}), Heard::kAccepted);
  }
  void refuses(const std::string& why) {
    EXPECT_EQ(send(*xds_type(last_.type_url()), {.nonce = last_.nonce(), .refusal = why}),
              Heard::kRefused);
  }
  // A proxy that holds `target` whole.
  void settle(const Target& target) {
    serve(target);
    send(XdsType::kCluster, {});
    Names names;
    for (const auto& [name, content] : target.endpoints) names.push_back(name);
    send(XdsType::kEndpoints, {.subscribe = names});
    send(XdsType::kListener, {});
    names.clear();
    for (const auto& [name, content] : target.routes) names.push_back(name);
    send(XdsType::kRoutes, {.subscribe = names});
    for (int i = 0; i < 4; ++i) {
      ASSERT_NE(arrives(), "");
      accepts();
    }
    ASSERT_EQ(arrives(), "");
    now_ += AdsSession::kDrainWait;
  }
  AdsSession::KindStatus status_of(XdsType type) {
    for (const auto& kind : session_->status()) {
      if (kind.type == type) return kind;
    }
    ADD_FAILURE() << "never asked for";
    return {};
  }

  std::optional<AdsSession> session_;
  AdsSession::DeltaResponse last_;
  TimePoint now_{1000s};
};

const Target kTwo = {.clusters = {{"a", "a1"}, {"b", "b1"}},
                     .endpoints = {{"a", "ea1"}, {"b", "eb1"}},
                     .listeners = {{"in", "in1"}},
                     .routes = {{"out", "r1"}}};

std::string nobody(const std::string& cluster) {
  envoy::config::endpoint::v3::ClusterLoadAssignment none;
  none.set_cluster_name(cluster);
  none.add_endpoints();
  return none.SerializeAsString();
}

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

TEST_F(AdsDeltaTest, WhoComesBackWithEverythingIsHeardAndSentNothing) {
  serve(kTwo);
  send(XdsType::kCluster, {.held = {{"a", "va1"}, {"b", "vb1"}}});
  send(XdsType::kEndpoints, {.subscribe = {"a", "b"}, .held = {{"a", "vea1"}, {"b", "veb1"}}});
  send(XdsType::kListener, {.held = {{"in", "vin1"}}});
  send(XdsType::kRoutes, {.subscribe = {"out"}, .held = {{"out", "vr1"}}});
  for (const char* kind : {"clusters []", "endpoints []", "listeners []", "routes []"}) {
    EXPECT_EQ(arrives(), kind);
    accepts();
  }
  EXPECT_EQ(arrives(), "");
  EXPECT_EQ(status_of(XdsType::kCluster).accepted_version, "a1b1");
  EXPECT_EQ(status_of(XdsType::kCluster).sent_version, "a1b1");
  now_ += 1h;
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsDeltaTest, WhoComesBackIsSentWhatChangedInItsOrder) {
  serve({.clusters = {{"b", "b2"}, {"c", "c1"}},
         .endpoints = {{"b", "eb1"}, {"c", "ec1"}},
         .listeners = {{"in", "in1"}},
         .routes = {{"out", "r2"}}});
  send(XdsType::kCluster, {.held = {{"a", "va1"}, {"b", "vb1"}}});
  EXPECT_EQ(arrives(), "clusters []");
  accepts();
  EXPECT_EQ(arrives(), "clusters [b=b2 c=c1]") << "its routes may still choose a";
  send(XdsType::kEndpoints, {.subscribe = {"a", "b"}, .held = {{"a", "vea1"}, {"b", "veb1"}}});
  send(XdsType::kListener, {.held = {{"in", "vin1"}}});
  send(XdsType::kRoutes, {.subscribe = {"out"}, .held = {{"out", "vr1"}}});
  accepts();
  for (const char* kind : {"endpoints [b=eb1]", "listeners []", "routes []"}) {
    EXPECT_EQ(arrives(), kind) << "cluster b changed; and not yet the new routes";
    accepts();
  }
  EXPECT_EQ(arrives(), "") << "not before the endpoints of c are asked for";
  send(XdsType::kEndpoints, {.subscribe = {"c"}});
  EXPECT_EQ(arrives(), "endpoints [c=ec1]");
  accepts();
  EXPECT_EQ(arrives(), "routes [out=r2]");
  accepts();
  now_ += AdsSession::kDrainWait;
  EXPECT_EQ(arrives(), "clusters [] -[a]");
  accepts();
  EXPECT_EQ(arrives(), "endpoints [] -[a]");
}

TEST_F(AdsDeltaTest, WhoComesBackAndNeverAsksForRoutesLosesOldClustersAfterAWhile) {
  serve(kSmall);
  send(XdsType::kCluster, {.held = {{"a", "va1"}, {"old", "v1"}}});
  EXPECT_EQ(arrives(), "clusters []");
  accepts();
  EXPECT_EQ(arrives(), "");
  EXPECT_EQ(session_->wake_at(now_), now_ + AdsSession::kSubscribeWait);
  now_ += AdsSession::kSubscribeWait;
  EXPECT_EQ(arrives(), "clusters [] -[old]");
}

TEST_F(AdsDeltaTest, WhatWasHeldAndIsNotAskedForIsNotSpokenOf) {
  serve(kTwo);
  send(XdsType::kEndpoints, {.subscribe = {"a"}, .held = {{"a", "old"}, {"gone", "v1"}}});
  EXPECT_EQ(arrives(), "endpoints []");
  accepts();
  now_ += AdsSession::kSubscribeWait;
  EXPECT_EQ(arrives(), "endpoints [a=ea1]");
}

TEST_F(AdsDeltaTest, HeldVersionsCountInTheFirstRequestOnly) {
  settle(kTwo);
  send(XdsType::kRoutes, {.held = {{"out", "other"}}});
  EXPECT_EQ(arrives(), "");
}

TEST_F(AdsDeltaTest, WhatLivesForAWhileIsSpokenOfThreeTimesInThatTime) {
  serve(kTwo);
  session_->live_for(30s);
  settle(kTwo);
  EXPECT_EQ(last_.resources(0).ttl().seconds(), 30);
  const TimePoint until = *session_->wake_at(now_);
  EXPECT_LE(until, now_ + 10s);
  now_ = until;
  for (const XdsType type : kXdsTypes) {
    const std::optional<AdsPush> beat = session_->next(now_);
    ASSERT_TRUE(beat && beat->heartbeat);
    last_ = to_delta_response(*beat);
    ASSERT_EQ(last_.resources_size(), static_cast<int>(made(kTwo)->of(type).resources.size()));
    EXPECT_FALSE(last_.resources(0).has_resource());
    EXPECT_EQ(last_.resources(0).name(), made(kTwo)->of(type).resources.begin()->name);
    // It changes nothing, whatever the proxy says.
    send(type, {.nonce = last_.nonce(), .refusal = type == XdsType::kRoutes ? "what?" : ""});
    EXPECT_EQ(status_of(type).refusal, "");
  }
  EXPECT_EQ(arrives(), "");
  Target changed = kTwo;
  changed.routes["out"] = "r2";
  serve(changed);
  EXPECT_EQ(arrives(), "routes [out=r2]");
}

TEST_F(AdsDeltaTest, WhatWasRefusedIsNotKeptAliveButWhatIsHeldIs) {
  serve(kTwo);
  session_->live_for(30s);
  settle(kTwo);
  Target more = kTwo;
  more.clusters["c"] = "c1";
  serve(more);
  EXPECT_EQ(arrives(), "clusters [c=c1]");
  refuses("no");
  now_ += 10s;
  const std::optional<AdsPush> beat = session_->next(now_);
  ASSERT_TRUE(beat && beat->heartbeat);
  EXPECT_EQ(beat->resources.size(), 2u);
  EXPECT_EQ(status_of(XdsType::kCluster).refusal, "no");
}

TEST_F(AdsDeltaTest, WhoComesBackHearsAtOnceThatItsResourcesLiveOn) {
  serve(kTwo);
  session_->live_for(30s);
  send(XdsType::kCluster, {.held = {{"a", "va1"}, {"b", "old"}}});
  const std::optional<AdsPush> first = session_->next(now_);
  ASSERT_TRUE(first);
  send(XdsType::kCluster, {.nonce = first->nonce});
  const std::optional<AdsPush> beat = session_->next(now_ + 1s);
  ASSERT_TRUE(beat && beat->heartbeat);
  EXPECT_EQ(beat->resources.size(), 2u);
}

TEST_F(AdsDeltaTest, ManyChangesWhileAnAnswerIsOutBecomeOne) {
  settle(kTwo);
  Target next = kTwo;
  for (const char* content : {"r2", "r3", "r4"}) {
    next.routes["out"] = content;
    serve(next);
    if (content == std::string("r2")) EXPECT_EQ(arrives(), "routes [out=r2]");
    EXPECT_EQ(arrives(), "");
  }
  accepts();
  EXPECT_EQ(arrives(), "routes [out=r4]");
}

TEST_F(AdsDeltaTest, NamesAreBoundedOverAllRequestsOfAStream) {
  serve(kSmall);
  AdsSession::DeltaRequest request;
  request.set_type_url(std::string(type_url(XdsType::kEndpoints)));
  for (std::size_t i = 0; i < AdsTopic::kMostNames; ++i) {
    request.add_resource_names_subscribe(cat("x", i));
  }
  EXPECT_TRUE(session_->on_request(request, now_).ok());
  request.clear_resource_names_subscribe();
  request.add_resource_names_subscribe("one more");
  const auto heard = session_->on_request(request, now_);
  ASSERT_FALSE(heard.ok());
  EXPECT_EQ(heard.error().kind(), ErrorKind::kTooLarge);
}

TEST_F(AdsDeltaTest, HeldVersionsAreBounded) {
  serve(kSmall);
  AdsSession::DeltaRequest request;
  request.set_type_url(std::string(type_url(XdsType::kCluster)));
  for (std::size_t i = 0; i <= AdsTopic::kMostNames; ++i) {
    (*request.mutable_initial_resource_versions())[cat("x", i)] = "1";
  }
  ASSERT_FALSE(session_->on_request(request, now_).ok());
}

TEST_F(AdsDeltaTest, NoNameOfARequestMayBeLong) {
  const std::string name(AdsTopic::kLongestName + 1, 'x');
  AdsSession::DeltaRequest asked, unasked, held;
  asked.add_resource_names_subscribe(name);
  unasked.add_resource_names_unsubscribe(name);
  (*held.mutable_initial_resource_versions())[name] = "1";
  for (AdsSession::DeltaRequest* request : {&asked, &unasked, &held}) {
    session_.reset();
    serve(kSmall);
    request->set_type_url(std::string(type_url(XdsType::kCluster)));
    const auto heard = session_->on_request(*request, now_);
    ASSERT_FALSE(heard.ok()) << request->ShortDebugString().substr(0, 100);
    EXPECT_EQ(heard.error().kind(), ErrorKind::kTooLarge);
  }
}

// So that a proxy that answers late when it is sent again what it has refused knows that it is over.
TEST_F(AdsDeltaTest, AfterAChangeWasTakenBackWhoRefusedItIsToldThatAllIsAsItWas) {
  settle(kSmall);
  EXPECT_EQ(session_->word(now_), Trial::Word::kAccepted);
  Target bad = kSmall;
  bad.listeners["in"] = "in2";
  serve(bad);
  EXPECT_EQ(session_->word(now_), Trial::Word::kNothing);
  EXPECT_NE(arrives(), "");
  refuses("listener in: no");
  EXPECT_EQ(session_->word(now_), Trial::Word::kRefused);
  EXPECT_FALSE(session_->can_judge());
  session_->remind();
  serve(kSmall);
  EXPECT_EQ(arrives(), "listeners []");
  EXPECT_EQ(session_->word(now_), Trial::Word::kNothing);
  accepts();
  EXPECT_EQ(session_->word(now_), Trial::Word::kAccepted);
  EXPECT_TRUE(session_->can_judge());
}

}  // namespace
}  // namespace glia
