// An HTTP/2 peer that sends any bytes at all, and frames put together by hand; for what no library
// would send. It reads what it is sent and acknowledges nothing by itself.
#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/base/text.h"
#include "proxy/http/h2_test_support.h"

namespace glia {

using FieldList = std::vector<std::pair<std::string, std::string>>;

inline std::string big_endian(uint32_t number, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    text.push_back(static_cast<char>(number >> shift));
  }
  return text;
}

inline std::string frame(uint8_t type, uint8_t flags, int32_t stream,
                         std::string_view payload = {}) {
  return cat(big_endian(static_cast<uint32_t>(payload.size()), 3), std::string(1, char(type)),
             std::string(1, char(flags)), big_endian(static_cast<uint32_t>(stream), 4), payload);
}

inline constexpr uint8_t kEnd = NGHTTP2_FLAG_END_STREAM, kEndHead = NGHTTP2_FLAG_END_HEADERS;

inline std::string settings(const std::vector<std::pair<uint16_t, uint32_t>>& entries = {}) {
  std::string payload;
  for (const auto& [id, value] : entries) payload += big_endian(id, 2) + big_endian(value, 4);
  return frame(NGHTTP2_SETTINGS, 0, 0, payload);
}
inline std::string window_update(int32_t stream, uint32_t more) {
  return frame(NGHTTP2_WINDOW_UPDATE, 0, stream, big_endian(more, 4));
}
inline std::string rst_stream(int32_t stream, uint32_t code = NGHTTP2_CANCEL) {
  return frame(NGHTTP2_RST_STREAM, 0, stream, big_endian(code, 4));
}
inline std::string ping(uint8_t flags = 0) { return frame(NGHTTP2_PING, flags, 0, "12345678"); }
inline std::string data(int32_t stream, std::string_view bytes, uint8_t flags = 0) {
  return frame(NGHTTP2_DATA, flags, stream, bytes);
}

// RFC 7541 section 5.1, with all bits above the prefix clear.
inline std::string hpack_number(uint64_t number, int prefix, uint8_t first = 0) {
  const uint64_t most = (1u << prefix) - 1;
  if (number < most) return std::string(1, static_cast<char>(first | number));
  std::string text(1, static_cast<char>(first | most));
  for (number -= most; number >= 128; number >>= 7) {
    text.push_back(static_cast<char>(number | 0x80));
  }
  text.push_back(static_cast<char>(number));
  return text;
}
inline std::string hpack_text(std::string_view text) {
  return hpack_number(text.size(), 7) += text;
}
// Literals that enter no table, as they are; what HPACK cannot say otherwise.
inline std::string block(const FieldList& fields) {
  std::string text;
  for (const auto& [name, value] : fields) {
    text += cat(std::string(1, '\0'), hpack_text(name), hpack_text(value));
  }
  return text;
}
inline std::string headers(int32_t stream, const FieldList& fields,
                           uint8_t flags = kEnd | kEndHead) {
  return frame(NGHTTP2_HEADERS, flags, stream, block(fields));
}

