// Sketch: the distribution of a measured value (milliseconds, tokens a second) in little memory,
// with a bounded relative error, that can be added to another one.
//
// Buckets grow by 2^(1/32) as those of Prometheus' native histograms with schema 5, and DDSketch's:
// bucket i counts the values v with 2^((i-1)/32) < v <= 2^(i/32). A quantile is off by 1.1 % at most,
// whatever the shape of the distribution, and sums over sidecars lose nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace glia {

class Sketch {
 public:
  static constexpr int kBucketsPerDoubling = 32;
  // Values from 2^-32 to 2^32 have a bucket; smaller ones (and those below zero) count as zero, and
  // greater ones in the last bucket.
  static constexpr int kLeast = -32 * kBucketsPerDoubling;
  static constexpr int kMost = 32 * kBucketsPerDoubling;

  // A NaN is left out.
  void add(double value, uint64_t count = 1);
  void add(const Sketch& other);
  // From what another process sent: counts[k] values in bucket `first + k`, `zeros` beside them.
  // False, and nothing is added, if a bucket is out of range or `sum` is not finite.
  bool add(uint64_t zeros, int first, std::span<const uint64_t> counts, double sum);
  void clear() { *this = {}; }

  uint64_t count() const { return count_; }
  double sum() const { return sum_; }
  double mean() const { return count_ == 0 ? 0 : sum_ / double(count_); }
  // The value that `share` (0 to 1) of the values do not exceed; 0 while empty.
  double quantile(double share) const;
  // How many values do not exceed `value`, to the width of a bucket.
  uint64_t count_up_to(double value) const;

  uint64_t zeros() const { return zeros_; }
  int first() const { return first_; }
  std::span<const uint64_t> counts() const { return counts_; }
  // The values between which bucket `index` lies.
  static double upper_bound(int index);

 private:
  uint64_t& bucket(int index);

  uint64_t count_ = 0, zeros_ = 0;
  double sum_ = 0;
  int first_ = 0;  // Bucket of counts_[0].
  std::vector<uint64_t> counts_;
};

}  // namespace glia
