// SimEngine: a model server's inner life without a network: a queue, continuous batching, a prefix cache.
//
// The model, which is vLLM's with everything left out that does not change who waits for whom:
//
//  * A sequence waits in order of arrival until the engine reads no other prompt, one of `slots`
//    places is free and the KV cache has blocks for all its prompt and all its answer. (vLLM takes the
//    latter as they come and preempts when there are none; here nobody is preempted.)
//  * Its prompt is then read at `prefill_rate` tokens/s, without what the prefix cache knows of it,
//    but at least the last token. Prompts are read one after the other: read together they would
//    share the rate, and the mean prompt would be ready later.
//  * With the end of the prompt comes the first token (TTFT). The others come at `decode_each`
//    tokens/s, or an equal share of `decode_all` if that is less, which is what a batch that is bound
//    by memory first and by arithmetic later does; `decode_while_prefilling` of that while a prompt
//    is read (chunked prefill takes the rest of each step).
//  * `slowness` divides all rates.
//
// So with instant prompts it is an M/M/c queue if `decode_all` is never reached, and M/M/1 with
// processor sharing if only that is; with answers of one token it is M/G/1 over prompts. The test
// compares it with what is known of those.
//
// Time is whatever its owner says, in order. Deterministic.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "proxy/base/time.h"
#include "test/pool/kv_cache.h"

namespace glia {

struct EngineConfig {
  // An 8 B model on one H100, roughly: llm-d counts with 15,928 tokens/s of prefill.
  std::size_t slots = 64;        // max_num_seqs
  double prefill_rate = 16'000;  // tokens/s
  double decode_each = 100, decode_all = 3'000;
  double decode_while_prefilling = 0.5;
  std::size_t block_tokens = 16;
  std::size_t blocks = 20'000;  // 320,000 tokens
};

class SimEngine {
 public:
  using Id = uint64_t;
  struct Ask {
    std::vector<uint64_t> chain;                    // Of the prompt's whole blocks; see KvCache.
    uint32_t prompt_tokens = 1, output_tokens = 1;  // At least 1.
    uint32_t tokens_an_event = 1;                   // Behind the first.
  };
  // Tokens that have come of a sequence; after the last one it is forgotten.
  struct Event {
    Id id;
    uint32_t tokens;
    bool last;
    TimePoint at;
  };

  explicit SimEngine(EngineConfig config) : config_(config), cache_(config.blocks) {}
  SimEngine(const SimEngine&) = delete;

  // Can a sequence of this size ever run?
  bool fits(uint32_t prompt_tokens, uint32_t output_tokens) const {
    return blocks_of(prompt_tokens + output_tokens) <= config_.blocks;
  }
  Id add(Ask ask, TimePoint now);
  // Nobody wants its tokens any more.
  void remove(Id id, TimePoint now);
  void slowness(double slowness, TimePoint now);

  // When something will happen by itself; nothing: never.
  std::optional<TimePoint> next() const;
  // Lets time pass; what happened until `now` is then in events().
  void advance(TimePoint now);
  // In order, since the last call.
  std::vector<Event> events();

  const EngineConfig& config() const { return config_; }
  std::size_t waiting() const { return waiting_.size(); }
  std::size_t running() const { return sequences_.size() - waiting_.size(); }
  double kv_use() const { return cache_.use(); }
  // Tokens of prompts that were looked for in the prefix cache, and found there.
  uint64_t prefix_queries() const { return queries_; }
  uint64_t prefix_hits() const { return hits_; }
  uint64_t tokens_written() const { return written_; }
  uint64_t ended() const { return ended_; }
  // How long sequences waited before their prompt was read.
  uint64_t started() const { return started_; }
  Duration waited() const { return waited_; }

 private:
  struct Sequence {
    Ask ask;
    KvCache::Hold hold;
    TimePoint arrived;
    uint32_t written = 0;
    double due = 0;  // When service_ is this, tokens have come.
  };
  std::size_t blocks_of(uint32_t tokens) const {
    return (tokens + config_.block_tokens - 1) / config_.block_tokens;
  }
  double prefill_rate() const { return config_.prefill_rate / slowness_; }
  double decode_rate() const;
  double seconds_to_prefill() const;
  double seconds_to_decode() const;
  void pass(double seconds);
  void settle();
  void read_next();
  void prompt_read();
  void wrote(Id id, uint32_t tokens);
  void end(Id id);
  void expect_more(Id id, Sequence& sequence);

  const EngineConfig config_;
  KvCache cache_;
  TimePoint now_{};
  double slowness_ = 1;
  std::unordered_map<Id, Sequence> sequences_;
  std::deque<Id> waiting_;
  std::optional<Id> reading_;
  double left_to_read_ = 0;  // tokens of reading_
  double service_ = 0;       // Tokens that a sequence has got which has been there for ever.
  std::set<std::pair<double, Id>> writing_;  // By Sequence::due.
  std::vector<Event> events_;
  Id last_id_ = 0;
  uint64_t queries_ = 0, hits_ = 0, written_ = 0, started_ = 0, ended_ = 0;
  Duration waited_{};
};

}  // namespace glia
