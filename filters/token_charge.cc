#include "filters/token_charge.h"

namespace glia {

MeteredBody::MeteredBody(std::unique_ptr<Body> body, std::unique_ptr<TokenCharge> charge,
                         const ModelRequest& asked, const Headers& headers, Usage usage,
                         const EventLoop& loop)
    : body_(std::move(body)),
      charge_(std::move(charge)),
      usage_(usage),
      reader_(asked, headers, usage == Usage::kHide ? this : nullptr),
      loop_(loop) {}

Body::Piece MeteredBody::poll() {
  if (usage_ == Usage::kPass) {
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
      // No event is open: comments that keep a connection alive must not wait for the next one.
      if (line_ended_ || seen_ - held_from_ > kMostHeld) pass(seen_);
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
  for (const char c :
       piece.data.view().substr(piece.data.size() - std::min<std::size_t>(2, piece.data.size()))) {
    line_ended_ = c == '\n' && last_ == '\n';
    last_ = c;
  }
  reader_.push(piece.data.view(), loop_.now());
  charge_->used(used_at_least());
}

void MeteredBody::on_event(const AnswerEvent& event) {
  const bool hidden = event.usage && !event.choices && !event.output;
  if (!hidden || event.begin < held_from_) return pass(std::min(event.end, seen_));
  pass(event.begin);
  const uint64_t end = std::min(event.end, seen_);
  while (held_from_ < end) take_held(end);
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
  while (held_from_ < end) ready_.append(take_held(end));
}

uint64_t MeteredBody::input() const {
  return reader_.answer().input_tokens.value_or(charge_->asked().input);
}

uint64_t MeteredBody::used_at_least() const {
  const ModelAnswer& answer = reader_.answer();
  return answer.tokens_made() > 0 ? input() + answer.tokens_made() : 0;
}

uint64_t MeteredBody::used() const {
  const ModelAnswer& answer = reader_.answer();
  const bool counted = answer.output_tokens || (answer.streaming && !answer.unclear);
  // It does not say: all that it may have used.
  return counted ? input() + answer.tokens_made() : charge_->taken();
}

}  // namespace glia
