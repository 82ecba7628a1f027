// models_load: clients of model servers for `./dev bench models`: requests that are due at given
// moments, whether or not earlier ones were answered (open loop), and what came of each.
//
//   models_load PLAN RESULT AT_ONCE ADDRESS...
//
// A line of PLAN is one request, in the order in which they are due:
//
//   DUE_US CALLER GROUP SHARED_TOKENS UNIQUE_TOKENS OUTPUT_TOKENS WAITS_MS URGENT
//
// It goes to the CALLERth ADDRESS as a streamed chat: a system prompt of SHARED_TOKENS, the same for all
// of a GROUP, and a question of UNIQUE_TOKENS that nobody else asks. A token is four bytes. If WAITS_MS is not 0, it says that its client
// waits so long (x-envoy-expected-rq-timeout-ms), and if URGENT is not 0, that it is urgent (RFC 9218).
// A line of
// RESULT, in the same order, is what came:
//
//   STATUS FIRST_US TOTAL_US SENTENCE
//
// Times are counted from when the request was due, to the first event of the stream and to its end; -1
// where that never came. STATUS is 0 where there was no answer; SENTENCE is "ok" or what went wrong.
// At most AT_ONCE requests are under way (0: as many as are due); with all due at 0 that is a closed
// loop, and times are counted from when a request was sent. One more line ends the result: "cpu"
// and the seconds that this process has used.
//
// Clients speak HTTP/1.1 and keep connections, like the libraries that people use.
#include <signal.h>
#include <sys/resource.h>

#include <cstdio>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "proxy/base/random.h"
#include "proxy/base/text.h"
#include "proxy/http/client.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/tcp.h"
#include "test/bench/pacer.h"

namespace glia {
namespace {

// After the last request was due; what has not ended then is given up.
constexpr Duration kPatience = 120s;
constexpr rlim_t kDescriptors = 65536;

struct Asked {
  int64_t due_us = 0;
  std::size_t caller = 0;
  uint64_t group = 0, shared_tokens = 0, unique_tokens = 0, output_tokens = 0;
  uint64_t waits_ms = 0, urgent = 0;
};

struct Outcome {
  int status = 0;
  int64_t first_us = -1, total_us = -1;
  std::string sentence = "no answer until the end";
};

// Four letters a token, the same for the same seed.
std::string prose(uint64_t seed, uint64_t tokens) {
  Random random(seed);
  std::string text;
  text.reserve(tokens * 4);
  for (uint64_t i = 0; i < tokens; ++i) {
    const uint64_t bits = random.next();
    for (int letter = 0; letter < 3; ++letter) {
      text += static_cast<char>('a' + (bits >> (8 * letter)) % 26);
    }
    text += ' ';
  }
  return text;
}

// A connection to a caller's proxy, used for one request at a time.
class Link final : private ClientConnection::Owner {
 public:
  Link(EventLoop& loop, Network& network, const Address& address, const ClientOptions& options,
       HttpClientStats& stats)
      : loop_(loop) {
    connection_ = connect_http(loop, network.connect(address), options, *this, stats);
  }
  ~Link() override {
    if (connection_ != nullptr) loop_.reap(std::move(connection_));
  }
  bool alive() const { return connection_ != nullptr; }
  bool ready() const { return alive() && connection_->capacity() > 0; }
  ClientConnection& connection() { return *connection_; }
  const std::string& trouble() const { return trouble_; }
  WaitSlot changed;

 private:
  void on_connected(ClientConnection&) override { changed.wake(loop_.ready()); }
  void on_capacity(ClientConnection&) override { changed.wake(loop_.ready()); }
  void on_finished(ClientConnection&, const Error& error) override {
    trouble_ = error.message();
    loop_.reap(std::move(connection_));
    changed.wake(loop_.ready());
  }

