// Beliefs: how many requests each of some endpoints is thought to have, at the moment of a pick.
//
// Ours are known exactly; those of other callers come from the server's last report as far as it is
// still believed, and for the rest are thought to be half to all as many as at the mean endpoint.
#pragma once

#include <array>
#include <span>

#include "proxy/mesh/endpoint.h"

namespace glia {

class Beliefs {
 public:
  // Of more endpoints, so many neighbours from a random place are looked at.
  static constexpr std::size_t kMost = 128;

  struct One {
    Endpoint* endpoint;
    float load;        // Requests, ours included.
    float reading;     // Tokens of their prompts that are not read yet.
    float confidence;  // In the report.
    float speed;       // Time that a unit of work costs here, to that of the mean endpoint.
  };

  Beliefs(std::span<Endpoint* const> usable, std::size_t most, Random& random, TimePoint now,
          Duration half_life);

  std::span<const One> all() const { return {all_.data(), size_}; }
  float mean_load() const { return mean_load_; }

  // How much more a request costs where the KV cache is nearly full, 1 to 4: requests are then put off
  // or thrown out again (SMG's least_load: 0.15 * k / (1 - k)).
  static float kv_factor(const EndpointLoad& load, TimePoint now, float rate) {
    const float price = load.kv_price();
    return price == 0 ? 1 : 1 + load.engine_confidence(now, rate) * price;
  }
  // As EndpointLoad::confidence() wants it.
  static float rate_of(Duration half_life) { return 1 / static_cast<float>(half_life.count()); }

 private:
  void take(Endpoint& endpoint, TimePoint now, float rate);
  void complete();

  std::array<One, kMost> all_;
  std::size_t size_ = 0;
  float others_ = 0, reading_ = 0, believed_ = 0, log_drain_ = 0, drains_ = 0;  // Sums.
  float mean_load_ = 0;
};

}  // namespace glia
