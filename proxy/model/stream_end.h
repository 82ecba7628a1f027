// StreamEnd: the last events of a stream of tokens that is ended before its server ends it, in the words
// of its dialect: the client's library sees an answer that was cut for its length.
//
// It sees what the client sees, because those events have to agree with it: the id of the stream, the
// choices and blocks that are still open.
//
// Sources: the OpenAI API reference (chat.completion.chunk, text_completion, "finish_reason": "length"),
// Anthropic's "Streaming messages" (content_block_stop, message_delta, message_stop).
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/model/event_stream.h"
#include "proxy/model/json_scanner.h"
#include "proxy/model/request.h"

namespace glia {

class StreamEnd final : private EventTaker, private JsonTaker {
 public:
  static constexpr std::size_t kLongestValue = 256;  // bytes; the rest of a longer id is left out
  static constexpr std::size_t kMostParts = 128;     // Choices or blocks; others stay unfinished.

  // Has the dialect an event that says so? Else such a stream can only break off.
  static bool known(const ModelRequest& asked);
  explicit StreamEnd(const ModelRequest& asked);
  StreamEnd(const StreamEnd&) = delete;

  // More of what the client gets, in pieces of any size.
  void push(std::string_view bytes) { events_.push(bytes); }
  // The events that end it, after so many tokens of output.
  std::string words(uint64_t output_tokens) const;

 private:
  void event_data(std::string_view piece) override;
  void event_end(std::string_view name, uint64_t begin, uint64_t end) override;
  bool begin(uint8_t what, JsonKind kind, uint64_t offset) override;
  void text(uint8_t what, std::string_view piece) override;
  bool end(uint8_t what, JsonKind kind, uint64_t offset) override;
  void end_choice();
  std::string openai_words() const;
  std::string anthropic_words(uint64_t output_tokens) const;

  const bool anthropic_, chat_;
  EventStream events_;
  std::optional<JsonScanner> json_;
  std::string value_;
  // Of the event that is read.
  std::string type_;
  uint64_t index_ = 0;
  bool has_reason_ = false;
  // Of the stream.
  std::string id_, object_, model_, created_;
  std::bitset<kMostParts> finished_;  // Choices that said why they ended.
  std::size_t choices_ = 1;
  std::bitset<kMostParts> open_;  // Blocks of Anthropic's.
};

}  // namespace glia
