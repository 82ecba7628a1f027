#include "proxy/http/h1_parser.h"

#include <algorithm>
#include <cstring>

#include "proxy/base/text.h"
#include "proxy/http/syntax.h"

namespace glia {
namespace {

constexpr uint64_t kLargestLength = INT64_MAX;  // bytes
constexpr std::size_t kLongestLengthText = 19;  // digits of it

}  // namespace

void H1HeadParser::begin(Headers& headers, Stage stage) {
  headers_ = &headers;
  partial_ = {};
  refusal_ = {};
  bytes_ = fields_ = 0;
  stage_ = stage;
  length_ = 0;
  has_length_ = chunked_ = close_ = keep_alive_ = upgrade_ = nominates_ = false;
}

H1HeadParser::State H1HeadParser::feed(std::string_view& input) {
  if (!partial_.empty()) {
    const State state = finish_partial(input);
    if (state != State::kMore || !partial_.empty()) return state;
  }
  const char* at = input.data();
  const char* const end = at + input.size();
  while (stage_ != Stage::kDone && at != end) {
    const Stage stage = stage_;
    const char* const after = line(at, end);
    if (after == nullptr) break;
    count(static_cast<std::size_t>(after - at), stage);
    at = after;
    if (refused()) break;
  }
  input.remove_prefix(static_cast<std::size_t>(at - input.data()));
  if (refused()) return State::kRefused;
  if (stage_ == Stage::kDone) return State::kDone;
  return finish_partial(input);
}

// Adds to the line in partial_ up to its LF, and parses it if it is complete now.
H1HeadParser::State H1HeadParser::finish_partial(std::string_view& input) {
  if (input.empty()) return State::kMore;
  const void* const found = std::memchr(input.data(), '\n', input.size());
  const std::size_t size =
      found == nullptr
          ? input.size()
          : static_cast<std::size_t>(static_cast<const char*>(found) - input.data()) + 1;
  count(size, stage_);
  if (refused()) return State::kRefused;
  partial_.append(input.data(), size);
  input.remove_prefix(size);
  if (found == nullptr) return State::kMore;
  const char* const end = partial_.data() + partial_.size();
  if (line(partial_.data(), end) != end && !refused()) refuse(400, "a line of the head is broken");
  partial_ = {};
  if (refused()) return State::kRefused;
  return stage_ == Stage::kDone ? State::kDone : State::kMore;
}

void H1HeadParser::count(std::size_t bytes, Stage stage) {
  bytes_ += bytes;
  if (bytes_ <= limits_.header_bytes) return;
  if (stage == Stage::kStartLine) {
    refuse(414, "the request line is longer than the limit for a head");
  } else {
    refuse(431, "the head is larger than the limit");
  }
}

const char* H1HeadParser::line(const char* at, const char* end) {
  if (stage_ == Stage::kStartLine) {
    const char* const after = start_line(at, end);
    // An empty line before the request line keeps the stage.
    if (after != nullptr && *at != '\r') stage_ = Stage::kFields;
    return after;
  }
  if (*at != '\r') return field_line(at, end);
  if (at + 1 == end) return nullptr;
  if (at[1] != '\n') return refuse(400, "a CR in the head is not followed by LF");
  stage_ = Stage::kDone;
  if (nominates_) apply_connection();
  if (!refused()) finish();
  return refused() ? nullptr : at + 2;
}

const char* H1HeadParser::field_line(const char* at, const char* end) {
  char name[kLongestName];
  const auto most = std::min(static_cast<std::size_t>(end - at), kLongestName);
  std::size_t size = 0;
  while (size < most && (name[size] = name_byte(at[size])) != 0) ++size;
  if (at + size == end) return nullptr;
  if (size == kLongestName && name_byte(at[size]) != 0) {
    return refuse(431, "a field name is longer than 256 bytes");
  }
  if (at[size] != ':' || size == 0) return refuse_name(at[size], size);
  const char* value = at + size + 1;
  while (value != end && (*value == ' ' || *value == '\t')) ++value;
  const char* const stop = find_control(value, end);
  if (stop == end) return nullptr;
  if (*stop == '\n') return refuse(400, "a line of the head ends with LF alone");
  if (*stop != '\r') return refuse(400, "a field value holds a control byte");
  if (stop + 1 == end) return nullptr;
  if (stop[1] != '\n') return refuse(400, "a CR in the head is not followed by LF");
  const char* last = stop;
  while (last != value && (last[-1] == ' ' || last[-1] == '\t')) --last;
  take_field({name, size}, {value, static_cast<std::size_t>(last - value)});
  return refused() ? nullptr : stop + 2;
}

const char* H1HeadParser::refuse_name(char stop, std::size_t name_size) {
  if ((stop == ' ' || stop == '\t') && name_size == 0) {
    return refuse(400, "a line of the head begins with white space (folded lines are refused)");
  }
  if (stop == ' ' || stop == '\t') return refuse(400, "white space before the colon of a field");
  if (stop == ':') return refuse(400, "a field has no name");
  if (stop == '\n') return refuse(400, "a line of the head ends with LF alone");
  if (stop == '\r') return refuse(400, "a line of the head has no colon");
  return refuse(400, "a field name holds a byte that may not stand there");
}

void H1HeadParser::take_field(std::string_view name, std::string_view value) {
  if (++fields_ > limits_.header_fields) {
    refuse(431, "the head has more fields than the limit");
    return;
  }
  if (special_field(name, value) || refused()) return;
  if (std::memchr(name.data(), '_', name.size()) != nullptr && imitates_protected(name)) {
    refuse(400, "a field name imitates a protected name with '_' for '-'");
    return;
  }
  Arena& arena = headers_->arena();
  headers_->add_kept(arena.copy(name), arena.copy(value));
}

bool H1HeadParser::length_field(std::string_view value) {
  if (has_length_) return refuse(400, "more than one content-length"), true;
  const auto length =
      value.size() <= kLongestLengthText ? parse_decimal(value) : std::optional<uint64_t>();
  if (!length || *length > kLargestLength) {
    return refuse(400, "content-length is not a decimal number below 2^63"), true;
  }
  has_length_ = true;
  length_ = *length;
  return true;
}

bool H1HeadParser::encoding_field(std::string_view value) {
  if (chunked_) return refuse(400, "more than one transfer-encoding"), true;
  chunked_ = equal_no_case(value, "chunked");
  if (!chunked_ && is_token(value)) {
    return refuse(501, "transfer-encoding is not supported; only \"chunked\" is"), true;
  }
  if (!chunked_) refuse(400, "transfer-encoding is not exactly \"chunked\"");
  return true;
}

bool H1HeadParser::connection_field(std::string_view value) {
  if (equal_no_case(value, "keep-alive")) {
    keep_alive_ = true;
  } else if (equal_no_case(value, "close")) {
    close_ = true;
  } else if (equal_no_case(value, "upgrade")) {
    upgrade_ = true;
  } else {
    nominates_ = true;  // Kept until all fields are there.
    headers_->add_kept("connection", headers_->arena().copy(value));
  }
  return true;
}

void H1HeadParser::apply_connection() {
  const std::span<const Field> fields = std::as_const(*headers_).fields();
  // Fields are only ever removed at the end, so that the list can be walked.
  for (const Field& field : fields) {
    if (field.name != "connection") continue;
    for_each_member(field.value, [this](std::string_view member) {
      if (member.empty() || equal_no_case(member, "connection")) return true;
      if (equal_no_case(member, "close")) return close_ = true;
      if (equal_no_case(member, "keep-alive")) return keep_alive_ = true;
      if (equal_no_case(member, "upgrade")) return upgrade_ = true;
      const std::string name = to_lower(member);
      if (!is_token(name)) return refuse(400, "connection names something that is no field"), false;
      if (is_protected(name)) return refuse(400, "connection names a protected field"), false;
      for (Field& nominated : headers_->fields()) {
        if (nominated.name == name) nominated.name = {};
      }
      return true;
    });
    if (refused()) return;
  }
  headers_->remove_if(
      [](const Field& field) { return field.name.empty() || field.name == "connection"; });
}

bool H1TrailerParser::special_field(std::string_view name, std::string_view) {
  return !is_forwarded_trailer(name);
}

}  // namespace glia
