// Any bytes as a model's answer in each dialect: the same is read however they are cut, and what is kept
// is bounded.
#include <array>
#include <cstdint>
#include <string>

#include "proxy/base/arena.h"
#include "proxy/base/check.h"
#include "proxy/base/text.h"
#include "proxy/model/answer_reader.h"

namespace {

using namespace glia;

struct Kind {
  Dialect dialect;
  std::string_view operation, content_type;
  std::string_view json_size = {};
};
constexpr std::array<Kind, 10> kKinds = {{
    {Dialect::kOpenAi, "chat", "text/event-stream"},
    {Dialect::kOpenAi, "chat", "application/json"},
    {Dialect::kOpenAi, "responses", "text/event-stream"},
    {Dialect::kAnthropic, "messages", "text/event-stream"},
    {Dialect::kAnthropic, "messages", "application/json"},
    {Dialect::kTriton, "generate", "text/event-stream"},
    {Dialect::kOip, "infer", "application/json"},
    {Dialect::kOip, "infer", "application/octet-stream", "40"},
    {Dialect::kOip, "infer", "application/grpc"},
    {Dialect::kTfServing, "predict", "application/grpc"},
}};

class Events final : public AnswerWatcher {
 public:
  void on_event(const AnswerEvent& event) override {
    CHECK(event.begin < event.end && event.begin >= end);
    end = event.end;
    told += cat(event.begin, " ", event.end, event.output, event.usage, event.choices, event.last);
  }
  std::string told;
  uint64_t end = 0;
};

std::string read(const Kind& kind, bool streaming, std::string_view body, std::size_t step) {
  Headers headers(ArenaRef::create());
  headers.add("content-type", kind.content_type);
  if (!kind.json_size.empty()) headers.add("inference-header-content-length", kind.json_size);
  const ModelRequest asked{
      .dialect = kind.dialect, .operation = kind.operation, .streaming = streaming};
  Events events;
  AnswerReader reader(asked, headers, &events);
  const std::size_t size = body.size();
  while (!body.empty()) {
    // Of exactly this size: a read past its end is seen.
    const std::string piece(body.substr(0, step));
    reader.push(piece, TimePoint());
    body.remove_prefix(piece.size());
  }
  reader.finish();
  CHECK(events.end <= size);
  const ModelAnswer& a = reader.answer();
  CHECK(a.finish_reasons.size() <= ModelAnswer::kMostReasons);
  CHECK(a.error.size() <= ModelAnswer::kLongestError);
  std::string told = cat(events.told, " ", a.streaming, a.unclear, a.complete, a.failed, a.error,
                         " ", a.output_events, " ", a.input_tokens.value_or(0), " ",
                         a.output_tokens.value_or(0), " ", a.rows, " ", a.tensor_bytes);
  for (const std::string& reason : a.finish_reasons) {
    CHECK(reason.size() <= ModelAnswer::kLongestReason);
    told += reason;
  }
  return told;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const Kind& kind = kKinds[data[0] % kKinds.size()];
  const bool streaming = data[0] / kKinds.size() % 2 == 0;
  const std::string_view body(reinterpret_cast<const char*>(data) + 2, size - 2);
  CHECK(read(kind, streaming, body, body.size() + 1) ==
        read(kind, streaming, body, 1 + data[1] % 9));
  return 0;
}
