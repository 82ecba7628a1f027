// Lists and watches against an API server that does all that real ones do: pages, bookmarks, forgotten versions,
// silence, refusals, nonsense.
#include "control_plane/kubernetes/resource_watch.h"

#include <gtest/gtest.h>

#include <map>

#include "control_plane/kubernetes/api_server_test_support.h"

namespace glia {
namespace {

std::string object(std::string_view name, std::string_view version) {
  return cat(R"({"metadata": {"namespace": "a", "name": ")", name, R"(", "resourceVersion": ")",
             version, R"("}})");
}
std::string list(std::string_view version, std::string_view items, std::string_view more = "") {
  return cat(R"({"kind": "PodList", "metadata": {"resourceVersion": ")", version,
             R"(", "continue": ")", more, R"("}, "items": [)", items, "]}");
}
std::string event(std::string_view type, std::string_view what) {
  return cat(R"({"type": ")", type, R"(", "object": )", what, "}\n");
}
constexpr char kGone[] =
    R"({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"})";

class ResourceWatchTest : public testing::Test, private ResourceWatch::Owner {
 protected:
  void start() { watch_.start(); }
  void settle(Duration time = 1s) { world_.run_for(time); }
  // "name@version name@version"
  std::string held() const {
    std::string out;
    for (const auto& [name, version] : held_) {
      out += cat(out.empty() ? "" : " ", name, "@", version);
    }
    return out;
  }
  std::string last() const { return server_.asked.empty() ? "" : server_.asked.back().path; }
  bool asked(std::string_view part) const { return last().find(part) != std::string::npos; }
  // Since world_.fabric().record().
  int connects() {
    int count = 0;
    const std::string events = world_.fabric().transcript();
    for (std::size_t at = 0; (at = events.find(" connect ", at)) != events.npos; ++at) ++count;
    return count;
  }
  void watch_begins(std::string_view events = "") {
    server_.will_say({.status = 200, .body = std::string(events), .stays = true});
  }

  SimWorld world_{1};
  SimApiServer server_{world_};
  ApiServer api_{world_.loop(), world_.host("10.0.0.2"), SimApiServer::access()};
  ResourceWatch watch_{api_, {"", "v1", "pods", "Pod", "fieldSelector=x"}, 7, *this};

 private:
  void on_object(const Resource&, const Json& object) override {
    held_[text_at(object["metadata"], "name")] = text_at(object["metadata"], "resourceVersion");
  }
  void on_gone(const Resource&, const std::string& ns, const std::string& name) override {
    EXPECT_EQ(ns, "a");
    held_.erase(name);
  }
  std::map<std::string, std::string> held_;
};

TEST_F(ResourceWatchTest, ListsInPagesAndWatchesFromThere) {
  server_.will_say({.body = list("100", object("one", "5"), "next/1")});
  server_.will_say({.body = list("100", object("two", "6"))});
  watch_begins();
  start();
  settle();
  EXPECT_EQ(held(), "one@5 two@6");
  EXPECT_TRUE(watch_.settled());
  ASSERT_EQ(server_.asked.size(), 3u);
  EXPECT_EQ(server_.asked[0].path, "/api/v1/pods?limit=500&fieldSelector=x");
  EXPECT_EQ(server_.asked[0].authorization, "Bearer secret");
  EXPECT_EQ(server_.asked[1].path, "/api/v1/pods?limit=500&fieldSelector=x&continue=next%2F1");
  EXPECT_TRUE(asked("?watch=1&allowWatchBookmarks=true&resourceVersion=100&timeoutSeconds="));
}

TEST_F(ResourceWatchTest, FollowsWhatBecomesOfThem) {
  server_.will_say({.body = list("100", object("one", "5"))});
  watch_begins(event("ADDED", object("two", "101")));
  start();
  settle();
  EXPECT_EQ(held(), "one@5 two@101");
  // An event may come in pieces.
  const std::string changed = event("MODIFIED", object("one", "102"));
  server_.tell(changed.substr(0, 30));
  settle();
  EXPECT_EQ(held(), "one@5 two@101");
  server_.tell(changed.substr(30) + event("DELETED", object("two", "103")));
  settle();
  EXPECT_EQ(held(), "one@102");
}

