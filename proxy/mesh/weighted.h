// Choosing in proportion to weights: clusters of a route, clusters of a relay, endpoints of a cluster.
#pragma once

#include <cstdint>

namespace glia {

// The one of `choices`, which are not empty, that `place` falls on when each is as wide as its weight.
// `place` is below the sum of all weights.
template <class Choices, class WeightOf>
auto& at_weight(Choices& choices, uint64_t place, WeightOf weight_of) {
  for (auto& choice : choices) {
    const uint64_t weight = weight_of(choice);
    if (place < weight) return choice;
    place -= weight;
  }
  return choices.back();
}

}  // namespace glia
