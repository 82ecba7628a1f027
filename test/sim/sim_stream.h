// SimStream: one end of a simulated connection. Private to test/sim.
//
// Each end has one queue of what is on its way to it (bytes, end, reset) with the moment of arrival,
// and one timer for the next thing that its watcher has to be told.
#pragma once

#include <deque>
#include <string>

#include "test/sim/network.h"

namespace glia {

class SimStream final : public Stream, private Timer {
 public:
  SimStream(SimFabric& fabric, const Address& local, const Address& remote, bool outgoing);
  ~SimStream() override;

  void watch(Watcher& watcher) override { watcher_ = &watcher; }
  IoResult read(std::span<char> into) override;
  IoResult write(std::span<const std::string_view> pieces) override;
  bool takes_pipe() const override { return true; }
  IoResult read_into(KernelPipe& pipe, std::size_t most) override;
  IoResult write_from(KernelPipe& pipe) override;
  void finish_writing() override;
  void abort() override { aborted_ = true; }
  void pause_reading(bool paused) override;
  const ConnectionInfo& info() const override { return info_; }
  Error error() const override;

  // Asks for a connection: the answer arrives after a round trip.
  void connect();
  // Both ends of a new connection; each opens after `delay`.
  void join(SimStream& peer);
  // The connection breaks here and now.
  void break_now(const char* why);
  uint64_t number() const { return number_; }

 private:
  friend class SimFabric;
  enum class State : uint8_t { kConnecting, kOpening, kOpen, kBroken };
  struct Arrival {
    enum class Kind : uint8_t { kAnswer, kBytes, kEnd, kReset };
    TimePoint when;
    Kind kind;
    std::string bytes = {};
  };
  // A watcher that does not read is told again so often; each turn, as on a socket, would keep
  // virtual time from passing.
  static constexpr Duration kTellAgain = 1us;

  void fire() override;
  void arrive(Arrival::Kind kind, Duration after, std::string bytes = {});
  void take(Arrival& arrival);
  void answer_connect();
  void tell();
  void plan();
  std::size_t room() const;

  SimFabric& fabric_;
  const uint64_t number_;
  const bool outgoing_;
  ConnectionInfo info_;
  Watcher* watcher_ = nullptr;
  SimStream* peer_ = nullptr;  // Null before it is joined and after either end is gone.
  std::deque<Arrival> arrivals_;
  TimePoint last_arrival_;
  std::size_t unread_ = 0;  // Bytes in arrivals_ and in received_: what the pipe holds.
  std::string received_;
  std::size_t taken_ = 0;  // Bytes of received_ that were read.
  std::optional<TimePoint> reset_at_;
  const char* why_ = "";
  State state_;
  bool opened_ = false;
  bool ended_ = false;     // The peer's end has arrived.
  bool end_read_ = false;  // ... and a read() has said so.
  bool finished_ = false;  // Our end was sent.
  bool aborted_ = false;
  bool wants_to_write_ = false;
  bool tell_writable_ = false;
  bool tell_broken_ = false;
  bool paused_ = false;
};

class SimAcceptor final : public Acceptor {
 public:
  // `shared`: others may listen at `address`, too.
  SimAcceptor(SimFabric& fabric, const Address& address, bool shared, AcceptHandler& handler)
      : fabric_(fabric), address_(address), handler_(handler), shared_(shared) {
    fabric_.acceptors_.emplace(address_, this);
  }
  ~SimAcceptor() override {
    std::erase_if(fabric_.acceptors_, [this](const auto& entry) { return entry.second == this; });
  }
  bool shared() const { return shared_; }
  const Address& address() const override { return address_; }
  // As with a full backlog, connects then wait.
  void pause(bool paused) override { paused_ = paused; }
  bool paused() const { return paused_; }
  AcceptHandler& handler() { return handler_; }

 private:
  SimFabric& fabric_;
  const Address address_;
  AcceptHandler& handler_;
  const bool shared_;
  bool paused_ = false;
};

}  // namespace glia
