#include "test/harness/mesh_world.h"

#include <algorithm>

#include "proxy/base/text.h"

namespace glia {
namespace {

std::map<std::string, std::string> copied(const Headers& headers) {
  std::map<std::string, std::string> all;
  for (const Field& field : headers.fields()) {
    auto& value = all[std::string(field.name)];
    value += value.empty() ? std::string(field.value) : cat(",", field.value);
  }
  return all;
}

// A text with trailers after it, or one that breaks off a moment later.
class ScriptedBody final : public Body {
 public:
  ScriptedBody(EventLoop& loop, std::string text, bool breaks, std::optional<Headers> trailers)
      : text_(std::move(text)),
        breaks_(breaks),
        trailers_(std::move(trailers)),
        timer_(loop, [this, &loop] {
          broken_ = true;
          slot_.wake(loop.ready());
        }) {}
  Piece poll() override {
    if (!text_.empty()) return {State::kData, Slice::copy(std::exchange(text_, {}))};
    if (!breaks_) return {State::kEnd, {}};
    return {broken_ ? State::kError : State::kPending, {}};
  }
  void wait(Waiter& waiter) override {
    slot_.put(waiter);
    timer_.start(50ms);
  }
  const Headers* trailers() const override { return trailers_ ? &*trailers_ : nullptr; }
  Error error() const override {
    return Error(ErrorKind::kInternal, Fault::kSelf, "broken off by the test");
  }

 private:
  std::string text_;
  bool breaks_;
  bool broken_ = false;
  std::optional<Headers> trailers_;
  WaitSlot slot_;
  CallbackTimer timer_;
};

}  // namespace

SimUpstream::SimUpstream(SimWorld& world, const Address& address, Codec codec)
    : world_(world), address_(address) {
  options_.codec = codec;
  auto acceptor = world.host(address.ip_text()).listen(address, {}, *this);
  CHECK(acceptor.ok());
  acceptor_ = std::move(*acceptor);
}

SimUpstream::~SimUpstream() { connections_.clear(); }

void SimUpstream::replies(int status, std::string body, Duration delay) {
  status_ = status;
  body_ = std::move(body);
  delay_ = delay;
}

void SimUpstream::dies() {
  acceptor_.reset();
  for (auto& connection : connections_) world_.loop().reap(std::move(connection));
  connections_.clear();
}

void SimUpstream::drain() {
  for (const auto& connection : connections_) connection->drain();
}

void SimUpstream::on_accept(std::unique_ptr<Stream> stream) {
  if (tls_ != nullptr) stream = tls_->wrap(world_.loop(), std::move(stream), 10s);
  connections_.push_back(
      serve_http(world_.loop(), std::move(stream), options_, *this, *this, stats_));
}

void SimUpstream::on_finished(ServerConnection& connection) {
  const auto place = std::ranges::find_if(
      connections_, [&](const auto& owned) { return owned.get() == &connection; });
  world_.loop().reap(std::move(*place));
  connections_.erase(place);
}

// A body that is sent little by little.
class PacedBody final : public Body {
 public:
  PacedBody(EventLoop& loop, std::string text, Duration pace)
      : text_(std::move(text)), pace_(pace), timer_(loop, [this, &loop] {
          due_ = true;
          slot_.wake(loop.ready());
        }) {}
  Piece poll() override {
    if (sent_ == text_.size()) return {State::kEnd, {}};
    if (!due_) return {State::kPending, {}};
    due_ = false;
    timer_.start(pace_);
    const auto piece = std::string_view(text_).substr(sent_, ClientRequest::kPacedPiece);
    sent_ += piece.size();
    return {State::kData, Slice::copy(piece)};
  }
  void wait(Waiter& waiter) override { slot_.put(waiter); }

