// All canaries of a mesh: what they order, publish and remember.
#include "control_plane/canary/canaries.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "proxy/base/text.h"

namespace glia {
namespace {

class FakeClock final : public Clock {
 public:
  TimePoint now() const override { return TimePoint(at); }
  WallTime wall_now() const override { return WallTime(std::chrono::hours(500'000) + at); }
  Duration at{0};
};

// A hundred requests a second to every cluster that is wanted, of which `errors` percent fail.
class FakeObservations final : public Observations {
 public:
  void want(std::vector<std::string> clusters) override { wanted = std::move(clusters); }
  Observed between(std::string_view cluster, TimePoint from, TimePoint to) const override {
    if (std::ranges::find(wanted, cluster) == wanted.end()) return {};
    const auto requests = static_cast<uint64_t>(100 * to_seconds(to - from));
    Observed all{{.requests = requests}, 1};
    const auto share = errors.find(cluster);
    all.errors = share == errors.end() ? 0 : requests * share->second / 100;
    for (uint64_t i = 0; i < requests; ++i) all.latency_ms.add(100 + double(i % 20));
    return all;
  }
  std::vector<std::string> wanted;
  std::map<std::string, uint64_t, std::less<>> errors;
};

class FakeQueries final : public MetricQueries {
 public:
  void ask(const Canary::Prometheus& whom, const std::string& query, Answered answered) override {
    asked.push_back(cat(whom.host, ":", whom.port, whom.path, " ", query));
    pending.push_back(std::move(answered));
  }
  void answer_all(double number) {
    for (const Answered& answered : std::exchange(pending, {})) answered(number);
  }
  std::vector<std::string> asked;
  std::vector<Answered> pending;
};

class FakeConfirmations final : public Confirmations {
 public:
  void ask(const Canary::Confirm& whom, std::string body, Answered answered) override {
    asked.push_back(cat(whom.host, " ", whom.port, " ", whom.path, " ", body));
    pending.push_back(std::move(answered));
  }
  void answer(Confirmation::Answer answer, const std::string& why = "") {
    const Answered next = std::move(pending.front());
    pending.erase(pending.begin());
    next({answer, why});
  }
  std::vector<std::string> asked;
  std::vector<Answered> pending;
};

std::string workload(std::string_view name, int host, std::string_view version) {
  return cat("---\napiVersion: glia.dev/v1\nkind: Workload\nmetadata: {name: ", name,
             ", labels: {app: classify, version: ", version, "}}\nspec: {address: 10.0.9.", host,
             ", ports: [{name: http, port: 8080, appPort: 8081}]}\n");
}
constexpr char kCanary[] = R"(---
apiVersion: glia.dev/v1
kind: Canary
metadata: {name: classify}
spec:
  targetRef: {name: classify}
  candidate: {labels: {version: v2}}
)";

ObjectSet objects(const std::string& canary) {
  LoadReport report = parse(
      {{"mesh.yaml",
        cat("apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: m}\n", workload("one", 1, "v1"),
            workload("two", 2, "v2"), workload("three", 3, "v3"),
            "---\napiVersion: v1\nkind: Service\nmetadata: {name: classify}\nspec: {selector: "
            "{app: classify}, ports: [{name: a, port: 80, targetPort: http}, {name: b, port: 81, "
            "targetPort: http}]}\n",
            canary)}});
  EXPECT_TRUE(report.ok()) << report.errors();
  return std::move(report.objects);
}

class CanariesTest : public testing::Test {
 protected:
  CanariesTest() {
    std::string pattern = testing::TempDir() + "canaries_XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    open();
  }
  ~CanariesTest() override {
    canaries_.reset();
    store_.reset();
    std::filesystem::remove_all(directory_);
  }
  // As glia-control does at its start.
  void open() {
    canaries_.reset();
    store_.reset();
    auto store = CanaryStore::open(directory_ + "/canaries.db");
    ASSERT_TRUE(store.ok()) << store.error().message();
    store_ = *std::move(store);
    auto canaries =
        Canaries::open(clock_, seen_, words_, queries_, *store_,
                       [this](const CanarySplits& splits) { published_.push_back(splits); });
    ASSERT_TRUE(canaries.ok()) << canaries.error().message();
    canaries_ = *std::move(canaries);
  }
  void pass(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      clock_.at += 1s;
      canaries_->tick();
    }
  }
  uint32_t weight() const { return published_.back().at("default/classify").weight; }

  std::string directory_;
  FakeClock clock_;
  FakeObservations seen_;
  FakeConfirmations words_;
  FakeQueries queries_;
  std::unique_ptr<CanaryStore> store_;
  std::unique_ptr<Canaries> canaries_;
  std::vector<CanarySplits> published_;
};

TEST_F(CanariesTest, AGoodVersionIsPromotedAndNothingMoreIsAsked) {
  canaries_->take(objects(kCanary));
  EXPECT_EQ(weight(), 10u);
  EXPECT_EQ(seen_.wanted, (std::vector<std::string>{
                              "candidate:80:classify.default", "candidate:81:classify.default",
                              "stable:80:classify.default", "stable:81:classify.default"}));
  pass(9);
  EXPECT_EQ(weight(), 10u);
  pass(1);
  EXPECT_EQ(weight(), 25u);
  pass(20);
  EXPECT_EQ(weight(), 100u);
  EXPECT_EQ(published_.size(), 4u);
  EXPECT_TRUE(seen_.wanted.empty());
}

TEST_F(CanariesTest, ARollbackIsOnePublication) {
  canaries_->take(objects(kCanary));
  pass(10);
  seen_.errors["candidate:81:classify.default"] = 20;  // Of one port.
  pass(10);
  EXPECT_EQ(weight(), 0u);
  EXPECT_EQ(published_.size(), 3u);
  EXPECT_TRUE(canaries_->find("classify")->state().reason.starts_with("Errors 10.0 % of 2000"))
      << canaries_->find("classify")->state().reason;
}

TEST_F(CanariesTest, WhatWasUnderWayAtARollbackIsCounted) {
  canaries_->take(objects(kCanary));
  seen_.errors["candidate:80:classify.default"] = 20;
  pass(10);
  EXPECT_EQ(weight(), 0u);
  EXPECT_EQ(canaries_->find("classify")->state().touched, 2000u);
  EXPECT_EQ(canaries_->find("classify")->candidate().requests, 2000u);
  pass(5);
  EXPECT_EQ(canaries_->find("classify")->state().touched, 3000u);
  EXPECT_EQ(canaries_->find("classify")->candidate().requests, 2000u) << "what it was judged by";
  pass(60);
  EXPECT_LE(canaries_->find("classify")->state().touched, 4000u);
  EXPECT_TRUE(seen_.wanted.empty());
}

TEST_F(CanariesTest, OneThatFailedAndIsHeldIsCountedFurther) {
  canaries_->take(objects(cat(kCanary, "  onFailure: Hold\n")));
  seen_.errors["candidate:80:classify.default"] = 20;
  pass(10);
  EXPECT_EQ(weight(), 10u);
  EXPECT_EQ(canaries_->find("classify")->state().phase, CanaryPhase::kFailed);
  pass(60);
  EXPECT_EQ(canaries_->find("classify")->state().touched, 14000u);
}

TEST_F(CanariesTest, ARestartInTheMiddleGoesOnThere) {
  canaries_->take(objects(kCanary));
  pass(10);
  EXPECT_EQ(weight(), 25u);
  published_.clear();
  open();
  canaries_->take(objects(kCanary));
  ASSERT_EQ(published_.size(), 1u);
  EXPECT_EQ(weight(), 25u);
  pass(20);
  EXPECT_EQ(weight(), 100u);
  open();
  canaries_->take(objects(kCanary));
  EXPECT_EQ(weight(), 100u);
  EXPECT_EQ(canaries_->find("default/classify")->state().phase, CanaryPhase::kPromoted);
}

TEST_F(CanariesTest, ACanaryThatIsGoneIsForgotten) {
  canaries_->take(objects(kCanary));
  pass(10);
  canaries_->take(objects(""));
  EXPECT_TRUE(published_.back().empty());
  EXPECT_TRUE(seen_.wanted.empty());
  canaries_->take(objects(kCanary));
  EXPECT_EQ(weight(), 10u);
  pass(10);
  open();
  canaries_->take(objects(""));  // It went while nobody ran.
  open();
  canaries_->take(objects(kCanary));
  EXPECT_EQ(weight(), 10u);
}

TEST_F(CanariesTest, AnotherVersionBeginsAnew) {
  canaries_->take(objects(kCanary));
  pass(30);
  EXPECT_EQ(weight(), 100u);
  std::string next = kCanary;
  next.replace(next.find("v2"), 2, "v3");
  canaries_->take(objects(next));
  EXPECT_EQ(weight(), 10u);
}

TEST_F(CanariesTest, CommandsAreForCanariesThatExist) {
  canaries_->take(objects(kCanary));
  const Result<void> wrong = canaries_->command("clasify", CanaryCommand::kAbort);
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().message(), "there is no canary clasify; there is default/classify");
  ASSERT_TRUE(canaries_->command("classify", CanaryCommand::kPause).ok());
  pass(60);
  EXPECT_EQ(weight(), 10u);
  ASSERT_TRUE(canaries_->command("default/classify", CanaryCommand::kAbort).ok());
  EXPECT_EQ(weight(), 0u);
  // What came meanwhile is not held against it.
  clock_.at += 1h;
  ASSERT_TRUE(canaries_->command("classify", CanaryCommand::kResume).ok());
  EXPECT_EQ(weight(), 10u);
  pass(10);
  EXPECT_EQ(weight(), 25u);
}

TEST_F(CanariesTest, WhoeverIsToConfirmHasTheLastWordBeforeEveryStep) {
  using Answer = Confirmation::Answer;
  canaries_->take(objects(cat(kCanary, "  confirm: {url: 'http://127.0.0.1:9000/a?b=c'}\n")));
  pass(10);
  EXPECT_EQ(weight(), 10u);
  ASSERT_EQ(words_.asked.size(), 1u);
  EXPECT_TRUE(words_.asked[0].starts_with(
      "127.0.0.1 9000 /a?b=c {\"canary\": \"default/classify\", \"versions\": \"Service classify: "
      "the rest -> version=v2\", \"from\": 10, \"to\": 25, \"reason\": \"Errors 0.00 % of 2000"))
      << words_.asked[0];
  pass(30);
  EXPECT_EQ(words_.asked.size(), 1u) << "one question at a time";
  words_.answer(Answer::kNone, "status 500");
  EXPECT_EQ(weight(), 10u);
  pass(10);
  ASSERT_EQ(words_.asked.size(), 2u);
  EXPECT_EQ(canaries_->find("classify")->state().reason,
            "waits for the word of http://127.0.0.1:9000/a?b=c, which did not answer: status 500");
  words_.answer(Answer::kYes);
  EXPECT_EQ(weight(), 25u);
  pass(10);
  words_.answer(Answer::kNo, "status 403: not today");
  EXPECT_EQ(weight(), 0u);
  EXPECT_EQ(canaries_->find("classify")->state().reason,
            "http://127.0.0.1:9000/a?b=c said no: status 403: not today");
}

TEST_F(CanariesTest, AWordThatComesTooLateChangesNothing) {
  canaries_->take(objects(cat(kCanary, "  confirm: {url: 'http://confirm.example/'}\n")));
  pass(10);
  ASSERT_EQ(words_.asked.size(), 1u);
  ASSERT_TRUE(canaries_->command("classify", CanaryCommand::kAbort).ok());
  words_.answer(Confirmation::Answer::kYes);
  EXPECT_EQ(weight(), 0u);
  ASSERT_TRUE(canaries_->command("classify", CanaryCommand::kResume).ok());
  pass(10);
  ASSERT_EQ(words_.asked.size(), 2u);
  canaries_->take(objects(""));
  words_.answer(Confirmation::Answer::kYes);
  EXPECT_TRUE(published_.back().empty());
}

TEST_F(CanariesTest, AStoreOfANewerProgramIsLeftAlone) {
  canaries_.reset();
  store_.reset();
  {
    Database database;
    ASSERT_TRUE(database.open(directory_ + "/canaries.db", "to begin anew").ok());
    ASSERT_TRUE(database.execute("PRAGMA user_version = 9").ok());
  }
  const auto store = CanaryStore::open(directory_ + "/canaries.db");
  ASSERT_FALSE(store.ok());
  EXPECT_NE(store.error().message().find("written by a newer glia-control"), std::string::npos);
}

TEST_F(CanariesTest, AWordOnAnalysisThatWasEditedSinceDoesNotCount) {
  const std::string confirmed = cat(kCanary, "  confirm: {url: 'http://confirm.example/'}\n");
  canaries_->take(objects(confirmed));
  pass(10);
  ASSERT_EQ(words_.asked.size(), 1u);
  canaries_->take(objects(cat(confirmed, "  analysis: {minimumRequests: 150}\n")));
  pass(10);
  ASSERT_EQ(words_.asked.size(), 2u);
  words_.answer(Confirmation::Answer::kYes);
  EXPECT_EQ(weight(), 10u);
  words_.answer(Confirmation::Answer::kYes);
  EXPECT_EQ(weight(), 25u);
}

TEST_F(CanariesTest, AsksPrometheusForEachInterval) {
  canaries_->take(objects(cat(kCanary,
                              "  analysis: {metrics: [{name: Value, maximum: 5, prometheus: "
                              "{address: 'http://p.example:9090/x', candidate: lag, stable: "
                              "lag_of_old}}]}\n")));
  pass(1);
  EXPECT_EQ(queries_.asked,
            (std::vector<std::string>{"p.example:9090/x lag", "p.example:9090/x lag_of_old"}));
  pass(9);
  EXPECT_EQ(canaries_->find("classify")->state().reason,
            "Value (Prometheus): http://p.example:9090/x has not answered in time");
  std::vector<MetricQueries::Answered> late = std::exchange(queries_.pending, {});
  late.resize(2);
  for (int i = 0; i < 4; ++i) {                         // Nobody answers the first.
    for (const auto& answered : late) answered(100.0);  // Of an earlier round.
    queries_.answer_all(4);
    pass(10);
  }
  EXPECT_EQ(weight(), 25u);
  ASSERT_TRUE(canaries_->command("classify", CanaryCommand::kAbort).ok());
  queries_.asked.clear();
  pass(60);
  EXPECT_TRUE(queries_.asked.empty());
}

}  // namespace
}  // namespace glia
