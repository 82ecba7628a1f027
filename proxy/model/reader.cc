#include "proxy/model/reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "proxy/base/text.h"
#include "proxy/http/grpc.h"
#include "proxy/http/syntax.h"

namespace glia {
namespace {

constexpr double kMostNumber = 1e15;  // What is above it is as good as it.

// RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF.
bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t at) { return static_cast<uint8_t>(text[at]); };
    const uint8_t first = byte(i);
    const std::size_t size = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (first >= 0x80 && (first < 0xC2 || first > 0xF4)) return false;
    if (text.size() - i < size) return false;
    for (std::size_t k = 1; k < size; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return false;
    }
    const uint8_t second = size > 1 ? byte(i + 1) : 0;
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second >= 0xA0) ||
        (first == 0xF0 && second < 0x90) || (first == 0xF4 && second >= 0x90)) {
      return false;
    }
    i += size;
  }
  return true;
}

double to_number(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range) return kMostNumber;
  return error == std::errc() ? std::clamp(number, -kMostNumber, kMostNumber) : 0;
}

// What pydantic takes for a false where a boolean is due.
bool is_no(std::string_view word) {
  for (const std::string_view no : {"", "0", "false", "f", "no", "n", "off"}) {
    if (equal_no_case(word, no)) return true;
  }
  return false;
}

std::string_view first_of(const Headers& headers, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    if (const auto value = headers.get(name); value && !value->empty()) return *value;
  }
  return {};
}

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7F));
  out += static_cast<char>(value);
}

std::string text_field(uint32_t number, std::string_view text) {
  std::string field;
  append_varint(field, number << 3 | 2);
  append_varint(field, text.size());
  return field.append(text);
}

}  // namespace

ModelReader::ModelReader(const ModelCall& call, const Request& request, bool hashes)
    : call_(call), json_(call.form->json, *this) {
  found_.dialect = call.form->dialect;
  found_.operation = call.form->operation;
  found_.streaming = call.form->streams;
  if (hashes) blocks_.emplace();
  read_head(request);
}

void ModelReader::read_head(const Request& request) {
  const Headers& headers = request.headers;
  tenant_ = first_of(headers, {"x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id"});
  session_ = first_of(headers, {"x-session-id", "x-session-token"});
  if (const auto timeout = headers.get("grpc-timeout")) {
    found_.timeout = parse_grpc_timeout(*timeout);
  }
  if (!call_.model.empty()) {
    text_ = unescaped(call_.model);
    if (!take_name(model_, "model")) return;
    text_ = unescaped(call_.version);
    if (!take_name(version_, "version")) return;
  }
  readable_ = call_.form->body != ModelForm::Body::kNone && request.body != nullptr;
  if (call_.form->body != ModelForm::Body::kJson) return;
  const auto encoding = headers.get("content-encoding");
  if (encoding && !equal_no_case(*encoding, "identity")) readable_ = false;
  constexpr std::string_view kJsonSize = "inference-header-content-length";
  const auto size = headers.get(kJsonSize);
  if (!size || !call_.form->path.starts_with("v2/")) return;
  json_size_ = parse_decimal(*size);
  if (!json_size_ || headers.count(kJsonSize) > 1) {
    fail("comes with an Inference-Header-Content-Length that is not one number");
  }
}

bool ModelReader::fail(std::string_view why) {
  if (fault_.empty()) fault_ = why;
  return false;
}

Error ModelReader::refusal() const {
  return Error(ErrorKind::kInvalid, Fault::kDownstream,
               cat("the body of this ", name_of(found_.dialect), " ", found_.operation, " request ",
                   fault_));
}

bool ModelReader::push(std::string_view bytes) {
  if (!fault_.empty()) return false;
  if (!readable_) return true;
  const bool good =
      call_.form->body == ModelForm::Body::kGrpc ? push_grpc(bytes) : push_json(bytes);
  pushed_ += bytes.size();
  return good;
}

bool ModelReader::push_json(std::string_view bytes) {
  if (json_size_) {
    if (pushed_ >= *json_size_) return true;
    const uint64_t left = *json_size_ - pushed_;
    const bool last = left <= bytes.size();
    bytes = bytes.substr(0, left);
    if (json_.push(bytes) && (!last || json_.finish())) return true;
  } else if (json_.push(bytes)) {
    return true;
  }
  return fail(json_.fault());
}

