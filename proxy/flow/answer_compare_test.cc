// Which answers are the same, which differ in what, and which cannot be compared.
#include "proxy/flow/answer_compare.h"

#include <gtest/gtest.h>

#include <cstring>

#include "proxy/base/text.h"

namespace glia {
namespace {

std::string told(const AnswerDifference& difference) {
  if (!difference.compared) return "not compared";
  std::string out;
  for (const std::string& field : difference.fields) out += cat(out.empty() ? "" : " ", field);
  return out.empty() ? "same" : out;
}
std::string compare(std::string_view a, std::string_view b, const CompareRules& rules = {}) {
  return told(compare_answers(rules, {a, {}}, {b, {}}));
}

TEST(AnswerCompare, TakesNoNoticeOfOrderSpaceAndSpelling) {
  EXPECT_EQ(compare(R"({"a":1,"b":[true,null,"é/"]})",
                    "{ \"b\" : [true, null, \"\\u00e9\\/\"],\n\"a\": 1.0 }"),
            "same");
  EXPECT_EQ(compare("[]", "[]"), "same");
  EXPECT_EQ(compare("{}", "{}"), "same");
  EXPECT_EQ(compare("3e2", "300"), "same");
}

TEST(AnswerCompare, NamesEachFieldThatDiffersOnce) {
  EXPECT_EQ(compare(R"({"choices":[{"text":"a","index":0},{"text":"b","index":1}]})",
                    R"({"choices":[{"text":"x","index":0},{"text":"y","index":1}]})"),
            "choices[].text");
  EXPECT_EQ(compare(R"({"a":1,"b":{"c":2}})", R"({"a":"1","b":{"d":2}})"), "a b.c b.d");
  EXPECT_EQ(compare(R"({"a":[1,2]})", R"({"a":[1,2,3]})"), "a[]");
  EXPECT_EQ(compare("1", "2"), ".");
  EXPECT_EQ(compare(R"({"a":true})", R"({"a":false})"), "a");
  EXPECT_EQ(compare(R"({"a":null})", "{}"), "a");
}

TEST(AnswerCompare, LeavesOutWhatItIsToldTo) {
  EXPECT_EQ(compare(R"({"id":"1","created":5,"usage":{"x":1},"text":"t"})",
                    R"({"id":"2","created":6,"text":"t"})"),
            "same");
  const CompareRules rules{.ignore = {"seed", "outputs[].x"}};
  EXPECT_EQ(compare(R"({"id":"1","a":{"seed":1},"outputs":[{"x":1,"y":1}],"x":1})",
                    R"({"id":"2","a":{"seed":2},"outputs":[{"x":2,"y":1}],"x":2})", rules),
            "id x");
}

TEST(AnswerCompare, TakesNumbersWithinTheToleranceForTheSame) {
  const CompareRules rules{.absolute = 0.01, .relative = 0.1};
  EXPECT_EQ(compare("[0.001, 100, -5]", "[0.009, 110, -5.4]", rules), "same");
  EXPECT_EQ(compare("[100]", "[112]", rules), "[]");
  EXPECT_EQ(compare("[NaN, Infinity]", "[NaN, Infinity]", rules), "same");
  EXPECT_EQ(compare("[NaN]", "[1]", rules), "[]");
  EXPECT_EQ(compare("[Infinity]", "[1]", rules), "[]");
  EXPECT_EQ(compare("[Infinity]", "[-Infinity]", {}), "[]");
}

TEST(AnswerCompare, ComparesNothingThatIsNoJson) {
  EXPECT_EQ(compare("hello", "hello"), "not compared");
  EXPECT_EQ(compare("{\"a\":1}", "{\"a\":1"), "not compared");
  EXPECT_EQ(compare("", ""), "not compared");
  EXPECT_EQ(compare("{\"a\":1} x", "{\"a\":1}"), "not compared");
  EXPECT_EQ(compare("\"\\ud8\"", "\"\\ud8\""), "not compared");
  EXPECT_EQ(compare("{\"a\" 1}", "{}"), "not compared");
  EXPECT_EQ(compare("[1,]", "[1]"), "not compared");
}

TEST(AnswerCompare, GivesUpOnWhatIsTooDeepOrTooMuch) {
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_EQ(compare(deep, deep), "not compared");
  std::string many = "[0";
  for (std::size_t i = 0; i < AnswerDifference::kMostValues; ++i) many += ",0";
  many += "]";
  EXPECT_EQ(compare(many, many), "not compared");
  std::string a = "{\"x\":0", b = a;
  for (int i = 0; i < 100; ++i) {
    a += cat(",\"", i, std::string(200, 'k'), "\":1");
    b += cat(",\"", i, std::string(200, 'k'), "\":2");
  }
  const AnswerDifference difference = compare_answers({}, {a + "}", {}}, {b + "}", {}});
  EXPECT_EQ(difference.fields.size(), AnswerDifference::kMostFields);
  EXPECT_EQ(difference.fields.begin()->size(), AnswerDifference::kLongestField);
}

template <typename Number>
std::string raw(std::initializer_list<Number> numbers) {
  std::string out;
  for (const Number number : numbers) {
    char bytes[sizeof number];
    std::memcpy(bytes, &number, sizeof number);
    out.append(bytes, sizeof number);
  }
  return out;
}

struct Tensors {
  Tensors(std::string_view type, std::string bytes, std::string_view name = "prob")
      : head(cat(R"({"id":"x","outputs":[{"name":")", name, R"(","datatype":")", type,
                 R"(","shape":[1],"parameters":{"binary_data_size":)", bytes.size(), "}}]}")),
        body(head + bytes) {}
  operator WholeAnswer() const { return {body, head.size()}; }
  std::string head, body;
};