  EventLoop& loop_;
  std::unique_ptr<ClientConnection> connection_;
  std::string trouble_;
};

class Clients {
 public:
  Clients(EventLoop& loop, Network& network, std::vector<Address> addresses,
          std::vector<Asked> asked, std::size_t at_once)
      : loop_(loop),
        network_(network),
        addresses_(std::move(addresses)),
        asked_(std::move(asked)),
        outcomes_(asked_.size()),
        at_once_(at_once),
        idle_(addresses_.size()),
        pacer_(loop, [this] { send_due(); }),
        ended_(loop, [this] { reap_ended(); }),
        patience_(loop, [this] { loop_.stop(); }) {
    options_.codec = Codec::kHttp1;
    for (uint64_t group = 0; const Asked& each : asked_) {
      group = each.group;
      std::string& text = shared_[{group, each.shared_tokens}];
      if (text.empty()) text = prose(group * 2 + 1, each.shared_tokens);
    }
  }

  void begin() {
    began_ = loop_.clock().now() + 50ms;
    patience_.start(kPatience + std::chrono::microseconds(asked_.back().due_us));
    pacer_.start(began_);
  }

  const std::vector<Outcome>& outcomes() const { return outcomes_; }
  // From the first request to the end of the last answer: without what it takes to make the prompts.
  Duration span() const { return ended_at_ - began_; }

 private:
  TimePoint due(const Asked& asked) const {
    return began_ + std::chrono::microseconds(asked.due_us);
  }

  void send_due() {
    const TimePoint now = loop_.clock().now();
    while (next_ < asked_.size() && due(asked_[next_]) <= now) {
      if (at_once_ > 0 && tasks_.size() >= at_once_) return;
      const std::size_t number = next_++;
      Task<void>& task = tasks_[number] = run(number);
      task.start();
    }
    if (next_ < asked_.size()) pacer_.start(due(asked_[next_]));
  }

  void reap_ended() {
    for (const std::size_t number : std::exchange(over_, {})) tasks_.erase(number);
    if (tasks_.empty() && next_ == asked_.size()) return loop_.stop();
    if (at_once_ > 0) send_due();
  }

  Task<void> run(std::size_t number) {
    const Asked& asked = asked_[number];
    const TimePoint began = at_once_ > 0 ? loop_.clock().now() : due(asked);
    std::unique_ptr<Link> link = take_link(asked.caller);
    while (link->alive() && !link->ready()) co_await wait_in(link->changed);
    if (link->alive()) {
      co_await ask(link->connection(), asked, number, began);
    } else {
      outcomes_[number].sentence = link->trouble();
    }
    idle_[asked.caller].push_back(std::move(link));
    over_.push_back(number);
    ended_.start(0s);
  }

  std::unique_ptr<Link> take_link(std::size_t caller) {
    auto& idle = idle_[caller];
    while (!idle.empty()) {
      std::unique_ptr<Link> link = std::move(idle.back());
      idle.pop_back();
      if (link->ready()) return link;
    }
    return std::make_unique<Link>(loop_, network_, addresses_[caller], options_, stats_);
  }

