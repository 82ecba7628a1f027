#include "proxy/base/sketch.h"

#include <algorithm>
#include <cmath>

namespace glia {
namespace {

// The bucket of a value above 0, within the range that has buckets.
int index_of(double value) {
  const double exact = std::ceil(std::log2(value) * Sketch::kBucketsPerDoubling);
  return int(std::clamp(exact, double(Sketch::kLeast) + 1, double(Sketch::kMost)));
}

bool counts_as_zero(double value) { return value <= Sketch::upper_bound(Sketch::kLeast); }

}  // namespace

double Sketch::upper_bound(int index) { return std::exp2(double(index) / kBucketsPerDoubling); }

uint64_t& Sketch::bucket(int index) {
  if (counts_.empty()) first_ = index;
  if (index < first_) {
    counts_.insert(counts_.begin(), std::size_t(first_ - index), 0);
    first_ = index;
  }
  const auto at = std::size_t(index - first_);
  if (at >= counts_.size()) counts_.resize(at + 1);
  return counts_[at];
}

void Sketch::add(double value, uint64_t count) {
  if (std::isnan(value) || count == 0) return;
  if (counts_as_zero(value)) {
    zeros_ += count;
  } else {
    value = std::min(value, upper_bound(kMost));
    bucket(index_of(value)) += count;
    sum_ += value * double(count);
  }
  count_ += count;
}

void Sketch::add(const Sketch& other) {
  add(other.zeros_, other.first_, other.counts_, other.sum_);
}

bool Sketch::add(uint64_t zeros, int first, std::span<const uint64_t> counts, double sum) {
  if (!std::isfinite(sum)) return false;
  if (!counts.empty()) {
    if (first <= kLeast || first > kMost || counts.size() > std::size_t(kMost - first) + 1) {
      return false;
    }
    bucket(first);
    bucket(first + int(counts.size()) - 1);
  }
  for (std::size_t k = 0; k < counts.size(); ++k) {
    counts_[std::size_t(first - first_) + k] += counts[k];
    count_ += counts[k];
  }
  zeros_ += zeros;
  count_ += zeros;
  sum_ += sum;
  return true;
}

double Sketch::quantile(double share) const {
  if (count_ == 0) return 0;
  const auto rank = uint64_t(std::clamp(share, 0.0, 1.0) * double(count_ - 1));
  uint64_t seen = zeros_;
  if (rank < seen) return 0;
  for (std::size_t k = 0; k < counts_.size(); ++k) {
    seen += counts_[k];
    // The middle of the bucket in relative terms.
    if (rank < seen) return upper_bound(first_ + int(k)) * std::exp2(-0.5 / kBucketsPerDoubling);
  }
  return upper_bound(first_ + int(counts_.size()) - 1);
}

uint64_t Sketch::count_up_to(double value) const {
  if (std::isnan(value)) return 0;
  uint64_t seen = value >= 0 ? zeros_ : 0;
  if (counts_as_zero(value)) return seen;
  const int last = index_of(value);
  for (std::size_t k = 0; k < counts_.size() && first_ + int(k) <= last; ++k) seen += counts_[k];
  return seen;
}

}  // namespace glia
