#include "test/sim_mesh/mesh_scenario.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr uint16_t kControlPort = 15012;
constexpr uint16_t kOutboundPort = 15001;
constexpr uint16_t kAppPort = 18080;
constexpr std::size_t kLargestBody = 150'000;  // bytes; more than any window or pipe here
constexpr Duration kStep = 5ms;                // How often answers are looked for.

// b's application speaks HTTP/2, the others HTTP/1.1.
bool speaks_http2(std::size_t app) { return app == 1; }

std::string workload_name(std::size_t proxy) {
  return proxy == 0 ? "default/front" : "default/reco-" + MeshPlan::app(proxy - 1);
}

std::string spiffe_id(std::size_t proxy) {
  return cat("spiffe://sim.mesh/ns/default/sa/", proxy == 0 ? "front" : "reco");
}

std::string ip_of(std::size_t proxy) {
  return proxy == 0 ? MeshScenario::kFront : MeshPlan::ip(proxy - 1);
}

}  // namespace

std::string MeshPlan::yaml() const {
  std::string text = R"(
{apiVersion: glia.dev/v1, kind: Mesh, metadata: {name: sim}, spec: {trustDomain: sim.mesh, accessLog: {path: none}}}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: front}
spec: {address: 10.1.0.10, ports: [{name: http, port: 8080}]}
)";
  const auto service = [&](const std::string& name, const std::string& more = "") {
    return cat("---\napiVersion: v1\nkind: Service\nmetadata: {name: ", name,
               "}\nspec: {selector: {app: reco", more,
               "}, ports: [{port: 80, targetPort: ", port_name, "}]}\n");
  };
  text += service("reco") + service("pool");
  const std::string suffix = generation == 0 ? "" : cat("-", generation);
  std::string backends;
  for (std::size_t i = 0; i < kApps; ++i) {
    const std::string name = app(i);
    text +=
        cat("---\napiVersion: glia.dev/v1\nkind: Workload\nmetadata: {name: reco-", name,
            ", labels: {app: ", in_service[i] ? "reco" : "idle", ", version: ", name,
            "}}\nspec: {identity: reco, address: ", ip(i), ", appAddress: ", ip(i),
            ", ports: [{name: ", port_name,
            ", port: 8080, protocol: ", speaks_http2(i) ? "HTTP2" : "HTTP", ", appPort: ", kAppPort,
            "}", extra_port ? cat(", {name: more, port: 8090, appPort: ", kAppPort, "}") : "",
            "]}\n", service(cat("reco-", name, suffix), cat(", version: ", name)));
    backends += cat("    - {name: reco-", name, suffix, ", port: 80, weight: ", weights[i], "}\n");
  }
  text +=
      cat("---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: reco}\n"
          "spec:\n  parentRefs: [{group: '', kind: Service, name: reco}]\n  rules:\n"
          "  - timeouts: {request: ",
          timeout_s, "s}\n    backendRefs:\n", backends);
  if (extra_service) text += service("extra");
  if (!traffic.empty()) {
    text += cat("---\napiVersion: glia.dev/v1\nkind: TrafficPolicy\nmetadata: {name: reco}\n",
                "spec: {targetRef: {name: reco}, ", traffic, "}\n");
  }
  if (deny_secret) {
    text +=
        "---\napiVersion: glia.dev/v1\nkind: AuthorizationPolicy\nmetadata: {name: no-secrets}\n"
        "spec: {action: Deny, rules: [{to: [{paths: [/secret]}]}]}\n";
  }
  return text;
}

MeshScenario::MeshScenario(SimWorld& world, SimOffice& office) : world_(world), office_(office) {
  control_ = std::make_unique<SimControl>(world, *Address::ip(kControl, kControlPort), office,
                                          plan_.yaml());
  for (std::size_t i = 0; i < MeshPlan::kApps; ++i) {
    auto app = std::make_unique<SimUpstream>(world, *Address::ip(MeshPlan::ip(i), kAppPort),
                                             speaks_http2(i) ? Codec::kHttp2 : Codec::kHttp1);
    app->echoes();
    app->reply_header("x-app", MeshPlan::app(i));
    apps_.emplace(MeshPlan::app(i), std::move(app));
  }
  proxies_.resize(1 + MeshPlan::kApps);
  for (std::size_t i = 0; i < proxies_.size(); ++i) restart_proxy(i);
}

MeshScenario::~MeshScenario() {
  requests_.clear();
  clients_.clear();
  proxies_.clear();
  apps_.clear();
  control_.reset();
}

void MeshScenario::restart_proxy(std::size_t index) {
  proxies_[index].reset();
  proxies_[index] =
      std::make_unique<SimProxy>(world_, ip_of(index), workload_name(index), spiffe_id(index),
                                 office_.authority(), *Address::ip(kControl, kControlPort));
}

bool MeshScenario::settle(Duration limit) {
  const TimePoint end = world_.loop().clock().now() + limit;
  const auto settled = [this](const std::unique_ptr<SimProxy>& proxy) {
    return proxy->ads().connected() && proxy->configuration().warming().empty() &&
           proxy->resources() == control_->resources_for(proxy->workload());
  };
  while (world_.loop().clock().now() < end) {
    pass(50ms);
    if (std::ranges::all_of(proxies_, settled)) return true;
  }
  for (const auto& proxy : proxies_) {
    if (settled(proxy)) continue;
    ADD_FAILURE() << proxy->workload() << " is not up to date; connected "
                  << proxy->ads().connected() << ", last end: " << proxy->ads().last_end();
  }
  return false;
}

