#include "proxy/flow/shadow_pair.h"

#include <algorithm>
#include <chrono>

#include "proxy/base/text.h"
#include "proxy/flow/answer_compare.h"
#include "proxy/telemetry/tally.h"

namespace glia {
namespace {

double ms(Duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

}  // namespace

void ShadowedSide::head(const Response& response) {
  status_ = response.status;
  const Headers& headers = response.headers;
  const auto encoding = headers.get("content-encoding");
  const bool plain = !encoding || equal_no_case(*encoding, "identity");
  if (const auto size = headers.get("inference-header-content-length")) {
    json_size_ = parse_decimal(*size);
    readable_ = plain && json_size_;
  } else {
    const std::string_view type = headers.get("content-type").value_or("");
    readable_ = plain && type.find("json") != type.npos;
  }
}

void ShadowedSide::data(std::string_view bytes) {
  if (all_ == nullptr || !readable_ || dropped_) return;
  const bool fits =
      bytes.size() <= most_ - body_.size() && bytes.size() <= ShadowPairs::kMostKept - all_->kept_;
  if (!fits) return drop();
  body_ += bytes;
  all_->kept_ += bytes.size();
}

void ShadowedSide::drop() {
  dropped_ = true;
  if (all_ != nullptr) all_->kept_ -= body_.size();
  body_ = {};
}

void ShadowedSide::ended(End end, Duration latency) {
  if (end_ != End::kNotYet) return;
  end_ = end;
  latency_ = latency;
}

bool ShadowedSide::comparable() const { return readable_ && !dropped_; }

ShadowedAnswer::~ShadowedAnswer() { ended(ShadowedSide::End::kBroken, Duration::zero()); }

void ShadowedAnswer::head(const Response& response) {
  for (ShadowPair* pair : copies_) pair->answered.head(response);
}

void ShadowedAnswer::data(std::string_view bytes) {
  for (ShadowPair* pair : copies_) pair->answered.data(bytes);
}

void ShadowedAnswer::ended(ShadowedSide::End end, Duration latency) {
  for (ShadowPair* pair : std::exchange(copies_, {})) {
    pair->original = nullptr;
    pair->answered.ended(end, latency);
    pairs_->ended(*pair);
  }
}

ShadowPairs::~ShadowPairs() {
  for (const auto& pair : pairs_) {
    if (pair->original != nullptr) pair->original->copies_.clear();
  }
}

ShadowPair& ShadowPairs::begin(const std::string& cluster,
                               const std::shared_ptr<const CompareRules>& rules,
                               ShadowedAnswer& original) {
  pairs_.push_back(std::make_unique<ShadowPair>());
  ShadowPair& pair = *pairs_.back();
  pair.cluster = cluster;
  pair.rules = rules;
  pair.original = &original;
  original.copies_.push_back(&pair);
  if (rules != nullptr) {
    original.reads_ = true;
    pair.answered.all_ = pair.copied.all_ = this;
    pair.answered.most_ = pair.copied.most_ = rules->kept_bytes;
  }
  if (ClusterTally* tally =
          context_.tallies != nullptr ? context_.tallies->find(cluster) : nullptr) {
    ++tally->shadow.sent;
  }
  return pair;
}

void ShadowPairs::ended(ShadowPair& pair) {
  using End = ShadowedSide::End;
  if (pair.answered.end_ == End::kNotYet || pair.copied.end_ == End::kNotYet) return;
  finish(pair);
  pair.answered.drop();
  pair.copied.drop();
  pairs_.erase(std::ranges::find(pairs_, &pair, &std::unique_ptr<ShadowPair>::get));
}

void ShadowPairs::finish(const ShadowPair& pair) {
  using End = ShadowedSide::End;
  ClusterTally* const tally =
      context_.tallies != nullptr ? context_.tallies->find(pair.cluster) : nullptr;
  const bool answered = pair.answered.end_ == End::kWhole;
  const bool copied = pair.copied.end_ == End::kWhole;
  const bool only_copy_failed =
      copied && answered && pair.copied.status_ >= 500 && pair.answered.status_ < 500;
  if (tally != nullptr && (!copied || only_copy_failed)) ++tally->shadow.failed;
  if (!answered || !copied) return;
  if (tally != nullptr) {
    tally->shadow.latency_ms.add(ms(pair.copied.latency_));
    tally->shadow.answered_latency_ms.add(ms(pair.answered.latency_));
  }
  if (pair.rules != nullptr && !only_copy_failed) compare(pair, tally);
}

void ShadowPairs::compare(const ShadowPair& pair, ClusterTally* tally) {
  AnswerDifference difference;
  if (pair.answered.status_ != pair.copied.status_) {
    difference = {.compared = true, .fields = {"status"}};
  } else if (pair.answered.comparable() && pair.copied.comparable()) {
    difference = compare_answers(*pair.rules, {pair.answered.body_, pair.answered.json_size_},
                                 {pair.copied.body_, pair.copied.json_size_});
  }
  const bool different = !difference.fields.empty();
  skipped_ += difference.compared ? 0 : 1;
  compared_ += difference.compared ? 1 : 0;
  different_ += different ? 1 : 0;
  if (tally == nullptr) return;
  ClusterTally::Shadow& shadow = tally->shadow;
  shadow.skipped += difference.compared ? 0 : 1;
  shadow.compared += difference.compared ? 1 : 0;
  shadow.different += different ? 1 : 0;
  for (const std::string& field : difference.fields) {
    ClusterTally::count(shadow.fields, field, ClusterTally::kMostFields);
  }
}

void ShadowPairs::collect(MetricsPage& page, const Labels& labels) const {
  page.counter("glia_http_shadow_compared_total", labels, compared_);
  page.counter("glia_http_shadow_different_total", labels, different_);
  page.counter("glia_http_shadow_skipped_total", labels, skipped_);
}

}  // namespace glia
