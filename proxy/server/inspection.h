// Inspection: looks at the first bytes of a connection to find out whose it is (PROXY protocol) and
// what it speaks, before its filter chain is chosen and anything is answered. Only for listeners that
// need to know.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "proxy/net/loop.h"
#include "proxy/net/proxy_protocol.h"
#include "proxy/net/stream.h"
#include "proxy/server/sniff.h"

namespace glia {

// How long a client may be silent before the other side is asked whether it speaks first. Who speaks
// first does so at once: the connection is from this machine.
inline constexpr Duration kClientSilence = 5ms;

class Inspection final : public Reapable, private Stream::Watcher, private Timer {
 public:
  struct Plan {
    bool proxy_header = false;  // Must be there, and be right.
    bool tls = false;
    bool http = false;
    // For a client that does not say enough.
    Duration patience = 5s;
    // ... and then its connection goes on with what is known, if no PROXY header is missing.
    bool go_on = false;
    bool any() const { return proxy_header || tls || http; }
  };
  // What was found out. `stream` reads its beginning again; null unless the outcome is kFound.
  struct Finding {
    enum class Outcome : uint8_t { kFound, kTimedOut, kNoProxyHeader, kGone };
    Outcome outcome = Outcome::kGone;
    std::unique_ptr<Stream> stream;
    Sniffed sniffed;
    std::unique_ptr<Stream> upstream;  // Open; what `dial` returned, if it was needed.
  };
  // Connects to where the client wants to go, whatever it speaks.
  using Dial = std::function<std::unique_ptr<Stream>()>;
  // `found` is called once, from the top of the loop; it hands the inspection to the reaper. With
  // `dial`, a client that says nothing is not waited for where the other side speaks first.
  Inspection(EventLoop& loop, const Plan& plan, std::unique_ptr<Stream> stream,
             std::function<void(Inspection&, Finding)> found, Dial dial = nullptr);
  ~Inspection() override;

 private:
  // The other side, which may speak first.
  class Other;

  void on_open() override {}
  void on_readable() override;
  void on_writable() override {}
  void on_broken() override { give_up(Finding::Outcome::kGone); }
  void fire() override;
  void other_spoke();
  void judge();
  bool judge_header();
  void go_on(Sniffed sniffed);
  void give_up(Finding::Outcome outcome);
  void end(Finding finding);

  const Plan plan_;
  std::unique_ptr<Stream> stream_;
  std::string bytes_;                  // Read and not understood yet, without the PROXY header.
  std::optional<ProxyHeader> header_;  // Once it is complete.
  std::function<void(Inspection&, Finding)> found_;
  Dial dial_;
  CallbackTimer silence_;
  std::unique_ptr<Other> other_;  // While it is not known who speaks first.
  bool client_ended_ = false;
  bool over_ = false;
};

}  // namespace glia
