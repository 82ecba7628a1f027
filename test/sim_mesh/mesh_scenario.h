// MeshScenario: a mesh in one simulated world, and somebody who uses and changes it.
//
//   client -> sidecar of `front` -> sidecar of `reco-a`, `reco-b` or `reco-c` -> application
//
// Everything is real but time, the network, the applications and the control plane's transport.
#pragma once

#include <array>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "test/harness/mesh_world.h"
#include "test/sim_mesh/sim_control.h"
#include "test/sim_mesh/sim_proxy.h"

namespace glia {

// What the mesh's file says, as far as scenarios change it.
struct MeshPlan {
  static constexpr std::size_t kApps = 3;
  std::array<int, kApps> weights = {1, 1, 1};
  std::array<bool, kApps> in_service = {true, true, true};
  bool deny_secret = false;  // A policy refuses /secret.
  bool extra_service = false;
  int timeout_s = 5;   // Of the route.
  int generation = 0;  // In the names of the backends' Services, and so of their clusters.
  std::string port_name = "http";  // Of the workloads' port, and so of its listener.
  bool extra_port = false;         // A second listener at each workload.
  std::string traffic;  // The spec of a TrafficPolicy for reco, less targetRef; "": none.

  std::string yaml() const;
  static std::string app(std::size_t index) { return std::string(1, "abc"[index]); }
  static std::string ip(std::size_t index) { return "10.1.0.2" + std::to_string(index); }
};

// One request and what came of it.
struct Trial {
  std::string path, host, body;
  TimePoint at, ended;
  std::shared_ptr<const Answer> answer;
  SimClient* client = nullptr;
};

class MeshScenario {
 public:
  static constexpr char kFront[] = "10.1.0.10";
  static constexpr char kControl[] = "10.1.0.1";

  MeshScenario(SimWorld& world, SimOffice& office);
  ~MeshScenario();

  MeshPlan& plan() { return plan_; }
  void edit() { control_->edit(plan_.yaml()); }
  SimControl& control() { return *control_; }
  // The sidecar of that workload ends and starts again, as after a crash.
  void restart_proxy(std::size_t index);
  // The sidecar of that workload has a new certificate.
  void renew_certificate(std::size_t index) { proxies_[index]->renew(office_.authority()); }

  // Until every sidecar has what the newest mesh says; false if that takes longer than `limit`.
  bool settle(Duration limit);
  // Sends a request with a random body through front's sidecar, over HTTP/1.1 or HTTP/2.
  void send(const std::string& path = "/", const std::string& host = "reco");
  // The same with a small body; not at once but little by little, if there is a `pace`.
  void send_small(const std::string& host, Duration pace = {});
  void send_some(std::size_t most);
  // Lets time pass and notes when answers came.
  void pass(Duration time);
  // Until every request has ended; false if that takes longer than `limit`.
  bool finish(Duration limit);
  const std::vector<Trial>& requests() const { return requests_; }
  void forget_requests() { requests_.clear(); }
  // Those that have ended, which are forgotten.
  std::vector<Trial> take_ended();

  // What is wrong with an answer that came: a wrong body, a wrong status; "" if nothing.
  std::string wrong_with(const Trial& sent) const;
  // What must not be there when nothing is going on any more; empty if all is well.
  std::vector<std::string> left_over() const;
  std::string describe(const Trial& sent) const;

 private:
  void send_body(Trial sent, Duration pace);
  SimClient& idle_client(Codec codec);
  void look();

  SimWorld& world_;
  SimOffice& office_;
  MeshPlan plan_;
  std::unique_ptr<SimControl> control_;
  std::map<std::string, std::unique_ptr<SimUpstream>> apps_;
  std::vector<std::unique_ptr<SimProxy>> proxies_;  // front, then a, b, c.
  // An HTTP/1.1 client does one request at a time, so that its time is the request's time.
  std::list<std::unique_ptr<SimClient>> clients_;
  std::map<SimClient*, Codec> codecs_;
  std::vector<Trial> requests_;
  std::size_t sent_ = 0;
};

}  // namespace glia
