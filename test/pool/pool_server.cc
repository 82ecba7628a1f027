#include "test/pool/pool_server.h"

#include <xxhash.h>

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/model/reader.h"

namespace glia {
namespace {

constexpr std::size_t kTokenBytes = 4;

// The part of a body that is its prompt.
std::string_view prompt_of(std::string_view body) {
  const std::size_t at = std::min(body.find("\"messages\""), body.find("\"prompt\""));
  return at < body.size() ? body.substr(at) : std::string_view();
}

std::vector<uint64_t> chain_of(std::string_view prompt, std::string_view model,
                               std::size_t block_bytes) {
  std::vector<uint64_t> chain;
  chain.reserve(prompt.size() / block_bytes);
  uint64_t before = XXH64(model.data(), model.size(), 0);
  for (; prompt.size() >= block_bytes; prompt.remove_prefix(block_bytes)) {
    before = XXH64(prompt.data(), block_bytes, before);
    chain.push_back(before);
  }
  return chain;
}

// What of a request decides about its answer.
struct Asked {
  std::string model;
  bool stream = false, usage = false, chat = false;
  SimEngine::Ask ask;
};

Result<Asked> read_asked(const Request& request, const std::string& body,
                         const PoolServerConfig& config) {
  const auto call = recognise(request);
  if (!call) return invalid("this is no request to a model");
  ModelReader reader(*call, request, /*hashes=*/false);
  if (!reader.push(body) || !reader.finish()) return reader.refusal();
  const ArenaRef arena = ArenaRef::create();
  const ModelRequest record = reader.record(*arena, 0);
  const std::string_view prompt = prompt_of(body);
  Asked asked;
  asked.model = record.model;
  asked.stream = record.streaming;
  asked.usage = body.find("\"include_usage\"") != std::string::npos;
  asked.chat = record.operation == "chat";
  asked.ask.chain = chain_of(prompt, record.model, config.engine.block_tokens * kTokenBytes);
  asked.ask.prompt_tokens = static_cast<uint32_t>(std::max<std::size_t>(1, prompt.size() / 4));
  asked.ask.output_tokens =
      record.most_output_tokens > 0
          ? static_cast<uint32_t>(std::min<uint64_t>(record.most_output_tokens, UINT32_MAX / 2))
          : PoolServer::kUsualOutput;
  asked.ask.tokens_an_event =
      asked.stream ? std::max<uint32_t>(1, config.tokens_an_event) : asked.ask.output_tokens;
  return asked;
}

// It answers for whatever is asked for.
constexpr char kModels[] =
    R"({"object":"list","data":[{"id":"m","object":"model","created":1,"owned_by":"glia"}]})";

std::string words(uint32_t tokens) {
  std::string text;
  while (tokens-- > 0) text += " tok";
  return text;
}

std::string usage_of(const SimEngine::Ask& ask) {
  return cat("\"usage\":{\"prompt_tokens\":", ask.prompt_tokens,
             ",\"completion_tokens\":", ask.output_tokens,
             ",\"total_tokens\":", ask.prompt_tokens + ask.output_tokens, "}");
}

Response json_response(ServerStream& stream, int status, std::string_view json) {
  Response response(stream.arena());
  response.status = status;
  response.headers.add_kept("content-type", "application/json");
  response.body = std::make_unique<TextBody>(Slice::copy(json));
  return response;
}

Response error_response(ServerStream& stream, int status, std::string_view sentence) {
  std::string json = "{\"error\":{\"type\":\"BadRequestError\",\"message\":\"";
  append_json_escaped(json, sentence);
  return json_response(stream, status, json + "\"}}");
}

}  // namespace

// A sequence in the engine and the answer that comes of it; leaves the engine when it is destroyed.
class PoolServer::Writing final : public Body {
 public:
  Writing(PoolServer& server, Asked asked) : server_(server), asked_(std::move(asked)) {
    id_ = server.engine_->add(asked_.ask, server.now());
    server.writing_.emplace(id_, this);
    server.deliver();
  }
  ~Writing() override {
    server_.writing_.erase(id_);
    server_.engine_->remove(id_, server_.now());
    server_.deliver();
  }