  // Fields in the order in which openai's library writes them.
  Slice body_of(const Asked& asked, std::size_t number) const {
    return Slice::copy(
        cat(R"({"messages":[{"role":"system","content":")",
            shared_.at({asked.group, asked.shared_tokens}), R"("},{"role":"user","content":")",
            prose(number * 2, asked.unique_tokens), R"("}],"model":"m","max_tokens":)",
            asked.output_tokens, R"(,"stream":true})"));
  }

  Task<void> ask(ClientConnection& connection, const Asked& asked, std::size_t number,
                 TimePoint began) {
    Outcome& outcome = outcomes_[number];
    const auto passed = [&] { return (loop_.clock().now() - began) / 1us; };
    Request request(ArenaRef::create());
    request.method = "POST";
    request.scheme = "http";
    request.authority = "models.example";
    request.path = "/v1/chat/completions";
    request.headers.add_kept("content-type", "application/json");
    if (asked.waits_ms > 0) {
      request.headers.add("x-envoy-expected-rq-timeout-ms", cat(asked.waits_ms));
    }
    if (asked.urgent != 0) request.headers.add_kept("priority", "u=1");
    request.body = std::make_unique<TextBody>(body_of(asked, number));
    const std::unique_ptr<Call> call = connection.start(request);
    const Result<Response> response = co_await head_of(*call);
    if (!response) {
      outcome.sentence = response.error().message();
      co_return;
    }
    outcome.status = response->status;
    std::string tail;  // The last bytes, to see whether the stream ended as it should.
    for (;;) {
      const Body::Piece piece = co_await next(*call);
      if (piece.state == Body::State::kPending) continue;
      if (piece.state == Body::State::kError) {
        outcome.sentence = call->error().message();
        co_return;
      }
      if (piece.state == Body::State::kEnd) break;
      if (outcome.first_us < 0) outcome.first_us = passed();
      tail += piece.data.view();
      if (tail.size() > 256) tail.erase(0, tail.size() - 256);
    }
    outcome.total_us = passed();
    ended_at_ = loop_.clock().now();
    outcome.sentence = outcome.status != 200                ? "an answer with that status"
                       : tail.ends_with("data: [DONE]\n\n") ? "ok"
                                                            : "the stream ended early";
  }

  EventLoop& loop_;
  Network& network_;
  const std::vector<Address> addresses_;
  const std::vector<Asked> asked_;
  std::vector<Outcome> outcomes_;
  const std::size_t at_once_;
  ClientOptions options_;
  HttpClientStats stats_;
  std::map<std::pair<uint64_t, uint64_t>, std::string> shared_;
  std::vector<std::vector<std::unique_ptr<Link>>> idle_;  // Of each caller.
  std::map<std::size_t, Task<void>> tasks_;
  std::vector<std::size_t> over_;
  std::size_t next_ = 0;
  TimePoint began_, ended_at_;
  Pacer pacer_;
  CallbackTimer ended_, patience_;
};

Result<std::vector<Asked>> read_plan(const char* path, std::size_t callers) {
  std::ifstream file(path);
  std::vector<Asked> plan;
  std::string line;
  while (std::getline(file, line)) {
    Asked asked;
    std::istringstream words(line);
    words >> asked.due_us >> asked.caller >> asked.group >> asked.shared_tokens >>
        asked.unique_tokens >> asked.output_tokens >> asked.waits_ms >> asked.urgent;
    if (!words || asked.caller >= callers) {
      return invalid(cat(path, ": line ", plan.size() + 1, " is no request to one of ", callers,
                         " callers: ", line));
    }
    plan.push_back(asked);
  }
  if (plan.empty()) return invalid(cat(path, ": there are no requests in it"));
  return plan;
}

double own_cpu_seconds() {
  rusage usage;
  CHECK(::getrusage(RUSAGE_SELF, &usage) == 0);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void write_result(const char* path, const Clients& clients, double prepared) {
  std::ofstream file(path);
  for (const Outcome& outcome : clients.outcomes()) {
    file << outcome.status << ' ' << outcome.first_us << ' ' << outcome.total_us << ' '
         << outcome.sentence << '\n';
  }
  file << "cpu " << own_cpu_seconds() << " span " << to_seconds(clients.span()) << " prepared "
       << prepared << '\n';
}

void raise_descriptor_limit() {
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::min(limit.rlim_max, kDescriptors);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Result<void> run(int argc, char** argv) {
  const auto at_once = argc > 4 ? parse_decimal(argv[3]) : std::nullopt;
  if (!at_once) return invalid("usage: models_load PLAN RESULT AT_ONCE ADDRESS...");
  raise_descriptor_limit();
  std::vector<Address> addresses;
  for (int i = 4; i < argc; ++i) {
    TRY(const Address address, Address::parse(argv[i]));
    addresses.push_back(address);
  }
  TRY(std::vector<Asked> plan, read_plan(argv[1], addresses.size()));
  EventLoop loop(std::make_unique<LibeventBackend>());
  SocketNetwork network(loop);
  Clients clients(loop, network, std::move(addresses), std::move(plan), *at_once);
  const double prepared = own_cpu_seconds();
  clients.begin();
  loop.run();
  write_result(argv[2], clients, prepared);
  return {};
}

}  // namespace
}  // namespace glia

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  const auto outcome = glia::run(argc, argv);
  if (outcome) return 0;
  std::fprintf(stderr, "models_load: %s\n", outcome.error().message().c_str());
  return 1;
}
