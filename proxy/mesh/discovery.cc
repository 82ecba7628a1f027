#include "proxy/mesh/discovery.h"

#include <optional>

#include "proxy/base/text.h"

namespace glia {

class Discovery::Waiting {
 public:
  Waiting(Discovery& discovery, std::string host, Duration limit)
      : discovery_(discovery),
        place_(discovery.waiting_.emplace(std::move(host), this)),
        limit_(discovery.loop_, [this] { slot.wake(discovery_.loop_.ready()); }) {
    limit_.start(limit);
  }
  Waiting(const Waiting&) = delete;
  ~Waiting() { discovery_.waiting_.erase(place_); }

  WaitSlot slot;
  std::optional<Error> refused;

 private:
  Discovery& discovery_;
  const std::multimap<std::string, Waiting*, std::less<>>::iterator place_;
  CallbackTimer limit_;
};

Task<Result<void>> Discovery::next_drawing(std::string host, Duration limit) {
  if (waiting_.size() >= kMostWaiting) {
    co_return Error(ErrorKind::kOverflow, Fault::kSelf,
                    cat(kMostWaiting,
                        " requests wait for hosts that the control plane is asked for "
                        "already"));
  }
  const bool asked = waiting_.contains(host);
  Waiting waiting(*this, host, limit + kGrace);
  if (!asked) ask_(host, limit);
  co_await wait_in(waiting.slot);
  if (waiting.refused) co_return *std::move(waiting.refused);
  co_return Result<void>();
}

void Discovery::drawing_changed() {
  for (const auto& [host, waiting] : waiting_) waiting->slot.wake(loop_.ready());
}

void Discovery::refused(std::string_view host, const Error& error) {
  const auto [begin, end] = waiting_.equal_range(host);
  for (auto at = begin; at != end; ++at) {
    at->second->refused = error;
    at->second->slot.wake(loop_.ready());
  }
}

}  // namespace glia
