// A session in its delta variant, and a proxy at its other end, for tests of incremental xDS.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control_plane/serve/ads_session.h"
#include "control_plane/serve/ads_test_target.h"
#include "proxy/base/text.h"

namespace glia {

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

inline const Target kTwo = {.clusters = {{"a", "a1"}, {"b", "b1"}},
                            .endpoints = {{"a", "ea1"}, {"b", "eb1"}},
                            .listeners = {{"in", "in1"}},
                            .routes = {{"out", "r1"}}};

}  // namespace glia
