#include "proxy/server/server.h"

#include <algorithm>
#include <set>

#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {

// How often a drain looks whether it is done.
constexpr Duration kDrainCheck = 50ms;

Server::Server(EventLoop& main, uint32_t workers, Duration drain_time)
    : main_(main),
      started_(main.clock().now()),
      drain_time_(drain_time),
      watchdog_(main, workers, [this](uint32_t worker) { ask_whether_it_turns(worker); }) {
  for (uint32_t i = 0; i < workers; ++i) workers_.push_back(std::make_unique<WorkerThread>(i));
}

Server::~Server() { workers_.clear(); }

bool Server::holds_port(const std::string& name, const ListenerConfig& listener) const {
  if (snapshot_ == nullptr || !ports_.contains(name)) return false;
  const auto held = snapshot_->listeners.find(name);
  return held != snapshot_->listeners.end() && held->second->socket_key == listener.socket_key;
}

Result<void> Server::reserve(const Snapshot& snapshot) {
  std::map<std::string, Reserved> fresh;
  for (const auto& [name, listener] : snapshot.listeners) {
    const auto ready = reserved_.find(name);
    const bool reserved =
        ready != reserved_.end() && ready->second.socket_key == listener->socket_key;
    if (reserved || holds_port(name, *listener)) continue;
    Result<PortReservation> port = PortReservation::reserve(listener->address);
    if (!port) return std::move(port).error().in(cat("listener[", name, "]"));
    fresh.emplace(name, Reserved{listener->socket_key, *std::move(port)});
  }
  for (auto& [name, reserved] : fresh) {
    reserved_.erase(name);
    reserved_.emplace(name, std::move(reserved));
  }
  return {};
}

Result<void> Server::publish(SnapshotRef snapshot) {
  TRY_VOID(reserve(*snapshot));
  std::map<std::string, PortReservation> ports;
  for (const auto& [name, listener] : snapshot->listeners) {
    if (holds_port(name, *listener)) continue;
    ports.emplace(name, std::move(reserved_.at(name).port));
  }
  reserved_.clear();
  for (auto& [name, port] : ports_) {
    if (snapshot->listeners.contains(name)) ports.emplace(name, std::move(port));
  }
  ports_ = std::move(ports);
  snapshot_ = snapshot;
  if (state_ == State::kInitializing) state_ = State::kLive;
  post_to_all([snapshot, addresses = addresses(), limit = drain_time_](Worker& worker) {
    for (const std::string& problem : worker.apply(snapshot, addresses, limit)) {
      LOG(error, problem);
    }
  });
  following_ = follow(++published_);
  following_.start();
  return {};
}

ListenAddresses Server::addresses() const {
  ListenAddresses all;
  for (const auto& [name, port] : ports_) all.emplace(name, port.address());
  return all;
}

namespace {

// A question on its way through the workers; lives in the frame of the task that asks.
template <class Answer>
struct Asking {
  std::vector<Answer> answers;
  WaitSlot all_here;
};

}  // namespace

void Server::ask_whether_it_turns(uint32_t worker) {
  workers_[worker]->post([this, alive = std::weak_ptr(alive_), worker](Worker&) {
    main_.post([this, alive, worker] {
      if (!alive.expired()) watchdog_.heard(worker);
    });
  });
}

void Server::deliver(uint64_t number, std::function<void(void*)> answer) {
  const auto asking = questions_.find(number);
  if (asking != questions_.end()) answer(asking->second);  // Else the task was cancelled.
}

template <class Answer>
Task<std::vector<Answer>> Server::ask(std::function<Answer(Worker&)> question) {
  Asking<Answer> asking;
  const uint64_t number = ++last_question_;
  questions_.emplace(number, &asking);
  struct Forget {
    std::map<uint64_t, void*>& questions;
    uint64_t number;
    ~Forget() { questions.erase(number); }
  } const forget{questions_, number};
  for (const auto& worker : workers_) {
    worker->post([this, alive = std::weak_ptr(alive_), number, question](Worker& at) {
      main_.post([this, alive, number, answer = question(at)]() mutable {
        if (alive.expired()) return;
        deliver(number, [this, &answer](void* waiting) {
          auto& to = *static_cast<Asking<Answer>*>(waiting);
          to.answers.push_back(std::move(answer));
          to.all_here.wake(main_.ready());
        });
      });
    });
  }
  while (asking.answers.size() < workers_.size()) co_await wait_in(asking.all_here);
  co_return std::move(asking.answers);
}

Task<void> Server::follow(uint64_t publication) {
  // Posts are run in order, so an answer means that what was posted before is done.
  co_await ask<bool>([](Worker&) { return true; });
  applied_ = publication;
}

