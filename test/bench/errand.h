// Errand: what a lane of the fleet does over and over: one request of one kind, its answer checked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/http/client.h"
#include "proxy/net/loop.h"

namespace glia {

struct Errand {
  enum class Kind : uint8_t {
    kAnswer,  // GET; the answer has `amount` bytes.
    kTake,    // POST of `amount` bytes; the origin counts them.
    kGrpc,    // A unary call: 10 header fields, a message of `amount` bytes each way, trailers.
    kEvents,  // GET of `amount` server-sent events; each is a sample, not the request.
  };
  static Result<Errand> parse(std::string_view kind, uint64_t amount);

  Kind kind = Kind::kAnswer;
  uint64_t amount = 0;
  std::string path;         // Tells the origin all of the above; see origin.h.
  std::string_view upload;  // What is sent up; lives for ever.
};

// Runs `errand` once. Samples are added when the answer is whole: the time since `began`, or the
// delay of each event.
Task<Result<void>> run_errand(ClientConnection& connection, const Errand& errand,
                              std::string_view scheme, TimePoint began, const Clock& clock,
                              std::vector<Duration>& samples);

// The first events of a stream are not sampled: connections and windows are settling.
constexpr uint64_t kFirstEvents = 10;
// An event is 64 bytes, and says when it was sent:
//   data: {"n":000123,"ns":00000000000123456789,"t":"xxxxxxxxxxx"}\n\n
constexpr std::size_t kEventBytes = 64;
std::string event_text(uint64_t number, TimePoint sent);

// Bytes for bodies up to kMostBody, the same for all; they live for ever.
constexpr uint64_t kMostBody = 64 * 1024 * 1024;
std::string_view filler(uint64_t bytes);

// The same HTTP/2 windows for every party, so that no proxy is measured with larger ones (bytes).
constexpr uint32_t kStreamWindow = 1024 * 1024;
constexpr uint32_t kConnectionWindow = 4 * 1024 * 1024;

// A gRPC message of `bytes` bytes behind its 5 bytes of prefix; lives for ever.
std::string_view grpc_message(uint64_t bytes);

}  // namespace glia