SimClient& MeshScenario::idle_client(Codec codec) {
  for (const auto& client : clients_) {
    if (codecs_[client.get()] != codec) continue;
    const bool busy =
        codec == Codec::kHttp1 && std::ranges::any_of(requests_, [&](const Trial& sent) {
          return sent.client == client.get() && !sent.answer->finished;
        });
    if (!busy) return *client;
  }
  clients_.push_back(
      std::make_unique<SimClient>(world_, kFront, *Address::ip(kFront, kOutboundPort), codec));
  codecs_[clients_.back().get()] = codec;
  return *clients_.back();
}

void MeshScenario::send(const std::string& path, const std::string& host) {
  Random& random = world_.random();
  Trial sent{.path = path, .host = host, .at = world_.loop().clock().now()};
  // Half of the bodies are small; a request says who it is, so that no other's answer passes for
  // it.
  const std::size_t size = random.below(2) == 0 ? random.below(200) : random.below(kLargestBody);
  sent.body = cat("request ", sent_++, " of ", world_.seed(), ":");
  while (sent.body.size() < size) sent.body += cat(random.next(), ",");
  send_body(std::move(sent), {});
}

void MeshScenario::send_small(const std::string& host, Duration pace) {
  Trial sent{.path = "/", .host = host, .at = world_.loop().clock().now()};
  constexpr std::size_t kPieces = 60;  // Of a body that is sent little by little.
  const std::size_t size =
      pace > 0s ? kPieces * ClientRequest::kPacedPiece : world_.random().below(200);
  sent.body = cat("request ", sent_++, " of ", world_.seed(), ":");
  while (sent.body.size() < size) sent.body += cat(world_.random().next(), ",");
  send_body(std::move(sent), pace);
}

void MeshScenario::send_body(Trial sent, Duration pace) {
  sent.client = &idle_client(world_.random().below(2) == 0 ? Codec::kHttp1 : Codec::kHttp2);
  sent.answer = sent.client->send({.method = "POST",
                                   .path = sent.path,
                                   .authority = sent.host,
                                   .body = sent.body,
                                   .has_body = true,
                                   .pace = pace});
  requests_.push_back(std::move(sent));
}

std::vector<Trial> MeshScenario::take_ended() {
  std::vector<Trial> ended, others;
  for (Trial& sent : requests_) {
    (sent.answer->finished ? ended : others).push_back(std::move(sent));
  }
  requests_ = std::move(others);
  for (const auto& client : clients_) client->forget_ended();
  return ended;
}

void MeshScenario::send_some(std::size_t most) {
  for (std::size_t n = world_.random().below(most + 1); n > 0; --n) {
    send("/", world_.random().below(3) == 0 ? "pool" : "reco");
  }
}

void MeshScenario::look() {
  for (Trial& sent : requests_) {
    if (sent.answer->finished && sent.ended == TimePoint()) {
      sent.ended = world_.loop().clock().now();
    }
  }
}

void MeshScenario::pass(Duration time) {
  for (; time > Duration::zero(); time -= kStep) {
    world_.run_for(std::min(time, kStep));
    look();
  }
}

bool MeshScenario::finish(Duration limit) {
  const TimePoint end = world_.loop().clock().now() + limit;
  const auto done = [](const Trial& sent) { return sent.answer->finished; };
  while (!std::ranges::all_of(requests_, done)) {
    if (world_.loop().clock().now() >= end) return false;
    pass(kStep);
  }
  return true;
}

std::string MeshScenario::wrong_with(const Trial& sent) const {
  if (!sent.answer->finished) return "has no answer";
  if (!sent.answer->error.empty()) return cat("broke off: ", sent.answer->error);
  if (sent.answer->status != 200) return cat("status ", sent.answer->status);
  if (sent.answer->body != sent.body) return "another body than was sent";
  return "";
}

std::vector<std::string> MeshScenario::left_over() const {
  std::vector<std::string> all;
  for (const auto& proxy : proxies_) {
    for (const std::string& line : proxy->in_hand())
      all.push_back(cat(proxy->workload(), ": ", line));
    for (const std::string& line : proxy->problems())
      all.push_back(cat(proxy->workload(), ": ", line));
  }
  for (const auto& [name, app] : apps_) {
    if (app->active() != 0) all.push_back(cat("application ", name, " serves ", app->active()));
  }
  return all;
}

std::string MeshScenario::describe(const Trial& sent) const {
  return cat("request ", sent.host, sent.path, " of ", sent.body.size(), " bytes, sent at ",
             to_ms(sent.at.time_since_epoch()), " ms over ",
             codecs_.at(sent.client) == Codec::kHttp1 ? "HTTP/1.1: " : "HTTP/2: ", wrong_with(sent),
             "; got ", sent.answer->body.size(), " bytes from ", sent.answer->header("x-app"), " ",
             sent.answer->status == 200 ? "" : sent.answer->body);
}

}  // namespace glia
