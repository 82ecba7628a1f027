// LoadWorld: callers with their sidecars, and model servers with theirs, under a load from a seed.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "test/harness/mesh_world.h"
#include "test/sim_load/sim_model_server.h"

namespace glia {

struct LoadPlan {
  int servers = 8, callers = 4;
  std::size_t slots = 4;
  double utilization = 0.85;
  int requests = 3000;
  // Bounded Pareto: many short requests, a few very long ones.
  double shape = 1.5;
  Duration shortest = 20ms, longest = 5s;
  Balancing balancing = {.policy = Balancing::Policy::kModel};
  std::optional<Hedging> hedging = {};
};

class LoadWorld {
 public:
  LoadWorld(SimWorld& world, LoadPlan plan);
  ~LoadWorld();

  SimModelServer& server(std::size_t i) { return *servers_.at(i); }
  const ServerLoad& load(std::size_t i) const { return *loads_.at(i); }
  MeshWorld& caller(std::size_t i) { return *callers_.at(i); }
  MeshWorld& side(std::size_t i) { return *sides_.at(i); }
  // The machine with server i and its sidecar dies, or is back.
  void kill(std::size_t i);
  void revive(std::size_t i);

  // Sends the next requests of the plan at their times and waits for all answers, or not.
  void run(int requests);
  void send(int requests);
  // Answers by status since the last run(); 0: none came.
  int answers(int status) const;
  // Of the first that is no 200, what it says.
  std::string first_failure() const;
  // The q-th quantile of the time that requests waited in a queue.
  Duration wait_quantile(double q) const;
  // The same of the time from the request to its answer, for a client.
  Duration answer_quantile(double q) const;
  // In-flight counts of servers, sidecars and callers, of requests, retries, second copies, waits and
  // tokens, added up: 0 when nothing is under way.
  int64_t in_flight() const;
  Duration mean_work() const;

 private:
  Duration next_work();

  SimWorld& world_;
  const LoadPlan plan_;
  Random arrivals_, works_;
  std::vector<std::shared_ptr<const ServerLoad>> loads_;
  std::vector<std::unique_ptr<SimModelServer>> servers_;
  std::vector<std::unique_ptr<MeshWorld>> sides_, callers_;
  std::vector<std::shared_ptr<const Answer>> sent_;
};

}  // namespace glia
