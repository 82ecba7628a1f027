// SimFabric: machines, and the wires between them, inside one process and in virtual time.
//
// What a real network does to bytes happens here as well, from a seed: they arrive late, in pieces
// that nobody chose, or not at all; writers meet full pipes, connections break in the middle of
// a message, machines die and lose sight of each other. The order of the bytes of one direction is
// kept, as TCP keeps it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "proxy/base/random.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

// What may go wrong, and how often. The default is a fast network that only splits and delays.
struct SimFaults {
  Duration least_latency = 50us;  // One way; drawn for each write.
  Duration most_latency = 500us;
  double short_read = 0.2;   // Probability that a read gives fewer bytes than it could.
  double short_write = 0.2;  // Probability that a write takes fewer bytes than it could.
  std::size_t pipe_capacity = 64 * 1024;  // bytes in flight and unread, one direction
  double refuse = 0;                      // Probability that a connect is refused.
  double reset = 0;                       // Probability that a connection breaks ...
  Duration reset_within = 1s;             // ... at a moment drawn from so long after it opened.
};

class SimHost;
class SimStream;
class SimAcceptor;

class SimFabric {
 public:
  SimFabric(EventLoop& loop, uint64_t seed, const SimFaults& faults);
  SimFabric(const SimFabric&) = delete;
  SimFabric& operator=(const SimFabric&) = delete;
  ~SimFabric();

  Network& host(const std::string& ip);
  SimFaults& faults() { return faults_; }

  // The machine is gone: its streams break on both sides, connects to it are refused, what it
  // listens on stays closed until it is revived.
  void kill(const std::string& ip);
  void revive(const std::string& ip);
  // Nothing passes between the two machines until they are healed: what is under way then arrives
  // late, as with TCP's retransmissions; connects hang.
  void partition(const std::string& a, const std::string& b);
  void heal(const std::string& a, const std::string& b);
  // Breaks every open connection to this address.
  void reset_all(const Address& to);

  // Connections to `meant` arrive at whoever listens on `by`, and say for where they were.
  void capture(const Address& meant, const Address& by) { captured_.insert_or_assign(meant, by); }

  // What a resolver answers; names that nobody named do not exist.
  void name(const std::string& host, std::vector<std::string> ips);

  // Every event of the network since record(), one a line: the same for the same seed.
  void record() { transcript_.emplace(); }
  std::string transcript() const { return transcript_.value_or(""); }

  std::size_t open_streams() const { return streams_.size(); }

 private:
  friend class SimHost;
  friend class SimStream;
  friend class SimAcceptor;

  // A partition is looked at again so often.
  static constexpr Duration kRetransmit = 200ms;

  bool chance(double probability) { return probability > 0 && random_.unit() < probability; }
  Duration latency();
  // Who gets the next connection; null if nobody listens.
  SimAcceptor* acceptor_at(const Address& address);
  bool dead(const Address& address) const { return dead_.contains(address.ip_text()); }
  bool parted(const Address& a, const Address& b) const;
  void note(std::string_view what, const SimStream& stream, std::size_t bytes = 0);

  EventLoop& loop_;
  Random random_;
  SimFaults faults_;
  std::map<std::string, std::unique_ptr<SimHost>> hosts_;
  // Several at one address if all of them share it, as with SO_REUSEPORT: chance says who gets
  // what.
  std::multimap<Address, SimAcceptor*> acceptors_;
  std::map<uint64_t, SimStream*> streams_;  // By number: the order of making, the same each time.
  std::map<Address, Address> captured_;
  std::set<std::string> dead_;
  std::set<std::pair<std::string, std::string>> partitions_;
  std::map<std::string, std::vector<std::string>> names_;
  std::optional<std::string> transcript_;
  uint64_t last_stream_ = 0;
  uint16_t last_port_ = 40000;
};

}  // namespace glia
