// ModelRequest: what is known of a request to a model, read from its path, its fields and the beginning
// of its body; the same for every dialect.
//
// A plain value: routes, policies, the log and whoever picks an endpoint read it. Nothing of a prompt
// is in it, only counts and hashes. Views live as long as the exchange's arena.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "proxy/base/time.h"

namespace glia {

enum class Dialect : uint8_t { kOpenAi, kAnthropic, kOip, kTriton, kTfServing };
inline constexpr int kDialects = 5;
// "openai", "anthropic", "oip", "triton", "tf_serving".
std::string_view name_of(Dialect dialect);

struct ModelRequest {
  Dialect dialect = Dialect::kOpenAi;
  std::string_view operation;  // "chat", "infer", "load", ... (dialect.cc); lives for ever.
  std::string_view model;      // "" if it is not known.
  std::string_view version;  // A number, or the label of TensorFlow Serving; "" if none was named.
  std::string_view adapter;  // LoRA, where it is named beside the model.
  std::string_view tenant;   // Who shares: x-llm-d-inference-fairness-id and its older name.
  std::string_view session;  // x-session-id, x-session-token or prompt_cache_key.
  std::string_view cache_salt;
  bool streaming = false;  // The answer is asked for piece by piece.
  // The body was read as far as it matters; else it was not asked for, too large or compressed.
  bool read = false;

  uint64_t input_bytes = 0;   // Of the prompt's text, or of the tensors.
  uint64_t input_tokens = 0;  // Of a prompt: token ids that were counted, and text at 4 bytes each.
  uint64_t most_output_tokens = 0;  // Of one choice; 0: the request does not say.
  uint64_t choices = 1;             // Answers to each prompt.
  uint64_t rows = 0;  // Prompts, texts, instances, or the first dimension; 0: unknown.

  int64_t priority = 0;  // As vLLM and Triton have it: lower is more urgent, 0 unless said.
  std::optional<Duration> timeout;  // grpc-timeout, or Triton's parameter if that is shorter.
  // Chain of hashes over the prompt, if they are asked for (prefix.h).
  std::span<const uint64_t> prefix_hashes;
};

}  // namespace glia
