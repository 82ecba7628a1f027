// TokenCharge: what one request has taken of its budgets; MeteredBody: its answer, counted as it passes,
// and ended where that is asked for.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "proxy/admission/redis_ledger.h"
#include "proxy/admission/token_budget.h"
#include "proxy/base/bytes.h"
#include "proxy/flow/exchange.h"
#include "proxy/flow/model_ask.h"
#include "proxy/http/body.h"
#include "proxy/model/answer_reader.h"
#include "proxy/model/stream_end.h"
#include "proxy/net/loop.h"

namespace glia {

// What one request has taken. Whatever becomes of it, it is settled once; unless somebody says otherwise,
// with its input: the engine may have begun.
//
// The process' own book is kept in any case. Where a Redis holds the budgets, that decides, and is told what
// this takes and gives back; so the own book is near the truth when Redis is away.
class TokenCharge final : private RedisLedger::Asker {
 public:
  // `redis` may be null, and outlives it.
  TokenCharge(std::shared_ptr<const TokenLedger> ledger, RedisLedger* redis,
              std::vector<TokenAccount> accounts, TokensAsked asked, const EventLoop& loop);
  TokenCharge(const TokenCharge&) = delete;
  TokenCharge& operator=(const TokenCharge&) = delete;
  ~TokenCharge();

  // Says what is short if that cannot be taken; then nothing is. The charge outlives the task.
  enum class Door : uint8_t { kOpen, kShort, kRedisAway };
  Task<Door> take();
  const TokenBook::Shortage& shortage() const { return *shortage_; }
  // So many were used up to now, more than was taken: answers that did not say how long they get.
  void used(uint64_t tokens) {
    if (!settled_ && tokens > taken_) change(tokens);
  }
  void settle(uint64_t tokens);
  const TokensAsked& asked() const { return asked_; }
  uint64_t taken() const { return taken_; }
  std::span<const TokenAccount> accounts() const { return accounts_; }
  TokenStanding standing(std::size_t account) const;
  // Is a stream to be ended by one of the budgets, however long it gets?
  bool stops() const;
  // The budget that ends a stream with so much output by now; null: none does.
  const TokenBudget* stopped_by(uint64_t output) const;
  void count_stop(const TokenBudget& budget);

 private:
  // Far from what could overflow.
  static constexpr uint64_t kMost = uint64_t{1} << 50;

  Door take_locally();
  void taken(uint64_t tokens);
  void change(uint64_t tokens);
  void tell_redis(Asker* asker);
  void on_answer(std::optional<RedisLedger::Answer> answer) override;
  void count(int64_t more);

  const std::shared_ptr<const TokenLedger> ledger_;
  RedisLedger* redis_;  // Null once it is known to be away, or if there is none.
  const std::vector<TokenAccount> accounts_;
  const TokensAsked asked_;
  const EventLoop& loop_;
  std::optional<TokenBook::Shortage> shortage_;
  uint64_t reserved_ = 0, taken_ = 0;
  uint64_t told_ = 0;                     // Of taken_, what Redis knows.
  bool telling_ = false;                  // It has not answered the last time yet.
  std::vector<TokenStanding> standings_;  // As Redis said last.
  bool settled_ = false;
};

// An answer that is counted while it passes. Of a stream that was asked for its usage in the client's
// name, the event that tells only that is left out: bytes of an event are held until it has ended. So are
// those of a stream that its budgets may end: it ends between two events, in the words of its dialect, and
// its server is told at once.
class MeteredBody final : public Body, private AnswerWatcher {
 public:
  enum class Usage : uint8_t { kPass, kHide };
  enum class Input : uint8_t { kPays, kPaid };         // kPaid: by another copy of the request.
  static constexpr std::size_t kMostHeld = 64 * 1024;  // bytes; a longer event passes as it comes

  // `exchange` outlives it.
  MeteredBody(Exchange& exchange, std::unique_ptr<Body> body, std::unique_ptr<TokenCharge> charge,
              const Headers& headers, Usage usage, Input input = Input::kPays);
  // Also when the client leaves: what it has got, it has used.
  ~MeteredBody() override { charge_->settle(used()); }

  Piece poll() override;
  void wait(Waiter& waiter) override { body_->wait(waiter); }
  const Headers* trailers() const override {
    return body_ != nullptr ? body_->trailers() : nullptr;
  }
  std::optional<uint64_t> length() const override {
    return holds_ ? std::nullopt : body_->length();
  }
  Error error() const override;

 private:
  void on_event(const AnswerEvent& event) override;
  void count(const Piece& piece);
  void cut();
  std::string why_cut() const;
  void pass(uint64_t end);
  Slice take_held(uint64_t end);
  uint64_t input() const;
  uint64_t used_at_least() const;
  uint64_t used() const;

  Exchange& exchange_;
  std::unique_ptr<Body> body_;  // Null once the stream was ended before its server ended it.
  std::unique_ptr<TokenCharge> charge_;
  const Usage usage_;
  const Input input_;
  const bool stops_, holds_;
  AnswerReader reader_;
  std::optional<StreamEnd> end_;              // Where the dialect has such an end.
  const TokenBudget* stopped_by_ = nullptr;   // This budget ends the stream,
  uint64_t used_then_ = 0, output_then_ = 0;  // when so much was used; of that, output.
  ByteQueue held_, ready_;
  Slice part_;                         // The rest of the first slice of held_.
  uint64_t held_from_ = 0, seen_ = 0;  // Positions in the body: of held_, and behind it.
  bool line_ended_ = false;            // By what was seen last, an empty line.
  char last_ = 0;
  std::optional<State> over_;
};

}  // namespace glia
