// How long a change of a mesh takes from the moment a file is saved until the last of many sidecars
// has accepted it, and what that costs glia-control; `./dev bench control` runs it.
//
// The control plane is the real program in a process of its own, with files, state and gRPC. The
// sidecars are simulated in this one: each holds an ADS stream over the control plane's UNIX
// socket, as the front door does for real ones, asks for what follows from each push, and accepts
// at once. There is no TLS and no configuration of a proxy in the times.
//
//   control_fleet GLIA_CONTROL SERVICES SIDECARS delta|world EGRESS [CHANGES [rollback]]
//
// prints one line of JSON. With "rollback" every sidecar may call the targets of CHANGES canaries as
// well; each is aborted (glia canary abort does the same) at 10 %, and the time is that from the
// command until the last sidecar has accepted that nothing goes to the candidate.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/service/discovery/v3/ads.grpc.pb.h"
#include "glia/v1/canary.grpc.pb.h"
#include "proxy/base/check.h"
#include "test/bench/control_mesh.h"

namespace glia {
namespace {

namespace xds = envoy::service::discovery::v3;
namespace fs = std::filesystem;
using Instant = std::chrono::steady_clock::time_point;

constexpr int kStreamsOfConnection = 20;
// Nothing more comes if nothing came for so long; longer than the control plane's own waits.
constexpr std::chrono::milliseconds kQuiet{1500}, kSettled{3500};
constexpr std::chrono::seconds kLongest{120};

constexpr char kCluster[] = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
constexpr char kEndpoints[] = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
constexpr char kListener[] = "type.googleapis.com/envoy.config.listener.v3.Listener";
constexpr char kRoutes[] = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

Instant now() { return std::chrono::steady_clock::now(); }
double ms(Instant from, Instant to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

// What all sidecars count together; gRPC calls them on threads of its own.
struct Tally {
  std::atomic<uint64_t> bytes{0}, pushes{0};
  std::atomic<int64_t> last{0};  // When the newest push came, in ticks of the clock.

  void note(std::size_t size) {
    bytes += size;
    ++pushes;
    last = now().time_since_epoch().count();
  }
};

// What a sidecar holds, across streams: type -> name -> version.
using Held = std::map<std::string, std::map<std::string, std::string>>;

struct DeltaForm {
  using Request = xds::DeltaDiscoveryRequest;
  using Response = xds::DeltaDiscoveryResponse;
  static void open(xds::AggregatedDiscoveryService::Stub& stub, grpc::ClientContext& context,
                   grpc::ClientBidiReactor<Request, Response>& reactor) {
    stub.async()->DeltaAggregatedResources(&context, &reactor);
  }
};
struct WorldForm {
  using Request = xds::DiscoveryRequest;
  using Response = xds::DiscoveryResponse;
  static void open(xds::AggregatedDiscoveryService::Stub& stub, grpc::ClientContext& context,
                   grpc::ClientBidiReactor<Request, Response>& reactor) {
    stub.async()->StreamAggregatedResources(&context, &reactor);
  }
};

class AnySidecar {
 public:
  virtual ~AnySidecar() = default;
  virtual void hang_up() = 0;  // Returns when nothing is called any more.
  Held held;
  std::atomic<int64_t> last{0};  // When its newest push came.
};

template <class Form>
class Sidecar final
    : public AnySidecar,
      public grpc::ClientBidiReactor<typename Form::Request, typename Form::Response> {
 public:
  using Request = typename Form::Request;
  using Response = typename Form::Response;
  static constexpr bool kDelta = std::is_same_v<Form, DeltaForm>;

  Sidecar(const std::shared_ptr<grpc::Channel>& channel, int number, Held before, Tally& tally)
      : stub_(xds::AggregatedDiscoveryService::NewStub(channel)),
        node_(cat("default/w", number)),
        tally_(tally) {
    held = std::move(before);
    context_.AddMetadata("x-forwarded-client-cert",
                         cat("URI=spiffe://bench.mesh/ns/default/sa/w", number));
    Form::open(*stub_, context_, *this);
    first(kCluster, {});
    if (!held[kEndpoints].empty()) first(kEndpoints, names(kEndpoints));
    first(kListener, {});
    first(kRoutes, {"outbound"});
    this->StartRead(&response_);
    this->StartCall();
  }
  void hang_up() override {
    context_.TryCancel();
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return over_; });
  }