class RawWire final : private Stream::Watcher {
 public:
  explicit RawWire(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {
    nghttp2_hd_inflate_new(&inflater_);
    stream_->watch(*this);
  }
  ~RawWire() override { nghttp2_hd_inflate_del(inflater_); }

  // The preface of a client, or only SETTINGS.
  static std::string hello(bool client) {
    return cat(client ? NGHTTP2_CLIENT_MAGIC : "", settings());
  }
  // What does not fit is sent as the other side reads.
  void send(std::string_view bytes) {
    unsent_ += bytes;
    sent_ += bytes.size();
    push();
  }
  bool all_sent() const { return unsent_.empty(); }
  uint64_t sent() const { return sent_; }
  uint64_t received() const { return received_; }
  void read_nothing() {
    deaf_ = true;
    stream_->pause_reading(true);
  }

  // "HEADERS 1 :status=200 END", "RST 1 PROTOCOL_ERROR", "GOAWAY 1 NO_ERROR", "DATA 1 17 END",
  // "PING ACK", "SETTINGS", "SETTINGS ACK", "WINDOW_UPDATE 0".
  const std::vector<std::string>& frames() const { return frames_; }
  bool saw(std::string_view start) const {
    for (const std::string& frame : frames_) {
      if (frame.starts_with(start)) return true;
    }
    return false;
  }
  // The code of the last GOAWAY; "" if none.
  std::string goaway() const {
    for (auto at = frames_.rbegin(); at != frames_.rend(); ++at) {
      if (at->starts_with("GOAWAY")) return at->substr(at->rfind(' ') + 1);
    }
    return "";
  }
  std::size_t count(std::string_view start) const {
    std::size_t found = 0;
    for (const std::string& frame : frames_) found += frame.starts_with(start);
    return found;
  }
  bool ended() const { return ended_; }

 private:
  void push() {
    while (open_ && !unsent_.empty() && !ended_) {
      const std::string_view piece[] = {unsent_};
      const IoResult wrote = stream_->write(piece);
      if (wrote.state == IoResult::State::kError) ended_ = true;
      if (wrote.state != IoResult::State::kDone) return;
      unsent_.erase(0, wrote.bytes);
    }
  }
  void on_open() override {
    open_ = true;
    push();
  }
  void on_writable() override { push(); }
  void on_broken() override { ended_ = true; }
  void on_readable() override {
    char bytes[16 * 1024];
    while (!deaf_) {
      const IoResult got = stream_->read(bytes);
      if (got.state == IoResult::State::kWait) break;
      if (got.state != IoResult::State::kDone) {
        ended_ = true;
        stream_->pause_reading(true);
        break;
      }
      received_ += got.bytes;
      input_.append(bytes, got.bytes);
    }
    if (input_.starts_with("PRI")) {  // We play the server.
      if (input_.size() < NGHTTP2_CLIENT_MAGIC_LEN) return;
      input_.erase(0, NGHTTP2_CLIENT_MAGIC_LEN);
    }
    std::size_t at = 0;
    while (input_.size() - at >= 9) {
      const std::string_view head = std::string_view(input_).substr(at, 9);
      const std::size_t length = number(head.substr(0, 3));
      if (input_.size() - at < 9 + length) break;
      take(head, std::string_view(input_).substr(at + 9, length));
      at += 9 + length;
    }
    input_.erase(0, at);
  }
  static uint32_t number(std::string_view bytes) {
    uint32_t value = 0;
    for (char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
    return value;
  }
  void take(std::string_view head, std::string_view payload) {
    const uint8_t flags = static_cast<uint8_t>(head[4]);
    const uint32_t stream = number(head.substr(5));
    const char* const end = (flags & kEnd) != 0 ? " END" : "";
    switch (head[3]) {
      case NGHTTP2_HEADERS: frames_.push_back(cat("HEADERS ", stream, fields(payload), end)); break;
      case NGHTTP2_DATA: frames_.push_back(cat("DATA ", stream, ' ', payload.size(), end)); break;
      case NGHTTP2_RST_STREAM:
        frames_.push_back(cat("RST ", stream, ' ', nghttp2_http2_strerror(number(payload))));
        break;
      case NGHTTP2_GOAWAY:
        frames_.push_back(cat("GOAWAY ", number(payload.substr(0, 4)), ' ',
                              nghttp2_http2_strerror(number(payload.substr(4, 4)))));
        break;
      case NGHTTP2_PING: frames_.push_back((flags & 1) != 0 ? "PING ACK" : "PING"); break;
      case NGHTTP2_SETTINGS:
        frames_.push_back((flags & 1) != 0 ? "SETTINGS ACK" : "SETTINGS");
        break;
      case NGHTTP2_WINDOW_UPDATE: frames_.push_back(cat("WINDOW_UPDATE ", stream)); break;
      default: frames_.push_back(cat("TYPE ", static_cast<int>(head[3]))); break;
    }
  }
  std::string fields(std::string_view block) {
    std::string text;
    const auto* at = reinterpret_cast<const uint8_t*>(block.data());
    const uint8_t* const end = at + block.size();
    for (;;) {
      nghttp2_nv field;
      int flags = 0;
      const nghttp2_ssize read = nghttp2_hd_inflate_hd3(inflater_, &field, &flags, at,
                                                        static_cast<std::size_t>(end - at), 1);
      if (read < 0) return " BROKEN";
      at += read;
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        text += cat(' ', reinterpret_cast<const char*>(field.name), '=',
                    reinterpret_cast<const char*>(field.value));
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    }
    nghttp2_hd_inflate_end_headers(inflater_);
    return text;
  }

  std::unique_ptr<Stream> stream_;
  nghttp2_hd_inflater* inflater_ = nullptr;
  std::string unsent_, input_;
  std::vector<std::string> frames_;
  uint64_t sent_ = 0, received_ = 0;
  bool open_ = false, ended_ = false, deaf_ = false;
};

}  // namespace glia
