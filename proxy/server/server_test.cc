// Main and its workers on real threads, with real sockets on loopback: what they hand to each other
// while requests are on their way. Runs under ThreadSanitizer as well.
#include "proxy/server/server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <future>
#include <list>
#include <optional>

#include "proxy/base/text.h"
#include "proxy/http/client.h"
#include "proxy/net/tcp.h"

namespace glia {
namespace {

constexpr uint32_t kWorkers = 2;
constexpr uint64_t kDrawings = 100;
constexpr int kClients = 8;
constexpr std::size_t kLargest = 1 << 20;  // bytes of an answer

Address any_port() { return *Address::parse("127.0.0.1:0"); }

// Sends each request's body back; runs on main's loop.
class EchoUpstream final : private AcceptHandler, private Service, private ServerConnection::Owner {
 public:
  EchoUpstream(EventLoop& loop, Network& network) : loop_(loop) {
    acceptor_ = *network.listen(any_port(), {}, *this);
  }
  ~EchoUpstream() override {
    for (auto& connection : connections_) loop_.reap(std::move(connection));
    connections_.clear();
    loop_.turn(0s);
  }
  const Address& address() const { return acceptor_->address(); }

 private:
  void on_accept(std::unique_ptr<Stream> stream) override {
    connections_.push_back(serve_http(loop_, std::move(stream), options_, *this, *this, stats_));
  }
  void on_finished(ServerConnection& connection) override {
    for (auto at = connections_.begin(); at != connections_.end(); ++at) {
      if (at->get() != &connection) continue;
      loop_.reap(std::move(*at));
      connections_.erase(at);
      return;
    }
  }
  Task<void> serve(ServerStream& stream) override {
    Response response(stream.arena());
    response.status = 200;
    response.body = std::move(stream.request().body);
    co_await stream.respond(std::move(response));
  }

  EventLoop& loop_;
  ServerOptions options_;
  HttpServerStats stats_;
  std::unique_ptr<Acceptor> acceptor_;
  std::list<std::unique_ptr<ServerConnection>> connections_;
};

// A body that grows when the test says so.
class GrowingBody final : public Body {
 public:
  explicit GrowingBody(EventLoop& loop) : loop_(loop) {}
  void say(std::string_view more, bool last) {
    queue_.append_copy(more);
    ended_ = last;
    slot_.wake(loop_.ready());
  }
  Piece poll() override {
    if (!queue_.empty()) return {State::kData, queue_.pop_slice()};
    return {ended_ ? State::kEnd : State::kPending, {}};
  }
  void wait(Waiter& waiter) override { slot_.put(waiter); }

 private:
  EventLoop& loop_;
  ByteQueue queue_;
  WaitSlot slot_;
  bool ended_ = false;
};

// One connection to the proxy, and one call after the other on it.
class Client final : private ClientConnection::Owner {
 public:
  Client(EventLoop& loop, Network& network, const Address& to, Codec codec)
      : loop_(loop), options_{.codec = codec} {
    connection_ = connect_http(loop_, network.connect(to), options_, *this, stats_);
  }
  ~Client() override {
    task_.cancel();
    if (connection_ != nullptr) loop_.reap(std::move(connection_));
    loop_.turn(0s);
  }

  // Asks for the drawing's number and for an echo in turn, until stop().
  void run() {
    task_ = work();
    task_.start();
  }
  void stop() { stopping_ = true; }
  // One POST of `body`.
  void post(std::unique_ptr<Body> body) {
    task_ = post_once(std::move(body));
    task_.start();
  }

  bool connected() const { return connected_; }
  bool over() const { return connection_ == nullptr; }
  bool head_seen() const { return head_seen_; }
  bool done() const { return done_; }
  uint64_t number() const { return number_; }
  uint64_t echoes() const { return echoes_; }
  const std::string& last_body() const { return last_body_; }
  const std::string& trouble() const { return trouble_; }

 private:
  void on_connected(ClientConnection&) override { connected_ = true; }
  void on_capacity(ClientConnection&) override {}
  void on_finished(ClientConnection&, const Error&) override { loop_.reap(std::move(connection_)); }

  Task<void> work() {
    while (!stopping_ && trouble_.empty()) {
      co_await ask("GET", "/number", nullptr);
      if (!trouble_.empty()) break;
      uint64_t number = 0;
      std::from_chars(last_body_.data(), last_body_.data() + last_body_.size(), number);
      // A connection stays with its worker, and a worker never goes back to an older drawing.
      EXPECT_GE(number, number_);
      number_ = number;
      const std::string said(1 + echoes_ % 5000, 'e');
      co_await ask("POST", "/echo", std::make_unique<TextBody>(Slice::copy(said)));
      if (!trouble_.empty()) break;
      EXPECT_TRUE(last_body_ == said);
      ++echoes_;
    }
    done_ = true;
  }
  Task<void> post_once(std::unique_ptr<Body> body) {
    co_await ask("POST", "/echo", std::move(body));
    done_ = true;
  }
  Task<void> ask(std::string_view method, std::string_view path, std::unique_ptr<Body> body) {
    if (connection_ == nullptr || connection_->capacity() == 0) {
      trouble_ = "the proxy ended the connection";
      co_return;
    }
    Request request(ArenaRef::create());
    request.method = method;
    request.scheme = "http";
    request.authority = "a.test";
    request.path = path;
    request.body = std::move(body);
    const std::unique_ptr<Call> call = connection_->start(request);
    const Result<Response> head = co_await head_of(*call);
    head_seen_ = true;
    if (!head || head->status != 200) {
      trouble_ = head ? cat("status ", head->status) : head.error().message();
      co_return;
    }
    Result<std::string> all = co_await read_all(*call, kLargest);
    if (!all) trouble_ = all.error().message();
    if (all) last_body_ = *std::move(all);
  }

