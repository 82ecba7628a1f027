#include "proxy/server/worker_thread.h"

#include <pthread.h>

#include "proxy/base/random.h"
#include "proxy/base/text.h"
#include "proxy/net/libevent_backend.h"

namespace glia {

WorkerThread::WorkerThread(uint32_t index)
    : loop_(std::make_unique<LibeventBackend>()), thread_([this, index] { run(index); }) {}

WorkerThread::~WorkerThread() {
  loop_.stop();
  thread_.join();
}

void WorkerThread::run(uint32_t index) {
  ::pthread_setname_np(::pthread_self(), cat("worker:", index).c_str());
  SocketNetwork network(loop_);
  worker_ = std::make_unique<Worker>(index, loop_, network, random_seed());
  loop_.run();
  worker_.reset();
  loop_.turn(0s);  // Lets the reaper finish while the network is still there.
}

void WorkerThread::post(std::function<void(Worker&)> work) {
  loop_.post([this, work = std::move(work)] {
    if (worker_ != nullptr) work(*worker_);
  });
}

}  // namespace glia
