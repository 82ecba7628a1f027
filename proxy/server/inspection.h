// Inspection: looks at the first bytes of a connection to find its filter chain, before anything is
// answered. Only for listeners whose chains ask for what the client sends first.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "proxy/mesh/filter_chain.h"
#include "proxy/net/client_hello.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

class Inspection final : public Reapable, private Stream::Watcher, private Timer {
 public:
  // A client that sends nothing for so long is let go (Envoy's listener_filters_timeout).
  static constexpr Duration kPatience = 15s;

  // What was found out. `stream` reads its beginning again; null if the connection ended or the time
  // ran out.
  struct Finding {
    std::unique_ptr<Stream> stream;
    bool tls = false;
    ClientHello hello;
  };
  // `found` is called once, from the top of the loop; it hands the inspection to the reaper.
  Inspection(EventLoop& loop, std::unique_ptr<Stream> stream,
             std::function<void(Inspection&, Finding)> found);

 private:
  void on_open() override {}
  void on_readable() override;
  void on_writable() override {}
  void on_broken() override { end({}); }
  void fire() override { end({}); }
  void end(Finding finding);

  std::unique_ptr<Stream> stream_;
  std::string bytes_;
  std::function<void(Inspection&, Finding)> found_;
  bool ended_ = false;
};

}  // namespace glia
