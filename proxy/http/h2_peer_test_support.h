// A peer that may break HTTP: nghttp2 without its checks of messages, whose frames are written
// down.
#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proxy/base/text.h"
#include "proxy/http/h2_raw_test_support.h"

namespace glia {

class RawPeer final : private Stream::Watcher {
 public:
  enum class Side { kClient, kServer };

  RawPeer(Side side, std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {
    nghttp2_session_callbacks* set = nullptr;
    nghttp2_session_callbacks_new(&set);
    nghttp2_session_callbacks_set_on_frame_recv_callback(set, frame_recv);
    nghttp2_session_callbacks_set_on_header_callback(set, header);
    nghttp2_option* options = nullptr;
    nghttp2_option_new(&options);
    nghttp2_option_set_no_http_messaging(options, 1);
    nghttp2_option_set_no_auto_window_update(options, 1);
    (side == Side::kClient ? nghttp2_session_client_new2 : nghttp2_session_server_new2)(
        &session_, set, this, options);
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(set);
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
    stream_->watch(*this);
  }
  ~RawPeer() override { nghttp2_session_del(session_); }

  nghttp2_session* session() { return session_; }
  // "HEADERS 1 :status=200 END", "RST 1 PROTOCOL_ERROR", "GOAWAY 1 NO_ERROR", "DATA 1 17 END".
  const std::vector<std::string>& frames() const { return frames_; }
  bool saw(std::string_view frame) const {
    return std::ranges::find(frames_, frame) != frames_.end();
  }
  bool ended() const { return ended_; }

  // A head; the message ends with it unless `more`.
  int32_t head(int32_t id, const FieldList& fields, bool more = false) {
    const auto list = views(fields);
    id = nghttp2_submit_headers(session_, more ? NGHTTP2_FLAG_NONE : NGHTTP2_FLAG_END_STREAM, id,
                                nullptr, list.data(), list.size(), nullptr);
    send();
    return id;
  }
  void data(int32_t id, std::string text, bool end) {
    auto* const held = new std::string(std::move(text));
    nghttp2_data_provider2 provider{{.ptr = held}, read_text};
    nghttp2_submit_data2(session_, end ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE, id,
                         &provider);
    send();
  }
  void reset(int32_t id, uint32_t code) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, code);
    send();
  }
  void send() {
    const uint8_t* bytes = nullptr;
    while (true) {
      const nghttp2_ssize count = nghttp2_session_mem_send2(session_, &bytes);
      if (count <= 0) break;
      write({reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(count)});
    }
  }
  void write(std::string_view bytes) {
    const std::string_view piece[] = {bytes};
    CHECK(!open_ || stream_->write(piece).state != IoResult::State::kWait);
    if (!open_) early_ += bytes;
  }

 private:
  static std::vector<nghttp2_nv> views(const FieldList& fields) {
    std::vector<nghttp2_nv> list;
    for (const auto& [name, value] : fields) {
      list.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(),
                      value.size(), NGHTTP2_NV_FLAG_NO_COPY_NAME});
    }
    return list;
  }
  static nghttp2_ssize read_text(nghttp2_session*, int32_t, uint8_t* to, std::size_t most,
                                 uint32_t* flags, nghttp2_data_source* source, void*) {
    auto* const text = static_cast<std::string*>(source->ptr);
    const std::size_t count = text->copy(reinterpret_cast<char*>(to), most);
    text->erase(0, count);
    if (text->empty()) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      delete text;
    }
    return static_cast<nghttp2_ssize>(count);
  }
  static int header(nghttp2_session*, const nghttp2_frame*, const uint8_t* name, std::size_t,
                    const uint8_t* value, std::size_t, uint8_t, void* user) {
    static_cast<RawPeer*>(user)->fields_ +=
        cat(' ', reinterpret_cast<const char*>(name), '=', reinterpret_cast<const char*>(value));
    return 0;
  }
  static int frame_recv(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    auto& self = *static_cast<RawPeer*>(user);
    const int32_t id = frame->hd.stream_id;
    const char* const end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 ? " END" : "";
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        self.frames_.push_back(cat("HEADERS ", id, std::exchange(self.fields_, {}), end));
        break;
      case NGHTTP2_DATA:
        self.frames_.push_back(cat("DATA ", id, ' ', frame->hd.length, end));
        break;
      case NGHTTP2_RST_STREAM:
        self.frames_.push_back(
            cat("RST ", id, ' ', nghttp2_http2_strerror(frame->rst_stream.error_code)));
        break;
      case NGHTTP2_GOAWAY:
        self.frames_.push_back(cat("GOAWAY ", frame->goaway.last_stream_id, ' ',
                                   nghttp2_http2_strerror(frame->goaway.error_code)));
        break;
      default: break;
    }
    return 0;
  }

  void on_open() override {
    open_ = true;
    if (!early_.empty()) write(std::exchange(early_, {}));
    send();
  }
  void on_readable() override {
    char block[16 * 1024];
    while (true) {
      const IoResult got = stream_->read(block);
      if (got.state == IoResult::State::kWait) break;
      if (got.state != IoResult::State::kDone) {
        ended_ = true;
        return stream_->pause_reading(true);
      }
      nghttp2_session_mem_recv2(session_, reinterpret_cast<const uint8_t*>(block), got.bytes);
    }
    send();
  }
  void on_writable() override {}
  void on_broken() override { ended_ = true; }

  std::unique_ptr<Stream> stream_;
  nghttp2_session* session_ = nullptr;
  std::vector<std::string> frames_;
  std::string fields_;
  std::string early_;
  bool open_ = false;
  bool ended_ = false;
};

}  // namespace glia
