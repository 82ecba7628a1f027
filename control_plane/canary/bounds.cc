#include "control_plane/canary/bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace glia {

namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr double kPrecision = 1e-10;

// The continued fraction of the incomplete beta function by Lentz's method (Abramowitz and Stegun
// 26.5.8); converges in about sqrt(max(a, b)) steps for x below the mean.
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  constexpr int kMostSteps = 100'000;
  const auto guard = [](double v) { return std::abs(v) < kTiny ? kTiny : v; };
  double c = 1, d = 1 / guard(1 - (a + b) * x / (a + 1)), result = d;
  for (int m = 1; m <= kMostSteps; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / guard(1 + even * d);
    c = guard(1 + even / c);
    result *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / guard(1 + odd * d);
    c = guard(1 + odd / c);
    result *= d * c;
    if (std::abs(d * c - 1) < kPrecision) break;
  }
  return result;
}

double log_beta_density(double a, double b, double x) {
  return std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) +
         b * std::log1p(-x);
}

// The regularized incomplete beta function: the chance that a Beta(a, b) value is below x.
double beta_below(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double front = std::exp(log_beta_density(a, b, x));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

// x with beta_below(a, b, x) = chance: Newton's steps where they stay within what is known, else
// halving.
double beta_quantile(double a, double b, double chance) {
  double low = 0, high = 1, x = a / (a + b);
  constexpr int kMostSteps = 200;
  for (int step = 0; step < kMostSteps; ++step) {
    const double off = beta_below(a, b, x) - chance;
    (off > 0 ? high : low) = x;
    const double density = std::exp(log_beta_density(a, b, x)) / (x * (1 - x));
    double next = x - off / density;
    if (!(next > low && next < high)) next = (low + high) / 2;
    if (std::abs(next - x) <= 1e-7 * x) return next;
    x = next;
  }
  return x;
}

// The least rank in [0, n] of which `holds`, which stays so for greater ones; n + 1 if none.
// `guess` is near it.
template <class Holds>
uint64_t least_rank(uint64_t n, double guess, Holds holds) {
  const double width = std::sqrt(static_cast<double>(n)) + 1;
  const auto clamped = [&](double rank) {
    return static_cast<uint64_t>(std::clamp(rank, 0.0, static_cast<double>(n)));
  };
  uint64_t low = clamped(guess - width), high = clamped(guess + width);
  if (low > 0 && holds(low)) low = 0;
  if (!holds(high)) {
    low = high + 1;
    high = n + 1;
  }
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    if (middle > n || holds(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// The value with this rank, from 1.
double ranked(const Sketch& values, uint64_t rank) {
  if (values.count() == 1) return values.quantile(0);
  return values.quantile((static_cast<double>(rank) - 0.5) /
                         static_cast<double>(values.count() - 1));
}

}  // namespace

double binomial_up_to(uint64_t hits, uint64_t of, double share) {
  if (hits >= of) return 1;
  return 1 - beta_below(static_cast<double>(hits) + 1, static_cast<double>(of - hits), share);
}

Bounds share_bounds(uint64_t hits, uint64_t of, double error) {
  if (of == 0) return {0, 0, 1};
  hits = std::min(hits, of);
  const auto k = static_cast<double>(hits), n = static_cast<double>(of);
  Bounds bounds{0, k / n, 1};
  if (hits == of) {
    bounds.low = std::pow(error, 1 / n);
  } else if (hits > 0) {
    bounds.low = beta_quantile(k, n - k + 1, error);
  }
  if (hits == 0) {
    bounds.high = -std::expm1(std::log(error) / n);
  } else if (hits < of) {
    bounds.high = beta_quantile(k + 1, n - k, 1 - error);
  }
  return bounds;
}

Bounds quantile_bounds(const Sketch& values, double share, double error) {
  const uint64_t n = values.count();
  if (n == 0) return {0, 0, kInfinite};
  Bounds bounds{0, values.quantile(share), kInfinite};
  const double mean = share * static_cast<double>(n);
  const double reach = std::sqrt(-2 * std::log(error) * mean * (1 - share));
  // The value of rank r is above the truth if at most r - 1 values are not: the greatest r of which
  // that is unlikely is one below the least of which it is not.
  const uint64_t above =
      least_rank(n, mean - reach, [&](uint64_t r) { return binomial_up_to(r, n, share) > error; });
  if (above > 0) bounds.low = ranked(values, above);
  // It is below the truth if at least r values are.
  const uint64_t below = least_rank(n, mean + reach, [&](uint64_t r) {
    return r > 0 && 1 - binomial_up_to(r - 1, n, share) <= error;
  });
  if (below <= n) bounds.high = ranked(values, below);
  return bounds;
}

Bounds difference_bounds(const Bounds& a, const Bounds& b) {
  const double value = a.value - b.value;
  return {value - std::hypot(a.value - a.low, b.high - b.value), value,
          value + std::hypot(a.high - a.value, b.value - b.low)};
}

Bounds ratio_bounds(const Bounds& a, const Bounds& b) {
  constexpr double kLeast = 1e-9;  // A logarithm needs something.
  const auto logs = [=](const Bounds& of) {
    return Bounds{std::log(std::max(of.low, kLeast)), std::log(std::max(of.value, kLeast)),
                  std::log(std::max(of.high, kLeast))};
  };
  const Bounds logarithm = difference_bounds(logs(a), logs(b));
  return {std::exp(logarithm.low), std::exp(logarithm.value), std::exp(logarithm.high)};
}

}  // namespace glia
