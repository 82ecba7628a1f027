#include "proxy/http/h2_gate.h"

#include <algorithm>
#include <cstring>

namespace glia {
namespace {

constexpr std::size_t kHead = 9;            // bytes, RFC 9113 section 4.1
constexpr std::size_t kWindowUpdate = 4;    // bytes of payload
constexpr std::size_t kPriority = 5;        // bytes of payload
constexpr std::size_t kLooked = kHead + 4;  // the most that is looked at of one frame
constexpr int64_t kLargestWindow = 0x7fffffff;

uint32_t read_number(std::string_view bytes) {
  uint32_t number = 0;
  for (char byte : bytes) number = number << 8 | static_cast<uint8_t>(byte);
  return number;
}

int32_t read_id(std::string_view bytes) {  // Without the reserved bit.
  return static_cast<int32_t>(read_number(bytes) & 0x7fffffff);
}

}  // namespace

H2Gate::H2Gate(Peer peer, nghttp2_session* session, const HttpLimits& limits)
    : peer_(peer),
      session_(session),
      limits_(limits),
      preface_left_(peer == Peer::kClient ? NGHTTP2_CLIENT_MAGIC_LEN : 0),
      left_behind_(kRemembered) {}

H2Gate::Head H2Gate::read_head(std::string_view bytes) {
  return {read_number(bytes.substr(0, 3)), static_cast<uint8_t>(bytes[3]),
          static_cast<uint8_t>(bytes[4]), read_id(bytes.substr(5, 4)), bytes};
}

std::size_t H2Gate::needed(std::string_view begun) {
  if (begun.size() < kHead) return kHead;
  const auto type = static_cast<uint8_t>(begun[3]);
  const std::size_t length = read_number(begun.substr(0, 3));
  const bool more = (type == NGHTTP2_WINDOW_UPDATE && length == kWindowUpdate) ||
                    (type == NGHTTP2_PRIORITY && length == kPriority);
  return more ? kLooked : kHead;
}

H2Gate::Step H2Gate::look(std::string_view input, TimePoint now) {
  if (held_size_ > 0) return look_at_held(input, now);
  std::size_t at = std::min(preface_left_, input.size());
  preface_left_ -= at;
  for (;;) {
    const std::size_t payload = std::min(payload_left_, input.size() - at);
    at += payload;
    payload_left_ -= payload;
    if (at == input.size()) return {.pass = at};
    const std::string_view rest = input.substr(at);
    const std::size_t need = needed(rest);
    if (rest.size() < need) {
      held_size_ = rest.copy(held_.data(), rest.size());
      return {.pass = at, .drop = rest.size()};
    }
    const Head head = read_head(rest.substr(0, need));
    // Its window must be what the frames before it have made of it.
    if (head.type == NGHTTP2_WINDOW_UPDATE && head.stream != 0 && at > 0) return {.pass = at};
    const std::optional<Fault> fault = judge(head, now);
    if (fault) return {.pass = at, .drop = need, .fault = fault};
    payload_left_ = head.length - (need - kHead);
    at += need;
  }
}

// The frame began in an earlier read.
H2Gate::Step H2Gate::look_at_held(std::string_view input, TimePoint now) {
  std::size_t taken = 0;
  std::string_view begun(held_.data(), held_size_);
  while (begun.size() < needed(begun) && taken < input.size()) {
    const std::size_t more = std::min(needed(begun) - begun.size(), input.size() - taken);
    input.copy(held_.data() + held_size_, more, taken);
    held_size_ += more;
    taken += more;
    begun = {held_.data(), held_size_};
  }
  if (begun.size() < needed(begun)) return {.drop = taken};
  held_size_ = 0;
  const Head head = read_head(begun);
  const std::optional<Fault> fault = judge(head, now);
  if (fault) return {.drop = taken, .fault = fault};
  payload_left_ = head.length - (begun.size() - kHead);
  return {.held = begun, .drop = taken};
}

std::optional<H2Gate::Fault> H2Gate::judge(const Head& head, TimePoint now) {
  switch (head.type) {
    case NGHTTP2_DATA: pings_.earn(kPingsPerData); return judge_data(head);
    case NGHTTP2_HEADERS: return judge_headers(head);
    case NGHTTP2_CONTINUATION: return judge_continuation(head);
    case NGHTTP2_PRIORITY: return judge_priority(head);
    case NGHTTP2_WINDOW_UPDATE: return judge_window_update(head);
    case NGHTTP2_RST_STREAM: receiving_.erase(head.stream); return {};
    case NGHTTP2_PING: spend(head.has(NGHTTP2_FLAG_ACK) ? glitches_ : pings_, now); return {};
    case NGHTTP2_SETTINGS: spend(settings_, now); return {};
    case NGHTTP2_PUSH_PROMISE:
      return Fault{NGHTTP2_PROTOCOL_ERROR, "PUSH_PROMISE, which was not allowed"};
    case NGHTTP2_PRIORITY_UPDATE: count_priority(); return {};
    default: spend(glitches_, now); return {};  // GOAWAY, and types that nobody knows.
  }
}

std::optional<H2Gate::Fault> H2Gate::judge_data(const Head& head) {
  if (!receiving_.has(head.stream)) {
    if (auto fault = not_open(head)) return fault;
  }
  if (head.has(NGHTTP2_FLAG_END_STREAM)) receiving_.erase(head.stream);
  return count_empty(head);
}

std::optional<H2Gate::Fault> H2Gate::judge_headers(const Head& head) {
  continuations_ = 0;
  if (peer_ == Peer::kClient && head.stream > last_) {
    peer_opened(head);
  } else if (receiving_.has(head.stream)) {
    if (head.has(NGHTTP2_FLAG_END_STREAM)) receiving_.erase(head.stream);
  } else if (auto fault = not_open(head)) {
    return fault;
  }
  return count_empty(head);
}

void H2Gate::peer_opened(const Head& head) {
  if (head.stream > last_ + 2) {
    gaps_[next_gap_] = {last_, head.stream};
    next_gap_ = (next_gap_ + 1) % gaps_.size();
  }
  last_ = head.stream;
  ++opened_;
  pings_.earn(kPingsPerData);
  if (!head.has(NGHTTP2_FLAG_END_STREAM)) receiving_.insert(head.stream);
}

std::optional<H2Gate::Fault> H2Gate::judge_continuation(const Head& head) {
  if (++continuations_ > kContinuations) {
    return Fault{NGHTTP2_ENHANCE_YOUR_CALM, "too many CONTINUATION frames"};
  }
  return count_empty(head);
}

// RFC 9113 section 5.3.2 has taken the meaning away from PRIORITY, but not the rules of its format.
std::optional<H2Gate::Fault> H2Gate::judge_priority(const Head& head) {
  if (head.stream == 0) return Fault{NGHTTP2_PROTOCOL_ERROR, "PRIORITY on stream 0"};
  count_priority();
  if (head.begin.size() < kLooked) return {};  // Of a wrong size, which nghttp2 says.
  if (read_id(head.begin.substr(kHead, 4)) != head.stream) return {};
  return Fault{NGHTTP2_PROTOCOL_ERROR, "a stream that depends on itself"};
}

void H2Gate::count_priority() {
  ++priorities_;
  spent_ = true;
}

std::optional<H2Gate::Fault> H2Gate::judge_window_update(const Head& head) {
  ++window_updates_;
  spent_ = true;
  if (head.stream == 0 || head.begin.size() < kLooked) return {};
  const int64_t more = read_id(head.begin.substr(kHead, 4));
  const int64_t window =
      nghttp2_session_get_stream_remote_window_size(session_, head.stream);  // -1: no stream.
  if (window + more <= kLargestWindow) return {};
  return Fault{NGHTTP2_FLOW_CONTROL_ERROR, "a window above 2^31-1", head.stream};
}

bool H2Gate::idle(int32_t id) const {
  return id > last_ || id % 2 == 0;  // Even ones are the server's, who was told to open none.
}

// DATA or HEADERS where the peer must not send any more, RFC 9113 section 5.1.
std::optional<H2Gate::Fault> H2Gate::not_open(const Head& head) const {
  if (idle(head.stream)) return {};              // nghttp2 knows what to say.
  if (left_behind_.has(head.stream)) return {};  // It may not know yet; nghttp2 drops it.
  const bool skipped = std::ranges::any_of(
      gaps_, [&](const auto& gap) { return gap.first < head.stream && head.stream < gap.second; });
  if (skipped && head.type == NGHTTP2_HEADERS) {
    return Fault{NGHTTP2_PROTOCOL_ERROR, "a stream number below an earlier one"};
  }
  return Fault{NGHTTP2_STREAM_CLOSED, "a frame on a closed stream"};
}

std::optional<H2Gate::Fault> H2Gate::count_empty(const Head& head) {
  if (head.length > 0 || (head.type != NGHTTP2_CONTINUATION && head.has(NGHTTP2_FLAG_END_STREAM))) {
    empty_in_a_row_ = 0;
    return {};
  }
  if (++empty_in_a_row_ <= limits_.empty_frames) return {};
  return Fault{NGHTTP2_ENHANCE_YOUR_CALM, "empty frames in a row"};
}

void H2Gate::we_opened(int32_t id) {
  last_ = std::max(last_, id);
  ++opened_;
  receiving_.insert(id);
}

void H2Gate::closed(int32_t id) {
  if (receiving_.erase(id)) left_behind_.put(id);
}

bool H2Gate::overdrawn() const {
  if (resets_.overdrawn() || glitches_.overdrawn() || pings_.overdrawn() || settings_.overdrawn()) {
    return true;
  }
  // Envoy's formulas.
  if (priorities_ > limits_.priority_frames_per_stream * (1 + opened_)) return true;
  return window_updates_ > 5 + 2 * (opened_ + limits_.window_updates_per_data_frame * data_sent_);
}

bool H2Gate::worn() const {
  return resets_.worn() || glitches_.worn() || pings_.worn() || settings_.worn();
}

}  // namespace glia
