// CountedStream: says how the bytes of the stream under it were read, to tell what was copied from what
// went through a pipe.
#pragma once

#include <memory>
#include <utility>

#include "proxy/net/stream.h"

namespace glia {

struct Reads {
  std::size_t copied = 0, piped = 0;  // bytes
};

class CountedStream final : public Stream {
 public:
  // `reads` outlives it.
  CountedStream(std::unique_ptr<Stream> under, Reads& reads)
      : under_(std::move(under)), reads_(reads) {}
  void watch(Watcher& watcher) override { under_->watch(watcher); }
  IoResult read(std::span<char> into) override {
    const IoResult got = under_->read(into);
    reads_.copied += got.bytes;
    return got;
  }
  IoResult write(std::span<const std::string_view> pieces) override {
    return under_->write(pieces);
  }
  bool takes_pipe() const override { return under_->takes_pipe(); }
  IoResult read_into(KernelPipe& pipe, std::size_t most) override {
    const IoResult got = under_->read_into(pipe, most);
    reads_.piped += got.bytes;
    return got;
  }
  IoResult write_from(KernelPipe& pipe) override { return under_->write_from(pipe); }
  void finish_writing() override { under_->finish_writing(); }
  bool flushed() const override { return under_->flushed(); }
  void abort() override { under_->abort(); }
  void pause_reading(bool paused) override { under_->pause_reading(paused); }
  const ConnectionInfo& info() const override { return under_->info(); }
  Error error() const override { return under_->error(); }

 private:
  std::unique_ptr<Stream> under_;
  Reads& reads_;
};

}  // namespace glia
