#include "test/sim_load/load_world.h"

#include <algorithm>
#include <cmath>

#include "proxy/base/text.h"

namespace glia {
namespace {

std::string ip_of_server(std::size_t i) { return cat("10.0.1.", i + 1); }
std::string ip_of_caller(std::size_t i) { return cat("10.0.2.", i + 1); }

}  // namespace

LoadWorld::LoadWorld(SimWorld& world, LoadPlan plan)
    : world_(world), plan_(plan), arrivals_(world.seed() * 2), works_(world.seed() * 2 + 1) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(plan.servers); ++i) {
    const std::string ip = ip_of_server(i);
    servers_.push_back(std::make_unique<SimModelServer>(world, ip, plan.slots));
    loads_.push_back(std::make_shared<const ServerLoad>());
    auto side = std::make_unique<MeshWorld>(world, Codec::kHttp2, Codec::kHttp1, ip);
    side->add_endpoint(servers_.back()->address());
    side->cluster().server_load = loads_.back();
    side->cluster().model_server =
        ModelServerConfig{.metrics = servers_.back()->address(), .path = "/metrics"};
    side->route().forward->timeout = 0s;
    side->start();
    sides_.push_back(std::move(side));
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(plan.callers); ++i) {
    auto caller = std::make_unique<MeshWorld>(world, Codec::kHttp2, Codec::kHttp2, ip_of_caller(i));
    for (std::size_t server = 0; server < servers_.size(); ++server) {
      caller->add_endpoint(*Address::ip(ip_of_server(server), 80));
    }
    caller->cluster().balancing = plan.balancing;
    caller->cluster().limits.requests = 100'000;
    caller->cluster().limits.pending_requests = 100'000;
    caller->route().forward->timeout = 0s;
    caller->route().hedging = plan.hedging;
    caller->start();
    callers_.push_back(std::move(caller));
  }
}

LoadWorld::~LoadWorld() {
  callers_.clear();
  sides_.clear();
  servers_.clear();
}

void LoadWorld::kill(std::size_t i) { world_.fabric().kill(ip_of_server(i)); }
void LoadWorld::revive(std::size_t i) { world_.fabric().revive(ip_of_server(i)); }

// The inverse of the distribution function of a bounded Pareto distribution.
Duration LoadWorld::next_work() {
  const double l = to_seconds(plan_.shortest), h = to_seconds(plan_.longest), a = plan_.shape;
  const double u = works_.unit();
  const double x = std::pow(-(u * std::pow(h, a) - u * std::pow(l, a) - std::pow(h, a)) /
                                (std::pow(h, a) * std::pow(l, a)),
                            -1 / a);
  return Duration(static_cast<int64_t>(x * 1e9));
}

Duration LoadWorld::mean_work() const {
  const double l = to_seconds(plan_.shortest), h = to_seconds(plan_.longest), a = plan_.shape;
  const double mean = std::pow(l, a) / (1 - std::pow(l / h, a)) * (a / (a - 1)) *
                      (1 / std::pow(l, a - 1) - 1 / std::pow(h, a - 1));
  return Duration(static_cast<int64_t>(mean * 1e9));
}

void LoadWorld::send(int requests) {
  const double slots = static_cast<double>(plan_.slots) * plan_.servers;
  const double between = to_seconds(mean_work()) / (slots * plan_.utilization);
  for (int i = 0; i < requests; ++i) {
    world_.run_for(Duration(static_cast<int64_t>(-std::log(1 - arrivals_.unit()) * between * 1e9)));
    MeshWorld& caller = *callers_[arrivals_.below(callers_.size())];
    sent_.push_back(caller.client().send({.headers = {{"x-work", cat(next_work() / 1us)}}}));
  }
}

void LoadWorld::run(int requests) {
  sent_.clear();
  send(requests);
  world_.run_until(
      [&] {
        return std::ranges::all_of(sent_, [](const auto& answer) { return answer->finished; });
      },
      600s);
}

int LoadWorld::answers(int status) const {
  return static_cast<int>(
      std::ranges::count_if(sent_, [&](const auto& answer) { return answer->status == status; }));
}

std::string LoadWorld::first_failure() const {
  for (const auto& answer : sent_) {
    if (answer->status != 200) return cat(answer->status, " ", answer->body, answer->error);
  }
  return "";
}

namespace {

Duration quantile_of(std::vector<Duration> all, double q) {
  if (all.empty()) return Duration::zero();
  const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(all.size() - 1));
  std::nth_element(all.begin(), all.begin() + at, all.end());
  return all[static_cast<std::size_t>(at)];
}

}  // namespace

Duration LoadWorld::wait_quantile(double q) const {
  std::vector<Duration> waits;
  for (const auto& server : servers_) {
    waits.insert(waits.end(), server->waits().begin(), server->waits().end());
  }
  return quantile_of(std::move(waits), q);
}

Duration LoadWorld::answer_quantile(double q) const {
  std::vector<Duration> times;
  for (const auto& answer : sent_) times.push_back(answer->ended - answer->began);
  return quantile_of(std::move(times), q);
}

int64_t LoadWorld::in_flight() const {
  int64_t all = 0;
  for (const auto& load : loads_) all += load->in_flight() + load->reading();
  for (const auto& server : servers_) {
    all += static_cast<int64_t>(server->running() + server->waiting());
  }
  for (const auto* proxies : {&callers_, &sides_}) {
    for (const auto& proxy : *proxies) {
      Cluster& cluster = *proxy->worker().clusters().find("service");
      const ClusterStats& stats = cluster.stats();
      all += static_cast<int64_t>(stats.requests_active + stats.pending_active +
                                  stats.retries_active + stats.hedges_active);
      for (const auto& [address, endpoint] : cluster.endpoints()) {
        all += endpoint->active() + static_cast<int64_t>(endpoint->load().reading());
      }
    }
  }
  return all;
}

}  // namespace glia
