#include "test/bench/errand.h"

#include <charconv>
#include <map>

#include "proxy/base/text.h"

namespace glia {

namespace {

constexpr std::size_t kNumberAt = 11, kNumberDigits = 6;  // In an event.
constexpr std::size_t kSentAt = 23, kSentDigits = 20;

void add_plain_fields(Request& request) {
  request.headers.add_kept("user-agent", "glia-bench/1");
  request.headers.add_kept("accept", "*/*");
  request.headers.add_kept("x-tenant", "blue");
}

// What a gRPC client behind a tracing library sends: 10 fields, two of them never the same twice.
void add_grpc_fields(Request& request) {
  static uint64_t calls = 0;
  std::string number = cat(++calls + 1'000'000'000'000'000);  // 16 digits
  request.trailers_accepted = true;                           // te: trailers
  request.headers.add_kept("content-type", "application/grpc");
  request.headers.add_kept("user-agent", "grpc-c++/1.51.1 (linux; chttp2)");
  request.headers.add_kept("grpc-accept-encoding", "identity, deflate, gzip");
  request.headers.add_kept("authorization", "Bearer 0123456789abcdef0123456789abcdef");
  request.headers.add_kept("x-tenant", "blue");
  request.headers.add_kept("x-model", "ticket-classifier");
  request.headers.add_kept("x-user", "u-1729");
  Arena& arena = request.headers.arena();
  request.headers.add_kept("x-trace", arena.copy(cat("id-", number)), true);
  request.headers.add_kept("traceparent",
                           arena.copy(cat("00-", number, number, "-", number, "-01")), true);
}

Request request_for(const Errand& errand, std::string_view scheme) {
  Request request(ArenaRef::create());
  request.method = "GET";
  request.scheme = scheme;
  request.authority = "bench.example";
  request.path = errand.path;
  if (errand.kind == Errand::Kind::kGrpc) {
    add_grpc_fields(request);
  } else {
    add_plain_fields(request);
  }
  if (!errand.upload.empty()) {
    request.method = "POST";
    request.body = std::make_unique<TextBody>(Slice::literal(errand.upload));
  }
  return request;
}

// Takes the events of one stream apart.
class EventReader {
 public:
  EventReader(const Clock& clock, std::vector<Duration>& samples)
      : clock_(clock), samples_(samples) {}

  Result<void> take(std::string_view bytes) {
    const TimePoint now = clock_.now();
    part_ += bytes;
    std::string_view rest = part_;
    for (; rest.size() >= kEventBytes; rest.remove_prefix(kEventBytes)) {
      if (auto good = take_event(rest.substr(0, kEventBytes), now); !good) return good;
    }
    part_.erase(0, part_.size() - rest.size());
    return {};
  }
  uint64_t count() const { return part_.empty() ? count_ : 0; }

 private:
  Result<void> take_event(std::string_view event, TimePoint now) {
    const auto number = parse_decimal(event.substr(kNumberAt, kNumberDigits));
    const auto sent = parse_decimal(event.substr(kSentAt, kSentDigits));
    if (!number || !sent || *number != count_) {
      return invalid(
          cat("event ", count_, " of a stream is missing or broken: ", trim(event, "\n")));
    }
    const Duration delay = now.time_since_epoch() - Duration(static_cast<int64_t>(*sent));
    if (++count_ > kFirstEvents) samples_.push_back(delay);
    return {};
  }

  const Clock& clock_;
  std::vector<Duration>& samples_;
  std::string part_;  // Of an event that is not whole yet.
  uint64_t count_ = 0;
};

Result<void> check_trailers(const Headers* trailers) {
  const auto status = trailers == nullptr ? std::nullopt : trailers->get("grpc-status");
  if (!status) return invalid("the answer has no grpc-status in its trailers");
  if (*status != "0") return invalid(cat("the answer's grpc-status is ", *status));
  if (trailers->size() != 4) return invalid(cat("the answer has ", trailers->size(), " trailers"));
  return {};
}

Result<void> check_bytes(uint64_t bytes, uint64_t wanted) {
  if (bytes == wanted) return {};
  return invalid(cat("the answer has ", bytes, " bytes, not ", wanted));
}

}  // namespace

Result<Errand> Errand::parse(std::string_view kind, uint64_t amount) {
  if (amount > kMostBody) return invalid(cat(amount, " is above ", kMostBody));
  Errand errand;
  errand.amount = amount;
  if (kind == "answer") {
    errand.kind = Kind::kAnswer;
  } else if (kind == "take") {
    errand.kind = Kind::kTake;
    errand.upload = filler(amount);
  } else if (kind == "grpc") {
    errand.kind = Kind::kGrpc;
    errand.upload = grpc_message(amount);
  } else if (kind == "events") {
    errand.kind = Kind::kEvents;
  } else {
    return invalid(cat(kind, ": not an errand"));
  }
  errand.path = cat("/", kind, "/", amount);
  return errand;
}

Task<Result<void>> run_errand(ClientConnection& connection, const Errand& errand,
                              std::string_view scheme, TimePoint began, const Clock& clock,
                              std::vector<Duration>& samples) {
  Request request = request_for(errand, scheme);
  const std::unique_ptr<Call> call = connection.start(request);
  CO_TRY(const Response response, co_await head_of(*call));
  if (response.status != 200) co_return invalid(cat("the answer's status is ", response.status));
  EventReader events(clock, samples);
  uint64_t bytes = 0;
  for (;;) {
    const Body::Piece piece = co_await next(*call);
    if (piece.state == Body::State::kError) co_return call->error();
    if (piece.state == Body::State::kEnd) break;
    bytes += piece.data.size();
    if (errand.kind != Errand::Kind::kEvents) continue;
    if (auto good = events.take(piece.data.view()); !good) co_return good;
  }
  Result<void> good;
  switch (errand.kind) {
    case Errand::Kind::kAnswer: good = check_bytes(bytes, errand.amount); break;
    case Errand::Kind::kTake: good = check_bytes(bytes, 0); break;
    case Errand::Kind::kGrpc:
      good = check_bytes(bytes, grpc_message(errand.amount).size());
      if (good) good = check_trailers(call->trailers());
      break;
    case Errand::Kind::kEvents:
      if (events.count() != errand.amount) good = invalid("a stream of events ended early");
      co_return good;
  }
  if (good) samples.push_back(clock.now() - began);
  co_return good;
}

std::string event_text(uint64_t number, TimePoint sent) {
  const auto padded = [](uint64_t value, std::size_t digits) {
    const std::string text = cat(value);
    return std::string(digits - text.size(), '0') + text;
  };
  const auto ns = static_cast<uint64_t>(sent.time_since_epoch() / Duration(1));
  std::string text = cat("data: {\"n\":", padded(number, kNumberDigits),
                         ",\"ns\":", padded(ns, kSentDigits), ",\"t\":\"xxxxxxxxxxx\"}\n\n");
  CHECK(text.size() == kEventBytes);
  return text;
}

std::string_view filler(uint64_t bytes) {
  static std::string text;
  // Grown once: what was given out before lives for ever only if it never moves.
  if (text.empty()) text.assign(kMostBody, 'x');
  CHECK(bytes <= kMostBody);
  return std::string_view(text).substr(0, bytes);
}

std::string_view grpc_message(uint64_t bytes) {
  static std::map<uint64_t, std::string> messages;
  const auto found = messages.find(bytes);
  if (found != messages.end()) return found->second;
  std::string message(5, '\0');  // Not compressed; length in 4 bytes, big endian.
  for (int i = 0; i < 4; ++i) message[1 + i] = static_cast<char>(bytes >> (24 - 8 * i));
  message.append(bytes, 'm');
  return messages.emplace(bytes, std::move(message)).first->second;
}

}  // namespace glia
