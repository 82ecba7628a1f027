#include "proxy/model/dialect.h"

#include <algorithm>
#include <array>

#include "proxy/base/text.h"

namespace glia {
namespace {

// States of the JSON rules: 2 messages, 3 a message, 4 its content, 5 a part of that, 6 a list of
// prompts, 7 one of them, 8 documents.
constexpr JsonRule kLlmJson[] = {
    {1, "model", kModel, 0, true},
    {1, "stream", kStream},
    {1, "stream_options", kStreamOptions},
    {1, "max_tokens", kMostOutput},
    {1, "max_completion_tokens", kMostOutput},
    {1, "max_output_tokens", kMostOutput},
    {1, "n", kChoices},
    {1, "best_of", kChoices},
    {1, "priority", kPriority},
    {1, "cache_salt", kCacheSalt},
    {1, "prompt_cache_key", kSession},
    {1, "adapter_id", kAdapter},
    {1, "tools", kTools},
    {1, "system", kPromptText, 4},
    {1, "instructions", kPromptText},
    {1, "messages", kNothing, 2},
    {2, "*", kNothing, 3},
    {3, "role", kPromptText},
    {3, "content", kPromptText, 4},
    {4, "*", kNothing, 5},
    {5, "text", kPromptText},
    {1, "prompt", kPrompt, 6},
    {1, "input", kPrompt, 6},
    {6, "*", kPromptItem, 7},
    {7, "*", kToken},
    {7, "role", kPromptText},
    {7, "content", kPromptText, 4},
    {7, "text", kPromptText},
    {1, "query", kPromptText},
    {1, "documents", kNothing, 8},
    {8, "*", kDocument, 5},
    {1, "text_1", kPrompt, 6},
    {1, "text_2", kNothing, 8},
};

// States: 2 parameters, 3 inputs, 4 an input, 5 its shape, 6 its parameters.
constexpr JsonRule kOipJson[] = {
    {1, "parameters", kNothing, 2}, {2, "priority", kPriority},
    {2, "timeout", kTimeoutUs},     {2, "lora_name", kAdapter},
    {2, "adapter_id", kAdapter},    {1, "inputs", kNothing, 3},
    {3, "*", kTensor, 4},           {4, "shape", kNothing, 5},
    {5, "*", kDimension},           {4, "data", kTensorData},
    {4, "parameters", kNothing, 6}, {6, "binary_data_size", kBinarySize},
};

// What the model's inputs are called is its own affair; these are vLLM's and TensorRT-LLM's.
constexpr JsonRule kGenerateJson[] = {
    {1, "text_input", kPrompt, 6}, {1, "max_tokens", kMostOutput}, {1, "stream", kStream},
    {1, "lora_name", kAdapter},    {1, "parameters", kNothing, 2}, {2, "max_tokens", kMostOutput},
    {2, "stream", kStream},        {2, "lora_name", kAdapter},     {2, "priority", kPriority},
    {2, "timeout", kTimeoutUs},    {6, "*", kPromptItem},
};

constexpr JsonRule kTfJson[] = {
    {1, "instances", kTensorData, 2},
    {2, "*", kRow},
    {1, "inputs", kTensorData},
};

using enum WireRule::Kind;

// inference.ModelInferRequest. States: 2 an entry of parameters, 3 its value, 4 an input tensor.
constexpr WireRule kInferWire[] = {
    {1, 1, kText, kModel},
    {1, 2, kText, kVersion},
    {1, 4, kMessage, kParameter, 2, true},
    {2, 1, kText, kParameterKey},
    {2, 2, kMessage, kNothing, 3},
    {3, 2, kNumber, kParameterNumber},
    {3, 3, kText, kParameterText},
    {3, 5, kNumber, kParameterNumber},
    {1, 5, kMessage, kTensor, 4, true},
    {4, 3, kNumbers, kDimension, 0, true},
    {4, 5, kText, kTensorData, 0, true},
    {1, 7, kText, kTensorData, 0, true},
};

// ModelReadyRequest, ModelMetadataRequest and their like.
constexpr WireRule kNamedWire[] = {{1, 1, kText, kModel}, {1, 2, kText, kVersion}};
// RepositoryModelLoadRequest and -Unload-; field 1 is the repository.
constexpr WireRule kLoadWire[] = {{1, 2, kText, kModel}};

// tensorflow.serving.PredictRequest and its like, all with a ModelSpec as field 1. States: 2 the
// ModelSpec, 3 its version.
constexpr WireRule kPredictWire[] = {
    {1, 1, kMessage, kModelSpec, 2}, {2, 1, kText, kModel},   {2, 2, kMessage, kVersionField, 3},
    {3, 1, kNumber, kVersionNumber}, {2, 4, kText, kVersion}, {1, 2, kText, kTensorData, 0, true},
};

using enum Dialect;
constexpr auto kJson = ModelForm::Body::kJson;
constexpr auto kGrpc = ModelForm::Body::kGrpc;

constexpr ModelForm kForms[] = {
    {"POST", "v1/chat/completions", kOpenAi, "chat", kJson, false, kLlmJson},
    {"POST", "v1/completions", kOpenAi, "completions", kJson, false, kLlmJson},
    {"POST", "v1/responses", kOpenAi, "responses", kJson, false, kLlmJson},
    {"POST", "v1/embeddings", kOpenAi, "embeddings", kJson, false, kLlmJson},
    {"POST", "rerank", kOpenAi, "rerank", kJson, false, kLlmJson},
    {"POST", "v1/score", kOpenAi, "score", kJson, false, kLlmJson},
    {"POST", "v1/messages", kAnthropic, "messages", kJson, false, kLlmJson},

    {"POST", "v2/models/{model}/infer", kOip, "infer", kJson, false, kOipJson},
    {"POST", "v2/models/{model}/versions/{version}/infer", kOip, "infer", kJson, false, kOipJson},
    {"GET", "v2/models/{model}", kOip, "metadata"},
    {"GET", "v2/models/{model}/versions/{version}", kOip, "metadata"},
    {"GET", "v2/models/{model}/ready", kOip, "ready"},
    {"GET", "v2/models/{model}/versions/{version}/ready", kOip, "ready"},
    {"POST",
     "inference.GRPCInferenceService/ModelInfer",
     kOip,
     "infer",
     kGrpc,
     false,
     {},
     kInferWire},
    {"POST",
     "inference.GRPCInferenceService/ModelStreamInfer",
     kOip,
     "infer",
     kGrpc,
     true,
     {},
     kInferWire},
    {"POST",
     "inference.GRPCInferenceService/ModelReady",
     kOip,
     "ready",
     kGrpc,
     false,
     {},
     kNamedWire},
    {"POST",
     "inference.GRPCInferenceService/ModelMetadata",
     kOip,
     "metadata",
     kGrpc,
     false,
     {},
     kNamedWire},

    {"POST", "v2/models/{model}/generate", kTriton, "generate", kJson, false, kGenerateJson},
    {"POST", "v2/models/{model}/versions/{version}/generate", kTriton, "generate", kJson, false,
     kGenerateJson},
    {"POST", "v2/models/{model}/generate_stream", kTriton, "generate", kJson, true, kGenerateJson},
    {"POST", "v2/models/{model}/versions/{version}/generate_stream", kTriton, "generate", kJson,
     true, kGenerateJson},
    {"POST", "v2/repository/index", kTriton, "index"},
    {"POST", "v2/repository/models/{model}/load", kTriton, "load"},
    {"POST", "v2/repository/models/{model}/unload", kTriton, "unload"},
    {"POST",
     "inference.GRPCInferenceService/ModelConfig",
     kTriton,
     "config",
     kGrpc,
     false,
     {},
     kNamedWire},
    {"POST",
     "inference.GRPCInferenceService/ModelStatistics",
     kTriton,
     "statistics",
     kGrpc,
     false,
     {},
     kNamedWire},
    {"POST",
     "inference.GRPCInferenceService/RepositoryModelLoad",
     kTriton,
     "load",
     kGrpc,
     false,
     {},
     kLoadWire},
    {"POST",
     "inference.GRPCInferenceService/RepositoryModelUnload",
     kTriton,
     "unload",
     kGrpc,
     false,
     {},
     kLoadWire},

    {"POST", "v1/models/{model}:predict", kTfServing, "predict", kJson, false, kTfJson},
    {"POST", "v1/models/{model}/versions/{version}:predict", kTfServing, "predict", kJson, false,
     kTfJson},
    {"POST", "v1/models/{model}/labels/{version}:predict", kTfServing, "predict", kJson, false,
     kTfJson},
    {"POST", "v1/models/{model}:classify", kTfServing, "classify"},
    {"POST", "v1/models/{model}/versions/{version}:classify", kTfServing, "classify"},
    {"POST", "v1/models/{model}/labels/{version}:classify", kTfServing, "classify"},
    {"POST", "v1/models/{model}:regress", kTfServing, "regress"},
    {"POST", "v1/models/{model}/versions/{version}:regress", kTfServing, "regress"},
    {"POST", "v1/models/{model}/labels/{version}:regress", kTfServing, "regress"},
    // OpenAI's too; it says the same there.
    {"GET", "v1/models/{model}", kTfServing, "metadata"},
    {"GET", "v1/models/{model}/versions/{version}", kTfServing, "metadata"},
    {"GET", "v1/models/{model}/labels/{version}", kTfServing, "metadata"},
    {"GET", "v1/models/{model}/metadata", kTfServing, "metadata"},
    {"GET", "v1/models/{model}/versions/{version}/metadata", kTfServing, "metadata"},
    {"GET", "v1/models/{model}/labels/{version}/metadata", kTfServing, "metadata"},
    {"POST",
     "tensorflow.serving.PredictionService/Predict",
     kTfServing,
     "predict",
     kGrpc,
     false,
     {},
     kPredictWire},
    {"POST",
     "tensorflow.serving.PredictionService/Classify",
     kTfServing,
     "classify",
     kGrpc,
     false,
     {},
     kPredictWire},
    {"POST",
     "tensorflow.serving.PredictionService/Regress",
     kTfServing,
     "regress",
     kGrpc,
     false,
     {},
     kPredictWire},
    {"POST",
     "tensorflow.serving.PredictionService/GetModelMetadata",
     kTfServing,
     "metadata",
     kGrpc,
     false,
     {},
     kPredictWire},
    {"POST",
     "tensorflow.serving.ModelService/GetModelStatus",
     kTfServing,
     "metadata",
     kGrpc,
     false,
     {},
     kPredictWire},
};

// The last segments of a path, the last first.
struct Segments {
  static constexpr std::size_t kMost = 6;
  std::array<std::string_view, kMost> last;
  std::size_t count = 0;
};

Segments segments_of(std::string_view path) {
  path = path.substr(0, path.find_first_of("?#"));
  Segments segments;
  while (!path.empty() && segments.count < Segments::kMost) {
    const std::size_t slash = path.rfind('/');
    const std::string_view segment = slash == path.npos ? path : path.substr(slash + 1);
    if (!segment.empty()) segments.last[segments.count++] = segment;
    path = path.substr(0, slash == path.npos ? 0 : slash);
  }
  return segments;
}

bool same(std::string_view segment, std::string_view literal) {
  if (segment.find('%') == segment.npos) return segment == literal;
  return unescaped(segment) == literal;
}

// Where the last colon of a segment stands, which may be escaped; its size if there is none.
std::size_t last_colon(std::string_view segment) {
  for (std::size_t at = segment.size(); at-- > 0;) {
    if (segment[at] == ':' || escaped_byte(segment.substr(at)) == ':') return at;
  }
  return segment.size();
}

// One segment against a piece of the pattern: a literal, or a capture with a literal behind it.
bool match_segment(std::string_view segment, std::string_view piece, ModelCall& call) {
  if (!piece.starts_with('{')) return same(segment, piece);
  const std::size_t close = piece.find('}');
  const std::string_view name = piece.substr(1, close - 1);
  const std::string_view behind = piece.substr(close + 1);
  if (!behind.empty()) {
    const std::size_t colon = last_colon(segment);
    if (!same(segment.substr(colon), behind)) return false;
    segment = segment.substr(0, colon);
  }
  if (segment.empty()) return false;
  (name == "model" ? call.model : call.version) = segment;
  return true;
}

std::optional<ModelCall> match(const ModelForm& form, const Segments& segments) {
  ModelCall call{.form = &form};
  std::string_view rest = form.path;
  for (std::size_t i = 0; !rest.empty(); ++i) {
    const std::size_t slash = rest.rfind('/');
    const std::string_view piece = slash == rest.npos ? rest : rest.substr(slash + 1);
    if (i == segments.count || !match_segment(segments.last[i], piece, call)) return {};
    rest = rest.substr(0, slash == rest.npos ? 0 : slash);
  }
  return call;
}

void append_segment(std::string& out, std::string_view text) {
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (to_lower(c) >= 'a' && to_lower(c) <= 'z') ||
                       std::string_view("-._~@").find(c) != std::string_view::npos;
    if (plain)
      out += c;
    else
      append_escaped(out, c);
  }
}

}  // namespace

