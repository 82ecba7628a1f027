#include "proxy/flow/model_refusal.h"

#include "proxy/base/text.h"

namespace glia {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  append_json_escaped(out, text);
  return out += '"';
}

std::string error_object(Dialect dialect, const ModelRefusal& refusal) {
  // The types that the libraries of OpenAI and Anthropic know.
  const std::string_view type = refusal.status == 429 ? "rate_limit_error" : "overloaded_error";
  const std::string message = quoted(refusal.sentence);
  switch (dialect) {
    case Dialect::kOpenAi:
      return cat(R"({"error":{"message":)", message, R"(,"type":")", type,
                 R"(","param":null,"code":)", quoted(refusal.reason), "}}\n");
    case Dialect::kAnthropic:
      return cat(R"({"type":"error","error":{"type":")", type, R"(","message":)", message, "}}\n");
    case Dialect::kOip:
    case Dialect::kTriton:
    case Dialect::kTfServing: break;
  }
  return cat(R"({"error":)", message, "}\n");
}

}  // namespace

Response refuse_in_dialect(Exchange& exchange, const ModelRefusal& refusal) {
  exchange.flag(refusal.flag);
  exchange.explain(refusal.sentence);
  Response response(exchange.arena());
  Headers& headers = response.headers;
  if (exchange.is_grpc()) {
    // The status stands in the head: "trailers-only".
    response.status = 200;
    const std::string status = cat(static_cast<int>(refusal.grpc_status));
    headers.add_kept("content-type", "application/grpc");
    headers.add("grpc-status", status);
    headers.add("grpc-message", encode_grpc_message(refusal.sentence));
    exchange.upstream().grpc_status = status;
    exchange.sign(response, refusal.reason);
  } else {
    response.status = refusal.status;
    const ModelRequest* const model = exchange.model();
    headers.add_kept("content-type",
                     model != nullptr ? "application/json" : "text/plain; charset=utf-8");
    headers.add("server", exchange.manager().server_name);
    std::string text;
    if (model != nullptr) {
      text = error_object(model->dialect, refusal);
      exchange.sign(response, refusal.reason);
    } else {
      text = cat(refusal.sentence, "\n");
      exchange.sign(response, refusal.reason, &text);
    }
    response.body = std::make_unique<TextBody>(Slice::copy(text));
  }
  if (refusal.come_again > 0s) {
    headers.add("retry-after", cat((refusal.come_again + 1s - 1ns) / 1s));
  }
  return response;
}

}  // namespace glia
