// H2Gate: looks at the head of every frame before nghttp2 reads it.
//
// nghttp2 is lenient where RFC 9113 is not: it ignores frames on streams that are closed, streams
// opened in the wrong order, PRIORITY frames whatever they say, and it ends the connection where
// one stream is to be reset. And it counts nothing that Envoy has a limit for. The gate knows which
// streams the peer may still send on, and what it has spent of its budgets; everything else about a
// frame is nghttp2's business. It holds back the first bytes of a frame until its head is complete.
#pragma once

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "proxy/http/h2_budget.h"
#include "proxy/http/h2_ids.h"
#include "proxy/http/server.h"

namespace glia {

class H2Gate {
 public:
  enum class Peer : uint8_t { kClient, kServer };

  struct Fault {
    uint32_t code;         // of RFC 9113 section 7
    std::string_view why;  // a literal
    int32_t stream = 0;    // the only one that it ends; 0: the connection
  };
  // What to do with the input: give `held` to nghttp2, then the first `pass` bytes; leave out the
  // next `drop`; then mind the fault. At least one byte is passed or dropped.
  struct Step {
    std::string_view held = {};
    std::size_t pass = 0;
    std::size_t drop = 0;
    std::optional<Fault> fault = {};
  };

  // `session` and `limits` outlive the gate. The session is asked for windows only.
  H2Gate(Peer peer, nghttp2_session* session, const HttpLimits& limits);

  Step look(std::string_view input, TimePoint now);

  // We have opened stream `id`: the peer may answer on it.
  void we_opened(int32_t id);
  // nghttp2 has closed it, or sent its RST_STREAM: what is still on the way is not a mistake.
  void closed(int32_t id);
  // A DATA frame; `fair` if it was not small, which makes up for one that was.
  void sent_data(bool fair) {
    ++data_sent_;
    pings_.earn(kPingsPerData);
    if (fair) glitches_.earn(1);
  }
  // A request was answered to its end.
  void request_finished() { resets_.earn(1); }
  // The peer reset a stream that was not finished, or made us reset one.
  void count_reset(TimePoint now) { spend(resets_, now); }
  // Something that is allowed and useless.
  void count_glitch(TimePoint now) { spend(glitches_, now); }
  // Whether anything was spent since it was last asked.
  bool take_spent() { return std::exchange(spent_, false); }
  // It did more of something than it may: GOAWAY with ENHANCE_YOUR_CALM.
  bool overdrawn() const;
  bool worn() const;

  // Per connection.
  static constexpr Allowance kResets = {.rate = 20, .burst = 100};
  static constexpr Allowance kGlitches = {.rate = 33, .burst = 1000};
  static constexpr Allowance kPings = {.rate = 33, .burst = 1000};
  static constexpr Allowance kSettings = {.rate = 1, .burst = 100};
  // A DATA frame, either way, may be answered with two PINGs: gRPC measures round trips so.
  static constexpr int64_t kPingsPerData = 2;
  static constexpr std::size_t kContinuations = 8;  // of one header block
  // Streams that we have reset and whose late frames are let through.
  static constexpr std::size_t kRemembered = 4096;
  // Stream numbers that the peer left out, remembered to name the mistake if it comes back to them.
  static constexpr std::size_t kGaps = 16;

 private:
  struct Head {
    std::size_t length;  // bytes of payload
    uint8_t type;
    uint8_t flags;
    int32_t stream;
    std::string_view begin;  // head, and what was asked of the payload
    bool has(uint8_t flag) const { return (flags & flag) != 0; }
  };
  static Head read_head(std::string_view bytes);
  // How many bytes of a frame must be here before it is judged.
  static std::size_t needed(std::string_view begun);

  Step look_at_held(std::string_view input, TimePoint now);
  std::optional<Fault> judge(const Head& head, TimePoint now);
  std::optional<Fault> judge_data(const Head& head);
  std::optional<Fault> judge_headers(const Head& head);
  std::optional<Fault> judge_continuation(const Head& head);
  std::optional<Fault> judge_priority(const Head& head);
  void count_priority();
  std::optional<Fault> judge_window_update(const Head& head);
  std::optional<Fault> not_open(const Head& head) const;
  std::optional<Fault> count_empty(const Head& head);
  void spend(H2Budget& budget, TimePoint now) {
    budget.spend(now);
    spent_ = true;
  }
  bool idle(int32_t id) const;
  void peer_opened(const Head& head);

  const Peer peer_;
  nghttp2_session* const session_;
  const HttpLimits& limits_;
  std::size_t preface_left_;      // bytes of the client's preface that are not here yet
  std::size_t payload_left_ = 0;  // bytes of the frame that is passing
  std::array<char, 16> held_;     // the first bytes of a frame
  std::size_t held_size_ = 0;

  IdSet receiving_;     // streams that the peer has not ended
  IdRing left_behind_;  // streams that we have ended
  std::array<std::pair<int32_t, int32_t>, kGaps> gaps_ = {};
  std::size_t next_gap_ = 0;
  int32_t last_ = 0;  // the highest number that was opened

  std::size_t continuations_ = 0;
  uint32_t empty_in_a_row_ = 0;
  uint64_t opened_ = 0;
  uint64_t data_sent_ = 0;
  uint64_t priorities_ = 0;
  uint64_t window_updates_ = 0;
  bool spent_ = false;
  H2Budget resets_{kResets};
  H2Budget glitches_{kGlitches};
  H2Budget pings_{kPings};
  H2Budget settings_{kSettings};
};

}  // namespace glia