Task<MetricsPage> Server::metrics() {
  MetricsPage page;
  const auto pages = co_await ask<MetricsPage>([](Worker& worker) {
    MetricsPage own;
    worker.collect(own);
    return own;
  });
  for (const MetricsPage& one : pages) page.add(one);
  page.gauge("envoy_server_uptime", {},
             static_cast<int64_t>(to_seconds(main_.clock().now() - started_)));
  page.counter("envoy_workers_watchdog_miss", {}, watchdog_.misses());
  page.gauge("envoy_server_live", {}, state_ == State::kLive ? 1 : 0);
  page.gauge("envoy_server_concurrency", {}, workers());
  // Envoy's numbers (envoy.admin.v3.ServerInfo.State).
  page.gauge("envoy_server_state", {},
             state_ == State::kLive       ? 0
             : state_ == State::kDraining ? 1
                                          : 3);
  if (snapshot_ != nullptr) {
    page.gauge("envoy_listener_manager_total_listeners_active", {},
               static_cast<int64_t>(snapshot_->listeners.size()));
    page.gauge("envoy_cluster_manager_active_clusters", {},
               static_cast<int64_t>(snapshot_->clusters.size()));
  }
  co_return page;
}

namespace {

// Each worker believes what it was told itself: that of the newest report is shown.
void believe_newer(const EndpointRow& row, EndpointRow& sum) {
  const bool newer =
      row.report_age_ms >= 0 && (sum.report_age_ms < 0 || row.report_age_ms < sum.report_age_ms);
  if (!newer) return;
  sum.why = row.why;
  sum.load = row.load;
  sum.score = row.score;
  sum.confidence = row.confidence;
  sum.report_age_ms = row.report_age_ms;
}

}  // namespace

Task<std::vector<EndpointRow>> Server::endpoints() {
  const auto answers =
      co_await ask<std::vector<EndpointRow>>([](Worker& worker) { return worker.endpoints(); });
  std::map<std::pair<std::string, std::string>, EndpointRow> sums;
  for (const auto& rows : answers) {
    for (const EndpointRow& row : rows) {
      const auto [place, added] = sums.try_emplace({row.cluster, row.address}, row);
      if (added) continue;
      EndpointRow& sum = place->second;
      believe_newer(row, sum);
      sum.picked += row.picked;
      sum.cx_active += row.cx_active;
      sum.cx_total += row.cx_total;
      sum.cx_connect_fail += row.cx_connect_fail;
      sum.rq_active += row.rq_active;
      sum.rq_total += row.rq_total;
      sum.rq_success += row.rq_success;
      sum.rq_error += row.rq_error;
    }
  }
  std::vector<EndpointRow> all;
  for (auto& [key, row] : sums) all.push_back(std::move(row));
  co_return all;
}

Task<std::vector<std::string>> Server::exchanges() {
  std::vector<std::string> all;
  const auto answers =
      co_await ask<std::vector<std::string>>([](Worker& worker) { return worker.exchanges(); });
  for (const auto& part : answers) all.insert(all.end(), part.begin(), part.end());
  co_return all;
}

Task<Tallies> Server::take_tallies() {
  Tallies sum;
  const auto answers = co_await ask<Tallies>([](Worker& worker) { return worker.take_tallies(); });
  for (const Tallies& one : answers) sum.add(one);
  co_return sum;
}

Task<std::set<std::string>> Server::used_clusters() {
  std::set<std::string> all;
  const auto answers =
      co_await ask<std::vector<std::string>>([](Worker& worker) { return worker.used_clusters(); });
  for (const auto& part : answers) all.insert(part.begin(), part.end());
  co_return all;
}

Task<std::vector<std::string>> Server::reopen_logs() {
  std::set<std::string> problems;
  const auto answers =
      co_await ask<std::vector<std::string>>([](Worker& worker) { return worker.reopen_logs(); });
  for (const auto& part : answers) problems.insert(part.begin(), part.end());
  co_return std::vector<std::string>(problems.begin(), problems.end());
}

void Server::post_to_all(const std::function<void(Worker&)>& work) {
  for (const auto& worker : workers_) worker->post(work);
}

void Server::discover_by(Discovery::Ask ask) {
  discover_ = std::move(ask);
  post_to_all([this, alive = std::weak_ptr(alive_)](Worker& worker) {
    worker.discovery().ask_by([this, alive](const std::string& host, Duration limit) {
      main_.post([this, alive, host, limit] {
        if (!alive.expired()) discover_(host, limit);
      });
    });
  });
}

void Server::refuse_host(const std::string& host, const Error& error) {
  post_to_all([host, error](Worker& worker) { worker.discovery().refused(host, error); });
}

void Server::discourage(bool inbound_only) {
  post_to_all([inbound_only](Worker& worker) { worker.discourage(inbound_only); });
}

void Server::drain(Duration limit, bool inbound_only) {
  if (!inbound_only) state_ = State::kDraining;
  post_to_all([limit, inbound_only](Worker& worker) { worker.drain(limit, inbound_only); });
}

Task<void> Server::drained() {
  for (;;) {
    const auto answers = co_await ask<bool>([](Worker& worker) { return worker.drained(); });
    if (std::ranges::all_of(answers, [](bool done) { return done; })) co_return;
    co_await sleep_for(main_, kDrainCheck);
  }
}

}  // namespace glia
