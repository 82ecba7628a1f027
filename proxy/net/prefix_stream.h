// PrefixStream: a connection on which something is said before its owner has a word: the PROXY
// header of an upstream connection. It opens when that has been written.
#pragma once

#include <memory>
#include <string>

#include "proxy/net/stream.h"

namespace glia {

class PrefixStream final : public Stream, private Stream::Watcher {
 public:
  // `under` has not opened yet.
  PrefixStream(std::unique_ptr<Stream> under, std::string prefix);

  void watch(Stream::Watcher& watcher) override { watcher_ = &watcher; }
  IoResult read(std::span<char> into) override { return under_->read(into); }
  IoResult write(std::span<const std::string_view> pieces) override;
  bool takes_pipe() const override { return under_->takes_pipe(); }
  IoResult read_into(KernelPipe& pipe, std::size_t most) override {
    return under_->read_into(pipe, most);
  }
  IoResult write_from(KernelPipe& pipe) override { return under_->write_from(pipe); }
  void finish_writing() override { under_->finish_writing(); }
  bool flushed() const override { return under_->flushed(); }
  void abort() override { under_->abort(); }
  void pause_reading(bool paused) override { under_->pause_reading(paused); }
  const ConnectionInfo& info() const override { return under_->info(); }
  Error error() const override { return under_->error(); }

 private:
  void on_open() override { send(); }
  void on_readable() override;
  void on_writable() override;
  void on_broken() override { watcher_->on_broken(); }
  void send();

  std::unique_ptr<Stream> under_;
  std::string prefix_;  // What has not been written yet.
  Stream::Watcher* watcher_ = nullptr;
  bool opened_ = false;
};

}  // namespace glia
