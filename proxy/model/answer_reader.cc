#include "proxy/model/answer_reader.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "proxy/base/text.h"
#include "proxy/http/grpc.h"

namespace glia {
namespace {

// What the rules tell.
enum : uint8_t {
  kNone,
  kOutput,  // A text, or a list that is not empty: output.
  kChoice,
  kUsage,
  kReason,
  kStatus,
  kType,
  kObject,
  kError,
  kErrorText,
  kPromptTokens,
  kInputTokens,
  kCacheRead,
  kCacheMade,
  kOutputTokens,
  kRow,
  kTensor,
  kDimension,
  kTensorData,
  kBinarySize,
};

// States of the three that follow: 5 usage, 6 an error.
// chat, completions, embeddings: 2 choices, 3 one of them, 4 its delta. The message of an answer that
// is no stream is passed over.
constexpr JsonRule kChat[] = {
    {1, "choices", kNone, 2},
    {2, "*", kChoice, 3},
    {3, "delta", kNone, 4},
    {3, "text", kOutput},
    {3, "finish_reason", kReason},
    {4, "content", kOutput},
    {4, "reasoning_content", kOutput},
    {4, "reasoning", kOutput},
    {4, "refusal", kOutput},
    {4, "tool_calls", kOutput},
    {4, "function_call", kOutput},
    {4, "audio", kOutput},
    {1, "usage", kUsage, 5},
    {5, "prompt_tokens", kPromptTokens},
    {5, "completion_tokens", kOutputTokens},
    {5, "input_tokens", kInputTokens},
    {5, "output_tokens", kOutputTokens},
    {1, "error", kError, 6},
    {6, "message", kErrorText},
    {1, "object", kObject},  // "error": vLLM's older form, with the message beside it.
    {1, "message", kErrorText},
};

// 2 the response in an event, 3 why it is incomplete.
constexpr JsonRule kResponses[] = {
    {1, "type", kType},
    {1, "delta", kOutput},
    {1, "response", kNone, 2},
    {1, "status", kStatus},
    {2, "status", kStatus},
    {1, "incomplete_details", kNone, 3},
    {2, "incomplete_details", kNone, 3},
    {3, "reason", kReason},
    {1, "usage", kUsage, 5},
    {2, "usage", kUsage, 5},
    {5, "input_tokens", kInputTokens},
    {5, "output_tokens", kOutputTokens},
    {1, "error", kError, 6},
    {2, "error", kError, 6},
    {6, "message", kErrorText},
    {1, "message", kErrorText},
};

// 2 the message in message_start, 3 a delta, 7 the usage in 2, whose output has not begun.
constexpr JsonRule kMessages[] = {
    {1, "type", kType},
    {1, "message", kNone, 2},
    {2, "usage", kUsage, 7},
    {1, "usage", kUsage, 5},
    {1, "stop_reason", kReason},
    {1, "delta", kNone, 3},
    {3, "stop_reason", kReason},
    {3, "text", kOutput},
    {3, "thinking", kOutput},
    {3, "partial_json", kOutput},
    {5, "input_tokens", kInputTokens},
    {7, "input_tokens", kInputTokens},
    {5, "cache_read_input_tokens", kCacheRead},
    {7, "cache_read_input_tokens", kCacheRead},
    {5, "cache_creation_input_tokens", kCacheMade},
    {7, "cache_creation_input_tokens", kCacheMade},
    {5, "output_tokens", kOutputTokens},
    {1, "error", kError, 6},
    {6, "message", kErrorText},
};

// What a model's outputs are called is its own affair, so each event that is no error is output.
constexpr JsonRule kGenerate[] = {{1, "error", kError, 6}, {6, "message", kErrorText}};

// 2 outputs, 3 one of them, 4 its shape, 5 its parameters.
constexpr JsonRule kInfer[] = {
    {1, "outputs", kNone, 2},
    {2, "*", kTensor, 3},
    {3, "shape", kNone, 4},
    {4, "*", kDimension},
    {3, "data", kTensorData},
    {3, "parameters", kNone, 5},
    {5, "binary_data_size", kBinarySize},
    {1, "error", kError, 6},
    {6, "message", kErrorText},
};

constexpr JsonRule kPredict[] = {
    {1, "predictions", kTensorData, 2}, {1, "results", kTensorData, 2}, {2, "*", kRow},
    {1, "outputs", kTensorData},        {1, "error", kError, 6},        {6, "message", kErrorText},
};

using enum WireRule::Kind;

// inference.ModelInferResponse: 2 an output tensor.
constexpr WireRule kInferWire[] = {
    {1, 5, kMessage, kTensor, 2, true},
    {2, 3, kNumbers, kDimension, 0, true},
    {2, 5, kText, kTensorData, 0, true},
    {1, 6, kText, kTensorData, 0, true},
};
// inference.ModelStreamInferResponse: 2 a ModelInferResponse, 3 an output tensor.
constexpr WireRule kStreamInferWire[] = {
    {1, 1, kText, kErrorText},           {1, 2, kMessage, kNone, 2},
    {2, 5, kMessage, kTensor, 3, true},  {3, 3, kNumbers, kDimension, 0, true},
    {3, 5, kText, kTensorData, 0, true}, {2, 6, kText, kTensorData, 0, true},
};
// tensorflow.serving.PredictResponse and its like.
constexpr WireRule kPredictWire[] = {{1, 1, kText, kTensorData, 0, true}};

std::span<const JsonRule> json_rules(const ModelRequest& asked) {
  switch (asked.dialect) {
    case Dialect::kOpenAi:
      if (asked.operation == "responses") return kResponses;
      return kChat;
    case Dialect::kAnthropic: return kMessages;
    case Dialect::kOip: return kInfer;
    case Dialect::kTriton: return kGenerate;
    case Dialect::kTfServing: return kPredict;
  }
  return {};
}

std::span<const WireRule> wire_rules(const ModelRequest& asked) {
  if (asked.dialect == Dialect::kTfServing) return kPredictWire;
  if (asked.dialect != Dialect::kOip || asked.operation != "infer") return {};
  if (asked.streaming) return kStreamInferWire;
  return kInferWire;
}

constexpr uint64_t kMostCount = 1'000'000'000'000'000;  // Nobody means more of anything.
// As long as the longest text that is kept.
constexpr std::size_t kLongestText = ModelAnswer::kLongestError;

}  // namespace

bool answers_with_output(const ModelRequest& asked) {
  constexpr std::string_view kOutputs[] = {"chat",     "completions", "responses", "embeddings",
                                           "rerank",   "score",       "messages",  "infer",
                                           "generate", "predict",     "classify",  "regress"};
  return std::ranges::find(kOutputs, asked.operation) != std::end(kOutputs);
}

std::optional<Duration> ModelAnswer::mean_gap() const {
  if (output_events < 2) return {};
  return (*last_output_at - *first_output_at) / static_cast<int64_t>(output_events - 1);
}

std::optional<double> ModelAnswer::tokens_per_second() const {
  if (output_events < 2 || tokens_made() < 2) return {};
  const std::chrono::duration<double> time = *last_output_at - *first_output_at;
  if (time.count() <= 0) return {};
  return static_cast<double>(tokens_made() - 1) / time.count();
}

AnswerReader::AnswerReader(const ModelRequest& asked, const Headers& headers,
                           AnswerWatcher* watcher)
    : asked_(asked),
      json_rules_(json_rules(asked)),
      wire_rules_(wire_rules(asked)),
      watcher_(watcher),
      events_(*this) {
  choose_form(headers);
}

void AnswerReader::choose_form(const Headers& headers) {
  const std::string_view type = headers.get("content-type").value_or("");
  const auto encoding = headers.get("content-encoding");
  if (encoding && !equal_no_case(*encoding, "identity")) answer_.unclear = true;
  if (const auto size = headers.get("inference-header-content-length")) {
    json_left_ = parse_decimal(*size);
    form_ = Form::kJson;
  } else if (type.starts_with("text/event-stream")) {
    answer_.streaming = true;
    form_ = Form::kEvents;
  } else if (type.starts_with("application/grpc")) {
    answer_.streaming = asked_.streaming;
    form_ = Form::kGrpc;
  } else if (type.empty() || type.find("json") != type.npos) {
    form_ = Form::kJson;
  }
  if (answer_.unclear) form_ = Form::kNone;
  if (form_ == Form::kJson) json_.emplace(json_rules_, static_cast<JsonTaker&>(*this));
}

void AnswerReader::push(std::string_view bytes, TimePoint now) {
  now_ = now;
  begun_ = begun_ || form_ != Form::kEvents;
  switch (form_) {
    case Form::kNone: break;
    case Form::kJson: push_json(bytes); break;
    case Form::kEvents: events_.push(bytes); break;
    case Form::kGrpc: push_grpc(bytes); break;
  }
}

void AnswerReader::push_json(std::string_view bytes) {
  if (!json_) return;
  if (json_left_) {
    bytes = bytes.substr(0, *json_left_);
    *json_left_ -= bytes.size();
  }
  if (json_->push(bytes)) return;
  answer_.unclear = true;
  json_.reset();
}

void AnswerReader::finish() {
  if (form_ == Form::kEvents) return events_.finish();
  if (form_ == Form::kGrpc) {
    answer_.complete = prefix_.empty() && !in_message_;
    return;
  }
  if (!json_) return;
  const bool whole = json_->finish();
  document_.last = whole;
  answer_.unclear = !whole;
  json_.reset();
  end_document();
}

// What a document said is told once it has ended.
void AnswerReader::end_document() {
  if (document_.failed) answer_.failed = true;
  if (usage_.prompt || usage_.input) {
    answer_.input_tokens = usage_.prompt ? *usage_.prompt
                                         : *usage_.input + usage_.cache_read.value_or(0) +
                                               usage_.cache_made.value_or(0);
  }
  answer_.output_tokens = usage_.output;
  answer_.complete = answer_.complete || document_.last;
  if (!answer_.streaming || !document_.output || document_.failed) return;
  ++answer_.output_events;
  if (!answer_.first_output_at) answer_.first_output_at = now_;
  answer_.last_output_at = now_;
}

// --- Server-sent events --------------------------------------------------------------------------

void AnswerReader::event_data(std::string_view piece) {
  begun_ = true;
  if (document_.word) return;
  if (!json_) {
    piece = piece.substr(std::min(piece.find_first_not_of(" \t\n"), piece.size()));
    if (piece.empty()) return;
    if (piece.front() != '{') {
      document_.word = true;
      document_.last = piece.front() == '[';  // [DONE]
      if (!document_.last) answer_.unclear = true;
      return;
    }
    json_.emplace(json_rules_, static_cast<JsonTaker&>(*this));
  }
  json_->push(piece);
}

void AnswerReader::event_end(std::string_view name, uint64_t begin, uint64_t end) {
  const bool whole = json_ && json_->finish();
  if (json_ && !whole) answer_.unclear = true;
  json_.reset();
  if (name == "error") document_.failed = true;
  if (asked_.dialect == Dialect::kTriton && whole) document_.output = true;
  end_document();
  const Document told = std::exchange(document_, {});
  if (watcher_ == nullptr) return;
  watcher_->on_event({.begin = begin,
                      .end = end,
                      .output = told.output && !told.failed,
                      .usage = told.usage,
                      .choices = told.choices,
                      .last = told.last});
}

// --- gRPC ----------------------------------------------------------------------------------------

void AnswerReader::push_grpc(std::string_view bytes) {
  while (!bytes.empty()) {
    std::size_t taken = 0;
    if (!in_message_) {
      taken = std::min(bytes.size(), GrpcDecoder::kPrefix - prefix_.size());
      prefix_ += bytes.substr(0, taken);
      if (prefix_.size() == GrpcDecoder::kPrefix) begin_message();
    } else if (wire_) {
      taken = std::min<uint64_t>(bytes.size(), wire_->left());
      if (!wire_->push(bytes.substr(0, taken))) {
        answer_.unclear = true;
        form_ = Form::kNone;
        return;
      }
    } else {
      taken = std::min<uint64_t>(bytes.size(), passed_left_);
      passed_left_ -= taken;
    }
    bytes.remove_prefix(taken);
    if (in_message_ && passed_left_ == 0 && (!wire_ || wire_->done())) end_message();
  }
}

void AnswerReader::begin_message() {
  const auto byte = [&](std::size_t at) { return static_cast<uint8_t>(prefix_[at]); };
  const uint64_t size = uint64_t{byte(1)} << 24 | byte(2) << 16 | byte(3) << 8 | byte(4);
  const bool compressed = byte(0) != 0;
  prefix_.clear();
  in_message_ = true;
  tensors_ = 0;
  if (compressed || wire_rules_.empty()) {
    answer_.unclear = answer_.unclear || compressed;
    passed_left_ = size;
  } else {
    wire_.emplace(wire_rules_, static_cast<WireTaker&>(*this), size);
  }
}

void AnswerReader::end_message() {
  in_message_ = false;
  wire_.reset();
  document_.output = true;
  end_document();
  document_ = {};
}

void AnswerReader::number(uint8_t, uint64_t value) { first_dimension(value); }

void AnswerReader::begin(uint8_t what, const WirePlace& place) {
  text_.clear();
  if (what == kTensor) end_tensor(what, 0);
  if (what == kTensorData) end_tensor(what, place.size);
  if (what == kErrorText && place.size > 0) document_.failed = true;
}

bool AnswerReader::end(uint8_t what) {
  if (what == kErrorText) end_text(what);
  return true;
}

// --- What the scanners find ----------------------------------------------------------------------

bool AnswerReader::begin(uint8_t what, JsonKind kind, uint64_t offset) {
  text_.clear();
  if (what == kOutput || what == kTensorData) began_at_ = offset;
  switch (what) {
    case kChoice: document_.choices = true; break;
    case kUsage: document_.usage = kind == JsonKind::kObject; break;
    case kError:
      if (kind == JsonKind::kString || kind == JsonKind::kObject) document_.failed = true;
      break;
    case kRow: ++answer_.rows; break;
    case kTensor: end_tensor(what, 0); break;
    default: break;
  }
  return true;
}

void AnswerReader::text(uint8_t what, std::string_view piece) {
  if (what == kOutput) {
    document_.output = true;
  } else {
    text_ += piece.substr(0, kLongestText - text_.size());
  }
}

bool AnswerReader::end(uint8_t what, JsonKind kind, uint64_t offset) {
  if (kind == JsonKind::kString) {
    end_text(what);
  } else if (kind == JsonKind::kNumber) {
    end_number(what);
  } else if (kind == JsonKind::kArray || kind == JsonKind::kObject) {
    const uint64_t bytes = offset - began_at_;
    if (what == kOutput && bytes > 2) document_.output = true;  // Not "[]".
    if (what == kTensorData) end_tensor(what, bytes);
  }
  return true;
}

void AnswerReader::end_text(uint8_t what) {
  switch (what) {
    case kReason: return take_reason(text_);
    case kStatus: return end_status();
    case kType:
      if (text_ == "error") document_.failed = true;
      document_.last = text_ == "message_stop" || text_ == "response.completed" ||
                       text_ == "response.incomplete" || text_ == "response.failed";
      break;
    case kObject:
      if (text_ == "error") document_.failed = true;
      break;
    case kError:
    case kErrorText:
      // A message says nothing of an error while there is none; then it is not shown.
      if (answer_.error.empty()) answer_.error = text_;
      break;
    default: break;
  }
}

// Of the Responses API; "in_progress" and "queued" are no ends, and of "incomplete" the reason is told.
void AnswerReader::end_status() {
  if (text_ == "failed") document_.failed = true;
  if (text_ == "completed" || text_ == "cancelled") take_reason(text_);
}

void AnswerReader::end_number(uint8_t what) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), number);
  if (error != std::errc() || number > kMostCount) return;
  switch (what) {
    case kPromptTokens: usage_.prompt = number; break;
    case kInputTokens: usage_.input = number; break;
    case kCacheRead: usage_.cache_read = number; break;
    case kCacheMade: usage_.cache_made = number; break;
    case kOutputTokens: usage_.output = number; break;
    case kDimension: first_dimension(number); break;
    case kBinarySize: answer_.tensor_bytes += number; break;
    default: break;
  }
}

void AnswerReader::end_tensor(uint8_t what, uint64_t bytes) {
  if (what == kTensor) {
    ++tensors_;
    dimensions_ = 0;
  }
  answer_.tensor_bytes += bytes;
}

void AnswerReader::first_dimension(uint64_t size) {
  if (tensors_ == 1 && dimensions_++ == 0) answer_.rows += std::min(size, kMostCount);
}

void AnswerReader::take_reason(std::string_view reason) {
  reason = reason.substr(0, ModelAnswer::kLongestReason);
  // It becomes a label and a key: a word, or none that anybody knows.
  const auto plain = [](char c) { return c > ' ' && c <= '~'; };
  if (!std::ranges::all_of(reason, plain)) reason = "other";
  auto& reasons = answer_.finish_reasons;
  if (reasons.size() == ModelAnswer::kMostReasons || reason.empty()) return;
  if (std::ranges::find(reasons, reason) == reasons.end()) reasons.emplace_back(reason);
}

}  // namespace glia
