// Are two answers of a model the same? JSON by its values, whatever the order of keys, and OIP's raw
// tensors (extension "binary data") element by element.
//
// Both come from servers that may be broken or hostile: what is read is bounded in depth and number, and
// whatever cannot be compared is said to be so, never to be different.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "proxy/mesh/compare.h"

namespace glia {

struct WholeAnswer {
  std::string_view body;
  // Of the JSON at its beginning, behind which raw tensors stand (Inference-Header-Content-Length);
  // nothing: all of it is JSON.
  std::optional<uint64_t> json_size;
};

struct AnswerDifference {
  static constexpr std::size_t kMostFields = 32;      // Told of two answers.
  static constexpr std::size_t kLongestField = 96;    // bytes; a longer name is cut
  static constexpr std::size_t kDeepest = 64;         // Objects and arrays in each other.
  static constexpr std::size_t kMostValues = 65'536;  // Of one answer.

  bool compared = false;  // False: one of them is nothing that can be compared.
  // Where they differ, each once: "choices[].message.content", "outputs[prob]" for a raw tensor.
  std::set<std::string> fields;
};

// `answered` is what the client got.
AnswerDifference compare_answers(const CompareRules& rules, const WholeAnswer& answered,
                                 const WholeAnswer& copied);

}  // namespace glia