TEST_F(ResourceWatchTest, AWatchThatEndsGoesOnFromTheLastBookmark) {
  server_.will_say({.body = list("100", object("one", "5"))});
  watch_begins();
  start();
  settle(10s);
  server_.tell(event("BOOKMARK", R"({"metadata": {"resourceVersion": "250"}})"));
  settle();
  watch_begins();
  server_.end_watch();
  settle();
  EXPECT_TRUE(asked("watch=1")) << last();
  EXPECT_TRUE(asked("resourceVersion=250")) << last();
  EXPECT_EQ(held(), "one@5");
  EXPECT_EQ(server_.asked.size(), 3u);  // One list.
}

TEST_F(ResourceWatchTest, AForgottenVersionMeansANewListAndNobodyIsMissedMeanwhile) {
  server_.will_say({.body = list("100", cat(object("one", "5"), ",", object("two", "6")))});
  watch_begins();
  start();
  settle();
  server_.tell(event("ERROR", kGone));
  settle(5s);  // The list is asked for and not answered yet.
  EXPECT_TRUE(asked("?limit=500")) << last();
  EXPECT_EQ(held(), "one@5 two@6");
  server_.will_say({.body = list("200", object("three", "150"), "more")});
  settle(5s);
  EXPECT_EQ(held(), "one@5 three@150 two@6");
  server_.will_say({.body = list("200", object("two", "6"))});
  watch_begins();
  settle(5s);
  EXPECT_EQ(held(), "three@150 two@6");
  EXPECT_TRUE(asked("resourceVersion=200")) << last();
}

TEST_F(ResourceWatchTest, A410AsAnAnswerIsTheSame) {
  server_.will_say({.body = list("100", object("one", "5"))});
  server_.will_say({.status = 410, .body = kGone});
  server_.will_say({.body = list("300", object("two", "250"))});
  watch_begins();
  start();
  settle(5s);
  EXPECT_EQ(held(), "two@250");
}

TEST_F(ResourceWatchTest, APageThatCameTooLateBeginsANewList) {
  server_.will_say({.body = list("100", object("one", "5"), "next")});
  server_.will_say({.status = 410, .body = kGone});
  server_.will_say({.body = list("300", object("two", "250"))});
  watch_begins();
  start();
  settle(5s);
  EXPECT_FALSE(server_.asked[2].path.find("continue") != std::string::npos);
  EXPECT_TRUE(watch_.settled());
  EXPECT_EQ(watch_.objects(), 1u);
}

TEST_F(ResourceWatchTest, WhatMayNotBeSeenIsSaidWithWhatToGrantAndIsAskedForSeldom) {
  for (int i = 0; i < 20; ++i) {
    server_.will_say(
        {.status = 403, .body = R"({"kind": "Status", "message": "pods is forbidden"})"});
  }
  start();
  settle();
  EXPECT_TRUE(watch_.settled());  // The rest of the mesh need not wait.
  EXPECT_EQ(
      watch_.trouble(),
      "may not list pods (status 403: pods is forbidden); grant the service account the verbs "
      "list and watch on pods of the API group \"\": kubectl apply -f rbac.yaml");
  settle(5min);
  EXPECT_LE(server_.asked.size(), 8u);
  EXPECT_GE(server_.asked.size(), 5u);
}

TEST_F(ResourceWatchTest, AKindThatTheClusterDoesNotKnowIsNoReasonToWait) {
  server_.will_say({.status = 404, .body = "404 page not found\n"});
  start();
  settle();
  EXPECT_TRUE(watch_.settled());
  EXPECT_NE(watch_.trouble().find("install its CustomResourceDefinition"), std::string::npos);
}