std::string_view name_of(Dialect dialect) {
  constexpr std::string_view kNames[kDialects] = {"openai", "anthropic", "oip", "triton",
                                                  "tf_serving"};
  return kNames[static_cast<int>(dialect)];
}

std::string unescaped(std::string_view segment) {
  std::string out;
  while (!segment.empty()) {
    const auto byte = escaped_byte(segment);
    out += byte ? static_cast<char>(*byte) : segment.front();
    segment.remove_prefix(byte ? 3 : 1);
  }
  return out;
}

std::optional<ModelCall> recognise(const Request& request) {
  const bool grpc = request.is_grpc();
  const Segments segments = segments_of(request.path);
  for (const ModelForm& form : kForms) {
    if (form.method != request.method || (form.body == kGrpc) != grpc) continue;
    if (auto call = match(form, segments)) return call;
  }
  return {};
}

std::string renamed_path(const ModelCall& call, std::string_view path, std::string_view model,
                         std::string_view version) {
  const auto offset = [&](std::string_view piece) {
    return static_cast<std::size_t>(piece.data() - path.data());
  };
  const std::size_t from = offset(call.model);
  std::size_t to = from + call.model.size();
  std::string renamed(path.substr(0, from));
  append_segment(renamed, model);
  if (!version.empty()) {
    const bool label = call.form->dialect == kTfServing && !parse_decimal(version);
    renamed += label ? "/labels/" : "/versions/";
    append_segment(renamed, version);
    if (!call.version.empty()) to = offset(call.version) + call.version.size();
  }
  renamed += path.substr(to);
  return renamed;
}

}  // namespace glia
