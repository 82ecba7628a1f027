#include "control_plane/canary/webhook.h"

#include <optional>
#include <utility>

#include "proxy/base/text.h"
#include "proxy/http/body.h"
#include "proxy/http/client.h"
#include "proxy/mesh/connected.h"

namespace glia {

// One question on a connection of its own, within a time. As EngineScraper's, the work is a task of
// its own, so that the timer can drop it wherever it sleeps.
class Webhook::Asking {
 public:
  using Done = std::function<void(Confirmation)>;
  Asking(EventLoop& loop, Network& network, const Canary::Confirm& whom, std::string body,
         Answered answered, Done done)
      : answered(std::move(answered)),
        loop_(loop),
        network_(network),
        whom_(whom),
        authority_(cat(whom.host, ":", whom.port)),
        body_(std::move(body)),
        done_(std::move(done)),
        limit_(loop, [this] { end(none(cat("no answer within ", to_ms(whom_.timeout), " ms"))); }),
        arena_(ArenaRef::create()),
        request_(arena_) {}
  ~Asking() {
    task_.cancel();
    call_.reset();
    if (connected_ != nullptr) loop_.reap(std::move(connected_));
  }
  void start() {
    limit_.start(whom_.timeout);
    task_ = run();
    task_.start();
  }

  const Answered answered;

 private:
  static Confirmation none(std::string why) {
    return {Confirmation::Answer::kNone, std::move(why)};
  }
  void end(Confirmation confirmation) {
    if (std::exchange(ended_, true)) return;
    limit_.stop();
    done_(std::move(confirmation));
  }

  Task<void> run() {
    Result<Confirmation> answer = co_await talk();
    end(answer ? *std::move(answer) : none(answer.error().message()));
  }

  Task<Result<Confirmation>> talk() {
    CO_TRY(const std::vector<Address> addresses, co_await network_.resolve(whom_.host, whom_.port));
    if (addresses.empty()) co_return invalid(cat(whom_.host, " has no address"));
    connected_ =
        std::make_unique<Connected>(loop_, network_.connect(addresses.front()), ClientOptions());
    while (!connected_->decided()) co_await wait_in(connected_->changed());
    if (connected_->error()) co_return *connected_->error();
    request_.method = "POST";
    request_.scheme = "http";
    request_.authority = authority_;
    request_.path = whom_.path;
    request_.headers.add("content-type", "application/json");
    request_.body = std::make_unique<TextBody>(Slice::copy(body_));
    call_ = connected_->connection().start(request_);
    CO_TRY(const Response head, co_await head_of(*call_));
    const int status = head.status;
    CO_TRY(const std::string said, co_await read_all(*call_, kLargestAnswer));
    co_return of(status, said);
  }

  static Confirmation of(int status, std::string_view said) {
    using Answer = Confirmation::Answer;
    const Answer answer = status / 100 == 2 ? Answer::kYes
                          : status == 403   ? Answer::kNo
                                            : Answer::kNone;
    said = trim(said, " \r\n\t");
    std::string shown;
    append_json_escaped(shown, said.substr(0, kShownOfAnswer));
    return {answer, cat("status ", status, shown.empty() ? "" : ": ", shown)};
  }

  EventLoop& loop_;
  Network& network_;
  const Canary::Confirm whom_;
  const std::string authority_, body_;
  Done done_;
  CallbackTimer limit_;
  ArenaRef arena_;
  Request request_;  // Outlives the call.
  std::unique_ptr<Connected> connected_;
  std::unique_ptr<Call> call_;
  bool ended_ = false;
  Task<void> task_;
};

Webhook::Webhook(EventLoop& loop, Network& network)
    : loop_(loop), network_(network), tell_(loop, [this] { tell(); }) {}

Webhook::~Webhook() = default;

void Webhook::ask(const Canary::Confirm& whom, std::string body, Answered answered) {
  const uint64_t number = ++asked_;
  auto asking = std::make_unique<Asking>(loop_, network_, whom, std::move(body),
                                         std::move(answered), [this, number](Confirmation said) {
                                           answered_.emplace_back(number, std::move(said));
                                           tell_.start(0s);
                                         });
  Asking& started = *asking;
  asking_.emplace(number, std::move(asking));
  started.start();
}

void Webhook::tell() {
  for (auto& [number, confirmation] : std::exchange(answered_, {})) {
    const auto found = asking_.find(number);
    const Answered answered = found->second->answered;
    asking_.erase(found);
    answered(confirmation);
  }
}

}  // namespace glia
