// HTTP/1.1 codec: heads parsed and written, chunks decoded.
#include <benchmark/benchmark.h>

#include "proxy/http/h1_body.h"
#include "proxy/http/h1_parser.h"
#include "proxy/http/h1_writer.h"

namespace glia {
namespace {

constexpr std::string_view kSmall =
    "GET /v1/models HTTP/1.1\r\nHost: gateway.example:8080\r\nUser-Agent: h2load\r\n"
    "Accept: */*\r\n\r\n";

constexpr std::string_view kTypical =
    "POST /v1/chat/completions?stream=true HTTP/1.1\r\nHost: gateway.example\r\n"
    "User-Agent: OpenAI/Python 1.68.2\r\nAccept: application/json\r\nAccept-Encoding: gzip, "
    "deflate\r\n"
    "Content-Type: application/json\r\nContent-Length: 512\r\nConnection: keep-alive\r\n"
    "Authorization: Bearer sk-0123456789abcdef0123456789abcdef0123456789abcdef\r\n"
    "X-Stainless-Lang: python\r\nX-Stainless-Runtime: CPython\r\nX-Request-Id: "
    "0d2b7d9c-0f0e-4bb1-9d32-6f6b8f1c8a11\r\n"
    "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n";

constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\nServer: uvicorn\r\nDate: Sun, 22 Nov 2026 17:00:00 GMT\r\n"
    "Content-Type: application/json\r\nContent-Length: 1024\r\nX-Request-Id: 0d2b7d9c\r\n\r\n";

void parse_request(benchmark::State& state, std::string_view head) {
  const HttpLimits limits;
  H1RequestParser parser(limits);
  for (auto _ : state) {
    Request request(ArenaRef::create());
    request.scheme = "http";
    parser.begin(request);
    std::string_view input = head;
    const auto result = parser.feed(input);
    if (result != H1HeadParser::State::kDone) state.SkipWithError("refused");
    benchmark::DoNotOptimize(request.headers.size());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * head.size()));
}
BENCHMARK_CAPTURE(parse_request, small, kSmall);
BENCHMARK_CAPTURE(parse_request, typical, kTypical);

void parse_response(benchmark::State& state) {
  const HttpLimits limits;
  H1ResponseParser parser(limits);
  for (auto _ : state) {
    Response response(ArenaRef::create());
    parser.begin(response, "GET");
    std::string_view input = kAnswer;
    benchmark::DoNotOptimize(parser.feed(input));
  }
}
BENCHMARK(parse_response);

void write_response(benchmark::State& state) {
  const HttpLimits limits;
  H1ResponseParser parser(limits);
  Response response(ArenaRef::create());
  parser.begin(response, "GET");
  std::string_view input = kAnswer;
  benchmark::DoNotOptimize(parser.feed(input));
  ByteQueue out;
  for (auto _ : state) {
    write_head(out, response, parser.framing(), "GET", AfterThis::kKeepAlive);
    out.drop_front(out.size());
  }
}
BENCHMARK(write_response);

// A body of 64 KiB in chunks of `range` bytes.
void decode_chunks(benchmark::State& state) {
  std::string body;
  const auto size = static_cast<std::size_t>(state.range(0));
  ByteQueue out;
  for (std::size_t at = 0; at < 65536; at += size) {
    write_chunk(out, Slice::copy(std::string(size, 'x')));
  }
  write_last_chunk(out, nullptr);
  while (!out.empty()) body += out.pop_slice().view();
  const Slice bytes = Slice::copy(body);
  const HttpLimits limits;
  H1BodyDecoder decoder(limits);
  for (auto _ : state) {
    decoder.begin({H1Framing::Kind::kChunked, 0}, ArenaRef::create());
    Slice input = bytes;
    GatherQueue data;
    if (decoder.decode(input, data) != H1BodyDecoder::State::kEnd) state.SkipWithError("refused");
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * 65536));
}
BENCHMARK(decode_chunks)->Arg(64)->Arg(1024)->Arg(16384);

}  // namespace
}  // namespace glia
