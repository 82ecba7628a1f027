// What the full-duplex stresses share: bodies that tell whose they are, an echo with moods, pools
// of connections, and callers that check every byte.
//
// A call has a number. Each byte of its body is a function of that number and of its place, and the
// header "x-call" carries the number and the size; so both ends know at once when a byte of another
// call, or from another place, reaches them, or when a body ends too early and nobody says so.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/base/random.h"
#include "proxy/base/text.h"
#include "proxy/http/client.h"
#include "proxy/http/server.h"
#include "test/sim/sim.h"

namespace glia {

// Byte `at` of the body of call `id`; no two bodies agree for more than a few bytes.
inline char pattern(uint64_t id, uint64_t at) {
  uint64_t word = (id + 1) * 0x9e3779b97f4a7c15 ^ ((at >> 3) + 1) * 0xbf58476d1ce4e5b9;
  word = (word ^ (word >> 31)) * 0x94d049bb133111eb;
  return static_cast<char>((word ^ (word >> 29)) >> (8 * (at & 7)));
}

// Where in `text`, which begins at byte `at` of the body of call `id`, the first wrong byte is.
inline std::optional<uint64_t> wrong_byte(std::string_view text, uint64_t id, uint64_t at) {
  for (const char c : text) {
    if (c != pattern(id, at)) return at;
    ++at;
  }
  return {};
}

struct CallName {
  uint64_t id = 0, size = 0;  // size: bytes of the body

  std::string text() const { return cat(id, "/", size); }
  static std::optional<CallName> of(const Headers& headers) {
    const std::string_view text = headers.get("x-call").value_or("");
    const std::size_t slash = std::min(text.find('/'), text.size());
    const auto id = parse_decimal(text.substr(0, slash));
    const auto size = slash < text.size() ? parse_decimal(text.substr(slash + 1)) : std::nullopt;
    if (!id || !size) return {};
    return CallName{*id, *size};
  }
};

// The body of a call, in pieces and with pauses that nobody chose.
class PatternBody final : public Body, private Timer {
 public:
  PatternBody(EventLoop& loop, Random& random, const CallName& name, bool announced)
      : Timer(loop), random_(random), name_(name), announced_(announced) {
    if (announced || random.below(4) > 0) return;
    trailers_.emplace(ArenaRef::create());
    trailers_->add("x-end", name.text());
  }

  Piece poll() override {
    if (at_ == name_.size) return {State::kEnd, {}};
    if (!rested_ && random_.below(4) == 0) return {State::kPending, {}};
    rested_ = false;
    const uint64_t most = random_.below(16) == 0 ? 60'000 : 6'000;
    std::string piece(1 + random_.below(std::min(name_.size - at_, most)), '\0');
    for (char& c : piece) c = pattern(name_.id, at_++);
    return {State::kData, Slice::copy(piece)};
  }
  void wait(Waiter& waiter) override {
    slot_.put(waiter);
    start(Duration(random_.below(3'000'000)));
  }
  std::optional<uint64_t> length() const override {
    return announced_ ? std::optional(name_.size) : std::nullopt;
  }
  const Headers* trailers() const override { return trailers_ ? &*trailers_ : nullptr; }

 private:
  void fire() override {
    rested_ = true;
    slot_.wake(loop_.ready());
  }

  Random& random_;
  WaitSlot slot_;
  const CallName name_;
  uint64_t at_ = 0;
  const bool announced_;
  bool rested_ = false;
  std::optional<Headers> trailers_;
};

// What is wrong with the end of a body; "" if it is all there, and its own.
inline std::string wrong_end(const CallName& name, uint64_t at, const Headers* trailers) {
  if (at != name.size) return cat("ended after ", at, " bytes of call ", name.text());
  const auto end = trailers == nullptr ? std::nullopt : trailers->get("x-end");
  if (!end || *end == name.text()) return "";
  return cat("call ", name.text(), " ended with the trailers of ", *end);
}

// Passes a call's body on and looks at every byte.
class CheckedBody final : public Body {
 public:
  CheckedBody(std::unique_ptr<Body> body, const CallName& name)
      : body_(std::move(body)), name_(name) {}
  Piece poll() override {
    Piece piece = body_->poll();
    if (const auto wrong = wrong_byte(piece.data.view(), name_.id, at_)) {
      ADD_FAILURE() << "the server got another byte " << *wrong << " of call " << name_.text();
    }
    at_ += piece.data.size();
    if (piece.state == State::kEnd) {
      EXPECT_EQ(wrong_end(name_, at_, body_->trailers()), "") << "at the server";
    }
    return piece;
  }
  void wait(Waiter& waiter) override { body_->wait(waiter); }
  const Headers* trailers() const override { return body_->trailers(); }
  std::optional<uint64_t> length() const override { return body_->length(); }
  Error error() const override { return body_->error(); }