  EventLoop& loop_;
  ClientOptions options_;
  HttpClientStats stats_;
  std::unique_ptr<ClientConnection> connection_;
  bool connected_ = false, stopping_ = false, head_seen_ = false, done_ = false;
  uint64_t number_ = 0, echoes_ = 0;
  std::string last_body_, trouble_;
  Task<void> task_;
};

Route route(std::string_view path, PathMatch::Kind kind) {
  Route route;
  route.name = path;
  route.match.path.kind = kind;
  const auto how =
      kind == PathMatch::Kind::kExact ? TextMatcher::Kind::kExact : TextMatcher::Kind::kPrefix;
  route.match.path.text = *TextMatcher::create(how, std::string(path));
  return route;
}

class ServerTest : public testing::Test {
 protected:
  ServerTest() { server_.emplace(main_, kWorkers); }
  ~ServerTest() override {
    question_.cancel();
    clients_.clear();
  }

  // "/number" is answered with the drawing's number, everything else by the upstream. Some drawings
  // have one listener or one cluster more than others.
  SnapshotRef drawing(uint64_t number) {
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->number = number;
    auto endpoints = std::make_shared<EndpointSet>();
    endpoints->endpoints.push_back({.address = upstream_.address()});
    for (const std::string_view name : {"up", "spare"}) {
      if (name == "spare" && number % 3 == 0) continue;
      auto cluster = std::make_shared<ClusterConfig>();
      cluster->name = cluster->stat_name = name;
      cluster->endpoints = endpoints;
      snapshot->clusters.emplace(name, std::move(cluster));
    }
    Route own = route("/number", PathMatch::Kind::kExact);
    own.direct = DirectAction{.status = 200, .body = cat(number)};
    Route rest = route("/", PathMatch::Kind::kPrefix);
    rest.forward = ForwardAction{.clusters = {{.cluster = "up"}}, .total_weight = 1};
    std::vector<VirtualHost> hosts;
    hosts.push_back({.name = "any", .domains = {"*"}, .routes = {own, rest}});
    FilterChain chain;
    chain.http.server.codec = Codec::kAuto;
    chain.http.routes = std::make_shared<RouteTable>("routes", cat(number), std::move(hosts));
    for (const std::string_view name : {"in", "extra"}) {
      if (name == "extra" && number % 2 == 0) continue;
      auto listener = std::make_shared<ListenerConfig>();
      listener->name = name;
      listener->address = any_port();
      listener->chains.push_back(chain);
      snapshot->listeners.emplace(name, std::move(listener));
    }
    return snapshot;
  }
  Address inside() const { return server_->addresses().at("in"); }
  Client& connect(Codec codec = Codec::kHttp1) {
    return clients_.emplace_back(main_, network_, inside(), codec);
  }
  template <class Condition>
  void until(Condition condition) {
    const TimePoint limit = main_.clock().now() + 100s;
    while (!condition() && main_.clock().now() < limit) main_.turn(100ms);
    ASSERT_TRUE(condition()) << "not within 100 s";
  }
  void wait_for(Task<void> task) {
    finished_ = false;
    question_ = noting(std::move(task));
    question_.start();
    until([&] { return finished_; });
  }
  Task<void> noting(Task<void> task) {
    co_await std::move(task);
    finished_ = true;
  }

  Task<void> publish_all() {
    for (uint64_t number = 2; number <= kDrawings; ++number) {
      EXPECT_TRUE(server_->publish(drawing(number)).ok());
      if (number % 4 == 0) co_await applied();
      if (number % 10 == 0) co_await ask_everything();
    }
    co_await applied();
  }
  Task<void> applied() {
    // Workers take in order what main posts to them: a drawing, then a question.
    while (!server_->up_to_date()) co_await server_->metrics();
  }
  Task<void> ask_everything() {
    const MetricsPage page = co_await server_->metrics();
    EXPECT_NE(page.prometheus().find("envoy_server_concurrency 2"), std::string::npos);
    rows_ = co_await server_->endpoints();
    co_await server_->exchanges();
  }

