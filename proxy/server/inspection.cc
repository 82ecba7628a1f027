#include "proxy/server/inspection.h"

#include <utility>

#include "proxy/base/log.h"
#include "proxy/net/replay_stream.h"

namespace glia {

class Inspection::Other final : private Stream::Watcher {
 public:
  Other(Inspection& inspection, std::unique_ptr<Stream> stream)
      : inspection_(inspection), stream_(std::move(stream)) {
    stream_->watch(*this);
  }
  // Null if it is not open (any more).
  std::unique_ptr<Stream> take() {
    if (!open_) return nullptr;
    stream_->pause_reading(true);
    return std::move(stream_);
  }

 private:
  void on_open() override { open_ = true; }
  void on_readable() override {
    stream_->pause_reading(true);
    inspection_.other_spoke();
  }
  void on_writable() override {}
  // Nothing to wait for either: the chain for the rest says what is wrong.
  void on_broken() override {
    open_ = false;
    inspection_.other_spoke();
  }

  Inspection& inspection_;
  std::unique_ptr<Stream> stream_;
  bool open_ = false;
};

Inspection::Inspection(EventLoop& loop, const Plan& plan, std::unique_ptr<Stream> stream,
                       std::function<void(Inspection&, Finding)> found, Dial dial)
    : Timer(loop),
      plan_(plan),
      stream_(std::move(stream)),
      found_(std::move(found)),
      dial_(std::move(dial)),
      silence_(loop, [this] {
        if (!over_ && bytes_.empty()) other_ = std::make_unique<Other>(*this, dial_());
      }) {
  stream_->watch(*this);
  start(plan_.patience);
  if (dial_) silence_.start(kClientSilence);
}

Inspection::~Inspection() = default;

// A client that has begun to speak is heard to the end of its first words.
void Inspection::other_spoke() {
  if (over_ || !bytes_.empty()) return;
  go_on({.kind = Sniffed::Kind::kOther, .hello = {}});
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
  const bool wanted = other_ != nullptr && sniffed.kind == Sniffed::Kind::kOther;
  auto upstream = wanted ? other_->take() : nullptr;
  end({Finding::Outcome::kFound, std::move(stream), std::move(sniffed), std::move(upstream)});
}

void Inspection::give_up(Finding::Outcome outcome) {
  if (over_) return;
  stream_->pause_reading(true);
  end({outcome, nullptr, {}, nullptr});
}

void Inspection::end(Finding finding) {
  over_ = true;
  stop();
  silence_.stop();
  found_(*this, std::move(finding));
}

}  // namespace glia
