#include "control_plane/canary/http_questions.h"

#include <utility>

#include "proxy/base/text.h"
#include "proxy/http/body.h"
#include "proxy/http/client.h"
#include "proxy/mesh/connected.h"

namespace glia {

// As EngineScraper's, the work is a task of its own, so that the timer can drop it wherever it sleeps.
class HttpQuestions::Asking {
 public:
  using Done = std::function<void(Result<HttpSaid>)>;
  Asking(EventLoop& loop, Network& network, HttpQuestion question, Answered answered, Done done)
      : answered(std::move(answered)),
        loop_(loop),
        network_(network),
        question_(std::move(question)),
        authority_(cat(question_.host, ":", question_.port)),
        done_(std::move(done)),
        limit_(loop,
               [this] {
                 end(Error(ErrorKind::kTimeout, Fault::kUpstream,
                           cat("no answer within ", to_ms(question_.timeout), " ms")));
               }),
        arena_(ArenaRef::create()),
        request_(arena_) {}
  ~Asking() {
    task_.cancel();
    call_.reset();
    if (connected_ != nullptr) loop_.reap(std::move(connected_));
  }
  void start() {
    limit_.start(question_.timeout);
    task_ = run();
    task_.start();
  }

  const Answered answered;

 private:
  void end(Result<HttpSaid> said) {
    if (std::exchange(ended_, true)) return;
    limit_.stop();
    done_(std::move(said));
  }

  Task<void> run() { end(co_await talk()); }

  Task<Result<HttpSaid>> talk() {
    CO_TRY(const std::vector<Address> addresses,
           co_await network_.resolve(question_.host, question_.port));
    if (addresses.empty()) co_return invalid(cat(question_.host, " has no address"));
    connected_ =
        std::make_unique<Connected>(loop_, network_.connect(addresses.front()), ClientOptions());
    while (!connected_->decided()) co_await wait_in(connected_->changed());
    if (connected_->error()) co_return *connected_->error();
    request_.method = "POST";
    request_.scheme = "http";
    request_.authority = authority_;
    request_.path = question_.path;
    request_.headers.add("content-type", question_.content_type);
    request_.body = std::make_unique<TextBody>(Slice::copy(question_.body));
    call_ = connected_->connection().start(request_);
    CO_TRY(const Response head, co_await head_of(*call_));
    HttpSaid said{.status = head.status, .body = {}};
    CO_TRY(said.body, co_await read_all(*call_, kLargestAnswer));
    co_return said;
  }

  EventLoop& loop_;
  Network& network_;
  const HttpQuestion question_;
  const std::string authority_;
  Done done_;
  CallbackTimer limit_;
  ArenaRef arena_;
  Request request_;  // Outlives the call.
  std::unique_ptr<Connected> connected_;
  std::unique_ptr<Call> call_;
  bool ended_ = false;
  Task<void> task_;
};

HttpQuestions::HttpQuestions(EventLoop& loop, Network& network)
    : loop_(loop), network_(network), tell_(loop, [this] { tell(); }) {}

HttpQuestions::~HttpQuestions() = default;

void HttpQuestions::ask(HttpQuestion question, Answered answered) {
  const uint64_t number = ++asked_;
  auto asking = std::make_unique<Asking>(loop_, network_, std::move(question), std::move(answered),
                                         [this, number](Result<HttpSaid> said) {
                                           answered_.emplace_back(number, std::move(said));
                                           tell_.start(0s);
                                         });
  Asking& started = *asking;
  asking_.emplace(number, std::move(asking));
  started.start();
}

void HttpQuestions::tell() {
  for (auto& [number, said] : std::exchange(answered_, {})) {
    const auto found = asking_.find(number);
    const Answered answered = found->second->answered;
    asking_.erase(found);
    answered(said);
  }
}

}  // namespace glia