 private:
  std::vector<std::string> names(const std::string& type) {
    std::vector<std::string> all;
    for (const auto& [name, version] : held[type]) all.push_back(name);
    return all;
  }
  void first(const std::string& type, const std::vector<std::string>& asked_names) {
    Request request;
    request.mutable_node()->set_id(node_);
    request.set_type_url(type);
    if constexpr (kDelta) {
      for (const auto& [name, version] : held[type]) {
        (*request.mutable_initial_resource_versions())[name] = version;
      }
      for (const std::string& name : asked_names) request.add_resource_names_subscribe(name);
    } else {
      for (const std::string& name : asked_names) request.add_resource_names(name);
    }
    send(std::move(request));
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    tally_.note(response_.ByteSizeLong());
    const std::string type = response_.type_url();
    std::vector<std::string> fresh;
    for (const auto& one : response_.resources()) take(type, one, fresh);
    Request answer;
    answer.set_type_url(type);
    answer.set_response_nonce(response_.nonce());
    if constexpr (kDelta) {
      for (const std::string& name : response_.removed_resources()) held[type].erase(name);
    } else {
      answer.set_version_info(response_.version_info());
      if (type == kRoutes) answer.add_resource_names("outbound");
      for (const std::string& name : clusters_) {
        if (type == kEndpoints) answer.add_resource_names(name);
      }
    }
    if (!fresh.empty()) ask_endpoints(fresh);
    send(std::move(answer));
    last = now().time_since_epoch().count();
    this->StartRead(&response_);
  }
  template <class Resource>
  void take(const std::string& type, const Resource& one, std::vector<std::string>& fresh) {
    envoy::config::cluster::v3::Cluster cluster;
    if constexpr (kDelta) {
      held[type][one.name()] = one.version();
      if (type != kCluster) return;
      CHECK(one.resource().UnpackTo(&cluster));
    } else {
      if (type != kCluster) return;
      CHECK(one.UnpackTo(&cluster));
    }
    const bool dynamic = cluster.type() == envoy::config::cluster::v3::Cluster::EDS;
    const bool known = kDelta && held[kEndpoints].contains(cluster.name());
    if (dynamic && clusters_.insert(cluster.name()).second && !known) {
      fresh.push_back(cluster.name());
    }
  }
  void ask_endpoints(const std::vector<std::string>& fresh) {
    Request request;
    request.set_type_url(kEndpoints);
    if constexpr (kDelta) {
      for (const std::string& name : fresh) request.add_resource_names_subscribe(name);
    } else {
      for (const std::string& name : clusters_) request.add_resource_names(name);
    }
    send(std::move(request));
  }

  // gRPC takes one message at a time.
  void send(Request request) {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(request));
    if (queue_.size() == 1) this->StartWrite(&queue_.front());
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    queue_.pop_front();
    if (ok && !queue_.empty()) this->StartWrite(&queue_.front());
  }
  void OnDone(const grpc::Status&) override {
    const std::lock_guard lock(mutex_);
    over_ = true;
    ended_.notify_all();
  }

  const std::unique_ptr<xds::AggregatedDiscoveryService::Stub> stub_;
  grpc::ClientContext context_;
  const std::string node_;
  Tally& tally_;
  std::set<std::string> clusters_;
  Response response_;
  std::mutex mutex_;
  std::deque<Request> queue_;
  bool over_ = false;
  std::condition_variable ended_;
};

