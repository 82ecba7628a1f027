#include "proxy/admission/token_budget.h"

#include <algorithm>

namespace glia {
namespace {

double size_of(const TokenAccount& account) { return static_cast<double>(account.budget->tokens); }
double rate_of(const TokenAccount& account) {  // tokens a second
  return size_of(account) / to_seconds(account.budget->per);
}
Duration time_for(double tokens, const TokenAccount& account) {
  return Duration(static_cast<int64_t>(std::max(0.0, tokens) / rate_of(account) * 1e9));
}
uint64_t left_of(double level) { return level <= 0 ? 0 : static_cast<uint64_t>(level); }

}  // namespace

TokenBook::Bucket& TokenBook::bucket(const TokenAccount& account, TimePoint now) {
  auto found = buckets_.find(account.key);
  if (found == buckets_.end()) {
    if (buckets_.size() >= kMostBuckets) {
      buckets_.erase(oldest_first_.front());
      oldest_first_.pop_front();
    }
    oldest_first_.push_back(account.key);
    found = buckets_.emplace(account.key, Bucket{size_of(account), now, {}}).first;
    found->second.place = std::prev(oldest_first_.end());
    return found->second;
  }
  Bucket& bucket = found->second;
  const double since = std::max(0.0, to_seconds(now - bucket.at));
  bucket.level = std::min(size_of(account), bucket.level + since * rate_of(account));
  bucket.at = std::max(bucket.at, now);
  oldest_first_.splice(oldest_first_.end(), oldest_first_, bucket.place);
  return bucket;
}

void TokenBook::forget_full(const TokenAccount& account) {
  const auto found = buckets_.find(account.key);
  if (found == buckets_.end() || found->second.level < size_of(account)) return;
  oldest_first_.erase(found->second.place);
  buckets_.erase(found);
}

std::optional<TokenBook::Shortage> TokenBook::take(std::span<const TokenAccount> accounts,
                                                   uint64_t tokens, TimePoint now) {
  const auto wanted = static_cast<double>(tokens);
  std::optional<Shortage> worst;
  for (std::size_t i = 0; i < accounts.size(); ++i) {
    const double level = bucket(accounts[i], now).level;
    const double missing = std::min(wanted, size_of(accounts[i])) - level;
    if (missing <= 0) continue;
    const Shortage shortage{i, left_of(level), time_for(missing, accounts[i])};
    if (!worst || shortage.enough_in > worst->enough_in) worst = shortage;
  }
  if (!worst) charge(accounts, static_cast<int64_t>(tokens), now);
  return worst;
}

void TokenBook::charge(std::span<const TokenAccount> accounts, int64_t more, TimePoint now) {
  for (const TokenAccount& account : accounts) {
    Bucket& changed = bucket(account, now);
    changed.level = std::min(size_of(account), changed.level - static_cast<double>(more));
    forget_full(account);
  }
}

TokenStanding TokenBook::standing(const TokenAccount& account, TimePoint now) {
  const double level = bucket(account, now).level;
  const TokenStanding standing{left_of(level), time_for(size_of(account) - level, account),
                               level < 0};
  forget_full(account);
  return standing;
}

}  // namespace glia
