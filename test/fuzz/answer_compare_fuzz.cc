// Any bytes as two answers that are compared: an answer is the same as itself, the order of the two does not
// matter, and what is told is bounded.
#include <cstdint>
#include <string>

#include "proxy/base/check.h"
#include "proxy/flow/answer_compare.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace glia;
  if (size < 3) return 0;
  const CompareRules rules{.absolute = data[0] / 16.0, .relative = data[0] % 2 / 8.0};
  const std::size_t cut = 3 + (data[1] * 256u + data[2]) % (size - 2);
  // Of exactly their size: a read past an end is seen.
  const std::string a(reinterpret_cast<const char*>(data) + 3, cut - 3);
  const std::string b(reinterpret_cast<const char*>(data) + cut, size - cut);
  const auto answer = [&](const std::string& body) {
    const std::size_t brace = body.find_last_of('}');
    // Every other time with raw tensors behind the JSON.
    if (data[0] % 4 < 2 || brace == body.npos) return WholeAnswer{body, {}};
    return WholeAnswer{body, brace + 1};
  };
  const AnswerDifference one = compare_answers(rules, answer(a), answer(b));
  const AnswerDifference other = compare_answers(rules, answer(b), answer(a));
  CHECK(one.compared == other.compared);
  CHECK(one.fields.size() <= AnswerDifference::kMostFields);
  for (const std::string& field : one.fields)
    CHECK(field.size() <= AnswerDifference::kLongestField);
  CHECK(one.fields.empty() == other.fields.empty());
  CHECK(one.compared || one.fields.empty());
  CHECK(compare_answers(rules, answer(a), answer(a)).fields.empty());
  return 0;
}