TEST(AnswerCompare, ComparesRawTensorsElementByElement) {
  const CompareRules near{.absolute = 0.1};
  const auto compare = [](const Tensors& a, const Tensors& b, const CompareRules& rules) {
    return told(compare_answers(rules, a, b));
  };
  EXPECT_EQ(compare({"FP32", raw({1.0f, 2.0f})}, {"FP32", raw({1.0f, 2.0f})}, {}), "same");
  EXPECT_EQ(compare({"FP32", raw({1.0f, 2.0f})}, {"FP32", raw({1.0f, 2.05f})}, {}),
            "outputs[prob]");
  EXPECT_EQ(compare({"FP32", raw({1.0f, 2.0f})}, {"FP32", raw({1.0f, 2.05f})}, near), "same");
  EXPECT_EQ(compare({"FP32", raw({1.0f, 2.0f})}, {"FP32", raw({1.0f, 2.2f})}, near),
            "outputs[prob]");
  EXPECT_EQ(compare({"FP64", raw({1.0})}, {"FP64", raw({1.05})}, near), "same");
  // 1 and 1 + 2^-10; 0x3C00 is 1.
  EXPECT_EQ(compare({"FP16", raw<uint16_t>({0x3C00})}, {"FP16", raw<uint16_t>({0x3C01})}, near),
            "same");
  EXPECT_EQ(compare({"FP16", raw<uint16_t>({0x3C00})}, {"FP16", raw<uint16_t>({0x4000})}, near),
            "outputs[prob]");
  EXPECT_EQ(compare({"BF16", raw<uint16_t>({0x3F80})}, {"BF16", raw<uint16_t>({0x3F81})}, near),
            "same");
  // Integers are the same or not.
  EXPECT_EQ(compare({"INT32", raw({5})}, {"INT32", raw({6})}, {.absolute = 100}), "outputs[prob]");
  EXPECT_EQ(compare({"FP32", raw({1.0f})}, {"FP32", raw({1.0f, 2.0f})}, {}),
            "outputs[].parameters.binary_data_size outputs[prob]");
}

TEST(AnswerCompare, ComparesNoTensorsWhoseSizesDoNotFit) {
  const Tensors good("FP32", raw({1.0f}));
  const WholeAnswer cut{std::string_view(good.body).substr(0, good.body.size() - 1),
                        good.head.size()};
  EXPECT_EQ(told(compare_answers({}, good, cut)), "not compared");
  const std::string more = good.body + "x";
  EXPECT_EQ(told(compare_answers({}, good, {more, good.head.size()})), "not compared");
  EXPECT_EQ(told(compare_answers({}, good, {good.body, 1'000'000})), "not compared");
}

}  // namespace
}  // namespace glia
