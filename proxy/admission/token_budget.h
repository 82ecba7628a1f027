// Token budgets: how many tokens somebody may use in a time, and the book in which that is kept
// (glia.v1.TokenBudgets, docs/token-budgets.md).
//
// A budget is a bucket: it holds `tokens`, and as many flow in again evenly within `per`. A request takes
// what it may use at most before it begins, and gives back what it did not use; so ten requests at once
// cannot all spend the last thousand. What was used beyond is owed: the next one waits until it is paid.
//
// The book is pure: amounts and moments in, answers out. One a process for a listener's budgets, shared
// by its workers (TokenLedger), and kept from drawing to drawing.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/admission/admission_config.h"
#include "proxy/admission/teller.h"
#include "proxy/base/shared.h"
#include "proxy/base/time.h"

namespace glia {

struct TokenBudget {
  std::string name;
  uint64_t tokens = 0;
  Duration per = 60s;
  std::string model, tenant;  // Only requests of these; "": of all.
  // A bucket each, instead of one for all.
  bool each_model = false, each_tenant = false;
  // When is a stream ended that uses more than it has taken at the door?
  enum class Stop : uint8_t {
    kNever,          // What it uses is owed.
    kWhenEmpty,      // When the bucket has nothing left.
    kAtReservation,  // When its output is longer than what was taken for that.
  };
  Stop stop = Stop::kNever;
  friend bool operator==(const TokenBudget&, const TokenBudget&) = default;
};

class TokenLedger;

// A Redis that holds the buckets of many processes (redis_ledger.h).
struct RedisConfig {
  // What becomes of requests while it cannot be asked.
  enum class WhenAway : uint8_t {
    kLocal,   // The buckets of this process decide, which were kept all along.
    kAllow,   // All are let in.
    kRefuse,  // None is.
  };
  std::string address;  // "host:port", "unix:/path".
  std::string share;    // Filters of this name share their buckets; "": the application's.
  std::string username, password;  // "": not told.
  Duration timeout = 100ms;        // For an answer, and for connecting.
  WhenAway when_away = WhenAway::kLocal;
};

struct TokenBudgetsConfig {
  std::string application;  // As AdmissionConfig's: filters of this name share their buckets.
  std::vector<TokenBudget> budgets;
  uint32_t usual_output_tokens = 256;
  AdmissionConfig::Tenants tenants = AdmissionConfig::Tenants::kNamed;
  bool keep_requests = false;  // Streams are not asked for their usage in the client's name.
  std::shared_ptr<const RedisConfig> redis;   // Null: the buckets are this process' own.
  std::shared_ptr<const TokenLedger> ledger;  // Set when the configuration is frozen.
};

// One bucket, by what it is for.
struct TokenAccount {
  std::string key;
  const TokenBudget* budget = nullptr;
};

// How a bucket stands.
struct TokenStanding {
  uint64_t left = 0;
  Duration full_in{0};
  bool owes = false;  // More was used than it had.
};

class TokenBook {
 public:
  // Buckets that are not full; a full one is as good as none. Beyond, the one that was not asked for
  // longest is forgotten.
  static constexpr std::size_t kMostBuckets = 10'000;

  // Takes `tokens` from all of them, or from none: then which one has too few (its place), and when it
  // will have enough. More than a bucket holds is taken when it is full, and the rest is owed.
  struct Shortage {
    std::size_t account = 0;
    uint64_t left = 0;
    Duration enough_in{0};
  };
  std::optional<Shortage> take(std::span<const TokenAccount> accounts, uint64_t tokens,
                               TimePoint now);
  // So many more than were taken; below zero: gives back.
  void charge(std::span<const TokenAccount> accounts, int64_t more, TimePoint now);
  TokenStanding standing(const TokenAccount& account, TimePoint now);
  std::size_t buckets() const { return buckets_.size(); }

 private:
  struct Bucket {
    double level = 0;  // Below zero: owed.
    TimePoint at;
    std::list<std::string>::iterator place;
  };
  Bucket& bucket(const TokenAccount& account, TimePoint now);
  void forget_full(const TokenAccount& account);

  std::map<std::string, Bucket, std::less<>> buckets_;
  std::list<std::string> oldest_first_;
};

// What has happened to a budget's requests.
struct TokenCounts {
  uint64_t charged = 0, given_back = 0, refused = 0, stopped = 0;
};

class TokenLedger {
 public:
  // Charges that Redis has not heard of: words of the script, for the share that they are about.
  struct Untold {
    std::string share;
    std::vector<std::string> words;
  };
  static constexpr std::size_t kMostUntold = 1'000;  // Beyond, the newest are lost.

  // A way to Redis ends, while that is away; the next one goes on with them.
  void leave(std::string share, std::vector<std::string> words) const {
    untold_.with([&](std::deque<Untold>& all) {
      if (all.size() < kMostUntold) all.push_back({std::move(share), std::move(words)});
    });
  }
  // Those of this share, which are nobody's then.
  std::vector<std::vector<std::string>> take_untold(std::string_view share) const {
    std::vector<std::vector<std::string>> taken;
    untold_.with([&](std::deque<Untold>& all) {
      for (Untold& one : all) {
        if (one.share == share) taken.push_back(std::move(one.words));
      }
      std::erase_if(all, [&](const Untold& one) { return one.share == share; });
    });
    return taken;
  }

  template <class Use>  // use(TokenBook&)
  auto with(Use use) const {
    return book_.with(use);
  }
  const Teller& teller() const { return teller_; }
  template <class Count>  // count(std::map<std::string, TokenCounts>&), by a budget's name
  auto count(Count count) const {
    return counts_.with(count);
  }
  // Requests that were decided about without the Redis that should have; failures of connections to it.
  const SharedCount& without_redis() const { return without_redis_; }
  const SharedCount& redis_failures() const { return redis_failures_; }

 private:
  SharedCount without_redis_, redis_failures_;
  SharedOne<std::deque<Untold>> untold_;
  SharedOne<TokenBook> book_;
  Teller teller_;
  SharedOne<std::map<std::string, TokenCounts, std::less<>>> counts_;
};

}  // namespace glia
