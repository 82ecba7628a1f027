#include "filters/token_budget.h"

#include <algorithm>
#include <utility>

#include "filters/token_charge.h"
#include "proxy/base/text.h"
#include "proxy/flow/exchange.h"
#include "proxy/flow/model_refusal.h"
#include "proxy/model/answer_reader.h"
#include "proxy/model/fields.h"

namespace glia {
namespace {

constexpr std::string_view kReason = "token_budget";

std::vector<TokenAccount> accounts_of(const TokenBudgetsConfig& config, const ModelRequest& model,
                                      std::string_view tenant) {
  std::vector<TokenAccount> accounts;
  for (const TokenBudget& budget : config.budgets) {
    if (!budget.model.empty() && budget.model != model.model) continue;
    if (!budget.tenant.empty() && budget.tenant != tenant) continue;
    // No name has a line's end in it: no tenant can pass for another one's model.
    accounts.push_back({cat(budget.name, "\n", budget.each_tenant ? tenant : "", "\n",
                            budget.each_model ? model.model : ""),
                        &budget});
  }
  return accounts;
}

int64_t seconds_up(Duration time) { return (time + 1s - 1ns) / 1s; }

// How the budget stands that has the least left, in the words of the dialect's own service.
void tell_standing(const Exchange& exchange, const TokenCharge& charge, Headers& headers) {
  const TokenAccount* least = nullptr;
  TokenStanding standing;
  for (std::size_t i = 0; i < charge.accounts().size(); ++i) {
    const TokenStanding found = charge.standing(i);
    if (least != nullptr && found.left >= standing.left) continue;
    least = &charge.accounts()[i];
    standing = found;
  }
  const bool anthropic = exchange.model()->dialect == Dialect::kAnthropic;
  const auto say = [&](std::string_view openai_name, std::string_view anthropic_name,
                       const std::string& value) {
    const std::string_view name = anthropic ? anthropic_name : openai_name;
    if (!name.empty()) headers.set(name, value);
  };
  say("x-ratelimit-limit-tokens", "anthropic-ratelimit-tokens-limit", cat(least->budget->tokens));
  say("x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining", cat(standing.left));
  // Anthropic's is a date, which no library reads.
  say("x-ratelimit-reset-tokens", "", cat(seconds_up(standing.full_in), "s"));
}

Response refuse(Exchange& exchange, const TokenCharge& charge, std::string_view tenant) {
  const TokenBook::Shortage& shortage = charge.shortage();
  const TokenBudget& budget = *charge.accounts()[shortage.account].budget;
  const TokensAsked& asked = charge.asked();
  Response response = refuse_in_dialect(
      exchange, {.status = 429,
                 .grpc_status = GrpcStatus::kResourceExhausted,
                 .flag = ResponseFlag::kRateLimited,
                 .reason = kReason,
                 .sentence = cat(
                     "the token budget ", budget.name, " of ", budget.tokens, " tokens in ",
                     to_seconds(budget.per), " s has ", shortage.left, " left",
                     budget.each_tenant || !budget.tenant.empty() ? cat(" for ", tenant) : "",
                     ", and this request may use ", asked.all(), " (", asked.input,
                     " of input, at most ", asked.output, " of output); ask for less, or again in ",
                     seconds_up(shortage.enough_in), " s"),
                 .come_again = std::max<Duration>(1s, shortage.enough_in)});
  tell_standing(exchange, charge, response.headers);
  return response;
}

Response refuse_without_redis(Exchange& exchange, const RedisConfig& redis) {
  return refuse_in_dialect(
      exchange, {.status = 503,
                 .grpc_status = GrpcStatus::kUnavailable,
                 .flag = ResponseFlag::kRateLimited,
                 .reason = "token_budget_away",
                 .sentence = cat("the Redis at ", redis.address,
                                 ", which holds the token budgets, cannot be asked, and without it "
                                 "nothing is let in (when_away); try again"),
                 .come_again = 1s});
}

// Without its usage a stream can only be counted by its events, of which some carry several tokens. So
// it is asked for in the client's name, where the body is held anyway, and the answer hides it again.
MeteredBody::Usage ask_for_usage(Exchange& exchange, const TokenBudgetsConfig& config) {
  HeldBody* const held = exchange.sight().held;
  if (config.keep_requests || held == nullptr) return MeteredBody::Usage::kPass;
  const std::optional<BodyEdit> edit = held->reader().ask_for_usage();
  if (!edit) return MeteredBody::Usage::kPass;
  held->edit({&*edit, 1});
  return MeteredBody::Usage::kHide;
}

std::shared_ptr<const TokenLedger> ledger_of(const TokenBudgetsConfig& config,
                                             const std::shared_ptr<const TokenLedger>* before) {
  if (config.ledger != nullptr) return config.ledger;
  return before != nullptr ? *before : std::make_shared<const TokenLedger>();
}

}  // namespace

TokenBudgetFilter::TokenBudgetFilter(std::string name,
                                     std::shared_ptr<const TokenBudgetsConfig> config,
                                     const TokenBudgetFilter* before)
    : name_(std::move(name)),
      config_(std::move(config)),
      ledger_(ledger_of(*config_, before != nullptr ? &before->ledger_ : nullptr)) {
  if (before != nullptr) ledger_->teller().replace(before, this);
}

TokenBudgetFilter::~TokenBudgetFilter() { ledger_->teller().leave(this); }

Task<Reply> TokenBudgetFilter::handle(Exchange& exchange, Next next) {
  const TokenBudgetsConfig* const config = settings_for(exchange.route(), name_, config_);
  const ModelRequest* const model = exchange.model();
  if (config == nullptr || model == nullptr) co_return co_await next(exchange);
  const std::string tenant = tenant_of(exchange, config->tenants);
  TokensAsked asked = tokens_asked(*model, exchange.request(), config->usual_output_tokens);
  const auto input =
      input_is_paid(exchange) ? MeteredBody::Input::kPaid : MeteredBody::Input::kPays;
  if (input == MeteredBody::Input::kPaid) asked.input = 0;
  std::vector<TokenAccount> accounts = accounts_of(*config, *model, tenant);
  if (accounts.empty() || asked.all() == 0) co_return co_await next(exchange);
  auto charge = std::make_unique<TokenCharge>(ledger_, redis(exchange), std::move(accounts), asked,
                                              exchange.loop());
  const TokenCharge::Door door = co_await charge->take();
  if (door == TokenCharge::Door::kShort) co_return refuse(exchange, *charge, tenant);
  if (door == TokenCharge::Door::kRedisAway) {
    co_return refuse_without_redis(exchange, *config_->redis);
  }
  const MeteredBody::Usage usage = ask_for_usage(exchange, *config);
  Reply reply = co_await next(exchange);
  if (!reply || reply->status >= 400) {
    charge->settle(0);
    co_return reply;
  }
  tell_standing(exchange, *charge, reply->headers);
  if (reply->body != nullptr) {
    reply->body = std::make_unique<MeteredBody>(exchange, std::move(reply->body), std::move(charge),
                                                reply->headers, usage, input);
  }
  co_return reply;
}

// Of a request that a sidecar has sent twice the first copy pays for the prompt, whichever is answered:
// one that is cancelled has used it. Believed of callers with a certificate of the mesh; else anybody could
// say so.
bool TokenBudgetFilter::input_is_paid(const Exchange& exchange) const {
  return config_->redis != nullptr && !exchange.peer_identity().empty() &&
         exchange.request().headers.has(kCopyField);
}

// Null: the process' own book is all there is.
RedisLedger* TokenBudgetFilter::redis(Exchange& exchange) {
  if (config_->redis == nullptr) return nullptr;
  if (redis_ == nullptr) {
    const std::string& share = config_->redis->share;
    redis_ = std::make_unique<RedisLedger>(exchange.loop(), exchange.site().context().network,
                                           config_->redis,
                                           share.empty() ? config_->application : share, ledger_);
  }
  return redis_.get();
}

void TokenBudgetFilter::collect(MetricsPage& page) const {
  if (!ledger_->teller().tells(this)) return;
  ledger_->count([&](const auto& counts) {
    for (const auto& [name, of] : counts) {
      const Labels labels = {{"application", config_->application}, {"budget", name}};
      page.counter("glia_token_budget_charged_total", labels, of.charged);
      page.counter("glia_token_budget_given_back_total", labels, of.given_back);
      page.counter("glia_token_budget_refused_total", labels, of.refused);
      page.counter("glia_token_budget_stopped_total", labels, of.stopped);
    }
  });
  if (config_->redis == nullptr) return;
  const Labels labels = {{"application", config_->application}};
  const auto total = [](const SharedCount& count) { return static_cast<uint64_t>(count.value()); };
  page.counter("glia_token_budget_without_redis_total", labels, total(ledger_->without_redis()));
  page.counter("glia_token_budget_redis_failures_total", labels, total(ledger_->redis_failures()));
}

}  // namespace glia
