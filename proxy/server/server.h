// Server: the main thread's view of the running proxy: it hands drawings to the workers, asks them for
// their numbers and ends them in order.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "proxy/base/task.h"
#include "proxy/mesh/snapshot.h"
#include "proxy/net/reservation.h"
#include "proxy/server/watchdog.h"
#include "proxy/server/worker_thread.h"

namespace glia {

class Server {
 public:
  enum class State : uint8_t { kInitializing, kLive, kDraining };

  // `drain_time`: how long requests of a listener may take that a new drawing does not have.
  Server(EventLoop& main, uint32_t workers, Duration drain_time = kDrainTime);
  Server(const Server&) = delete;
  // Ends the workers; what is still open is cut.
  ~Server();

  // Puts `snapshot` in force on every worker. An address that cannot be listened on is an error, and
  // then nothing changes.
  Result<void> publish(SnapshotRef snapshot);
  // Before publish(): holds the ports that `snapshot` needs. The error says which cannot be had; then those of
  // drawings before it are still held.
  Result<void> reserve(const Snapshot& snapshot);
  // Does every worker run the drawing that was published last? Until then a new listener refuses.
  bool up_to_date() const { return applied_ == published_; }
  const SnapshotRef& snapshot() const { return snapshot_; }
  State state() const { return state_; }
  // Where each listener of the drawing listens, port 0 resolved.
  ListenAddresses addresses() const;
  uint32_t workers() const { return static_cast<uint32_t>(workers_.size()); }
  TimePoint started() const { return started_; }
  // How often a worker was found stuck.
  uint64_t watchdog_misses() const { return watchdog_.misses(); }

  // Asks every worker, on its own thread; answers in no order.
  Task<MetricsPage> metrics();
  Task<std::vector<EndpointRow>> endpoints();  // Added up over the workers, in order of cluster.
  Task<std::vector<std::string>> exchanges();
  Task<Tallies> take_tallies();  // What was counted since the last time.
  // That clients have used since the last time, or use now, on any worker.
  Task<std::set<std::string>> used_clusters();
  // From now on requests for hosts that a drawing does not have, where it says that the control plane may
  // know them, wait, and `ask` is called on the main thread. It ends in a drawing or in refuse_host().
  void discover_by(Discovery::Ask ask);
  void refuse_host(const std::string& host, const Error& error);

  // What could not be opened again, each sentence once.
  Task<std::vector<std::string>> reopen_logs();
  void post_to_all(const std::function<void(Worker&)>& work);

  // Asks connections to end with their next answer, while listeners go on accepting.
  void discourage(bool inbound_only);
  // Stops accepting; connections end with their requests, or are cut after `limit`.
  void drain(Duration limit, bool inbound_only = false);
  // Ends when nothing is left of a drain().
  Task<void> drained();

 private:
  struct Reserved {
    std::string socket_key;
    PortReservation port;
  };
  Task<void> follow(uint64_t publication);
  template <class Answer>
  Task<std::vector<Answer>> ask(std::function<Answer(Worker&)> question);
  void ask_whether_it_turns(uint32_t worker);
  void deliver(uint64_t number, std::function<void(void*)> answer);

  // What workers post to main may be run after this object is gone, and then finds that out.
  struct Alive {};

  EventLoop& main_;
  const std::shared_ptr<const Alive> alive_ = std::make_shared<const Alive>();
  TimePoint started_;
  const Duration drain_time_;
  State state_ = State::kInitializing;
  SnapshotRef snapshot_;
  bool holds_port(const std::string& name, const ListenerConfig& listener) const;

  std::map<std::string, PortReservation> ports_;  // By listener, those of the drawing.
  std::map<std::string, Reserved> reserved_;      // Those of the drawing that comes.
  std::vector<std::unique_ptr<WorkerThread>> workers_;
  uint64_t last_question_ = 0;
  std::map<uint64_t, void*> questions_;  // Those that still wait; an Asking<Answer> each.
  uint64_t published_ = 0, applied_ = 0;
  Task<void> following_;
  Watchdog watchdog_;
  Discovery::Ask discover_;
};

}  // namespace glia
