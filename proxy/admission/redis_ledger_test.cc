// A worker's way to Redis: a peer in the simulated network answers as the script would, or does not. What
// the script itself computes is seen with a real Redis (test/e2e/shared_budget_test.py).
#include "proxy/admission/redis_ledger.h"

#include <gtest/gtest.h>

#include <array>

#include "proxy/base/text.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

// Says what the test tells it to, and keeps what it hears.
class Peer final : public AcceptHandler, private Stream::Watcher {
 public:
  Peer(SimWorld& world, const std::string& ip) {
    acceptor_ = *world.host(ip).listen(*Address::ip(ip, 6379), {}, *this);
  }
  void say(std::string_view text) {
    while (!text.empty()) {
      const IoResult wrote = stream_->write({&text, 1});
      ASSERT_EQ(wrote.state, IoResult::State::kDone);
      text.remove_prefix(wrote.bytes);
    }
  }
  void closes() { stream_.reset(); }
  // What was heard since the last time.
  std::string heard() { return std::exchange(heard_, ""); }
  int connections() const { return connections_; }

 private:
  void on_accept(std::unique_ptr<Stream> stream) override {
    ++connections_;
    stream_ = std::move(stream);
    stream_->watch(*this);
  }
  void on_open() override {}
  void on_readable() override {
    std::array<char, 4096> bytes;
    for (;;) {
      const IoResult got = stream_->read(bytes);
      if (got.state != IoResult::State::kDone) return;
      heard_.append(bytes.data(), got.bytes);
    }
  }
  void on_writable() override {}
  void on_broken() override {}

  std::unique_ptr<Acceptor> acceptor_;
  std::unique_ptr<Stream> stream_;
  std::string heard_;
  int connections_ = 0;
};

constexpr char kLoaded[] = "$3\r\nsha\r\n";

struct Asked {
  bool over = false;
  std::optional<RedisLedger::Answer> answer;
};

Task<void> ask(RedisLedger& ledger, std::vector<TokenAccount> accounts, uint64_t tokens,
               Asked& asked) {
  asked.answer = co_await ledger.take(accounts, tokens);
  asked.over = true;
}

class RedisLedgerTest : public testing::Test {
 protected:
  RedisLedgerTest() {
    config_.address = "10.0.0.9:6379";
    budget_ = {.name = "minute", .tokens = 600};
  }
  void start() {
    ledger_.emplace(world_.loop(), world_.host("10.0.0.1"),
                    std::make_shared<const RedisConfig>(config_), "llm", counts_);
  }
  Asked& take(uint64_t tokens) {
    Asked& asked = asked_.emplace_back();
    tasks_.push_back(ask(*ledger_, {{"minute\na\n", &budget_}}, tokens, asked));
    tasks_.back().start();
    world_.run_for(5ms);
    return asked;
  }
  // Connected, and the script is loaded.
  void open() {
    start();
    Asked& first = take(1);
    peer_.say(kLoaded);
    world_.run_for(5ms);
    peer_.say("*4\r\n:0\r\n:0\r\n:599\r\n:100\r\n");
    world_.run_for(5ms);
    EXPECT_TRUE(first.over);
    peer_.heard();
  }

  SimWorld world_{1, {.short_read = 0, .short_write = 0}};
  Peer peer_{world_, "10.0.0.9"};
  RedisConfig config_;
  TokenBudget budget_;
  std::shared_ptr<const TokenLedger> counts_ = std::make_shared<const TokenLedger>();
  std::optional<RedisLedger> ledger_;
  std::deque<Asked> asked_;
  std::vector<Task<void>> tasks_;  // End before the ledger does.
};

TEST_F(RedisLedgerTest, TheFirstRequestWaitsForTheConnectionAndTheScript) {
  start();
  Asked& asked = take(100);
  EXPECT_FALSE(asked.over);
  EXPECT_TRUE(peer_.heard().starts_with("*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n"));
  peer_.say(kLoaded);
  world_.run_for(5ms);
  EXPECT_EQ(peer_.heard(),
            "*8\r\n$7\r\nEVALSHA\r\n$3\r\nsha\r\n$1\r\n1\r\n$20\r\nglia:{llm}:minute\na\n\r\n"
            "$3\r\n100\r\n$1\r\n1\r\n$3\r\n600\r\n$8\r\n60000000\r\n");
  peer_.say("*4\r\n:0\r\n:0\r\n:500\r\n:10000\r\n");
  world_.run_for(5ms);
  ASSERT_TRUE(asked.over && asked.answer);
  EXPECT_FALSE(asked.answer->shortage);
  EXPECT_EQ(asked.answer->standings.at(0).left, 500u);
  EXPECT_EQ(asked.answer->standings.at(0).full_in, 10s);
}

TEST_F(RedisLedgerTest, AShortageSaysWhichAndWhen) {
  open();
  Asked& asked = take(700);
  peer_.say("*4\r\n:1\r\n:2500\r\n:-3\r\n:60300\r\n");
  world_.run_for(5ms);
  ASSERT_TRUE(asked.answer && asked.answer->shortage);
  EXPECT_EQ(asked.answer->shortage->account, 0u);
  EXPECT_EQ(asked.answer->shortage->left, 0u);
  EXPECT_EQ(asked.answer->shortage->enough_in, 2500ms);
  EXPECT_TRUE(asked.answer->standings.at(0).owes);
}

TEST_F(RedisLedgerTest, QuestionsFollowEachOtherAndAnswersFindTheirs) {
  open();
  Asked& first = take(1);
  Asked& second = take(2);
  EXPECT_FALSE(first.over || second.over);
  peer_.say("*4\r\n:0\r\n:0\r\n:10\r\n:1\r\n*4\r\n:0\r\n:0\r\n:20\r\n:1\r\n");
  world_.run_for(5ms);
  EXPECT_EQ(first.answer->standings[0].left, 10u);
  EXPECT_EQ(second.answer->standings[0].left, 20u);
}

