// Bounds: between which values the truth lies, given a sample, without assuming a distribution.
//
// `error` is always the chance of missing on one side: the truth is below `low` in at most that share
// of samples, and above `high` in at most that share. Pure functions.
#pragma once

#include <cstdint>

#include "proxy/base/sketch.h"

namespace glia {

struct Bounds {
  double low = 0, value = 0, high = 0;  // `value` is that of the sample; `high` may be infinite.
};

// P(X <= hits) of a binomial distribution.
double binomial_up_to(uint64_t hits, uint64_t of, double share);

// Of a share (0 to 1), exact: Clopper and Pearson, Biometrika 26 (1934). Nothing known: 0 to 1.
Bounds share_bounds(uint64_t hits, uint64_t of, double error);

// Of the value that `share` of the values do not exceed, by order statistics (David and Nagaraja,
// Order Statistics, section 7.1): exact but for the width of the sketch's buckets. Infinite where the
// sample is too small to say.
Bounds quantile_bounds(const Sketch& values, double share, double error);

// Of a - b and of a / b from bounds of each, by the square-and-add rule (Newcombe, Statistics in
// Medicine 17 (1998), method 10; Zou and Donner, Statistics in Medicine 27 (2008)).
Bounds difference_bounds(const Bounds& a, const Bounds& b);
Bounds ratio_bounds(const Bounds& a, const Bounds& b);

}  // namespace glia
