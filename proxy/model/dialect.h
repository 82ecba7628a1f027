// Which dialect a request speaks, and where in it the model is named: one table over method and path.
//
// Paths are matched from their end, so a prefix that a gateway or KServe puts before them ("/openai") does
// not matter; escapes are undone and empty segments and a final '/' are passed over, as servers do.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "proxy/http/message.h"
#include "proxy/model/json_scanner.h"
#include "proxy/model/request.h"
#include "proxy/model/wire_scanner.h"

namespace glia {

// A row of the table.
struct ModelForm {
  enum class Body : uint8_t { kNone, kJson, kGrpc };
  std::string_view method;
  std::string_view path;  // Segments; {model} and {version} stand for one or its beginning.
  Dialect dialect;
  std::string_view operation;
  Body body = Body::kNone;
  bool streams = false;  // Always answered piece by piece.
  std::span<const JsonRule> json = {};
  std::span<const WireRule> wire = {};

  bool names_model() const { return body != Body::kNone || path.find('{') != path.npos; }
};

// What the rules tell (JsonRule::what, WireRule::what).
enum ModelField : uint8_t {
  kNothing,
  kModel,
  kVersion,
  kVersionNumber,
  kVersionField,  // TensorFlow Serving: the message around the number.
  kModelSpec,     // TensorFlow Serving: the message around model and version.
  kAdapter,
  kStream,
  kStreamOptions,
  kMostOutput,
  kChoices,
  kPriority,
  kTimeoutUs,
  kCacheSalt,
  kSession,
  kPromptText,  // A piece of one prompt,
  kPrompt,      // a prompt, or a list of them,
  kPromptItem,  // an element of that list,
  kDocument,    // a text to be ranked,
  kToken,       // a token id.
  kTools,       // JSON that becomes part of the prompt.
  kRow,
  kTensor,
  kDimension,
  kTensorData,
  kBinarySize,
  kParameter,  // An entry of a gRPC request's parameters,
  kParameterKey,
  kParameterNumber,
  kParameterText,
};

// A request to a model, as far as its head tells.
struct ModelCall {
  const ModelForm* form = nullptr;  // Lives for ever.
  std::string_view model, version;  // In the path, as they stand there; "" if they do not.
};

// Nothing if the request is to no model.
std::optional<ModelCall> recognise(const Request& request);

// The path of `call` with another model and, unless it is "", version.
std::string renamed_path(const ModelCall& call, std::string_view path, std::string_view model,
                         std::string_view version);

// Undoes %XX.
std::string unescaped(std::string_view segment);

}  // namespace glia