// The real program.
class ControlProcess {
 public:
  ControlProcess(const std::string& program, const std::string& directory) {
    int out[2];
    CHECK(::pipe(out) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(out[1], STDOUT_FILENO);
      ::close(out[0]);
      ::close(out[1]);
      const std::string mesh = directory + "/mesh", state = directory + "/state";
      ::execl(program.c_str(), program.c_str(), "--mesh", mesh.c_str(), "--state-dir",
              state.c_str(), "--listen", "127.0.0.1:0", "--log-level", "warning", nullptr);
      ::_exit(127);
    }
    ::close(out[1]);
    char byte = 0;
    while (::read(out[0], &byte, 1) == 1 && byte != '\n') ready_ = true;
    ::close(out[0]);
    CHECK(ready_);
  }
  ~ControlProcess() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  double cpu_ms() const {
    std::ifstream file(cat("/proc/", pid_, "/stat"));
    std::string text((std::istreambuf_iterator<char>(file)), {});
    text = text.substr(text.rfind(')') + 2);
    long user = 0, kernel = 0;  // The 14th and 15th fields; the state is the third.
    CHECK(std::sscanf(text.c_str(), "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user,
                      &kernel) == 2);
    return static_cast<double>(user + kernel) * 1e3 / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }
  double peak_mb() const {
    std::ifstream file(cat("/proc/", pid_, "/status"));
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("VmHWM:")) return std::atof(line.c_str() + 6) / 1024;
    }
    return 0;
  }

 private:
  pid_t pid_ = -1;
  bool ready_ = false;
};

double quantile(std::vector<double>& times, double q) {
  if (times.empty()) return 0;
  std::sort(times.begin(), times.end());
  // Of few, p99 is the worst.
  const double rank = std::ceil(q * static_cast<double>(times.size()));
  return times[static_cast<std::size_t>(rank) - 1];
}

struct Plan {
  std::string program;
  int sidecars = 100, changes = 20;
  bool delta = true, rollback = false;
  ControlMesh mesh;
};

class Bench {
 public:
  explicit Bench(Plan plan) : plan_(std::move(plan)) {
    CHECK(::mkdtemp(directory_.data()) != nullptr);
    fs::create_directory(directory_ + "/mesh");
    for (int i = 0; i < plan_.mesh.files(); ++i) save(i);
    control_ = std::make_unique<ControlProcess>(plan_.program, directory_);
  }
  ~Bench() {
    hang_up();
    control_.reset();
    fs::remove_all(directory_);
  }

  void run() {
    held_.resize(static_cast<std::size_t>(plan_.sidecars));
    std::printf("{\"services\": %d, \"sidecars\": %d, \"variant\": \"%s\", \"egress\": %d",
                plan_.mesh.services, plan_.sidecars, plan_.delta ? "delta" : "world",
                plan_.mesh.egress);
    connect("connect");
    if (plan_.rollback) {
      int canary = 0;
      change("rollback", [&] { abort(canary++); });
      std::printf("}\n");
      return;
    }
    change("endpoint", [this] { ++plan_.mesh.moved, save(0); });
    change("weight", [this] { ++plan_.mesh.weight, save(0); });
    change("policy", [this] { ++plan_.mesh.policy, save(0); });
    hang_up();
    const double peak = control_->peak_mb();
    control_.reset();
    control_ = std::make_unique<ControlProcess>(plan_.program, directory_);
    connect("resync");
    std::printf(", \"peak_mb\": %.0f}\n", std::max(peak, control_->peak_mb()));
  }

