// How long a change of a mesh takes until the last sidecar has accepted it, what it costs the
// control plane, and how that grows with the mesh; `./dev bench control` runs it.
//
// The control plane is the real one, with its real streams on its real loop. The sidecars are
// simulated: each reads the bytes of every push, asks for what follows from it, and accepts at
// once. There is no network and no gRPC between, so times are the control plane's work alone.
//
//   control_scale SERVICES PROXIES VARIANT EGRESS [CHANGES]
//     VARIANT: delta or world.   EGRESS: services each workload may call; 0: all.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "control_plane/serve/ads_stream.h"
#include "control_plane/store/store.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/x509.h"

namespace glia {
namespace {

struct Plan {
  int services = 100, proxies = 100, egress = 0, changes = 20;
  bool delta = true;
};

// What the mesh's file says, with the few things that change.
struct MeshText {
  int moved = 0;   // Workload 0 has another address each time.
  int weight = 0;  // Of the route of service 0.
  int policy = 0;  // How many paths the policy of workload 0 refuses.

  std::string yaml(const Plan& plan) const;
};

std::string egress_of(const Plan& plan, int workload) {
  if (plan.egress == 0) return "";
  std::string names;
  for (int i = 0; i < plan.egress; ++i) {
    names += cat(i == 0 ? "" : ", ", "s", (workload + i) % plan.services);
  }
  return cat(", egress: [", names, "]");
}

std::string MeshText::yaml(const Plan& plan) const {
  std::string text =
      "apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: bench}\n"
      "spec: {trustDomain: bench.mesh}\n";
  for (int i = 0; i < plan.proxies; ++i) {
    const int host = i == 0 ? 60'000 + moved % 2 : i;
    text += cat("---\napiVersion: glia.dev/v1\nkind: Workload\nmetadata: {name: w", i,
                ", labels: {app: a", i, "}}\nspec: {address: 10.", host / 65'536, ".",
                host / 256 % 256, ".", host % 256,
                ", ports: [{name: http, port: 8080, appPort: 8081}]", egress_of(plan, i), "}\n");
  }
  for (int i = 0; i < plan.services; ++i) {
    text += cat("---\napiVersion: v1\nkind: Service\nmetadata: {name: s", i,
                "}\nspec: {selector: {app: a", i % plan.proxies,
                "}, ports: [{port: 80, targetPort: http}]}\n");
  }
  text += cat("---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n",
              "metadata: {name: r}\nspec:\n  parentRefs: [{group: '', kind: Service, name: s0}]\n",
              "  rules: [{backendRefs: [{name: s1, port: 80, weight: ", 1 + weight,
              "}, {name: s2, port: 80, weight: 100}]}]\n");
  text +=
      "---\napiVersion: glia.dev/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\n"
      "spec: {selector: {app: a0}, action: Deny, rules: [{to: [{paths: [/x";
  for (int i = 0; i < policy; ++i) text += cat(", /x", i);
  return text + "]}]}]}\n";
}

// One sidecar, as far as a control plane sees it.
class Sidecar final : private AdsStream::Transport {
 public:
  Sidecar(ControlPlane& plane, EventLoop& loop, int number, bool delta)
      : delta_(delta),
        loop_(loop),
        stream_(plane, *this, *SpiffeId::parse(cat("spiffe://bench.mesh/ns/default/sa/w", number)),
                {delta ? AdsVariant::kDelta : AdsVariant::kStateOfTheWorld, {}}),
        node_(cat("default/w", number)) {}

  void start() {
    ask(XdsType::kCluster, {}, "");
    ask(XdsType::kListener, {}, "");
    ask(XdsType::kRoutes, {"outbound"}, "");
    pump();
  }
  // Everything that was sent, ever.
  std::size_t bytes = 0, pushes = 0;
  TimePoint last_answer;

 private:
  void changed() override { pump(); }

  void pump() {
    while (true) {
      Result<std::optional<AdsPush>> push = stream_.next();
      CHECK(push.ok());
      if (!*push) return;
      ++pushes;
      if (delta_) {
        take(to_delta_response(**push));
      } else {
        take(to_response(**push));
      }
      last_answer = loop_.clock().now();
    }
  }
  template <class Response>
  void take(const Response& response) {
    const std::string wire = response.SerializeAsString();
    bytes += wire.size();
    Response heard;
    CHECK(heard.ParseFromString(wire));
    const XdsType type = *xds_type(heard.type_url());
    std::vector<std::string> fresh;
    if (type == XdsType::kCluster) fresh = new_clusters(heard);
    if (!fresh.empty()) ask(XdsType::kEndpoints, fresh, "");
    ask(type, {}, heard.nonce());
  }
  template <class Response>
  std::vector<std::string> new_clusters(const Response& response) {
    std::vector<std::string> fresh;
    for (const auto& one : response.resources()) {
      envoy::config::cluster::v3::Cluster cluster;
      if constexpr (requires { one.resource(); }) {
        CHECK(one.resource().UnpackTo(&cluster));
      } else {
        CHECK(one.UnpackTo(&cluster));
      }
      if (cluster.type() != envoy::config::cluster::v3::Cluster::EDS) continue;
      if (clusters_.insert(cluster.name()).second) fresh.push_back(cluster.name());
    }
    return fresh;
  }
  void ask(XdsType type, const std::vector<std::string>& names, const std::string& nonce) {
    if (delta_) {
      AdsSession::DeltaRequest request;
      request.mutable_node()->set_id(node_);
      request.set_type_url(std::string(type_url(type)));
      request.set_response_nonce(nonce);
      for (const std::string& name : names) request.add_resource_names_subscribe(name);
      CHECK(stream_.on_request(request).ok());
      return;
    }
    AdsSession::Request request;
    request.mutable_node()->set_id(node_);
    request.set_type_url(std::string(type_url(type)));
    request.set_response_nonce(nonce);
    if (type == XdsType::kEndpoints) {
      for (const std::string& name : clusters_) request.add_resource_names(name);
    }
    if (type == XdsType::kRoutes) request.add_resource_names("outbound");
    CHECK(stream_.on_request(request).ok());
  }