TEST_F(ResourceWatchTest, AServerThatIsAwayIsTriedAgainMoreAndMoreSeldomAndNothingIsForgotten) {
  server_.will_say({.body = list("100", object("one", "5"))});
  watch_begins();
  start();
  settle();
  world_.fabric().record();
  world_.fabric().kill(SimApiServer::kIp);
  settle(10min);
  EXPECT_EQ(held(), "one@5");
  EXPECT_FALSE(watch_.trouble().empty());
  EXPECT_EQ(server_.asked.size(), 2u);
  // A wait is half to whole of what is due: 200 ms first, twice that each time.
  EXPECT_GE(connects(), 10min / ResourceWatch::kLastRetry);
  EXPECT_LE(connects(), 10min / (ResourceWatch::kLastRetry / 2) + 8);

  world_.fabric().revive(SimApiServer::kIp);
  watch_begins(event("ADDED", object("two", "101")));
  settle(ResourceWatch::kLastRetry + 1s);
  EXPECT_TRUE(asked("resourceVersion=100")) << last();
  EXPECT_EQ(server_.asked.size(), 3u);
  EXPECT_EQ(held(), "one@5 two@101");
}

TEST_F(ResourceWatchTest, BeforeTheFirstListAServerThatIsAwayIsWaitedFor) {
  server_.will_say({.status = 500, .body = "not ready"});
  server_.will_say({.status = 503, .body = ""});
  start();
  settle(100ms);
  EXPECT_FALSE(watch_.settled());
  server_.will_say({.body = list("100", object("one", "5"))});
  watch_begins();
  settle(5s);
  EXPECT_TRUE(watch_.settled());
  EXPECT_EQ(watch_.trouble(), "");
  EXPECT_EQ(held(), "one@5");
}

TEST_F(ResourceWatchTest, ASilentWatchIsOpenedAgain) {
  server_.will_say({.body = list("100", object("one", "5"))});
  watch_begins();
  start();
  settle(ResourceWatch::kSilence / 2);
  EXPECT_EQ(server_.asked.size(), 2u);
  watch_begins();
  settle(ResourceWatch::kSilence);
  EXPECT_EQ(server_.asked.size(), 3u);
  EXPECT_TRUE(asked("resourceVersion=100"));
}

TEST_F(ResourceWatchTest, AServerThatAnswersNothingIsGivenUp) {
  start();
  settle(ApiServer::kAnswerTime + 2s);
  EXPECT_NE(watch_.trouble().find("was silent for 30000 ms"), std::string::npos)
      << watch_.trouble();
  server_.will_say({.body = list("100", object("one", "5"))});
  server_.will_say({.body = list("100", object("one", "5"))});
  watch_begins();
  settle(60s);
  EXPECT_EQ(held(), "one@5");
}

TEST_F(ResourceWatchTest, NonsenseInAWatchMeansANewList) {
  server_.will_say({.body = list("100", object("one", "5"))});
  watch_begins("this is no JSON\n");
  server_.will_say({.body = list("200", object("two", "150"))});
  watch_begins();
  start();
  settle(5s);
  EXPECT_EQ(held(), "two@150");
}

TEST_F(ResourceWatchTest, AnEventWithoutAnEndIsGivenUp) {
  server_.will_say({.body = list("100", object("one", "5"))});
  watch_begins(std::string(ResourceWatch::kLongestEvent + 1, 'x'));
  server_.will_say({.body = list("200", object("two", "150"))});
  watch_begins();
  start();
  settle(20s);
  EXPECT_EQ(held(), "two@150");
}

TEST_F(ResourceWatchTest, AWatchThatEndsAtOnceAgainAndAgainIsNoLoop) {
  server_.will_say({.body = list("100", object("one", "5"))});
  for (int i = 0; i < 1000; ++i) server_.will_say({.body = ""});
  start();
  settle(60s);
  EXPECT_LT(server_.asked.size(), 20u);
}

TEST_F(ResourceWatchTest, MoreObjectsThanTheLimitAreLeftOut) {
  std::string items;
  for (std::size_t i = 0; i < ResourceWatch::kMostObjects + 10; ++i) {
    items += cat(i == 0 ? "" : ",", object(cat("pod-", i), "1"));
  }
  server_.will_say({.body = list("100", items)});
  watch_begins();
  start();
  settle(60s);
  EXPECT_EQ(watch_.objects(), ResourceWatch::kMostObjects);
}

}  // namespace
}  // namespace glia
