// Incremental xDS: who comes back, what lives for a while only, and what is bounded.
#include "control_plane/serve/ads_delta_test_support.h"

namespace glia {
namespace {

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