 private:
  std::unique_ptr<Body> body_;
  const CallName name_;
  uint64_t at_ = 0;
};

// Passes a body on and breaks off after so many bytes.
class BreakingBody final : public Body {
 public:
  BreakingBody(std::unique_ptr<Body> body, uint64_t after) : body_(std::move(body)), left_(after) {}
  Piece poll() override {
    if (left_ == 0) return {State::kError, {}};
    Piece piece = body_->poll();
    left_ -= std::min<uint64_t>(left_, piece.data.size());
    return piece;
  }
  void wait(Waiter& waiter) override { body_->wait(waiter); }

 private:
  std::unique_ptr<Body> body_;
  uint64_t left_;
};

inline Response plain_response(const ArenaRef& arena, int status, std::string_view text) {
  Response response(arena);
  response.status = status;
  response.body = std::make_unique<TextBody>(Slice::copy(text));
  return response;
}

enum class Mood : uint8_t { kCalm, kMoody };

// Echoes; when moody, it now and then does something else.
class CheckingEcho final : public Service {
 public:
  CheckingEcho(Random& random, Mood mood) : random_(random), mood_(mood) {}
  Task<void> serve(ServerStream& stream) override {
    const auto name = CallName::of(stream.request().headers);
    if (!name) {
      ADD_FAILURE() << "a request came without its name";
      co_return;
    }
    Response response(stream.arena());
    response.status = 200;
    response.headers.add("x-call", name->text());
    if (stream.request().body != nullptr) {
      response.body = std::make_unique<CheckedBody>(std::move(stream.request().body), *name);
    } else {
      EXPECT_EQ(name->size, 0u) << "call " << name->text() << " came without its body";
    }
    switch (mood_ == Mood::kMoody ? random_.below(24) : 99) {
      case 0:
        if (response.body == nullptr) break;  // An empty request has nothing to break.
        response.body =
            std::make_unique<BreakingBody>(std::move(response.body), random_.below(20'000));
        break;
      case 1: response = plain_response(stream.arena(), 403, "no"); break;
      case 2: co_return;
      case 3: stream.close_after(); break;
      case 4: co_await sleep_for(stream.loop(), Duration(random_.below(50'000'000))); break;
      case 5:
        if (response.body != nullptr) (void)co_await next(*response.body);
        stream.abort();
        co_return;
      default: break;
    }
    co_await stream.respond(std::move(response));
  }

 private:
  Random& random_;
  const Mood mood_;
};

// Connections to one address.
class Pool final : private ClientConnection::Owner {
 public:
  Pool(SimWorld& world, const std::string& from, const Address& to, Codec codec,
       std::size_t most = 10)
      : world_(world), network_(world.host(from)), to_(to), most_(most) {
    options.codec = codec;
  }
  ~Pool() override {
    for (auto& connection : connections_) world_.loop().reap(std::move(connection));
    connections_.clear();
    world_.loop().turn(Duration(0));  // They count in our stats until they are gone.
  }

  // A connection with room, or null if none can be made.
  Task<ClientConnection*> lease() {
    for (int tries = 0; tries < kTries; ++tries) {
      for (const auto& connection : connections_) {
        if (connection->capacity() > 0) co_return connection.get();
      }
      if (connections_.size() < most_) {
        connections_.push_back(
            connect_http(world_.loop(), network_.connect(to_), options, *this, stats));
      }
      co_await sleep_for(world_.loop(), 2ms);
    }
    co_return nullptr;
  }
  // Takes a connection away under its calls.
  void drop_one(Random& random) {
    if (connections_.empty()) return;
    const auto it = std::next(connections_.begin(),
                              static_cast<std::ptrdiff_t>(random.below(connections_.size())));
    world_.loop().reap(std::move(*it));
    connections_.erase(it);
  }
  void drain_one() {
    if (!connections_.empty()) connections_.front()->drain();
  }

  ClientOptions options;
  HttpClientStats stats;

 private:
  static constexpr int kTries = 500;

  void on_connected(ClientConnection&) override {}
  void on_capacity(ClientConnection&) override {}
  void on_finished(ClientConnection& connection, const Error&) override {
    const auto it = std::ranges::find_if(
        connections_, [&](const auto& held) { return held.get() == &connection; });
    if (it == connections_.end()) return;
    world_.loop().reap(std::move(*it));
    connections_.erase(it);
  }

  SimWorld& world_;
  Network& network_;
  const Address to_;
  const std::size_t most_;
  std::list<std::unique_ptr<ClientConnection>> connections_;
};

// How calls ended: each in one way.
struct Tally {
  int calls = 0, complete = 0, refused = 0, broken = 0, dropped = 0;
  uint64_t bytes = 0;
  int ended() const { return complete + refused + broken + dropped; }
};

// One caller's calls, one after the other.
class Caller {
 public:
  struct Habits {
    int calls = 25;
    Mood mood = Mood::kMoody;         // Moody: drops calls now and then.
    uint64_t largest_body = 300'000;  // bytes; three in four are small
    int pause_one_in = 50;            // Stops reading that often, for up to 20 ms.
  };
  Caller(SimWorld& world, Pool& pool, Tally& tally, uint64_t seed, const Habits& habits)
      : world_(world), pool_(pool), tally_(tally), random_(seed), seed_(seed), habits_(habits) {}
  void start() {
    task_ = run();
    task_.start();
  }
  bool done() const { return task_.done(); }
  // Its task is destroyed wherever it sleeps; then it goes on with the next call. From outside of
  // every task.
  void hang_up() {
    if (!calling_) return;
    task_.cancel();
    calling_ = false;
    ++tally_.dropped;
    start();
  }
  // Why the last call that was not whole was not, for a test in which none may fail.
  const std::string& trouble() const { return trouble_; }

 private:
  Task<void> run() {
    while (made_ < habits_.calls) {
      const uint64_t id = seed_ * 1000 + static_cast<uint64_t>(made_++);
      ++tally_.calls;
      calling_ = true;
      ClientConnection* const connection = co_await pool_.lease();
      int Tally::* const how = connection == nullptr ? trouble(&Tally::broken, "no connection")
                                                     : co_await call(*connection, id);
      ++(tally_.*how);
      calling_ = false;
    }
  }

  int Tally::* trouble(int Tally::* how, std::string why) {
    trouble_ = std::move(why);
    return how;
  }

  uint64_t choose_size() {
    if (random_.below(8) == 0) return 0;
    return random_.below(4) == 0 ? random_.below(habits_.largest_body) : random_.below(5'000);
  }

  Task<int Tally::*> call(ClientConnection& connection, uint64_t id) {
    const CallName name = {id, choose_size()};
    Request request(ArenaRef::create());
    request.scheme = "http";
    request.authority = "echo.test";
    request.path = "/";
    request.headers.add("x-call", name.text());
    const bool announced = random_.below(2) == 0;
    request.method = "GET";
    if (name.size > 0 || announced) {
      request.method = "POST";
      request.body = std::make_unique<PatternBody>(world_.loop(), random_, name, announced);
    }
    const bool moody = habits_.mood == Mood::kMoody;
    const uint64_t most =
        moody && random_.below(8) == 0 ? random_.below(name.size + 1) : name.size + 1;
    const std::unique_ptr<Call> call = connection.start(request);
    if (moody && random_.below(30) == 0) co_return &Tally::dropped;
    Result<Response> head = co_await head_of(*call);
    if (!head) co_return trouble(&Tally::broken, head.error().message());
    if (head->status != 200) {
      co_return trouble(&Tally::refused, cat("status ", head->status, " ",
                                             head->headers.get("x-glia-reason").value_or("")));
    }
    EXPECT_EQ(head->headers.get("x-call").value_or("nothing"), name.text())
        << "the answer to another call";
    co_return co_await read(*call, name, most);
  }

  Task<int Tally::*> read(Call& call, const CallName& name, uint64_t most) {
    uint64_t at = 0;
    for (;;) {
      Body::Piece piece = co_await next(call);
      if (piece.state == Body::State::kEnd) break;
      if (piece.state == Body::State::kError) {
        co_return trouble(&Tally::broken, call.error().message());
      }
      if (const auto wrong = wrong_byte(piece.data.view(), name.id, at)) {
        ADD_FAILURE() << "the caller got another byte " << *wrong << " of call " << name.text();
        co_return &Tally::broken;
      }
      at += piece.data.size();
      tally_.bytes += piece.data.size();
      if (at >= most) co_return &Tally::dropped;
      if (random_.below(static_cast<uint64_t>(habits_.pause_one_in)) == 0) {
        co_await sleep_for(world_.loop(), Duration(random_.below(20'000'000)));
      }
    }
    EXPECT_EQ(wrong_end(name, at, call.trailers()), "") << "at the caller";
    co_return &Tally::complete;
  }

  SimWorld& world_;
  Pool& pool_;
  Tally& tally_;
  Random random_;
  const uint64_t seed_;
  const Habits habits_;
  int made_ = 0;
  bool calling_ = false;
  std::string trouble_;
  Task<void> task_;
};

// Makes everything pass through windows and buffers smaller than most bodies.
inline void squeeze(HttpLimits& limits) {
  limits.stream_window = 5'000;
  limits.connection_window = 20'000;
  limits.write_buffer = 3'000;
}

}  // namespace glia
