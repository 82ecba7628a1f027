// Party: someone at one end of a stream, for tests of streams of every kind.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "proxy/net/stream.h"

namespace glia {

// Writes what it is told to, keeps what it reads, and remembers what it was told.
struct Party : Stream::Watcher {
  explicit Party(std::unique_ptr<Stream> made) : stream(std::move(made)) { stream->watch(*this); }

  void send(std::string text, bool then_finish = false) {
    to_send += text;
    finish = then_finish;
    if (opened) pump();
  }
  void pump() {
    while (sent < to_send.size()) {
      const std::string_view piece = std::string_view(to_send).substr(sent);
      const IoResult result = stream->write({&piece, 1});
      if (result.state == IoResult::State::kError) broken = true;
      if (result.state != IoResult::State::kDone) return;
      sent += result.bytes;
    }
    if (finish) stream->finish_writing();
    finish = false;
  }
  void on_open() override {
    ++opened;
    pump();
  }
  void on_readable() override {
    char buffer[64 * 1024];
    while (!ended) {
      const IoResult result = stream->read(buffer);
      if (result.state == IoResult::State::kWait) return;
      if (result.state == IoResult::State::kEnd) ended = true;
      if (result.state == IoResult::State::kError) {
        broken = true;
        return;
      }
      received.append(buffer, result.bytes);
      if (echo) send(std::string(buffer, result.bytes));
    }
  }
  void on_writable() override {
    ++writable;
    pump();
  }
  void on_broken() override { broken = true; }

  std::unique_ptr<Stream> stream;
  std::string to_send, received;
  std::size_t sent = 0;
  int opened = 0, writable = 0;  // How often it was told.
  bool finish = false, ended = false, broken = false, echo = false;
};

}  // namespace glia
