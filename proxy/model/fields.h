// The header fields in which a ModelRequest is shown to routes, policies and the next hop.
//
// Ordinary fields, so that the header matchers of any control plane work on them. A listener with a
// matcher on one of them reads model requests (xds/freeze.cc), and takes out what a client sent under
// these names: it does not decide what is matched.
#pragma once

#include <cstdint>
#include <string_view>

namespace glia {

inline constexpr std::string_view kModelFieldPrefix = "x-glia-model";
namespace model_field {
inline constexpr std::string_view kModel = "x-glia-model";
inline constexpr std::string_view kVersion = "x-glia-model-version";
inline constexpr std::string_view kDialect = "x-glia-model-dialect";
inline constexpr std::string_view kAdapter = "x-glia-model-adapter";
inline constexpr std::string_view kStream = "x-glia-model-stream";               // "true", "false"
inline constexpr std::string_view kInputTokens = "x-glia-model-input-tokens";    // a number
inline constexpr std::string_view kOutputTokens = "x-glia-model-output-tokens";  // the most
inline constexpr std::string_view kRows = "x-glia-model-rows";
}  // namespace model_field

// From a caller's sidecar to the server's: tokens of the prompt that the server has to read, without
// those that it is thought to know. The latter takes it out again.
inline constexpr std::string_view kNewTokensField = "x-glia-new-tokens";

// From a caller's sidecar to the server's: this is the second copy of a request (flow/hedge.h), whose
// first is under way to another server. The latter takes it out again.
inline constexpr std::string_view kCopyField = "x-glia-copy";

// How much of a request somebody asks for.
enum class ModelNeed : uint8_t {
  kNothing,
  kName,  // Dialect, model and version: not the body, where the path tells.
  kAll,
};
// What a matcher on the field `name` (lower case) asks for.
constexpr ModelNeed model_need_of(std::string_view name) {
  if (!name.starts_with(kModelFieldPrefix)) return ModelNeed::kNothing;
  const bool named =
      name == model_field::kModel || name == model_field::kVersion || name == model_field::kDialect;
  return named ? ModelNeed::kName : ModelNeed::kAll;
}

}  // namespace glia
