// What the fuzz targets of HTTP/2 share: how any bytes become the writes of a peer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/http/h2_test_support.h"

namespace glia {

inline constexpr std::size_t kMostFuzzBytes = 32 * 1024;  // Fits in a Pipe.

inline constexpr std::string_view kEmptySettings{"\0\0\0\4\0\0\0\0\0", 9};
inline constexpr std::string_view kClientPreface{
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 24 + 9};

inline std::string_view text_of(const uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A peer that reads what it is sent and forgets it.
class Listener final : public Stream::Watcher {
 public:
  explicit Listener(Stream& stream) : stream_(stream) {}
  void on_open() override { open = true; }
  void on_readable() override {
    char block[4096];
    for (;;) {
      const IoResult got = stream_.read(block);
      if (got.state == IoResult::State::kWait) return;
      if (got.state != IoResult::State::kDone) return stream_.pause_reading(true);
    }
  }
  void on_writable() override {}
  void on_broken() override {}
  bool open = false;

 private:
  Stream& stream_;
};

// Writes `bytes` in pieces whose size `how` decides, lets them be acted on, and goes away.
inline void play(EventLoop& loop, std::unique_ptr<Stream> stream, std::string_view bytes,
                 uint8_t how) {
  Listener listener(*stream);
  stream->watch(listener);
  for (int i = 0; i < 10 && !listener.open; ++i) loop.turn(Duration::zero());
  const std::size_t step = (how & 2) != 0 ? 1 + how / 4 : bytes.size();
  while (!bytes.empty()) {
    const std::string_view piece[] = {bytes.substr(0, std::max<std::size_t>(1, step))};
    if (stream->write(piece).state != IoResult::State::kDone) break;
    bytes.remove_prefix(piece[0].size());
    loop.turn(Duration::zero());
  }
  for (int i = 0; i < 20; ++i) loop.turn(Duration::zero());
}

}  // namespace glia