  const bool delta_;
  EventLoop& loop_;
  AdsStream stream_;
  const std::string node_;
  std::set<std::string> clusters_;
};

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double peak_mb() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// Of times that are sorted, in milliseconds.
double quantile(const std::vector<double>& sorted, double q) {
  return sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))];
}

class Bench {
 public:
  explicit Bench(const Plan& plan) : plan_(plan) {
    CHECK(::mkdtemp(directory_.data()) != nullptr);
    store_ = *Store::open(directory_ + "/mesh.db", loop_.clock().wall_now());
    authority_.emplace(*CertificateAuthority::create("bench.mesh", loop_.clock().wall_now(), 24h));
    registrar_.emplace(*store_, *authority_, loop_.now());
  }
  ~Bench() {
    sidecars_.clear();
    plane_.reset();
    std::filesystem::remove_all(directory_);
  }

  void run() {
    LoadReport report = read();
    plane_.emplace(loop_, MeshState(std::move(report.objects)), *registrar_, "bench");
    connect_all();
    change("endpoint", [this] { ++text_.moved; });
    change("weight", [this] { ++text_.weight; });
    change("policy", [this] { ++text_.policy; });
    std::printf("  peak memory of the process %.0f MB\n", peak_mb());
  }

 private:
  LoadReport read() {
    LoadReport report = parse({{"mesh.yaml", text_.yaml(plan_)}});
    if (!report.ok()) std::fputs(report.errors().c_str(), stderr);
    CHECK(report.ok());
    return report;
  }
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (const auto& sidecar : sidecars_) sum += sidecar->bytes;
    return sum;
  }
  void connect_all() {
    const TimePoint start = loop_.clock().now();
    const double cpu = cpu_seconds();
    for (int i = 0; i < plan_.proxies; ++i) {
      sidecars_.push_back(std::make_unique<Sidecar>(*plane_, loop_, i, plan_.delta));
      sidecars_.back()->start();
    }
    std::printf("  all connect: %.0f ms, %.0f ms of CPU, %.1f MB sent\n",
                to_seconds(loop_.clock().now() - start) * 1e3, (cpu_seconds() - cpu) * 1e3,
                static_cast<double>(bytes()) / 1e6);
  }
  template <class Edit>
  void change(const char* what, Edit edit) {
    std::vector<double> reading, acknowledged, last;
    const double cpu = cpu_seconds();
    const std::size_t sent = bytes();
    std::size_t reached = 0;
    for (int i = 0; i < plan_.changes; ++i) {
      edit();
      const TimePoint saved = loop_.clock().now();
      LoadReport report = read();
      reading.push_back(to_seconds(loop_.clock().now() - saved) * 1e3);
      plane_->apply(std::move(report));
      loop_.turn(Duration::zero());
      double longest = 0;
      for (const auto& sidecar : sidecars_) {
        if (sidecar->last_answer < saved) continue;  // The change is not about it.
        ++reached;
        acknowledged.push_back(to_seconds(sidecar->last_answer - saved) * 1e3);
        longest = std::max(longest, acknowledged.back());
      }
      last.push_back(longest);
    }
    if (acknowledged.empty()) acknowledged.push_back(0);
    for (auto* times : {&reading, &acknowledged, &last}) std::sort(times->begin(), times->end());
    const double changes = plan_.changes;
    std::printf(
        "  one %-8s reaches %5.0f sidecars: to ACK p50 %.1f ms, p99 %.1f ms; last ACK p50 %.1f ms, "
        "worst %.1f ms (%.1f ms of each to read the file); %.0f ms of CPU, %.3f MB sent\n",
        what, static_cast<double>(reached) / changes, quantile(acknowledged, 0.5),
        quantile(acknowledged, 0.99), quantile(last, 0.5), last.back(), quantile(reading, 0.5),
        (cpu_seconds() - cpu) * 1e3 / changes, static_cast<double>(bytes() - sent) / 1e6 / changes);
  }

  const Plan plan_;
  MeshText text_;
  EventLoop loop_{std::make_unique<LibeventBackend>()};
  std::string directory_ = (std::filesystem::temp_directory_path() / "control_scale_XXXXXX");
  std::unique_ptr<Store> store_;
  std::optional<CertificateAuthority> authority_;
  std::optional<Registrar> registrar_;
  std::optional<ControlPlane> plane_;
  std::vector<std::unique_ptr<Sidecar>> sidecars_;
};

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fputs("usage: control_scale SERVICES PROXIES delta|world EGRESS [CHANGES]\n", stderr);
    return 2;
  }
  set_log_level(LogLevel::off);
  const Plan plan{.services = std::max(3, std::atoi(argv[1])),
                  .proxies = std::atoi(argv[2]),
                  .egress = std::atoi(argv[4]),
                  .changes = argc > 5 ? std::atoi(argv[5]) : 20,
                  .delta = std::string_view(argv[3]) == "delta"};
  std::printf("%d services, %d sidecars, %s, each may call %s\n", plan.services, plan.proxies,
              plan.delta ? "delta" : "state of the world",
              plan.egress == 0 ? "all" : cat(plan.egress).c_str());
  Bench(plan).run();
  return 0;
}

}  // namespace
}  // namespace glia

int main(int argc, char** argv) { return glia::main(argc, argv); }
