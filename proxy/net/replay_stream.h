// ReplayStream: a stream of which somebody has read the beginning already; it is read again first.
#pragma once

#include <memory>

#include "proxy/base/bytes.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

class ReplayStream final : public Stream, private Stream::Watcher, private Timer {
 public:
  // `under` has opened; `beginning` is what was read from it.
  ReplayStream(EventLoop& loop, std::unique_ptr<Stream> under, Slice beginning);

  void watch(Stream::Watcher& watcher) override;
  IoResult read(std::span<char> into) override;
  IoResult write(std::span<const std::string_view> pieces) override {
    return under_->write(pieces);
  }
  void finish_writing() override { under_->finish_writing(); }
  void pause_reading(bool paused) override;
  const ConnectionInfo& info() const override { return under_->info(); }
  Error error() const override { return under_->error(); }

 private:
  void on_open() override {}
  void on_readable() override;
  void on_writable() override { watcher_->on_writable(); }
  void on_broken() override { watcher_->on_broken(); }
  // Tells what the under stream told before there was a watcher, and what of the beginning is left.
  void fire() override;

  std::unique_ptr<Stream> under_;
  Slice beginning_;
  Stream::Watcher* watcher_ = nullptr;
  bool opened_ = false;
  bool paused_ = false;
};

}  // namespace glia