 private:
  const std::string text_;
  const Duration pace_;
  std::size_t sent_ = 0;
  bool due_ = true;
  WaitSlot slot_;
  CallbackTimer timer_;
};

Task<void> SimUpstream::serve(ServerStream& stream) {
  struct Count {
    std::size_t& active;
    explicit Count(std::size_t& counter) : active(counter) { ++active; }
    ~Count() { --active; }
  } const count(active_);
  Request& request = stream.request();
  const std::size_t index = seen_.size();
  seen_.push_back({std::string(request.method), std::string(request.scheme),
                   std::string(request.authority), std::string(request.path), "",
                   copied(request.headers)});
  Response response(stream.arena());
  response.status = status_;
  for (const auto& [name, value] : reply_headers_) response.headers.add(name, value);
  if (echo_) {
    response.body = std::move(request.body);
    co_await stream.respond(std::move(response));
    co_return;
  }
  if (request.body != nullptr) {
    auto body = co_await read_all(*request.body, 1 << 30);
    if (body) seen_[index].body = std::move(*body);
    seen_[index].body_complete = body.ok();
  }
  WaitSlot never;
  if (hangs_) co_await wait_in(never);
  if (delay_ > 0s) co_await sleep_for(world_.loop(), delay_);
  std::optional<Headers> trailers;
  if (!reply_trailers_.empty()) {
    trailers.emplace(stream.arena());
    for (const auto& [name, value] : reply_trailers_) trailers->add(name, value);
  }
  if (pace_ > 0s) {
    response.body = std::make_unique<PacedBody>(world_.loop(), body_, pace_);
  } else if (!body_.empty() || trailers) {
    response.body =
        std::make_unique<ScriptedBody>(world_.loop(), body_, break_in_body_, std::move(trailers));
  }
  co_await stream.respond(std::move(response));
}

struct SimClient::Running {
  ClientRequest wanted;
  std::shared_ptr<Answer> answer;
  ArenaRef arena = ArenaRef::create();
  std::optional<Request> request;
  Task<void> task;
};

SimClient::SimClient(SimWorld& world, const std::string& ip, const Address& to, Codec codec)
    : world_(world), network_(world.host(ip)), to_(to) {
  options_.codec = codec;
}

SimClient::~SimClient() { running_.clear(); }

void SimClient::connect() {
  connection_ = connect_http(world_.loop(), network_.connect(to_), options_, *this, stats_);
}

void SimClient::on_connected(ClientConnection&) { connected_.wake(world_.loop().ready()); }

void SimClient::on_finished(ClientConnection&, const Error&) {
  world_.loop().reap(std::move(connection_));
  connected_.wake(world_.loop().ready());
}

std::shared_ptr<const Answer> SimClient::send(ClientRequest request) {
  auto running = std::make_unique<Running>();
  running->wanted = std::move(request);
  running->answer = std::make_shared<Answer>();
  running->answer->began = world_.loop().now();
  Running& added = *running_.emplace_back(std::move(running));
  added.task = run(added);
  added.task.start();
  return added.answer;
}

void SimClient::drop() { running_.clear(); }

void SimClient::forget_ended() {
  std::erase_if(running_, [](const auto& running) { return running->answer->finished; });
}

Task<void> SimClient::run(Running& running) {
  Answer& answer = *running.answer;
  Request& request = running.request.emplace(running.arena);
  request.method = running.wanted.method;
  request.scheme = running.wanted.scheme;
  request.authority = running.wanted.authority;
  request.path = running.wanted.path;
  for (const auto& [name, value] : running.wanted.headers) request.headers.add(name, value);
  if (running.wanted.pace > 0s) {
    request.body =
        std::make_unique<PacedBody>(world_.loop(), running.wanted.body, running.wanted.pace);
  } else if (running.wanted.has_body || !running.wanted.body.empty()) {
    request.body = std::make_unique<TextBody>(Slice::copy(running.wanted.body));
  }
  while (connection_ == nullptr || connection_->capacity() == 0) {
    if (connection_ == nullptr) connect();
    if (connected_.waiting()) {
      co_await sleep_for(world_.loop(), 1ms);
    } else {
      co_await wait_in(connected_);
    }
  }
  std::unique_ptr<Call> call = connection_->start(request);
  Result<Response> response = co_await head_of(*call);
  if (!response) {
    answer.error = response.error().message();
    answer.ended = world_.loop().now();
    answer.finished = true;
    co_return;
  }
  answer.status = response->status;
  answer.headers = copied(response->headers);
  for (;;) {
    Body::Piece piece = co_await next(*call);
    if (piece.state == Body::State::kData) answer.body += piece.data.view();
    if (piece.state == Body::State::kError) answer.error = call->error().message();
    if (piece.state == Body::State::kError || piece.state == Body::State::kEnd) break;
  }
  if (call->trailers() != nullptr) answer.trailers = copied(*call->trailers());
  answer.ended = world_.loop().now();
  answer.finished = true;
}

MeshWorld::MeshWorld(SimWorld& world, Codec downstream, Codec upstream, const std::string& ip)
    : world_(world), address_(*Address::ip(ip, 80)), upstream_codec_(upstream) {
  worker_ = std::make_unique<Worker>(0, world.loop(), world.host(ip), world.seed());
  client_ = std::make_unique<SimClient>(world, "10.0.9.9", address_, downstream);
  Route route;
  route.name = "all";
  route.match.path.text = *TextMatcher::create(TextMatcher::Kind::kPrefix, "/");
  route.forward = ForwardAction{};
  route.forward->clusters.push_back({.cluster = "service"});
  route.forward->total_weight = 1;
  hosts_.push_back({.name = "any", .domains = {"*"}, .routes = {route}});
  chain_.http.stat_prefix = "in";
  chain_.http.server.codec = Codec::kAuto;
  cluster("service");
}

MeshWorld::~MeshWorld() {
  client_.reset();
  worker_.reset();
  upstreams_.clear();
}

ClusterConfig& MeshWorld::cluster(const std::string& name) {
  const auto [place, added] = clusters_.try_emplace(name);
  if (added) {
    place->second.name = place->second.stat_name = name;
    place->second.codec = upstream_codec_;
  }
  return place->second;
}

SimUpstream& MeshWorld::upstream(const std::string& ip, const std::string& cluster_name) {
  auto& made = upstreams_[ip];
  if (made == nullptr) {
    const Address address = *Address::ip(ip, 8080);
    made = std::make_unique<SimUpstream>(world_, address, upstream_codec_);
    add_endpoint(address, cluster_name);
  }
  return *made;
}

void MeshWorld::add_endpoint(const Address& address, const std::string& cluster_name) {
  cluster(cluster_name);
  endpoints_[cluster_name].push_back({.address = address});
}

void MeshWorld::remove_endpoint(const std::string& ip, const std::string& cluster_name) {
  std::erase_if(endpoints_[cluster_name],
                [&](const EndpointConfig& endpoint) { return endpoint.address.ip_text() == ip; });
}

void MeshWorld::endpoint_by_name(const std::string& host, const std::string& cluster_name) {
  cluster(cluster_name).discovery = ClusterConfig::Discovery::kStrictDns;
  endpoints_[cluster_name] = {{.host = host, .port = 8080}};
}

void MeshWorld::publish() {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->number = ++published_;
  snapshot->version = cat("v", published_);
  snapshot->node_id = "node-1";
  for (const auto& [name, config] : clusters_) {
    auto finished = std::make_shared<ClusterConfig>(config);
    auto set = std::make_shared<EndpointSet>();
    set->endpoints = endpoints_[name];
    finished->endpoints = std::move(set);
    snapshot->clusters.emplace(name, std::move(finished));
  }
  auto listener = std::make_shared<ListenerConfig>();
  listener->name = "in";
  listener->address = address_;
  listener->chains.push_back(chain_);
  listener->chains.front().http.routes =
      std::make_shared<RouteTable>("routes", snapshot->version, hosts_);
  snapshot->listeners.emplace("in", listener);
  const auto problems = worker_->apply(snapshot, {{"in", listener->address}});
  CHECK(problems.empty());
}

Answer MeshWorld::send(ClientRequest request, Duration limit) {
  const auto answer = client_->send(std::move(request));
  world_.run_until([&] { return answer->finished; }, limit);
  return *answer;
}

std::string MeshWorld::metrics() const {
  MetricsPage page;
  worker_->collect(page);
  return page.prometheus();
}

}  // namespace glia
