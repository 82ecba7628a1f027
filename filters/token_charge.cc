#include "filters/token_charge.h"

#include "proxy/base/text.h"

namespace glia {

// --- TokenCharge ---------------------------------------------------------------------------------

TokenCharge::TokenCharge(std::shared_ptr<const TokenLedger> ledger, RedisLedger* redis,
                         std::vector<TokenAccount> accounts, TokensAsked asked,
                         const EventLoop& loop)
    : ledger_(std::move(ledger)),
      redis_(redis),
      accounts_(std::move(accounts)),
      asked_(asked),
      loop_(loop),
      reserved_(std::min(asked_.all(), kMost)) {}

TokenCharge::~TokenCharge() {
  settle(asked_.input);
  if (redis_ != nullptr) redis_->forget(*this);
}

Task<TokenCharge::Door> TokenCharge::take() {
  if (redis_ == nullptr) co_return take_locally();
  settled_ = true;  // Until it is known that something was taken.
  const std::optional<RedisLedger::Answer> answer = co_await redis_->take(accounts_, reserved_);
  if (!answer) {
    const RedisConfig::WhenAway then = redis_->config().when_away;
    redis_ = nullptr;
    ledger_->without_redis().add(1);
    if (then == RedisConfig::WhenAway::kRefuse) co_return Door::kRedisAway;
    if (then == RedisConfig::WhenAway::kLocal) {
      settled_ = false;
      co_return take_locally();
    }
  } else {
    standings_ = answer->standings;
    if (answer->shortage) {
      shortage_ = answer->shortage;
      const std::string& name = accounts_[shortage_->account].budget->name;
      ledger_->count([&](auto& counts) { ++counts[name].refused; });
      co_return Door::kShort;
    }
    told_ = reserved_;
  }
  settled_ = false;
  ledger_->with([&](TokenBook& book) {
    book.charge(accounts_, static_cast<int64_t>(reserved_), loop_.now());
  });
  taken(reserved_);
  co_return Door::kOpen;
}

TokenCharge::Door TokenCharge::take_locally() {
  shortage_ =
      ledger_->with([&](TokenBook& book) { return book.take(accounts_, reserved_, loop_.now()); });
  if (shortage_) {
    settled_ = true;
    const std::string& name = accounts_[shortage_->account].budget->name;
    ledger_->count([&](auto& counts) { ++counts[name].refused; });
    return Door::kShort;
  }
  taken(reserved_);
  return Door::kOpen;
}

void TokenCharge::taken(uint64_t tokens) {
  taken_ = tokens;
  count(static_cast<int64_t>(tokens));
}

void TokenCharge::settle(uint64_t tokens) {
  if (std::exchange(settled_, true)) return;
  change(tokens);
  if (redis_ != nullptr) tell_redis(nullptr);
}

void TokenCharge::change(uint64_t tokens) {
  tokens = std::min(tokens, kMost);
  const int64_t more = static_cast<int64_t>(tokens) - static_cast<int64_t>(taken_);
  taken_ = tokens;
  if (more == 0) return;
  ledger_->with([&](TokenBook& book) { book.charge(accounts_, more, loop_.now()); });
  count(more);
  // One question at a time: a stream has a thousand events, and Redis need not hear of each.
  if (redis_ != nullptr && !settled_ && !telling_) tell_redis(this);
}

void TokenCharge::tell_redis(Asker* asker) {
  const int64_t more = static_cast<int64_t>(taken_) - static_cast<int64_t>(told_);
  if (more == 0) return;
  told_ = taken_;
  telling_ = asker != nullptr;
  redis_->charge(accounts_, more, asker);
}

void TokenCharge::on_answer(std::optional<RedisLedger::Answer> answer) {
  telling_ = false;
  // Else it is away: what it does not know yet is told at the end.
  if (answer) standings_ = std::move(answer->standings);
  if (answer && !settled_) tell_redis(this);
}

TokenStanding TokenCharge::standing(std::size_t account) const {
  if (account < standings_.size()) return standings_[account];
  return ledger_->with(
      [&](TokenBook& book) { return book.standing(accounts_[account], loop_.now()); });
}

bool TokenCharge::stops() const {
  return std::ranges::any_of(accounts_, [](const TokenAccount& account) {
    return account.budget->stop != TokenBudget::Stop::kNever;
  });
}

const TokenBudget* TokenCharge::stopped_by(uint64_t output) const {
  for (std::size_t i = 0; i < accounts_.size(); ++i) {
    const TokenBudget& budget = *accounts_[i].budget;
    if (budget.stop == TokenBudget::Stop::kAtReservation && output > asked_.output) return &budget;
    if (budget.stop != TokenBudget::Stop::kWhenEmpty || taken_ <= reserved_) continue;
    if (standing(i).owes) return &budget;
  }
  return nullptr;
}

void TokenCharge::count_stop(const TokenBudget& budget) {
  ledger_->count([&](auto& counts) { ++counts[budget.name].stopped; });
}

void TokenCharge::count(int64_t more) {
  ledger_->count([&](auto& counts) {
    for (const TokenAccount& account : accounts_) {
      TokenCounts& of = counts[account.budget->name];
      (more < 0 ? of.given_back : of.charged) += static_cast<uint64_t>(more < 0 ? -more : more);
    }
  });
}

// --- MeteredBody ---------------------------------------------------------------------------------

namespace {

// Only a stream whose events can be told from each other can end between two of them.
bool has_events(const Headers& headers) {
  const std::string_view type = headers.get("content-type").value_or("");
  const auto encoding = headers.get("content-encoding");
  return type.starts_with("text/event-stream") &&
         (!encoding || equal_no_case(*encoding, "identity"));
}

}  // namespace

MeteredBody::MeteredBody(Exchange& exchange, std::unique_ptr<Body> body,
                         std::unique_ptr<TokenCharge> charge, const Headers& headers, Usage usage,
                         Input input)
    : exchange_(exchange),
      body_(std::move(body)),
      charge_(std::move(charge)),
      usage_(usage),
      input_(input),
      stops_(charge_->stops() && has_events(headers)),
      holds_(usage == Usage::kHide || stops_),
      reader_(*exchange.model(), headers, holds_ ? this : nullptr) {
  if (stops_ && StreamEnd::known(*exchange.model())) end_.emplace(*exchange.model());
}

Body::Piece MeteredBody::poll() {
  if (!holds_) {
    Piece piece = body_->poll();
    count(piece);
    return piece;
  }
  while (ready_.empty() && !over_) {
    Piece piece = body_->poll();
    if (piece.state == State::kPending) return piece;
    if (piece.state == State::kData) {
      held_.append(piece.data);
      seen_ += piece.data.size();
      count(piece);
      if (stopped_by_ != nullptr) {
        cut();
      } else if (line_ended_ || seen_ - held_from_ > kMostHeld) {
        // No event is open: comments that keep a connection alive must not wait for the next one.
        pass(seen_);
      }
    } else {
      count(piece);
      pass(seen_);
      over_ = piece.state;
    }
  }
  if (!ready_.empty()) return {State::kData, ready_.pop_slice()};
  return {*over_, {}};
}

void MeteredBody::count(const Piece& piece) {
  if (piece.state == State::kPending) return;
  if (piece.state != State::kData) {
    reader_.finish();
    return charge_->settle(used());
  }
  constexpr std::size_t kEmptyLine = 4;  // bytes: "\r\n\r\n"
  for (const char c : piece.data.view().substr(
           piece.data.size() - std::min<std::size_t>(kEmptyLine, piece.data.size()))) {
    if (c == '\r') continue;
    line_ended_ = c == '\n' && last_ == '\n';
    last_ = c;
  }
  reader_.push(piece.data.view(), exchange_.loop().now());
  if (stopped_by_ == nullptr) charge_->used(used_at_least());
}

void MeteredBody::on_event(const AnswerEvent& event) {
  if (stopped_by_ != nullptr) return;
  if (stops_ && event.output) {
    charge_->used(used_at_least());
    stopped_by_ = charge_->stopped_by(reader_.answer().tokens_made());
  }
  const bool whole = event.begin >= held_from_;  // Nothing of it has gone on yet.
  const bool hidden = usage_ == Usage::kHide && event.usage && !event.choices && !event.output;
  const bool left_out = hidden || stopped_by_ != nullptr;
  if (!left_out || !whole) {
    pass(std::min(event.end, seen_));
  } else {
    pass(event.begin);
    const uint64_t end = std::min(event.end, seen_);
    while (held_from_ < end) take_held(end);
  }
  if (stopped_by_ == nullptr) return;
  used_then_ = used();
  output_then_ = reader_.answer().tokens_made();
}

// The stream ends here. Whoever makes the rest is told now, before the client has read this.
void MeteredBody::cut() {
  charge_->settle(used_then_);
  charge_->count_stop(*stopped_by_);
  body_.reset();
  held_.clear();
  part_ = {};
  exchange_.flag(ResponseFlag::kRateLimited);
  exchange_.explain(why_cut());
  over_ = State::kError;
  if (!end_) return;
  ready_.append_copy(end_->words(output_then_));
  over_ = State::kEnd;
}

std::string MeteredBody::why_cut() const {
  if (stopped_by_->stop == TokenBudget::Stop::kAtReservation) {
    return cat("the token budget ", stopped_by_->name, " ended the stream: it made more than the ",
               charge_->asked().output, " tokens of output that were taken for it");
  }
  return cat("the token budget ", stopped_by_->name, " of ", stopped_by_->tokens, " tokens in ",
             to_seconds(stopped_by_->per), " s was empty and ended the stream after ", output_then_,
             " tokens of output");
}

Error MeteredBody::error() const {
  if (body_ != nullptr) return body_->error();
  // Such as gRPC knows as RESOURCE_EXHAUSTED.
  return Error(ErrorKind::kTooLarge, Fault::kSelf, why_cut());
}

// Some of what is held, up to `end` of the body.
Slice MeteredBody::take_held(uint64_t end) {
  if (part_.empty()) part_ = held_.pop_slice();
  Slice taken = part_.take_front(std::min<uint64_t>(part_.size(), end - held_from_));
  held_from_ += taken.size();
  return taken;
}

// What is held, up to `end` of the body, goes on to the client.
void MeteredBody::pass(uint64_t end) {
  while (held_from_ < end) {
    Slice taken = take_held(end);
    if (end_) end_->push(taken.view());
    ready_.append(std::move(taken));
  }
}

uint64_t MeteredBody::input() const {
  if (input_ == Input::kPaid) return 0;
  return reader_.answer().input_tokens.value_or(charge_->asked().input);
}

uint64_t MeteredBody::used_at_least() const {
  const ModelAnswer& answer = reader_.answer();
  return answer.tokens_made() > 0 ? input() + answer.tokens_made() : 0;
}

uint64_t MeteredBody::used() const {
  const ModelAnswer& answer = reader_.answer();
  // Refused behind a head of 200, by a queue that had sent heartbeats for instance.
  if (answer.failed && answer.tokens_made() == 0 && !answer.input_tokens) return 0;
  const bool counted = answer.output_tokens || (answer.streaming && !answer.unclear);
  // It does not say: all that it may have used.
  return counted ? input() + answer.tokens_made() : charge_->taken();
}

}  // namespace glia
