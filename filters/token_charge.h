// TokenCharge: what one request has taken of its budgets; MeteredBody: its answer, counted as it passes.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "proxy/admission/token_budget.h"
#include "proxy/base/bytes.h"
#include "proxy/flow/model_ask.h"
#include "proxy/http/body.h"
#include "proxy/model/answer_reader.h"
#include "proxy/net/loop.h"

namespace glia {

// What one request has taken. Whatever becomes of it, it is settled once; unless somebody says otherwise,
// with its input: the engine may have begun.
class TokenCharge {
 public:
  TokenCharge(std::shared_ptr<const TokenLedger> ledger, std::vector<TokenAccount> accounts,
              TokensAsked asked, const EventLoop& loop)
      : ledger_(std::move(ledger)), accounts_(std::move(accounts)), asked_(asked), loop_(loop) {}
  TokenCharge(const TokenCharge&) = delete;
  TokenCharge& operator=(const TokenCharge&) = delete;
  ~TokenCharge() { settle(asked_.input); }

  std::optional<TokenBook::Shortage> take() {
    const uint64_t most = std::min(asked_.all(), kMost);
    const auto shortage =
        ledger_->with([&](TokenBook& book) { return book.take(accounts_, most, loop_.now()); });
    if (shortage) {
      settled_ = true;
      const std::string& name = accounts_[shortage->account].budget->name;
      ledger_->count([&](auto& counts) { ++counts[name].refused; });
      return shortage;
    }
    taken_ = most;
    count(static_cast<int64_t>(most));
    return shortage;
  }
  // So many were used up to now, more than was taken: answers that did not say how long they get.
  void used(uint64_t tokens) {
    if (!settled_ && tokens > taken_) change(tokens);
  }
  void settle(uint64_t tokens) {
    if (!std::exchange(settled_, true)) change(tokens);
  }
  const TokensAsked& asked() const { return asked_; }
  uint64_t taken() const { return taken_; }
  std::span<const TokenAccount> accounts() const { return accounts_; }
  TokenStanding standing(const TokenAccount& account) const {
    return ledger_->with([&](TokenBook& book) { return book.standing(account, loop_.now()); });
  }

 private:
  // Far from what could overflow.
  static constexpr uint64_t kMost = uint64_t{1} << 50;

  void change(uint64_t tokens) {
    tokens = std::min(tokens, kMost);
    const int64_t more = static_cast<int64_t>(tokens) - static_cast<int64_t>(taken_);
    taken_ = tokens;
    if (more == 0) return;
    ledger_->with([&](TokenBook& book) { book.charge(accounts_, more, loop_.now()); });
    count(more);
  }
  void count(int64_t more) {
    ledger_->count([&](auto& counts) {
      for (const TokenAccount& account : accounts_) {
        TokenCounts& of = counts[account.budget->name];
        (more < 0 ? of.given_back : of.charged) += static_cast<uint64_t>(more < 0 ? -more : more);
      }
    });
  }

  const std::shared_ptr<const TokenLedger> ledger_;
  const std::vector<TokenAccount> accounts_;
  const TokensAsked asked_;
  const EventLoop& loop_;
  uint64_t taken_ = 0;
  bool settled_ = false;
};

// An answer that is counted while it passes. Of a stream that was asked for its usage in the client's
// name, the event that tells only that is left out: bytes of an event are held until it has ended.
class MeteredBody final : public Body, private AnswerWatcher {
 public:
  enum class Usage : uint8_t { kPass, kHide };
  static constexpr std::size_t kMostHeld = 64 * 1024;  // bytes; a longer event passes as it comes

  // `asked` outlives it.
  MeteredBody(std::unique_ptr<Body> body, std::unique_ptr<TokenCharge> charge,
              const ModelRequest& asked, const Headers& headers, Usage usage,
              const EventLoop& loop);
  // Also when the client leaves: what it has got, it has used.
  ~MeteredBody() override { charge_->settle(used()); }

  Piece poll() override;
  void wait(Waiter& waiter) override { body_->wait(waiter); }
  const Headers* trailers() const override { return body_->trailers(); }
  std::optional<uint64_t> length() const override {
    return usage_ == Usage::kHide ? std::nullopt : body_->length();
  }
  Error error() const override { return body_->error(); }

 private:
  void on_event(const AnswerEvent& event) override;
  void count(const Piece& piece);
  void pass(uint64_t end);
  Slice take_held(uint64_t end);
  uint64_t input() const;
  uint64_t used_at_least() const;
  uint64_t used() const;

  std::unique_ptr<Body> body_;
  std::unique_ptr<TokenCharge> charge_;
  const Usage usage_;
  AnswerReader reader_;
  const EventLoop& loop_;
  ByteQueue held_, ready_;
  Slice part_;                         // The rest of the first slice of held_.
  uint64_t held_from_ = 0, seen_ = 0;  // Positions in the body: of held_, and behind it.
  bool line_ended_ = false;            // By what was seen last, an empty line.
  char last_ = 0;
  std::optional<State> over_;
};

}  // namespace glia
