#include "proxy/mesh/engine_scraper.h"

#include <algorithm>
#include <optional>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/http/client.h"
#include "proxy/mesh/connected.h"

namespace glia {
namespace {

Error failed(std::string sentence) {
  return Error(ErrorKind::kInvalid, Fault::kUpstream, std::move(sentence));
}

// One question on a connection of its own, within a time. The work is a task of its own, so that the
// timer can drop it wherever it sleeps.
class Scrape {
 public:
  Scrape(EventLoop& loop, Network& network, const ModelServerConfig& config, EngineScanner& scanner)
      : loop_(loop),
        network_(network),
        config_(config),
        scanner_(scanner),
        authority_(config.metrics.text()),
        limit_(loop,
               [this] { end(failed(cat("no answer within ", to_ms(config_.timeout), " ms"))); }),
        arena_(ArenaRef::create()),
        request_(arena_) {}
  ~Scrape() {
    task_.cancel();
    call_.reset();
    if (connected_ != nullptr) loop_.reap(std::move(connected_));
  }

  Task<Result<void>> result() {
    limit_.start(config_.timeout);
    task_ = run();
    task_.start();
    while (!result_) co_await wait_in(done_);
    co_return std::move(*result_);
  }

 private:
  void end(Result<void> result) {
    if (result_) return;
    result_.emplace(std::move(result));
    done_.wake(loop_.ready());
  }
  Task<void> run() { end(co_await talk()); }

  Task<Result<void>> talk() {
    connected_ =
        std::make_unique<Connected>(loop_, network_.connect(config_.metrics), ClientOptions());
    while (!connected_->decided()) co_await wait_in(connected_->changed());
    if (connected_->error()) co_return *connected_->error();
    request_.method = "GET";
    request_.scheme = "http";
    request_.authority = authority_;
    request_.path = config_.path;
    request_.headers.add("accept", "text/plain");
    call_ = connected_->connection().start(request_);
    CO_TRY(const Response head, co_await head_of(*call_));
    if (head.status != 200) co_return failed(cat("answered with status ", head.status));
    CO_TRY_VOID(co_await read_page());
    if (scanner_.known_lines() > 0) co_return Result<void>();
    co_return failed(cat("no metric of ", name_of(config_.engine), " on the page"));
  }

  Task<Result<void>> read_page() {
    std::size_t taken = 0;
    for (;;) {
      const Body::Piece piece = co_await next(*call_);
      if (piece.state == Body::State::kError) co_return call_->error();
      if (piece.state == Body::State::kEnd) break;
      if (piece.state != Body::State::kData) continue;
      taken += piece.data.size();
      if (taken > EngineScraper::kLargestPage) {
        co_return failed(cat("a page of more than ", EngineScraper::kLargestPage, " bytes"));
      }
      scanner_.feed(piece.data.view());
    }
    scanner_.finish();
    co_return Result<void>();
  }

  EventLoop& loop_;
  Network& network_;
  const ModelServerConfig& config_;
  EngineScanner& scanner_;
  const std::string authority_;
  CallbackTimer limit_;
  ArenaRef arena_;
  Request request_;  // Outlives the call.
  std::unique_ptr<Connected> connected_;
  std::unique_ptr<Call> call_;
  WaitSlot done_;
  std::optional<Result<void>> result_;
  Task<void> task_;
};

}  // namespace

EngineScraper::EngineScraper(EventLoop& loop, Network& network, ModelServerConfig config,
                             std::shared_ptr<const ServerLoad> load)
    : loop_(loop), network_(network), config_(std::move(config)), load_(std::move(load)) {
  task_ = run();
  task_.start();
}

EngineScraper::~EngineScraper() { task_.cancel(); }

Task<void> EngineScraper::run() {
  for (;; co_await sleep_for(loop_, config_.interval)) {
    if (!load_->turn().take(loop_.now(), config_.interval)) continue;
    EngineScanner scanner(config_.engine);
    Result<void> result;
    {
      Scrape scrape(loop_, network_, config_, scanner);
      result = co_await scrape.result();
    }
    load_->scrapes().add(1);
    if (result) {
      if (std::exchange(failures_, 0) > 0) {
        LOG(info, "the metrics of the model server at ", config_.metrics.text(), " are back");
      }
      take(scanner, scanner.finish());
      continue;
    }
    load_->failures().add(1);
    if (failures_ == 0) {
      LOG(warning, "the metrics of the model server at ", config_.metrics.text(), config_.path,
          " cannot be read: ", result.error().message(),
          "; its load is told from requests in flight alone");
    }
    failures_ = std::min(failures_ + 1, 16);
    load_->turn().put_off(loop_.now() +
                          std::min(config_.interval * (1 << failures_), kLongestPause));
  }
}

void EngineScraper::take(const EngineScanner& scanner, EngineSample sample) {
  const TimePoint now = loop_.now();
  const int64_t ended = load_->ended();
  const auto before = load_->last_seen();
  ServerLoad::Seen seen;
  seen.at = now;
  seen.in_flight = static_cast<double>(load_->in_flight());
  if (before != nullptr) seen.slots = before->slots;
  // Sums are compared with those that this worker has read.
  if (at_ != TimePoint() && now > at_) {
    add_rates(sample, totals_, scanner.totals(), now - at_);
    seen.rps = static_cast<double>(ended - ended_) / to_seconds(now - at_);
  }
  if (sample.waiting && sample.running && *sample.waiting > 0 && *sample.running > 0) {
    seen.slots = *sample.running;
  }
  totals_ = scanner.totals();
  ended_ = ended;
  at_ = now;
  seen.sample = std::move(sample);
  load_->seen(std::move(seen));
}

}  // namespace glia