  void came(uint32_t tokens, bool last) {
    over_ = last;
    if (asked_.stream) due_ += events(tokens);
    began_ = true;
    slot.wake(server_.loop_.ready());
  }
  bool over() const { return over_; }
  std::string whole() const {
    const std::string content = words(asked_.ask.output_tokens);
    const std::string choice =
        asked_.chat ? cat("\"message\":{\"role\":\"assistant\",\"content\":\"", content, "\"}")
                    : cat("\"text\":\"", content, "\"");
    return cat(head(asked_.chat ? "chat.completion" : "text_completion"),
               ",\"choices\":[{\"index\":0,", choice, ",\"finish_reason\":\"length\"}],",
               usage_of(asked_.ask), "}");
  }

  Piece poll() override {
    if (!due_.empty()) return {State::kData, Slice::copy(std::exchange(due_, {}))};
    return {over_ ? State::kEnd : State::kPending, {}};
  }
  void wait(Waiter& waiter) override { slot.put(waiter); }

  WaitSlot slot;

 private:
  std::string head(std::string_view object) const {
    std::string text =
        cat("{\"id\":\"", id_, "\",\"object\":\"", object,
            "\",\"created\":1,\"system_fingerprint\":\"", server_.name_, "\",\"model\":\"");
    append_json_escaped(text, asked_.model);
    return text + "\"";
  }
  std::string events(uint32_t tokens) const {
    const std::string object = head(asked_.chat ? "chat.completion.chunk" : "text_completion");
    const std::string choice = asked_.chat
                                   ? cat("\"delta\":{", began_ ? "" : "\"role\":\"assistant\",",
                                         "\"content\":\"", words(tokens), "\"}")
                                   : cat("\"text\":\"", words(tokens), "\"");
    std::string text = cat("data: ", object, ",\"choices\":[{\"index\":0,", choice,
                           ",\"finish_reason\":", over_ ? "\"length\"" : "null", "}]}\n\n");
    if (!over_) return text;
    if (asked_.usage)
      text += cat("data: ", object, ",\"choices\":[],", usage_of(asked_.ask), "}\n\n");
    return text + "data: [DONE]\n\n";
  }

