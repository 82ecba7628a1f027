// ShadowPair: the answer that a client gets and the one to a copy of its request, side by side until both
// have ended; then they are compared, if the route asks for that, and counted.
//
// Neither waits for the other, and nobody waits for either. What is kept of them is bounded, each by
// the rules and all of a site together.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/time.h"
#include "proxy/http/message.h"
#include "proxy/mesh/cluster.h"
#include "proxy/mesh/compare.h"
#include "proxy/telemetry/metrics.h"

namespace glia {

class ShadowPairs;

// One of two answers, as it comes.
class ShadowedSide {
 public:
  enum class End : uint8_t { kNotYet, kWhole, kBroken };

  void head(const Response& response);
  void data(std::string_view bytes);
  void ended(End end, Duration latency);

 private:
  friend class ShadowPairs;
  bool comparable() const;
  void drop();

  ShadowPairs* all_ = nullptr;  // Null: only its end is of interest.
  std::size_t most_ = 0;        // bytes that are kept
  std::string body_;
  std::optional<uint64_t> json_size_;
  Duration latency_{0};
  int status_ = 0;
  bool readable_ = false, dropped_ = false;
  End end_ = End::kNotYet;
};

class ShadowedAnswer;

struct ShadowPair {
  std::string cluster;                        // Of the copy.
  std::shared_ptr<const CompareRules> rules;  // Null: only counted.
  ShadowedSide answered, copied;
  ShadowedAnswer* original = nullptr;  // While `answered` has not ended.
};

// The client's side of all copies of one request. Belongs to the exchange.
class ShadowedAnswer {
 public:
  explicit ShadowedAnswer(ShadowPairs& pairs) : pairs_(&pairs) {}
  ShadowedAnswer(const ShadowedAnswer&) = delete;
  ShadowedAnswer& operator=(const ShadowedAnswer&) = delete;
  ~ShadowedAnswer();  // What has not ended by now breaks off.

  void head(const Response& response);
  void data(std::string_view bytes);
  void ended(ShadowedSide::End end, Duration latency);
  // Somebody reads what passes.
  bool reads() const { return reads_; }

 private:
  friend class ShadowPairs;
  ShadowPairs* pairs_;
  std::vector<ShadowPair*> copies_;
  bool reads_ = false;
};

class ShadowPairs {
 public:
  static constexpr std::size_t kMostKept = 16 * 1024 * 1024;  // bytes, of all answers of a site

  explicit ShadowPairs(MeshContext& context) : context_(context) {}
  ~ShadowPairs();

  // A copy begins that goes to `cluster`. The pair lives until both sides have ended.
  ShadowPair& begin(const std::string& cluster, const std::shared_ptr<const CompareRules>& rules,
                    ShadowedAnswer& original);
  // `side` of `pair` has ended; the pair may be gone afterwards.
  void ended(ShadowPair& pair);
  void collect(MetricsPage& page, const Labels& labels) const;

 private:
  friend class ShadowedSide;
  friend class ShadowedAnswer;
  void finish(const ShadowPair& pair);
  void compare(const ShadowPair& pair, struct ClusterTally* tally);

  MeshContext& context_;
  std::list<std::unique_ptr<ShadowPair>> pairs_;
  std::size_t kept_ = 0;  // bytes
  uint64_t compared_ = 0, different_ = 0, skipped_ = 0;
};

}  // namespace glia
