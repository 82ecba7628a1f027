#include "proxy/server/inspection.h"

#include <utility>

#include "proxy/base/log.h"
#include "proxy/net/replay_stream.h"

namespace glia {

Inspection::Inspection(EventLoop& loop, const Plan& plan, std::unique_ptr<Stream> stream,
                       std::function<void(Inspection&, Finding)> found)
    : Timer(loop), plan_(plan), stream_(std::move(stream)), found_(std::move(found)) {
  stream_->watch(*this);
  start(plan_.patience);
}

void Inspection::on_readable() {
  if (over_) return;
  char buffer[4096];
  const IoResult got = stream_->read(buffer);
  switch (got.state) {
    case IoResult::State::kWait: return;
    case IoResult::State::kError: return give_up(Finding::Outcome::kGone);
    case IoResult::State::kEnd: client_ended_ = true; break;
    case IoResult::State::kDone: bytes_.append(buffer, got.bytes); break;
  }
  judge();
}

void Inspection::judge() {
  if (plan_.proxy_header && !header_ && !judge_header()) return;
  Sniffed sniffed = sniff(bytes_, plan_.tls, plan_.http);
  if (sniffed.kind != Sniffed::Kind::kNeedMore) return go_on(std::move(sniffed));
  if (!client_ended_) return;
  // No more will come: a text that is too short to be told is whatever takes the rest.
  if (bytes_.empty()) return give_up(Finding::Outcome::kGone);
  go_on({.kind = Sniffed::Kind::kOther, .hello = {}});
}

// Returns whether the header is complete.
bool Inspection::judge_header() {
  const ProxyHeader header = read_proxy_header(bytes_);
  if (header.state == ProxyHeader::State::kComplete) {
    bytes_.erase(0, header.size);
    header_ = header;
    return true;
  }
  if (header.state == ProxyHeader::State::kMalformed || client_ended_) {
    give_up(bytes_.empty() ? Finding::Outcome::kGone : Finding::Outcome::kNoProxyHeader);
  }
  return false;
}

void Inspection::fire() {
  const bool named = !plan_.proxy_header || header_;
  if (!plan_.go_on || !named) return give_up(Finding::Outcome::kTimedOut);
  go_on({.kind = Sniffed::Kind::kOther, .hello = {}});
}

void Inspection::go_on(Sniffed sniffed) {
  Beginning beginning{.bytes = Slice::copy(bytes_),
                      .ended = client_ended_,
                      .server_name = sniffed.hello.server_name,
                      .source = {},
                      .destination = {}};
  if (header_) {
    beginning.source = header_->source;
    beginning.destination = header_->destination;
  }
  stream_->pause_reading(true);
  auto stream = std::make_unique<ReplayStream>(loop_, std::move(stream_), std::move(beginning));
  end({Finding::Outcome::kFound, std::move(stream), std::move(sniffed)});
}

void Inspection::give_up(Finding::Outcome outcome) {
  if (over_) return;
  stream_->pause_reading(true);
  end({outcome, nullptr, {}});
}

void Inspection::end(Finding finding) {
  over_ = true;
  stop();
  found_(*this, std::move(finding));
}

}  // namespace glia
