// SimModelServer: a model server in the simulation: slots, a queue before them, a metrics page as vLLM
// has it, and the ways in which such a server goes wrong.
//
// A request says itself how long it works, in microseconds, in the field x-work; requests wait in the
// order in which they came.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "proxy/http/server.h"
#include "test/sim/sim.h"

namespace glia {

class SimModelServer final : public Service, public AcceptHandler, private ServerConnection::Owner {
 public:
  // Listens on `ip`:8080; `slowness` times the work is how long it takes.
  SimModelServer(SimWorld& world, const std::string& ip, std::size_t slots, double slowness = 1);
  ~SimModelServer() override;

  enum class Metrics { kTrue, kNone, kEmptyAlways, kHuge, kHangs };
  void metrics(Metrics metrics) { metrics_ = metrics; }
  void slowness(double slowness) { slowness_ = slowness; }
  // Answers in kPieces, the first when the work begins and the last when it ends.
  void streams(bool streams) { streams_ = streams; }
  static constexpr int kPieces = 10;
  // Answers everything with 500 at once.
  void fails(bool fails) { fails_ = fails; }

  const Address& address() const { return address_; }
  std::size_t running() const { return running_; }
  std::size_t waiting() const { return queue_.size(); }
  uint64_t served() const { return served_; }
  uint64_t scraped() const { return scraped_; }
  // How long each request waited for a slot.
  const std::vector<Duration>& waits() const { return waits_; }

 private:
  class Turn;
  void on_accept(std::unique_ptr<Stream> stream) override;
  void on_finished(ServerConnection& connection) override;
  Task<void> serve(ServerStream& stream) override;
  Task<void> answer_in_pieces(ServerStream& stream, Duration work);
  std::string page() const;
  void wake_next();

  SimWorld& world_;
  const Address address_;
  const std::size_t slots_;
  double slowness_;
  Metrics metrics_ = Metrics::kTrue;
  bool fails_ = false, streams_ = false;
  ServerOptions options_;
  HttpServerStats stats_;
  std::unique_ptr<Acceptor> acceptor_;
  std::list<std::unique_ptr<ServerConnection>> connections_;
  std::list<Turn*> queue_;
  std::size_t running_ = 0;
  uint64_t served_ = 0, scraped_ = 0;
  std::vector<Duration> waits_;
};

}  // namespace glia
