#include "test/pool/engine.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "proxy/base/check.h"

namespace glia {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// Rounded up, so that what is due at that moment has happened.
Duration after(double seconds) { return Duration(static_cast<int64_t>(std::ceil(seconds * 1e9))); }

}  // namespace

SimEngine::Id SimEngine::add(Ask ask, TimePoint now) {
  CHECK(ask.output_tokens > 0 && ask.prompt_tokens > 0 && ask.tokens_an_event > 0);
  CHECK(fits(ask.prompt_tokens, ask.output_tokens));
  advance(now);
  const Id id = ++last_id_;
  Sequence& sequence = sequences_[id];
  sequence.ask = std::move(ask);
  sequence.arrived = now_;
  waiting_.push_back(id);
  read_next();
  return id;
}

void SimEngine::remove(Id id, TimePoint now) {
  advance(now);
  if (!sequences_.contains(id)) return;
  std::erase_if(events_, [&](const Event& event) { return event.id == id; });
  const auto queued = std::ranges::find(waiting_, id);
  if (queued != waiting_.end()) {
    waiting_.erase(queued);
    sequences_.erase(id);
  } else {
    end(id);
  }
  read_next();
}

void SimEngine::slowness(double slowness, TimePoint now) {
  advance(now);
  slowness_ = slowness;
}

double SimEngine::decode_rate() const {
  if (writing_.empty()) return 0;
  const double share = config_.decode_all / static_cast<double>(writing_.size());
  return std::min(config_.decode_each, share) / slowness_ *
         (reading_ ? config_.decode_while_prefilling : 1);
}

double SimEngine::seconds_to_prefill() const {
  return reading_ ? left_to_read_ / prefill_rate() : kNever;
}

double SimEngine::seconds_to_decode() const {
  if (writing_.empty()) return kNever;
  return std::max(0.0, writing_.begin()->first - service_) / decode_rate();
}

std::optional<TimePoint> SimEngine::next() const {
  const double seconds = std::min(seconds_to_prefill(), seconds_to_decode());
  if (seconds == kNever) return {};
  return now_ + after(seconds);
}

void SimEngine::advance(TimePoint now) {
  for (;;) {
    const auto due = next();
    if (!due || *due > now) break;
    settle();
  }
  if (now <= now_) return;
  pass(to_seconds(now - now_));
  now_ = now;
}

void SimEngine::pass(double seconds) {
  service_ += decode_rate() * seconds;
  if (reading_) left_to_read_ = std::max(0.0, left_to_read_ - prefill_rate() * seconds);
}

// Goes to the next thing that happens, and lets it happen.
void SimEngine::settle() {
  const double prefill = seconds_to_prefill(), decode = seconds_to_decode();
  const double seconds = std::min(prefill, decode);
  pass(seconds);
  now_ += after(seconds);
  if (prefill <= decode) return prompt_read();
  const auto [due, id] = *writing_.begin();
  service_ = std::max(service_, due);
  writing_.erase(writing_.begin());
  const Ask& ask = sequences_.at(id).ask;
  wrote(id, std::min(ask.tokens_an_event, ask.output_tokens - sequences_.at(id).written));
}

void SimEngine::read_next() {
  while (!reading_ && !waiting_.empty() && running() < config_.slots) {
    const Id id = waiting_.front();
    Sequence& sequence = sequences_.at(id);
    const Ask& ask = sequence.ask;
    const std::size_t all = blocks_of(ask.prompt_tokens + ask.output_tokens);
    auto hold = cache_.take(ask.chain, all - ask.chain.size());
    if (!hold) return;
    sequence.hold = *std::move(hold);
    waiting_.pop_front();
    ++started_;
    waited_ += now_ - sequence.arrived;
    const auto known = static_cast<uint32_t>(sequence.hold.known * config_.block_tokens);
    const uint32_t found = std::min(known, ask.prompt_tokens - 1);
    queries_ += ask.prompt_tokens;
    hits_ += found;
    reading_ = id;
    left_to_read_ = ask.prompt_tokens - found;
  }
}

void SimEngine::prompt_read() {
  const Id id = *std::exchange(reading_, std::nullopt);
  const Sequence& sequence = sequences_.at(id);
  cache_.computed(sequence.hold, sequence.ask.chain);
  wrote(id, 1);
  read_next();
}

void SimEngine::wrote(Id id, uint32_t tokens) {
  Sequence& sequence = sequences_.at(id);
  sequence.written += tokens;
  written_ += tokens;
  const bool last = sequence.written == sequence.ask.output_tokens;
  events_.push_back({id, tokens, last, now_});
  if (!last) return expect_more(id, sequence);
  ++ended_;
  end(id);
  read_next();
}

void SimEngine::expect_more(Id id, Sequence& sequence) {
  const uint32_t left = sequence.ask.output_tokens - sequence.written;
  sequence.due = service_ + std::min(left, sequence.ask.tokens_an_event);
  writing_.emplace(sequence.due, id);
}

void SimEngine::end(Id id) {
  const Sequence& sequence = sequences_.at(id);
  if (reading_ == id) reading_.reset();
  writing_.erase({sequence.due, id});
  cache_.give_back(sequence.hold);
  sequences_.erase(id);
}

std::vector<SimEngine::Event> SimEngine::events() { return std::exchange(events_, {}); }

}  // namespace glia
