// Random numbers: a small fast generator with a seed, one a worker. Not for keys; BoringSSL makes
// those.
#pragma once

#include <cstdint>

namespace glia {

// xoshiro256** (Blackman and Vigna); the state is filled from the seed by splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t next();
  // Uniform in [0, bound); bound > 0. Multiply-shift (Lemire), bias below 2^-32 for small bounds.
  uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }
  // Uniform in [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  uint64_t state_[4];
};

// A seed from the operating system.
uint64_t random_seed();

}  // namespace glia
