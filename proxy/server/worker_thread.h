// WorkerThread: a worker with a loop, a network and a thread of its own.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "proxy/net/loop.h"
#include "proxy/net/tcp.h"
#include "proxy/server/worker.h"

namespace glia {

class WorkerThread {
 public:
  explicit WorkerThread(uint32_t index);
  WorkerThread(const WorkerThread&) = delete;
  // Ends the thread; what is still open is cut.
  ~WorkerThread();

  // Runs `work` on the worker's thread, unless that ends before. Called from main; never blocks.
  void post(std::function<void(Worker&)> work);

 private:
  void run(uint32_t index);

  EventLoop loop_;
  std::unique_ptr<Worker> worker_;  // Made, used and destroyed on the thread.
  std::thread thread_;
};

}  // namespace glia
