// RedisLedger: one worker's way to a Redis that holds the buckets of many processes, so that a budget is
// one for the whole mesh. The arithmetic is TokenBook's, in a script that Redis runs as one step, by
// Redis' own clock.
//
// One connection, on which questions follow each other without waiting (pipelining); Redis answers in
// order. Nothing blocks: who asks sleeps until the answer is there or `timeout` has passed. Then Redis is
// away: it is not waited for again until a new connection has proved that it answers, and the
// configuration says what becomes of requests meanwhile.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/admission/resp.h"
#include "proxy/admission/token_budget.h"
#include "proxy/base/bytes.h"
#include "proxy/base/task.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

class RedisLedger final : private Stream::Watcher, private Flushable, private Timer {
 public:
  static constexpr std::size_t kMostQuestions = 10'000;  // That wait for their answers.
  static constexpr std::size_t kMostKept = 1'000;  // Charges that wait for Redis to come back.
  static constexpr Duration kPause = 1s;           // Before a new connection is tried.

  struct Answer {
    std::optional<TokenBook::Shortage> shortage;
    std::vector<TokenStanding> standings;  // Of the accounts, in their order, afterwards.
  };
  // Who asks and does not sleep; told once, from the top of the loop. Nothing: Redis is away.
  class Asker {
   public:
    virtual void on_answer(std::optional<Answer> answer) = 0;

   protected:
    ~Asker() = default;
  };

  // `loop` and `network` outlive it. Keys begin with `share`.
  RedisLedger(EventLoop& loop, Network& network, std::shared_ptr<const RedisConfig> config,
              std::string share, std::shared_ptr<const TokenLedger> counts);
  RedisLedger(const RedisLedger&) = delete;
  // What has not been written yet is tried once more; what was kept goes to `counts`, and from there to
  // the next way to the same share.
  ~RedisLedger();
  const RedisConfig& config() const { return *config_; }

  // As TokenBook::take(). If the caller's task ends before the answer comes, what was taken is given back.
  Task<std::optional<Answer>> take(std::span<const TokenAccount> accounts, uint64_t tokens);
  // As TokenBook::charge(); kept for later while Redis is away. `asker` (may be null) is told how the
  // accounts stand then, until it is forgotten.
  void charge(std::span<const TokenAccount> accounts, int64_t more, Asker* asker);
  void forget(const Asker& asker);

 private:
  enum class State : uint8_t { kAway, kConnecting, kGreeting, kOpen };
  using Words = std::vector<std::string>;
  struct Question {
    Asker* asker = nullptr;  // Null: nobody waits for the answer any more.
    Words words = {};        // Empty once they were sent.
    Words undo = {};         // What gives back what this takes; empty: it is no taking.
    TimePoint until = {};
  };
  class Sleeper;

  Words words_for(std::span<const TokenAccount> accounts, int64_t more, bool at_the_door) const;
  std::string share() const;  // With the Redis that holds it.
  bool ask(Question question);
  void keep(Words words);
  void send(Question& question);
  void connect();
  Task<void> resolve();
  void open(const Address& address);
  void greet();
  void break_off(std::string_view why);
  void take_reply(const RespValue& reply);
  void take_greeting(const RespValue& reply);

  void on_open() override;
  void on_readable() override;
  void on_writable() override;
  void on_broken() override;
  void produce() override {}
  void flush() override;
  void fire() override;
  bool write_some();

  Network& network_;
  const std::shared_ptr<const RedisConfig> config_;
  const std::string prefix_;
  const std::shared_ptr<const TokenLedger> counts_;

  State state_ = State::kAway;
  bool tried_ = false;  // The first connection came to something; only that one is waited for.
  bool told_ = false;   // The log knows that it is away.
  TimePoint again_at_{};
  Task<void> resolving_;
  std::unique_ptr<Stream> stream_;
  int greetings_ = 0;   // Replies that have to come before questions may go.
  std::string script_;  // Its name, as Redis said it.
  RespReader in_;
  ByteQueue out_;
  std::deque<Question> questions_;  // In the order of their answers.
  std::deque<Words> kept_;
};

}  // namespace glia
