#include "proxy/admission/admission_desk.h"

namespace glia {

AdmissionCounts::Tenant& AdmissionCounts::tenant(std::string_view name) {
  const auto found = tenants.find(name);
  if (found != tenants.end()) return found->second;
  if (tenants.size() >= kTenantsCounted) name = kOthers;
  return tenants[std::string(name)];
}

void AdmissionDesk::limits(const AdmissionConfig& config) const {
  queue_.with([&](AdmissionQueue& queue) { queue.limits(config); });
}

AdmissionDesk::Figures AdmissionDesk::figures() const {
  return queue_.with([](const AdmissionQueue& queue) {
    Figures figures{queue.limit(), queue.at_work(), queue.cost_at_work()};
    for (int i = 0; i < AdmissionQueue::kBands; ++i) figures.waiting[i] = queue.waiting(i);
    return figures;
  });
}

// Under the lock, so a place in the queue, and with it its loop, cannot go meanwhile.
void AdmissionDesk::tell(AdmissionQueue& queue, EventLoop& here) const {
  queue.take_decided_if([&](AdmissionQueue::Ticket& ticket) {
    auto& place = static_cast<AdmissionPlace&>(ticket);
    if (&place.loop_ == &here) {
      place.told();
      return true;
    }
    if (std::exchange(place.called_, true)) return false;
    place.loop_.post([desk = place.desk_, &loop = place.loop_] {
      desk->queue_.with([&](AdmissionQueue& held) { desk->tell(held, loop); });
    });
    return false;
  });
}

void AdmissionPlace::ask(const AdmissionAsk& ask, Duration longest) {
  asked_ = true;
  const TimePoint now = loop_.now();
  desk_->queue_.with([&](AdmissionQueue& queue) {
    queue.go_on(now);  // Somebody may have raised the limits.
    queue.ask(*this, ask, now);
    decided_ = state() != AdmissionQueue::State::kWaiting;
    desk_->tell(queue, loop_);
  });
  if (!decided_) start(longest);
}

Task<void> AdmissionPlace::decision() {
  while (!decided_) co_await wait_in(slot_);
}

void AdmissionPlace::told() {
  decided_ = true;
  stop();
  slot_.wake(loop_.ready());
}

void AdmissionPlace::fire() {
  desk_->queue_.with([&](AdmissionQueue& queue) {
    queue.wait_over(*this, loop_.now());
    desk_->tell(queue, loop_);
  });
}

void AdmissionPlace::end(AdmissionQueue::End how) {
  if (!std::exchange(asked_, false)) return;
  stop();
  desk_->queue_.with([&](AdmissionQueue& queue) {
    queue.end(*this, how, loop_.now());
    desk_->tell(queue, loop_);
  });
}

}  // namespace glia
