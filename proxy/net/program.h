// Program: another program that runs beside ours; what it writes and how it ends come through the
// loop.
//
// For work that we do not want in our own process, such as the translator of a standalone mesh with
// its protobuf library. It gets no input and is given neither our signals nor our descriptors.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/loop.h"

namespace glia {

class Program {
 public:
  static constexpr Duration kLongestRun = 30s;            // Then it is killed.
  static constexpr std::size_t kMostOutput = 256u << 20;  // Bytes of each kind; then it is killed.

  struct Ending {
    std::string output, errors;  // Standard output and standard error, whole.
    std::string trouble;         // "ended with status 1"; "" if the status was 0.
  };

  // `command`: the program, looked for on PATH if it has no slash, and its arguments. `ended` is
  // called once, from the top of the loop, and is not the place to destroy this.
  static Result<std::unique_ptr<Program>> start(EventLoop& loop, LibeventBackend& backend,
                                                const std::vector<std::string>& command,
                                                std::function<void(Ending)> ended);
  // Kills it if it still runs.
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

 private:
  class Pipe;
  class Exit;

  Program(EventLoop& loop, pid_t pid, std::function<void(Ending)> ended);
  void watch(LibeventBackend& backend, int output, int errors, int exit);
  void kill(std::string why);
  void on_exit();

  pid_t pid_;  // -1: it has ended.
  std::unique_ptr<Pipe> output_, errors_;
  std::unique_ptr<Exit> exit_;
  std::string killed_;  // Why we did.
  std::function<void(Ending)> ended_;
  CallbackTimer late_;
};

}  // namespace glia