TEST_F(RedisLedgerTest, ARedisThatDoesNotAnswerIsWaitedForOnce) {
  open();
  Asked& first = take(1);
  world_.run_for(50ms);
  EXPECT_FALSE(first.over);
  world_.run_for(50ms);
  EXPECT_TRUE(first.over);
  EXPECT_FALSE(first.answer);
  EXPECT_EQ(counts_->redis_failures().value(), 1);
  Asked& second = take(1);
  EXPECT_TRUE(second.over);  // At once.
  // Later it is tried again, but not waited for until it has answered.
  world_.run_for(RedisLedger::kPause);
  Asked& third = take(1);
  EXPECT_TRUE(third.over);
  EXPECT_FALSE(third.answer);
  EXPECT_EQ(peer_.connections(), 2);
  peer_.say(kLoaded);
  world_.run_for(5ms);
  EXPECT_FALSE(take(1).over);
}

TEST_F(RedisLedgerTest, WhatATaskTookThatDoesNotWaitAnyMoreIsGivenBack) {
  open();
  take(100);
  tasks_.back().cancel();
  peer_.heard();
  peer_.say("*4\r\n:0\r\n:0\r\n:500\r\n:10000\r\n");
  world_.run_for(5ms);
  EXPECT_NE(peer_.heard().find("$4\r\n-100\r\n$1\r\n0\r\n"), std::string::npos);
}

TEST_F(RedisLedgerTest, ChargesWaitForRedisToComeBack) {
  open();
  peer_.closes();
  world_.run_for(5ms);
  const TokenAccount account{"minute\na\n", &budget_};
  ledger_->charge({&account, 1}, -70, nullptr);
  world_.run_for(RedisLedger::kPause);
  EXPECT_TRUE(take(1).over);
  peer_.heard();
  peer_.say(kLoaded);
  world_.run_for(5ms);
  EXPECT_NE(peer_.heard().find("$3\r\n-70\r\n$1\r\n0\r\n"), std::string::npos);
}

// Its filter is replaced while Redis is away.
TEST_F(RedisLedgerTest, ChargesOutliveTheWayThatKeptThem) {
  open();
  peer_.closes();
  world_.run_for(5ms);
  const TokenAccount account{"minute\na\n", &budget_};
  ledger_->charge({&account, 1}, -70, nullptr);
  tasks_.clear();
  start();
  take(1);
  peer_.heard();
  peer_.say(kLoaded);
  world_.run_for(5ms);
  const std::string heard = peer_.heard();
  const std::size_t kept = heard.find("$3\r\n-70\r\n$1\r\n0\r\n");
  EXPECT_NE(kept, std::string::npos);
  EXPECT_LT(kept, heard.find("$1\r\n1\r\n$1\r\n1\r\n"));  // Older than what waits.
  EXPECT_TRUE(counts_->take_untold("10.0.0.9:6379 glia:{llm}:").empty());
}

TEST_F(RedisLedgerTest, NoMoreIsLeftThanMayBe) {
  for (std::size_t i = 0; i <= TokenLedger::kMostUntold; ++i) counts_->leave("a", {"EVALSHA"});
  EXPECT_TRUE(counts_->take_untold("b").empty());
  EXPECT_EQ(counts_->take_untold("a").size(), TokenLedger::kMostUntold);
  EXPECT_TRUE(counts_->take_untold("a").empty());
}

TEST_F(RedisLedgerTest, NoMoreQuestionsWaitThanMay) {
  open();
  const TokenAccount account{"minute\na\n", &budget_};
  for (std::size_t i = 0; i < RedisLedger::kMostQuestions; ++i) {
    ledger_->charge({&account, 1}, 1, nullptr);
  }
  EXPECT_TRUE(take(1).over);
}

TEST_F(RedisLedgerTest, ErrorsAndForeignWordsMeanThatItIsAway) {
  for (const char* const text :
       {"-NOSCRIPT No matching script\r\n", "HTTP/1.1 400 Bad\r\n", "*2\r\n:0\r\n:0\r\n",
        "*4\r\n:9\r\n:0\r\n:1\r\n:1\r\n", "+OK\r\n"}) {
    tasks_.clear();
    open();
    Asked& asked = take(1);
    peer_.say(text);
    world_.run_for(5ms);
    EXPECT_TRUE(asked.over) << text;
    EXPECT_FALSE(asked.answer) << text;
  }
}

TEST_F(RedisLedgerTest, APasswordIsToldFirst) {
  config_.username = "glia";
  config_.password = "secret";
  start();
  Asked& asked = take(1);
  EXPECT_TRUE(
      peer_.heard().starts_with("*3\r\n$4\r\nAUTH\r\n$4\r\nglia\r\n$6\r\nsecret\r\n*3\r\n"));
  peer_.say("-WRONGPASS invalid username-password pair\r\n");
  world_.run_for(5ms);
  EXPECT_TRUE(asked.over);
  EXPECT_FALSE(asked.answer);
}

TEST_F(RedisLedgerTest, ANameIsResolved) {
  config_.address = "redis.example:6379";
  world_.fabric().name("redis.example", {"10.0.0.9"});
  start();
  take(1);
  EXPECT_EQ(peer_.connections(), 1);
  config_.address = "nobody.example:6379";
  tasks_.clear();
  start();
  EXPECT_TRUE(take(1).over);
}

}  // namespace
}  // namespace glia
