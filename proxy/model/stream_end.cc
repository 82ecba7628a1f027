#include "proxy/model/stream_end.h"

#include <algorithm>

#include "proxy/base/text.h"

namespace glia {
namespace {

// What the rules tell.
enum : uint8_t { kNone, kId, kObject, kModel, kCreated, kChoice, kIndex, kReason, kType };

// 2 the choices, 3 one of them.
constexpr JsonRule kOpenAi[] = {
    {1, "id", kId},           {1, "object", kObject},        {1, "model", kModel},
    {1, "created", kCreated}, {1, "choices", kNone, 2},      {2, "*", kChoice, 3},
    {3, "index", kIndex},     {3, "finish_reason", kReason},
};
constexpr JsonRule kAnthropic[] = {{1, "type", kType}, {1, "index", kIndex}};

std::string quoted(std::string_view text) {
  std::string out = "\"";
  append_json_escaped(out, text);
  return out += '"';
}

}  // namespace

bool StreamEnd::known(const ModelRequest& asked) {
  if (asked.dialect == Dialect::kAnthropic) return asked.operation == "messages";
  return asked.dialect == Dialect::kOpenAi &&
         (asked.operation == "chat" || asked.operation == "completions");
}

StreamEnd::StreamEnd(const ModelRequest& asked)
    : anthropic_(asked.dialect == Dialect::kAnthropic),
      chat_(asked.operation == "chat"),
      events_(static_cast<EventTaker&>(*this)),
      choices_(std::clamp<uint64_t>(asked.choices, 1, kMostParts)) {}

void StreamEnd::event_data(std::string_view piece) {
  if (!json_) {
    piece = piece.substr(std::min(piece.find_first_not_of(" \t\n"), piece.size()));
    if (!piece.starts_with('{')) return;
    json_.emplace(anthropic_ ? std::span<const JsonRule>(kAnthropic) : kOpenAi,
                  static_cast<JsonTaker&>(*this));
  }
  json_->push(piece);
}

void StreamEnd::event_end(std::string_view, uint64_t, uint64_t) {
  json_.reset();
  if (anthropic_ && index_ < kMostParts) {
    if (type_ == "content_block_start") open_.set(index_);
    if (type_ == "content_block_stop") open_.reset(index_);
  }
  type_.clear();
  index_ = 0;
}

bool StreamEnd::begin(uint8_t what, JsonKind, uint64_t) {
  value_.clear();
  if (what == kChoice) {
    index_ = 0;
    has_reason_ = false;
  }
  return true;
}

void StreamEnd::text(uint8_t, std::string_view piece) {
  value_ += piece.substr(0, kLongestValue - value_.size());
}

bool StreamEnd::end(uint8_t what, JsonKind kind, uint64_t) {
  if (what == kChoice) return end_choice(), true;
  if (what == kIndex) index_ = parse_decimal(value_).value_or(kMostParts);
  if (what == kCreated && parse_decimal(value_)) created_ = value_;
  if (kind != JsonKind::kString) return true;
  switch (what) {
    case kId: id_ = value_; break;
    case kObject: object_ = value_; break;
    case kModel: model_ = value_; break;
    case kReason: has_reason_ = true; break;
    case kType: type_ = value_; break;
    default: break;
  }
  return true;
}

void StreamEnd::end_choice() {
  if (index_ >= kMostParts) return;
  choices_ = std::max<std::size_t>(choices_, index_ + 1);
  if (has_reason_) finished_.set(index_);
}

std::string StreamEnd::words(uint64_t output_tokens) const {
  return anthropic_ ? anthropic_words(output_tokens) : openai_words();
}

std::string StreamEnd::openai_words() const {
  const std::string_view usual = chat_ ? "chat.completion.chunk" : "text_completion";
  std::string choices;
  for (std::size_t i = 0; i < choices_; ++i) {
    if (finished_[i]) continue;
    choices += cat(choices.empty() ? "" : ",", R"({"index":)", i,
                   chat_ ? R"(,"delta":{})" : R"(,"text":"")",
                   R"(,"logprobs":null,"finish_reason":"length"})");
  }
  if (choices.empty()) return "data: [DONE]\n\n";
  return cat(R"(data: {"id":)", quoted(id_), R"(,"object":)",
             quoted(object_.empty() ? usual : object_), R"(,"created":)",
             created_.empty() ? "0" : created_, R"(,"model":)", quoted(model_), R"(,"choices":[)",
             choices, "]}\n\ndata: [DONE]\n\n");
}

std::string StreamEnd::anthropic_words(uint64_t output_tokens) const {
  std::string words;
  for (std::size_t i = 0; i < kMostParts; ++i) {
    if (!open_[i]) continue;
    words += cat("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":", i,
                 "}\n\n");
  }
  return cat(words,
             "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
             "\"max_tokens\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":",
             output_tokens, "}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

}  // namespace glia