  EventLoop main_{std::make_unique<LibeventBackend>()};
  SocketNetwork network_{main_};
  EchoUpstream upstream_{main_, network_};
  std::optional<Server> server_;
  std::list<Client> clients_;
  std::vector<EndpointRow> rows_;
  bool finished_ = false;
  Task<void> question_;
};

TEST_F(ServerTest, PublishesAHundredDrawingsUnderRequestsAndThenDrains) {
  ASSERT_TRUE(server_->publish(drawing(1)).ok());
  wait_for(applied());
  for (int i = 0; i < kClients; ++i) connect(i % 2 == 0 ? Codec::kHttp1 : Codec::kHttp2);
  for (Client& client : clients_) {
    until([&] { return client.connected(); });
    client.run();
  }
  wait_for(publish_all());
  const auto sees_the_last = [](const Client& client) { return client.number() == kDrawings; };
  until([&] { return std::ranges::all_of(clients_, sees_the_last); });
  for (Client& client : clients_) client.stop();
  until([&] { return std::ranges::all_of(clients_, &Client::done); });
  uint64_t echoes = 0;
  for (const Client& client : clients_) {
    EXPECT_EQ(client.trouble(), "");
    echoes += client.echoes();
  }
  wait_for(ask_everything());
  ASSERT_EQ(rows_.size(), 2u);  // Of "spare" and "up".
  EXPECT_EQ(rows_[1].rq_total, echoes);
  EXPECT_EQ(rows_[1].rq_success, echoes);

  // One request is in progress while everything else ends.
  Client& last = connect();
  until([&] { return last.connected(); });
  auto body = std::make_unique<GrowingBody>(main_);
  GrowingBody& growing = *body;
  last.post(std::move(body));
  growing.say("last ", false);
  until([&] { return last.head_seen(); });
  server_->drain(60s);
  EXPECT_EQ(server_->state(), Server::State::kDraining);
  growing.say("words", true);
  wait_for(server_->drained());
  until([&] { return std::ranges::all_of(clients_, &Client::over); });
  EXPECT_EQ(last.trouble(), "");
  EXPECT_EQ(last.last_body(), "last words");
}

TEST_F(ServerTest, IsDestroyedWhileItWorks) {
  ASSERT_TRUE(server_->publish(drawing(1)).ok());
  wait_for(applied());
  for (int i = 0; i < kClients; ++i) connect(i % 2 == 0 ? Codec::kHttp1 : Codec::kHttp2);
  for (Client& client : clients_) until([&] { return client.connected(); });
  for (Client& client : clients_) client.run();
  until([&] { return clients_.front().echoes() > 0; });
  // Nobody waits for the answers any more when they come.
  question_ = ask_everything();
  question_.start();
  question_.cancel();
  server_.reset();
  until([&] { return std::ranges::all_of(clients_, &Client::over); });
}

// K9 of the checklist of faults: the others serve, and it is said which one does not.
TEST_F(ServerTest, SaysThatAWorkerIsStuckWhileTheOtherServes) {
  ASSERT_TRUE(server_->publish(drawing(1)).ok());
  wait_for(applied());
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  auto first = std::make_shared<std::atomic<bool>>(true);
  server_->post_to_all([released, first](Worker&) {
    if (first->exchange(false)) released.wait();
  });
  for (int i = 0; i < 4 * kClients; ++i) connect();
  for (Client& client : clients_) {
    until([&] { return client.connected(); });  // The kernel accepts for the stuck one, too.
    client.run();
  }
  until([&] { return server_->watchdog_misses() > 0; });
  const auto served = [](const Client& client) { return client.echoes() > 0; };
  until([&] { return std::ranges::any_of(clients_, served); });
  EXPECT_FALSE(std::ranges::all_of(clients_, served));
  release.set_value();
  until([&] { return std::ranges::all_of(clients_, served); });
  for (Client& client : clients_) client.stop();
  until([&] { return std::ranges::all_of(clients_, &Client::done); });
  for (Client& client : clients_) EXPECT_EQ(client.trouble(), "");
  EXPECT_EQ(server_->watchdog_misses(), 1u);
}

TEST_F(ServerTest, AnAddressThatCannotBeHadChangesNothing) {
  ASSERT_TRUE(server_->publish(drawing(2)).ok());
  const SnapshotRef before = server_->snapshot();
  // A port that somebody else listens on, without sharing it.
  const int taken = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const Address any = any_port();
  ASSERT_EQ(::bind(taken, any.raw(), any.raw_size()), 0);
  ASSERT_EQ(::listen(taken, 1), 0);
  sockaddr_storage at;
  socklen_t size = sizeof at;
  ASSERT_EQ(::getsockname(taken, reinterpret_cast<sockaddr*>(&at), &size), 0);
  auto next = std::make_shared<Snapshot>(*drawing(3));
  auto listener = std::make_shared<ListenerConfig>(*next->listeners.at("extra"));
  listener->address = Address::from(reinterpret_cast<sockaddr*>(&at), size);
  next->listeners["extra"] = listener;
  const Result<void> published = server_->publish(next);
  ASSERT_FALSE(published.ok());
  EXPECT_TRUE(published.error().message().starts_with("listener[extra]"))
      << published.error().message();
  EXPECT_EQ(server_->snapshot(), before);
  EXPECT_EQ(server_->addresses().size(), 1u);
  ::close(taken);
}

}  // namespace
}  // namespace glia
