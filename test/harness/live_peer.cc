#include "test/harness/live_peer.h"

#include <algorithm>

#include "proxy/base/text.h"

namespace glia {
namespace {

std::map<std::string, std::string> copied(const Headers& headers) {
  std::map<std::string, std::string> all;
  for (const Field& field : headers.fields()) {
    all[std::string(field.name)] = std::string(field.value);
  }
  return all;
}

Task<void> listen(Body& body, Heard& heard, EventLoop& loop, const bool* reads, WaitSlot* again) {
  for (;;) {
    while (reads != nullptr && !*reads) co_await wait_in(*again);
    Body::Piece piece = co_await next(body);
    if (piece.state == Body::State::kPending) continue;
    if (piece.state == Body::State::kData) {
      heard.text += piece.data.view();
      heard.at.push_back(loop.now());
      continue;
    }
    if (piece.state == Body::State::kError) heard.error = body.error().message();
    if (piece.state == Body::State::kEnd) heard.ended = true;
    if (heard.ended && body.trailers() != nullptr) heard.trailers = copied(*body.trailers());
    co_return;
  }
}

}  // namespace

class SpeechBody final : public Body {
 public:
  SpeechBody(Speech& speech, ArenaRef arena) : speech_(speech), trailers_(std::move(arena)) {}
  Piece poll() override {
    if (!speech_.pieces_.empty()) {
      Slice piece = Slice::copy(speech_.pieces_.front());
      speech_.pieces_.pop_front();
      return {State::kData, std::move(piece)};
    }
    if (speech_.broken_) return {State::kError, {}};
    return {speech_.ended_ ? State::kEnd : State::kPending, {}};
  }
  void wait(Waiter& waiter) override { speech_.slot_.put(waiter); }
  const Headers* trailers() const override {
    if (speech_.trailers_.empty()) return nullptr;
    trailers_.clear();
    for (const auto& [name, value] : speech_.trailers_) trailers_.add_kept(name, value);
    return &trailers_;
  }

 private:
  Speech& speech_;
  mutable Headers trailers_;
};

void Speech::say(std::string text) {
  pieces_.push_back(std::move(text));
  slot_.wake(loop_.ready());
}

void Speech::end(std::vector<std::pair<std::string, std::string>> trailers) {
  trailers_ = std::move(trailers);
  ended_ = true;
  slot_.wake(loop_.ready());
}

void Speech::breaks() {
  broken_ = true;
  slot_.wake(loop_.ready());
}

std::size_t Speech::waiting() const {
  std::size_t bytes = 0;
  for (const std::string& piece : pieces_) bytes += piece.size();
  return bytes;
}

LiveUpstream::LiveUpstream(SimWorld& world, const std::string& ip, Codec codec) : world_(world) {
  options_.codec = codec;
  options_.limits.streams = 1000;
  auto acceptor = world.host(ip).listen(*Address::ip(ip, 8080), {}, *this);
  CHECK(acceptor.ok());
  acceptor_ = std::move(*acceptor);
}

LiveUpstream::~LiveUpstream() { connections_.clear(); }

void LiveUpstream::head(int status, std::vector<std::pair<std::string, std::string>> fields) {
  status_ = status;
  fields_ = std::move(fields);
}

void LiveUpstream::cuts() {
  for (auto& connection : connections_) world_.loop().reap(std::move(connection));
  connections_.clear();
}

std::size_t LiveUpstream::active() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(requests_, [](const auto& request) { return !request->gone; }));
}

void LiveUpstream::on_accept(std::unique_ptr<Stream> stream) {
  connections_.push_back(
      serve_http(world_.loop(), std::move(stream), options_, *this, *this, stats_));
}

void LiveUpstream::on_finished(ServerConnection& connection) {
  const auto place = std::ranges::find_if(
      connections_, [&](const auto& owned) { return owned.get() == &connection; });
  world_.loop().reap(std::move(*place));
  connections_.erase(place);
}

Task<void> LiveUpstream::serve(ServerStream& stream) {
  LiveRequest& request = *requests_.emplace_back(std::make_unique<LiveRequest>(world_.loop()));
  struct Gone {
    bool& gone;
    ~Gone() { gone = true; }
  } const gone{request.gone};
  request.method = stream.request().method;
  request.path = stream.request().path;
  request.headers = copied(stream.request().headers);
  Task<void> listener;
  if (stream.request().body != nullptr) {
    listener = listen(*stream.request().body, request.heard, world_.loop(), nullptr, nullptr);
    listener.start();
  } else {
    request.heard.ended = true;
  }
  if (waits_) co_await wait_in(request.go);
  Response response(stream.arena());
  response.status = status_;
  for (const auto& [name, value] : fields_) response.headers.add(name, value);
  response.body = std::make_unique<SpeechBody>(request.answer, stream.arena());
  co_await stream.respond(std::move(response));
}

struct LiveClient::Running {
  explicit Running(EventLoop& loop) : live(loop) {}
  LiveCall live;
  std::string method, path;
  std::vector<std::pair<std::string, std::string>> headers;
  ArenaRef arena = ArenaRef::create();
  std::optional<Request> request;
  std::unique_ptr<Call> call;
  Task<void> task;  // Last: destroyed first.
};

LiveClient::LiveClient(SimWorld& world, const std::string& ip, const Address& to, Codec codec)
    : world_(world) {
  options_.codec = codec;
  connection_ = connect_http(world.loop(), world.host(ip).connect(to), options_, *this, stats_);
}

LiveClient::~LiveClient() { running_.clear(); }

void LiveClient::on_finished(ClientConnection&, const Error&) {
  world_.loop().reap(std::move(connection_));
}

LiveCall& LiveClient::call(std::string path,
                           std::vector<std::pair<std::string, std::string>> headers,
                           bool with_body) {
  Running& running = *running_.emplace_back(std::make_unique<Running>(world_.loop()));
  running.method = with_body ? "POST" : "GET";
  running.path = std::move(path);
  running.headers = std::move(headers);
  Request& request = running.request.emplace(running.arena);
  request.method = running.method;
  request.scheme = "http";
  request.authority = "service";
  request.path = running.path;
  for (const auto& [name, value] : running.headers) request.headers.add(name, value);
  if (with_body) request.body = std::make_unique<SpeechBody>(running.live.speech, running.arena);
  running.task = run(running);
  running.task.start();
  return running.live;
}

void LiveClient::hang_up(LiveCall& call) {
  std::erase_if(running_, [&](const auto& running) { return &running->live == &call; });
}

Task<void> LiveClient::run(Running& running) {
  LiveCall& live = running.live;
  while (!connected()) co_await sleep_for(world_.loop(), 1ms);
  running.call = connection_->start(*running.request);
  Result<Response> response = co_await head_of(*running.call);
  if (!response) {
    live.heard.error = response.error().message();
    live.finished = true;
    co_return;
  }
  live.status = response->status;
  live.headers = copied(response->headers);
  co_await listen(*running.call, live.heard, world_.loop(), &live.reads, &live.again);
  live.finished = true;
}

}  // namespace glia