 private:
  void save(int number) const {
    const std::string name = cat(directory_, "/mesh/", plan_.mesh.file_name(number));
    std::ofstream(name + "~") << plan_.mesh.file(number);
    fs::rename(name + "~", name);
  }
  void hang_up() {
    for (std::size_t i = 0; i < sidecars_.size(); ++i) {
      sidecars_[i]->hang_up();
      held_[i] = std::move(sidecars_[i]->held);
    }
    sidecars_.clear();
  }
  // Waits until nothing has come for `quiet`; from when on.
  void settle(Instant since, std::chrono::milliseconds quiet) {
    std::mutex mutex;
    std::condition_variable never;
    std::unique_lock lock(mutex);
    while (true) {
      const Instant last{Instant::duration(tally_.last.load())};
      const Instant over = std::min(std::max(last, since) + quiet, since + kLongest);
      if (now() >= over) return;
      never.wait_until(lock, over);
    }
  }
  void connect(const char* what) {
    const Instant start = now();
    const double cpu = control_->cpu_ms();
    const uint64_t bytes = tally_.bytes;
    std::shared_ptr<grpc::Channel> channel;
    for (int i = 0; i < plan_.sidecars; ++i) {
      if (i % kStreamsOfConnection == 0) channel = connection();
      Held& held = held_[static_cast<std::size_t>(i)];
      if (plan_.delta) {
        sidecars_.push_back(
            std::make_unique<Sidecar<DeltaForm>>(channel, i, std::move(held), tally_));
      } else {
        sidecars_.push_back(std::make_unique<Sidecar<WorldForm>>(channel, i, Held(), tally_));
      }
    }
    settle(start, kSettled);
    const Instant last{Instant::duration(tally_.last.load())};
    std::printf(", \"%s\": {\"ms\": %.0f, \"cpu_ms\": %.0f, \"mb\": %.1f}", what, ms(start, last),
                control_->cpu_ms() - cpu, static_cast<double>(tally_.bytes - bytes) / 1e6);
    std::fflush(stdout);
  }
  std::shared_ptr<grpc::Channel> connection() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(-1);
    return grpc::CreateCustomChannel(cat("unix:", directory_, "/state/grpc.sock"),
                                     grpc::InsecureChannelCredentials(), arguments);
  }
  void abort(int canary) const {
    const auto channel = grpc::CreateChannel(cat("unix:", directory_, "/state/control.sock"),
                                             grpc::InsecureChannelCredentials());
    grpc::ClientContext context;
    v1::ChangeCanaryRequest request;
    request.set_name(cat("c", canary));
    request.set_command("abort");
    v1::CanaryStatus status;
    const auto stub = v1::CanaryService::NewStub(channel);
    CHECK(stub->ChangeCanary(&context, request, &status).ok());
    CHECK(status.phase() == "rolled back");
  }
  template <class Edit>
  void change(const char* what, Edit edit) {
    std::vector<double> acknowledged, last;
    const double cpu = control_->cpu_ms();
    const uint64_t bytes = tally_.bytes;
    std::size_t reached = 0;
    for (int i = 0; i < plan_.changes; ++i) {
      const Instant saved = now();
      edit();
      settle(saved, kQuiet);
      double longest = 0;
      for (const auto& sidecar : sidecars_) {
        const Instant at{Instant::duration(sidecar->last.load())};
        if (at < saved) continue;  // The change is not about it.
        ++reached;
        acknowledged.push_back(ms(saved, at));
        longest = std::max(longest, acknowledged.back());
      }
      last.push_back(longest);
    }
    const double changes = plan_.changes;
    std::printf(
        ", \"%s\": {\"reached\": %.0f, \"p50_ms\": %.1f, \"p99_ms\": %.1f, \"last_p50_ms\": %.1f, "
        "\"last_p99_ms\": %.1f, \"cpu_ms\": %.1f, \"mb\": %.3f}",
        what, static_cast<double>(reached) / changes, quantile(acknowledged, 0.5),
        quantile(acknowledged, 0.99), quantile(last, 0.5), quantile(last, 0.99),
        (control_->cpu_ms() - cpu) / changes,
        static_cast<double>(tally_.bytes - bytes) / 1e6 / changes);
    std::fflush(stdout);
  }

  Plan plan_;
  std::string directory_ = fs::temp_directory_path() / "fleet_XXXXXX";
  Tally tally_;
  std::unique_ptr<ControlProcess> control_;
  std::vector<Held> held_;
  std::vector<std::unique_ptr<AnySidecar>> sidecars_;
};

int main(int argc, char** argv) {
  if (argc < 6) {
    std::fputs(
        "usage: control_fleet GLIA_CONTROL SERVICES SIDECARS delta|world EGRESS [CHANGES "
        "[rollback]]\n",
        stderr);
    return 2;
  }
  Plan plan{.program = argv[1],
            .sidecars = std::atoi(argv[3]),
            .changes = argc > 6 ? std::atoi(argv[6]) : 20,
            .delta = std::string_view(argv[4]) == "delta"};
  plan.mesh.services = std::max(20, std::atoi(argv[2]));
  plan.mesh.workloads = std::max(plan.mesh.services, plan.sidecars);
  plan.mesh.egress = std::atoi(argv[5]);
  plan.rollback = argc > 7 && std::string_view(argv[7]) == "rollback";
  if (plan.rollback) plan.mesh.canaries = plan.changes;
  Bench(std::move(plan)).run();
  return 0;
}

}  // namespace
}  // namespace glia

int main(int argc, char** argv) { return glia::main(argc, argv); }