bool ModelReader::push_grpc(std::string_view bytes) {
  while (!bytes.empty() && readable_) {
    if (wire_ && !wire_->done()) {
      const std::string_view part = bytes.substr(0, wire_->left());
      if (!wire_->push(part)) return fail(wire_->fault());
      bytes.remove_prefix(part.size());
      continue;
    }
    const std::size_t size = std::min(bytes.size(), GrpcDecoder::kPrefix - prefix_.size());
    prefix_ += bytes.substr(0, size);
    bytes.remove_prefix(size);
    if (prefix_.size() == GrpcDecoder::kPrefix && !begin_message()) return false;
  }
  return true;
}

bool ModelReader::begin_message() {
  const auto byte = [&](std::size_t at) { return static_cast<uint8_t>(prefix_[at]); };
  const uint64_t size = uint64_t{byte(1)} << 24 | byte(2) << 16 | byte(3) << 8 | byte(4);
  const uint8_t compressed = byte(0);
  prefix_.clear();
  if (compressed > 1)
    return fail("is no gRPC: a message begins with a byte that is neither 0 nor 1");
  if (messages_ > 0 && !call_.form->streams) return fail("has two messages where one is due");
  if (compressed == 1 && messages_ > 0) {
    return fail("has a compressed message behind one that is not; its model cannot be seen");
  }
  if (compressed == 1) {
    readable_ = false;
    return true;
  }
  ++messages_;
  wire_.emplace(call_.form->wire, static_cast<WireTaker&>(*this), size);
  return true;
}

bool ModelReader::finish() {
  if (!fault_.empty()) return false;
  if (!readable_) return true;
  if (call_.form->body == ModelForm::Body::kGrpc) {
    const bool whole = prefix_.empty() && (!wire_ || wire_->done());
    return whole || fail("ends in the middle of a message");
  }
  if (json_size_ && pushed_ < *json_size_) {
    return fail("is shorter than its Inference-Header-Content-Length");
  }
  return json_size_ || json_.finish() || fail(json_.fault());
}

bool ModelReader::settled() const {
  if (!readable_) return true;
  if (call_.form->body == ModelForm::Body::kGrpc) return wire_ && wire_->done();
  return json_size_ ? pushed_ >= *json_size_ : json_.done();
}

ModelRequest ModelReader::record(Arena& arena, uint64_t rest) const {
  ModelRequest record = found_;
  record.model = arena.copy(model_);
  record.version = arena.copy(version_);
  record.adapter = arena.copy(adapter_);
  record.tenant = arena.copy(tenant_);
  record.session = arena.copy(session_);
  record.cache_salt = arena.copy(salt_);
  record.read = readable_ && settled();
  const bool prompt = record.dialect == Dialect::kOpenAi || record.dialect == Dialect::kAnthropic ||
                      record.operation == "generate";
  record.input_bytes += text_bytes_ + tool_bytes_ + rest;
  if (prompt) {
    constexpr uint64_t kBytes = PrefixBlocks::kTokenBytes;
    record.input_tokens = tokens_ + (text_bytes_ + tool_bytes_ + rest + kBytes - 1) / kBytes;
    if (record.read) record.rows = std::max<uint64_t>(1, record.rows);
  }
  if (blocks_ && prompt) record.prefix_hashes = blocks_->chain(model_, salt_, arena);
  return record;
}

std::optional<BodyEdit> ModelReader::ask_for_usage() const {
  const std::string_view operation = call_.form->operation;
  const bool streams = operation == "chat" || operation == "completions";
  if (!streams || stream_end_ == 0 || stream_options_ || !readable_ || !settled()) return {};
  return BodyEdit{stream_end_, 0, R"(,"stream_options":{"include_usage":true})"};
}

// --- What the scanners find ----------------------------------------------------------------------

bool ModelReader::take_name(std::string& name, std::string_view what) {
  if (text_.size() > kLongestName) {
    return fail(cat("names a ", what, " of more than ", kLongestName, " bytes"));
  }
  // It goes into a header field and into the log, and is compared there.
  if (!is_value(text_) || !is_utf8(text_) || trim(text_).size() != text_.size()) {
    return fail(cat("names a ", what,
                    " with a control character, with white space around it or not in UTF-8"));
  }
  name = std::exchange(text_, {});
  return true;
}

bool ModelReader::end_model() {
  if (messages_ < 2) return take_name(model_, "model");
  return text_ == model_ || fail("is a stream whose messages name different models");
}

