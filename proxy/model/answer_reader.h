// AnswerReader: what a model's answer says of itself, read from its body as that passes by.
//
// It looks and never changes: no byte is kept but a few names of bounded length, whatever comes, and
// nothing waits for it. Two forms of answers: one document (JSON, OIP's JSON with raw tensors behind
// it, a gRPC message), or a stream of them (server-sent events, gRPC messages). A body that is not what
// it says it is, or is compressed, is counted as far as it was understood: it is not ours to refuse.
//
// Sources: the OpenAI and Anthropic API references, the Open Inference Protocol, TensorFlow Serving's
// REST API; server-sent events are those of the HTML standard (section 9.2).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/time.h"
#include "proxy/http/headers.h"
#include "proxy/model/event_stream.h"
#include "proxy/model/json_scanner.h"
#include "proxy/model/request.h"
#include "proxy/model/wire_scanner.h"

namespace glia {

// What is known of an answer so far.
struct ModelAnswer {
  static constexpr std::size_t kMostReasons = 4;
  static constexpr std::size_t kLongestReason = 32;  // bytes; a longer one is cut
  static constexpr std::size_t kLongestError = 128;  // bytes; a longer one is cut

  bool streaming = false;  // It comes event by event.
  bool unclear = false;  // Compressed, or not all of it is what it should be: that is not counted.
  // All of it came: the document is whole, or the events said so ("[DONE]", message_stop, ...).
  bool complete = false;

  // Of a stream: events that carry output (text, a piece of a tool call; a role alone is none). Most
  // engines put one token into each, some more.
  uint64_t output_events = 0;
  std::optional<TimePoint> first_output_at, last_output_at;

  // As the engine says them: `usage`, the last one that came. Anthropic's input has what its cache
  // took and gave in it, as OpenAI's has.
  std::optional<uint64_t> input_tokens, output_tokens;
  // The tokens that were made up to now: as the engine says, or one for each event with output.
  uint64_t tokens_made() const { return output_tokens.value_or(output_events); }

  // "stop", "length", "end_turn", ...: each one once, in the order in which they came; one that is no
  // word in ASCII is "other".
  std::vector<std::string> finish_reasons;

  // An error inside an answer whose status says that all is well.
  bool failed = false;
  std::string error;  // If so, what it says; "" if that is nothing.

  // Of tensors: the first dimension of the first output, or predictions; and bytes of all outputs, raw
  // or as JSON.
  uint64_t rows = 0;
  uint64_t tensor_bytes = 0;

  // Mean time between events with output; nothing while there are less than two.
  std::optional<Duration> mean_gap() const;
  // Output tokens after the first one, over the time that they took.
  std::optional<double> tokens_per_second() const;
};

// Is the answer what a model made? Else it is metadata, or about loading and readiness.
bool answers_with_output(const ModelRequest& asked);

// An event of a stream, told when it has ended.
struct AnswerEvent {
  uint64_t begin = 0, end = 0;  // Where it stands in the body: its first byte, the one after it.
  bool output = false;          // It carries output.
  bool usage = false;           // It says how many tokens there were,
  bool choices = false;         // and has choices beside that (OpenAI's last chunk has none).
  bool last = false;            // "[DONE]" and its like.
};

class AnswerWatcher {
 public:
  // During push(), in the order of the body.
  virtual void on_event(const AnswerEvent& event) = 0;

 protected:
  ~AnswerWatcher() = default;
};

class AnswerReader final : private JsonTaker, private WireTaker, private EventTaker {
 public:
  // `asked` and `watcher`, which may be null, outlive the reader. `headers` are those of the answer,
  // whose status says that all is well.
  AnswerReader(const ModelRequest& asked, const Headers& headers, AnswerWatcher* watcher = nullptr);
  AnswerReader(const AnswerReader&) = delete;
  AnswerReader& operator=(const AnswerReader&) = delete;

  // More of the body, which came at `now`; pieces of any size.
  void push(std::string_view bytes, TimePoint now);
  // The body is over, as far as it came.
  void finish();
  const ModelAnswer& answer() const { return answer_; }
  // Something of the answer itself has come: of events, not only comments that keep a connection alive.
  bool begun() const { return begun_; }

 private:
  enum class Form : uint8_t { kNone, kJson, kEvents, kGrpc };
  // What the document that is read, or the event, says so far.
  struct Document {
    bool output = false, usage = false, choices = false, failed = false, last = false;
    bool word = false;  // Of an event: it is no JSON.
  };
  // As they came last, in whatever document. Anthropic counts what its cache gave and took apart.
  struct Usage {
    std::optional<uint64_t> prompt, input, cache_read, cache_made, output;
  };

  void choose_form(const Headers& headers);
  void push_json(std::string_view bytes);
  void push_grpc(std::string_view bytes);
  void begin_message();
  void end_message();
  void end_document();
  void end_text(uint8_t what);
  void end_status();
  void end_number(uint8_t what);
  void end_tensor(uint8_t what, uint64_t bytes);
  void first_dimension(uint64_t size);
  void take_reason(std::string_view reason);

  // JSON.
  bool begin(uint8_t what, JsonKind kind, uint64_t offset) override;
  void text(uint8_t what, std::string_view piece) override;  // Of both takers.
  bool end(uint8_t what, JsonKind kind, uint64_t offset) override;
  // gRPC.
  void number(uint8_t what, uint64_t value) override;
  void begin(uint8_t what, const WirePlace& place) override;
  bool end(uint8_t what) override;
  // Events.
  void event_data(std::string_view piece) override;
  void event_end(std::string_view name, uint64_t begin, uint64_t end) override;

  const ModelRequest& asked_;
  std::span<const JsonRule> json_rules_;
  std::span<const WireRule> wire_rules_;
  AnswerWatcher* const watcher_;
  ModelAnswer answer_;
  Form form_ = Form::kNone;
  TimePoint now_;
  bool begun_ = false;

  std::optional<JsonScanner> json_;
  std::optional<uint64_t> json_left_;  // Of OIP's JSON; behind it stand raw tensors.
  Usage usage_;
  EventStream events_;
  std::optional<WireScanner> wire_;
  std::string prefix_;        // The first bytes of a gRPC frame, up to 5.
  uint64_t passed_left_ = 0;  // Of a message that is passed over.
  bool in_message_ = false;

  Document document_;
  uint64_t began_at_ = 0;
  int tensors_ = 0, dimensions_ = 0;
  std::string text_;  // Of a word or a number, up to the longest that is kept.
};

}  // namespace glia
