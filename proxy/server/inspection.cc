#include "proxy/server/inspection.h"

#include <utility>

#include "proxy/net/replay_stream.h"

namespace glia {

Inspection::Inspection(EventLoop& loop, std::unique_ptr<Stream> stream,
                       std::function<void(Inspection&, Finding)> found)
    : Timer(loop), stream_(std::move(stream)), found_(std::move(found)) {
  stream_->watch(*this);
  start(kPatience);
}

void Inspection::on_readable() {
  if (ended_) return;
  char buffer[4096];
  const IoResult got = stream_->read(buffer);
  if (got.state == IoResult::State::kWait) return;
  if (got.state != IoResult::State::kDone) return end({});
  bytes_.append(buffer, got.bytes);
  ClientHello hello = read_client_hello(bytes_);
  if (hello.state == ClientHello::State::kNeedMore) return;
  Finding finding;
  finding.tls = hello.state == ClientHello::State::kComplete;
  finding.hello = std::move(hello);
  finding.stream = std::make_unique<ReplayStream>(
      loop_, std::move(stream_),
      Beginning{.bytes = Slice::copy(bytes_), .server_name = finding.hello.server_name});
  end(std::move(finding));
}

void Inspection::end(Finding finding) {
  if (std::exchange(ended_, true)) return;
  stop();
  if (stream_ != nullptr) stream_->pause_reading(true);
  found_(*this, std::move(finding));
}

}  // namespace glia