bool ModelReader::end_text(uint8_t what) {
  switch (what) {
    case kModel: return end_model();
    case kVersion:
      if (messages_ < 2) return take_name(version_, "version");
      return text_ == version_ || fail("is a stream whose messages name different versions");
    case kAdapter:
      if (!adapter_.empty()) return fail("names two adapters");
      return take_name(adapter_, "adapter");
    case kCacheSalt: salt_ = std::exchange(text_, {}); break;
    case kSession:
      if (session_.empty() && is_value(text_)) session_ = text_;
      break;
    case kStream: found_.streaming = found_.streaming || !is_no(text_); break;
    default: break;
  }
  return true;
}

void ModelReader::end_number(uint8_t what, double number) {
  const auto whole = static_cast<uint64_t>(std::max(0.0, number));
  switch (what) {
    // Two spellings of one limit: the server takes one of them.
    case kMostOutput: found_.most_output_tokens = std::max(found_.most_output_tokens, whole); break;
    case kChoices: found_.choices = std::max(found_.choices, whole); break;
    case kPriority: found_.priority = static_cast<int64_t>(number); break;
    case kTimeoutUs: {
      if (whole == 0) break;
      const Duration timeout = std::chrono::microseconds(static_cast<int64_t>(whole));
      found_.timeout = std::min(timeout, found_.timeout.value_or(timeout));
      break;
    }
    case kBinarySize: found_.input_bytes += whole; break;
    case kDimension: first_dimension(whole); break;
    case kStream: found_.streaming = found_.streaming || number != 0; break;
    default: break;
  }
}

// The first dimension of the first tensor is the batch.
void ModelReader::first_dimension(uint64_t size) {
  if (tensors_ == 1 && dimensions_++ == 0) found_.rows = size;
}

bool ModelReader::begin(uint8_t what, JsonKind kind, uint64_t offset) {
  using enum JsonKind;
  text_.clear();
  in_string_ = kind == kString;
  switch (what) {
    case kModel:
      name_at_ = offset;
      has_model_ = kind == kString;
      return kind == kString || kind == kNull;
    case kStream: found_.streaming = found_.streaming || kind == kTrue; break;
    case kStreamOptions: stream_options_ = true; break;
    case kPrompt: found_.rows += kind == kString ? 1 : 0; break;
    case kPromptItem:
      if (kind == kNumber) {
        ++tokens_;
        found_.rows = std::max<uint64_t>(1, found_.rows);
      }
      found_.rows += kind == kString || kind == kArray ? 1 : 0;
      break;
    case kToken: tokens_ += kind == kNumber ? 1 : 0; break;
    case kDocument:
    case kRow: ++found_.rows; break;
    case kTensor:
      ++tensors_;
      dimensions_ = 0;
      break;
    case kTools:
    case kTensorData: began_at_ = offset; break;
    default: break;
  }
  return true;
}

void ModelReader::text(uint8_t what, std::string_view piece) {
  switch (what) {
    case kTools:
    case kTensorData:
    case kToken:
    case kRow: return;
    case kPromptText:
    case kPrompt:
    case kPromptItem:
    case kDocument:
      if (!in_string_) return;
      text_bytes_ += piece.size();
      if (blocks_) blocks_->add(piece);
      return;
    default: text_ += piece.substr(0, kLongestName + 1 - std::min(text_.size(), kLongestName + 1));
  }
}

bool ModelReader::end(uint8_t what, JsonKind kind, uint64_t offset) {
  switch (what) {
    case kTools: tool_bytes_ += offset - began_at_; return true;
    case kTensorData: found_.input_bytes += offset - began_at_; return true;
    case kModel: name_size_ = offset - name_at_; break;
    case kStream:
      if (kind == JsonKind::kTrue) stream_end_ = offset;
      break;
    default: break;
  }
  if (kind == JsonKind::kString) return end_text(what);
  if (kind == JsonKind::kNumber) end_number(what, to_number(text_));
  return true;
}

void ModelReader::number(uint8_t what, uint64_t value) {
  if (messages_ > 1) return;
  switch (what) {
    case kVersionNumber: version_ = cat(static_cast<int64_t>(value)); break;
    case kParameterNumber:
      parameter_number_ = static_cast<double>(static_cast<int64_t>(value));
      break;
    case kDimension: first_dimension(value); break;
    default: break;
  }
}

