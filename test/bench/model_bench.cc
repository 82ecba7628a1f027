// What it costs to read a request to a model: long prompts, tensors, many small values, protobuf.
#include <benchmark/benchmark.h>

#include "proxy/base/text.h"
#include "proxy/http/grpc.h"
#include "proxy/model/reader.h"

namespace glia {
namespace {

constexpr std::size_t kPiece = 16 * 1024;  // bytes, as they come from a socket

// English-like text with a line break, an escape in JSON, each hundred bytes or so.
std::string prose(std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) {
    text +=
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was ";
    text += "the age of\\n";
  }
  return text;
}

std::string chat(std::string_view prompt) {
  return cat(R"({"messages":[{"role":"user","content":")", prompt,
             R"("}],"model":"llama-3-8b","stream":true,"max_tokens":256})");
}

void read(benchmark::State& state, std::string_view path, const std::string& body, bool grpc,
          bool hashes) {
  Request request(ArenaRef::create());
  request.method = "POST";
  request.path = path;
  if (grpc) request.headers.add("content-type", "application/grpc");
  request.body = std::make_unique<TextBody>(Slice());
  const auto call = recognise(request);
  for (auto _ : state) {
    ModelReader reader(*call, request, hashes);
    for (std::string_view rest = body; !rest.empty();) {
      const std::string_view piece = rest.substr(0, kPiece);
      if (!reader.push(piece)) return state.SkipWithError("refused");
      rest.remove_prefix(piece.size());
    }
    if (!reader.finish()) return state.SkipWithError("not whole");
    const ArenaRef arena = ArenaRef::create();
    benchmark::DoNotOptimize(reader.record(*arena, 0).input_tokens);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * body.size()));
}

void small_chat(benchmark::State& state) {
  read(state, "/v1/chat/completions", chat("Say hello."), false, false);
}
void long_chat(benchmark::State& state) {
  read(state, "/v1/chat/completions", chat(prose(220'000)), false, false);
}
void long_chat_hashed(benchmark::State& state) {
  read(state, "/v1/chat/completions", chat(prose(220'000)), false, true);
}
// Nothing is wanted of such a string.
void skipped_string(benchmark::State& state) {
  std::string image(1'000'000, 'A');
  read(state, "/v1/chat/completions", cat(R"({"model":"m","image":")", image, "\"}"), false, false);
}
void skipped_prose(benchmark::State& state) {
  read(state, "/v1/chat/completions", cat(R"({"model":"m","x":")", prose(1'000'000), "\"}"), false,
       false);
}
void skipped_numbers(benchmark::State& state) {
  std::string data;
  for (int i = 0; i < 100'000; ++i) data += cat(i == 0 ? "" : ",", "0.", i);
  read(state, "/v2/models/m/infer",
       cat(R"({"inputs":[{"name":"x","shape":[10,10000],"datatype":"FP32","data":[)", data, "]}]}"),
       false, false);
}
void many_keys(benchmark::State& state) {
  std::string body = "{";
  for (int i = 0; i < 10'000; ++i) body += cat("\"key", i, "\":", i, ",");
  read(state, "/v1/chat/completions", body + "\"model\":\"m\"}", false, false);
}
void model_infer(benchmark::State& state) {
  std::string message("\x0A\x05model", 7);
  const std::string tensor(1'000'000, 'x');
  message += "\x3A";
  for (std::size_t size = tensor.size();; size >>= 7) {
    message += static_cast<char>(size >= 0x80 ? 0x80 | (size & 0x7F) : size);
    if (size < 0x80) break;
  }
  std::string body;
  append_grpc_message(body, message + tensor);
  read(state, "/inference.GRPCInferenceService/ModelInfer", body, true, false);
}
BENCHMARK(small_chat);
BENCHMARK(long_chat);
BENCHMARK(long_chat_hashed);
BENCHMARK(skipped_string);
BENCHMARK(skipped_prose);
BENCHMARK(skipped_numbers);
BENCHMARK(many_keys);
BENCHMARK(model_infer);

void recognise_chat(benchmark::State& state) {
  Request request(ArenaRef::create());
  request.method = "POST";
  request.path = "/v1/chat/completions";
  for (auto _ : state) benchmark::DoNotOptimize(recognise(request));
}
BENCHMARK(recognise_chat);

}  // namespace
}  // namespace glia