  PoolServer& server_;
  const Asked asked_;
  SimEngine::Id id_ = 0;
  bool began_ = false, over_ = false;
  std::string due_;
};

PoolServer::PoolServer(EventLoop& loop, Network& network, PoolServerConfig config, std::string name)
    : loop_(loop),
      network_(network),
      config_(config),
      name_(std::move(name)),
      began_(loop.clock().now()),
      engine_(std::make_unique<SimEngine>(config.engine)),
      pacer_(loop, [this] { deliver(); }) {
  options_.codec = Codec::kHttp1;
}

PoolServer::~PoolServer() {
  acceptor_.reset();
  connections_.clear();
}

Result<void> PoolServer::listen() {
  TRY(address_, Address::ip("127.0.0.1", 0));
  return come_back();
}

TimePoint PoolServer::now() const {
  const Duration passed = loop_.clock().now() - began_;
  return TimePoint(
      Duration(static_cast<int64_t>(static_cast<double>(passed.count()) * config_.speed)));
}

void PoolServer::slowness(double slowness) {
  slowness_ = slowness;
  engine_->slowness(slowness, now());
  deliver();
}

void PoolServer::die() {
  acceptor_.reset();
  for (auto& [key, connection] : connections_) loop_.reap(std::move(connection));
  connections_.clear();
}

Result<void> PoolServer::come_back() {
  if (acceptor_ != nullptr) return {};
  TRY(acceptor_, network_.listen(address_, ListenOptions(), *this));
  address_ = acceptor_->address();
  engine_ = std::make_unique<SimEngine>(config_.engine);
  engine_->slowness(slowness_, now());
  return {};
}

void PoolServer::on_accept(std::unique_ptr<Stream> stream) {
  auto connection = serve_http(loop_, std::move(stream), options_, *this, *this, stats_);
  ServerConnection* const key = connection.get();
  connections_.emplace(key, std::move(connection));
}

void PoolServer::on_finished(ServerConnection& connection) {
  const auto found = connections_.find(&connection);
  if (found == connections_.end()) return;
  loop_.reap(std::move(found->second));
  connections_.erase(found);
}

void PoolServer::deliver() {
  engine_->advance(now());
  for (const SimEngine::Event& event : engine_->events()) {
    const auto found = writing_.find(event.id);
    if (found != writing_.end()) found->second->came(event.tokens, event.last);
  }
  const auto next = engine_->next();
  if (!next) return;
  const double passed = static_cast<double>(next->time_since_epoch().count()) / config_.speed;
  pacer_.start(began_ + Duration(static_cast<int64_t>(passed) + 1));
}

Task<void> PoolServer::serve(ServerStream& stream) {
  const std::string_view path = stream.request().path;
  if (path == "/metrics") {
    Response response(stream.arena());
    response.status = metrics_ == Metrics::kNone ? 503 : 200;
    response.headers.add_kept("content-type", "text/plain; version=0.0.4; charset=utf-8");
    response.body = std::make_unique<TextBody>(Slice::copy(page()));
    (void)co_await stream.respond(std::move(response));
    co_return;
  }
  if (stream.request().method == "GET") {
    (void)co_await stream.respond(
        json_response(stream, 200, path == "/v1/models" ? kModels : "{}"));
    co_return;
  }
  if (stream.request().body == nullptr) {
    (void)co_await stream.respond(error_response(stream, 400, "the request has no body"));
    co_return;
  }
  const Result<std::string> body = co_await read_all(*stream.request().body, kLargestBody);
  if (!body) {
    (void)co_await stream.respond(error_response(stream, 400, body.error().message()));
    co_return;
  }
  co_await answer(stream, *body);
}

Task<void> PoolServer::answer(ServerStream& stream, const std::string& body) {
  Result<Asked> asked = read_asked(stream.request(), body, config_);
  if (asked && !engine_->fits(asked->ask.prompt_tokens, asked->ask.output_tokens)) {
    asked = invalid("prompt and max_tokens are more than the KV cache holds");
  }
  if (!asked) {
    (void)co_await stream.respond(error_response(stream, 400, asked.error().message()));
    co_return;
  }
  const bool streams = asked->stream;
  auto writing = std::make_unique<Writing>(*this, *std::move(asked));
  if (streams) {
    Response response(stream.arena());
    response.status = 200;
    response.headers.add_kept("content-type", "text/event-stream; charset=utf-8");
    response.body = std::move(writing);
    (void)co_await stream.respond(std::move(response));
    co_return;
  }
  while (!writing->over()) co_await wait_in(writing->slot);
  (void)co_await stream.respond(json_response(stream, 200, writing->whole()));
}

std::string PoolServer::page() const {
  const bool lies = metrics_ == Metrics::kEmptyAlways;
  const auto row = [](std::string_view kind, std::string_view name, auto value) {
    return cat("# TYPE vllm:", name, " ", kind, "\nvllm:", name, "{engine=\"0\",model_name=\"m\"} ",
               value, "\n");
  };
  const SimEngine& engine = *engine_;
  std::string text = row("gauge", "num_requests_running", lies ? 0 : engine.running());
  text += row("gauge", "num_requests_waiting", lies ? 0 : engine.waiting());
  text += row("gauge", "kv_cache_usage_perc", lies ? 0.0 : engine.kv_use());
  text += row("counter", "prefix_cache_queries_total", engine.prefix_queries());
  text += row("counter", "prefix_cache_hits_total", engine.prefix_hits());
  text += row("counter", "prompt_tokens_total", engine.prefix_queries());
  text += row("counter", "generation_tokens_total", engine.tokens_written());
  text += row("counter", "request_success_total", engine.ended());
  return text + cat("# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{block_size=\"",
                    engine.config().block_tokens, "\",num_gpu_blocks=\"", engine.config().blocks,
                    "\",enable_prefix_caching=\"True\"} 1\n");
}

}  // namespace glia