void ModelReader::begin(uint8_t what, const WirePlace& place) {
  text_.clear();
  if (messages_ > 1) return;
  switch (what) {
    case kModel: name_ = place; break;
    case kModelSpec: spec_ = place; break;
    case kVersion:
    case kVersionField:
      if (version_field_) fail("names its version twice");
      version_field_ = place;
      break;
    case kTensor:
      ++tensors_;
      dimensions_ = 0;
      break;
    case kTensorData: found_.input_bytes += place.size; break;
    case kParameter:
      parameter_key_.clear();
      parameter_text_.clear();
      parameter_number_.reset();
      break;
    default: break;
  }
}

bool ModelReader::end(uint8_t what) {
  switch (what) {
    case kModel:
    case kVersion: return end_text(what) && fault_.empty();
    case kParameterKey: parameter_key_ = std::exchange(text_, {}); break;
    case kParameterText: parameter_text_ = std::exchange(text_, {}); break;
    case kParameter:
      if (messages_ < 2) end_parameter();
      break;
    default: break;
  }
  return fault_.empty();
}

// An entry of the map, whichever of its key and value came first. The key comes once in a map, or the
// last one counts.
void ModelReader::end_parameter() {
  if (parameter_number_ && parameter_key_ == "priority") {
    found_.priority = static_cast<int64_t>(*parameter_number_);
  } else if (parameter_number_ && parameter_key_ == "timeout") {
    end_number(kTimeoutUs, *parameter_number_);
  } else if (parameter_key_ == "lora_name" || parameter_key_ == "adapter_id") {
    text_ = parameter_text_;
    end_text(kAdapter);
  }
}

// --- Another name ----------------------------------------------------------------------------------

Result<std::vector<BodyEdit>> ModelReader::rename(std::string_view model,
                                                  std::string_view version) const {
  std::vector<BodyEdit> edits;
  if (!named_in_body()) return edits;
  const auto cannot = [&](std::string_view why) {
    return Error(ErrorKind::kInvalid, Fault::kDownstream,
                 cat("the route gives the model another name, and ", why));
  };
  if (call_.form->body == ModelForm::Body::kJson) {
    if (!has_model_ || name_size_ == 0)
      return cannot("the part of the body that was held has none");
    std::string name;
    append_json_escaped(name, model);
    edits.push_back({name_at_, name_size_, std::move(name)});
    return edits;
  }
  if (call_.form->streams) return cannot("in a stream of requests each message would need it");
  const uint64_t seen = wire_ ? wire_->size() - wire_->left() : 0;
  const auto whole = [&](const std::optional<WirePlace>& place) {
    return place && place->at + place->size <= seen;
  };
  if (!whole(name_)) return cannot("the part of the body that was held has none");
  // What stands behind the held part must not say a version again.
  const bool version_is_known = settled() || whole(spec_) || whole(version_field_);
  if ((spec_ && !whole(spec_)) || (!version.empty() && !version_is_known)) {
    return cannot("the part of the body that was held does not reach to its version");
  }
  // Positions in the message so far.
  const bool spec = spec_.has_value();
  std::string fields = text_field(spec ? 1 : call_.form->wire.front().field, model);
  if (!version.empty()) {
    if (version_field_) {
      const uint64_t end = version_field_->at + version_field_->size;
      edits.push_back({version_field_->tag_at, end - version_field_->tag_at, ""});
    }
    const auto number = parse_decimal(version);
    if (spec && number) {
      std::string value(1, '\x08');
      append_varint(value, *number);
      fields += text_field(2, value);
    } else {
      fields += text_field(spec ? 4 : 2, version);
    }
  }
  edits.push_back({name_->tag_at, name_->at + name_->size - name_->tag_at, std::move(fields)});
  const auto growth = [&] {
    int64_t bytes = 0;
    for (const BodyEdit& edit : edits) {
      bytes += static_cast<int64_t>(edit.put.size()) - static_cast<int64_t>(edit.removed);
    }
    return static_cast<uint64_t>(bytes);
  };
  if (spec) {
    std::string length;
    append_varint(length, spec_->size + growth());
    edits.push_back({spec_->length_at, spec_->at - spec_->length_at, std::move(length)});
  }
  for (BodyEdit& edit : edits) edit.at += GrpcDecoder::kPrefix;
  std::string prefix;
  const uint64_t size = wire_->size() + growth();
  for (int shift = 24; shift >= 0; shift -= 8) prefix += static_cast<char>(size >> shift);
  edits.push_back({1, 4, std::move(prefix)});
  std::ranges::sort(edits, {}, &BodyEdit::at);
  return edits;
}

}  // namespace glia
