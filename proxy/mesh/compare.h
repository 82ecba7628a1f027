// glia.v1.CompareAnswers: how the answers to the copies of a route are compared with those that clients
// get (flow/comparison.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace glia {

struct CompareRules {
  uint32_t kept_bytes = 256 * 1024;  // Of each of the two answers; longer ones are not compared.
  // Fields of JSON that are not compared: "usage" wherever it stands, "choices[].index" there only.
  std::vector<std::string> ignore = {"id", "created", "usage", "system_fingerprint",
                                     "model_version"};
  // Numbers a and b are the same if |a - b| <= absolute + relative * max(|a|, |b|).
  double absolute = 0, relative = 0;
};

}  // namespace glia
