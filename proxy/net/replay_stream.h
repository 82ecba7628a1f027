// ReplayStream: a stream of which somebody has read the beginning already; it is read again first.
// What was found in it (a PROXY header's addresses, a name) shows in its info().
#pragma once

#include <memory>
#include <optional>

#include "proxy/base/bytes.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

// What was read from a stream and what it told.
struct Beginning {
  Slice bytes;                                 // To be read again; may be empty.
  bool ended = false;                          // The peer ended its side behind them.
  std::string server_name;                     // SNI of a ClientHello; lower case, "" if none.
  std::optional<Address> source, destination;  // From a PROXY header that named them.
};

class ReplayStream final : public Stream, private Stream::Watcher, private Timer {
 public:
  // `under` has opened.
  ReplayStream(EventLoop& loop, std::unique_ptr<Stream> under, Beginning beginning);

  void watch(Stream::Watcher& watcher) override;
  IoResult read(std::span<char> into) override;
  IoResult write(std::span<const std::string_view> pieces) override {
    return under_->write(pieces);
  }
  bool takes_pipe() const override { return !leftover() && !ended_ && under_->takes_pipe(); }
  IoResult read_into(KernelPipe& pipe, std::size_t most) override {
    return under_->read_into(pipe, most);
  }
  IoResult write_from(KernelPipe& pipe) override { return under_->write_from(pipe); }
  void finish_writing() override { under_->finish_writing(); }
  bool flushed() const override { return under_->flushed(); }
  void abort() override { under_->abort(); }
  void pause_reading(bool paused) override;
  const ConnectionInfo& info() const override { return info_; }
  Error error() const override { return under_->error(); }

 private:
  void on_open() override {}
  void on_readable() override;
  void on_writable() override { watcher_->on_writable(); }
  void on_broken() override { watcher_->on_broken(); }
  // Tells what the under stream told before there was a watcher, and what of the beginning is left.
  void fire() override;
  bool leftover() const { return !bytes_.empty() || (ended_ && !end_told_); }

  std::unique_ptr<Stream> under_;
  Slice bytes_;
  Preamble preamble_;
  ConnectionInfo info_;
  Stream::Watcher* watcher_ = nullptr;
  bool ended_;
  bool end_told_ = false;
  bool opened_ = false;
  bool paused_ = false;
};

}  // namespace glia
