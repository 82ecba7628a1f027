// FileWriter: replaces one private file (proxy/xds/private_file.h) on a thread of its own: the main thread
// watches over memory, health and time, and must not wait for a disk.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "proxy/base/result.h"
#include "proxy/net/loop.h"

namespace glia {

class FileWriter {
 public:
  using Done = std::function<void(const Result<void>&)>;

  // `loop` outlives it; everything but the writing happens there.
  FileWriter(EventLoop& loop, std::string directory, std::string name);
  FileWriter(const FileWriter&) = delete;
  // Waits for the write under way; its `done` is not called any more.
  ~FileWriter();

  // `done` is called on the loop. Not again before that.
  void write(std::string content, Done done);
  // Here and now, after the write under way.
  Result<void> write_now(const std::string& content);

 private:
  // What the thread posts may be run after this object is gone, and then finds that out.
  struct Alive {};

  EventLoop& loop_;
  const std::string directory_, name_;
  std::shared_ptr<const Alive> alive_ = std::make_shared<const Alive>();
  std::thread thread_;
};

}  // namespace glia
