#include "proxy/admission/admission_queue.h"

#include <algorithm>
#include <cmath>

#include "proxy/base/check.h"

namespace glia {
namespace {

// What ended counts by so much less with each that ends after it.
constexpr double kFade = 1 - 1.0 / 128;
// Mean deviations above the mean. 2 are enough for 97 % of what is distributed normally (at 1.25 to a
// standard deviation, 95 % on both sides).
constexpr double kMargin = 2;

Duration from_seconds(double seconds) {
  // Far beyond any wait, and not more than a Duration holds.
  return Duration(static_cast<int64_t>(std::min(seconds, 1e8) * 1e9));
}

}  // namespace

void AdmissionQueue::Tickets::push(Ticket& ticket) {
  ticket.in_ = this;
  ticket.previous_ = last_;
  ticket.next_ = nullptr;
  (last_ != nullptr ? last_->next_ : first_) = &ticket;
  last_ = &ticket;
}

void AdmissionQueue::Tickets::remove(Ticket& ticket) {
  CHECK(ticket.in_ == this);
  (ticket.previous_ != nullptr ? ticket.previous_->next_ : first_) = ticket.next_;
  (ticket.next_ != nullptr ? ticket.next_->previous_ : last_) = ticket.previous_;
  ticket.in_ = nullptr;
  ticket.next_ = ticket.previous_ = nullptr;
}

void AdmissionQueue::limits(const AdmissionConfig& config) {
  config_ = config;
  config_.desk = nullptr;  // It may be the owner of this queue, and would never go.
  learned_.most(config.most_concurrency);
}

uint32_t AdmissionQueue::limit() const {
  return config_.concurrency > 0 ? config_.concurrency : learned_.value();
}

// The last one may pass the limit of cost: else one that costs more than all of it never began.
bool AdmissionQueue::room() const {
  return at_work_ < limit() && (config_.cost_at_once == 0 || cost_at_work_ < config_.cost_at_once);
}

Duration AdmissionQueue::work(uint64_t cost) const {
  if (units_ <= 0) return Duration::zero();
  return from_seconds(seconds_ / units_ * static_cast<double>(cost));
}

// What is nearly always enough: work that ends too late is lost, but a queue that is shorter than it could
// be loses nothing as long as somebody waits in it.
Duration AdmissionQueue::work_at_most(uint64_t cost) const {
  if (units_ <= 0) return Duration::zero();
  return from_seconds((seconds_ + kMargin * off_) / units_ * static_cast<double>(cost));
}

// An urgent one is let in while it is likelier than not that it ends in time.
Duration AdmissionQueue::work_in_band(int band, uint64_t cost) const {
  return band == 0 ? work(cost) : work_at_most(cost);
}

// So many are worked on at once.
Duration AdmissionQueue::wait_behind(uint64_t cost) const {
  return work(cost) / std::max<uint32_t>(1, at_work_);
}

// What has its turn before a request of `cost` at the end of `line`, which may be null: of each other
// tenant as much as of its own.
uint64_t AdmissionQueue::cost_ahead(int band, const Line* line, uint64_t cost) const {
  const uint64_t own = line != nullptr ? line->cost : 0;
  uint64_t ahead = 0;
  for (const Line& other : bands_[band].lines) {
    ahead += &other == line ? own : std::min(other.cost, own + cost);
  }
  // More urgent ones: but every so many-th turn is not theirs.
  for (int i = band - 1; i >= 0; --i) {
    ahead += std::min(bands_[i].cost, (kTurns - 1) * (ahead + cost));
  }
  return ahead;
}

AdmissionQueue::Line* AdmissionQueue::line_of(int band, std::string_view tenant) {
  const auto found = bands_[band].by_tenant.find(tenant);
  return found == bands_[band].by_tenant.end() ? nullptr : &*found->second;
}

void AdmissionQueue::ask(Ticket& ticket, const AdmissionAsk& ask, TimePoint now) {
  CHECK(ticket.state_ == State::kNew);
  ticket.cost_ = std::clamp<uint64_t>(ask.cost, 1, kMostCost);
  ticket.asked_ = now;
  ticket.deadline_ = ask.deadline;
  const double cost = static_cast<double>(ticket.cost_);
  mean_cost_ = mean_cost_ > 0 ? mean_cost_ + (cost - mean_cost_) * (1 - kFade) : cost;
  // Whatever was learned of how long work takes may be wrong: an idle application is asked.
  if (waiting_ == 0 && room()) return begin(ticket, now);

  const int band = band_of(ask.priority);
  Line* const line = line_of(band, ask.tenant);
  AdmissionRefusal& facts = ticket.refusal_;
  facts.waiting = waiting_;
  facts.of_tenant = line != nullptr ? line->waiting : 0;
  facts.wait = wait_behind(cost_ahead(band, line, ticket.cost_));
  facts.work = work_in_band(band, ticket.cost_);
  if (ask.deadline) facts.left = std::max(Duration::zero(), *ask.deadline - now);
  facts.come_again = std::clamp<Duration>(facts.wait, 1s, kLongestComeAgain);
  std::optional<AdmissionWhy> why = no_hope(facts, ask.deadline.has_value());
  if (!why && waiting_ >= config_.queue) why = make_room(band, line, ticket.cost_, now);
  if (!why) return enqueue(ticket, band, line_of(band, ask.tenant), ask.tenant);
  facts.why = *why;
  ticket.state_ = State::kRefused;
}

std::optional<AdmissionWhy> AdmissionQueue::no_hope(const AdmissionRefusal& facts,
                                                    bool has_deadline) const {
  if (has_deadline && facts.wait + facts.work > facts.left) return AdmissionWhy::kDeadline;
  if (facts.wait > config_.wait) return AdmissionWhy::kWait;
  return {};
}

// The place of the least urgent, and there of the tenant with the most: the youngest that it has.
// `line`: of the one that asks; null if it is its tenant's first.
std::optional<AdmissionWhy> AdmissionQueue::make_room(int band, const Line* line, uint64_t cost,
                                                      TimePoint now) {
  int least = kBands - 1;
  while (least > band && bands_[least].lines.empty()) --least;
  const std::list<Line>& lines = bands_[least].lines;
  if (lines.empty()) return AdmissionWhy::kQueueFull;
  const Line& most = *std::ranges::max_element(lines, {}, &Line::cost);
  if (least == band) {
    const uint64_t own = line != nullptr ? line->cost : 0;
    const bool alone = waiting_ == most.waiting;
    if (&most == line) return alone ? AdmissionWhy::kQueueFull : AdmissionWhy::kShare;
    if (most.cost <= own + cost) return AdmissionWhy::kQueueFull;
  }
  give_up(*most.tickets.last(), least == band ? AdmissionWhy::kShare : AdmissionWhy::kUrgent, now);
  return {};
}

// `line`: the tenant's, if it has one.
void AdmissionQueue::enqueue(Ticket& ticket, int number, Line* line, std::string_view tenant) {
  Band& band = bands_[number];
  if (line == nullptr) {
    line = &band.lines.emplace_back();
    line->tenant = tenant;
    line->band = number;
    band.by_tenant.emplace(line->tenant, std::prev(band.lines.end()));
  }
  line->tickets.push(ticket);
  line->cost += ticket.cost_;
  ++line->waiting;
  band.cost += ticket.cost_;
  ++band.waiting;
  ++waiting_;
  ticket.line_ = line;
  ticket.state_ = State::kWaiting;
}

void AdmissionQueue::leave_line(Ticket& ticket) {
  Line& line = *ticket.line_;
  Band& band = bands_[line.band];
  line.tickets.remove(ticket);
  ticket.line_ = nullptr;
  line.cost -= ticket.cost_;
  --line.waiting;
  band.cost -= ticket.cost_;
  --band.waiting;
  --waiting_;
  if (line.waiting > 0) return;
  const auto found = band.by_tenant.find(line.tenant);
  const auto place = found->second;
  band.by_tenant.erase(found);
  band.lines.erase(place);
}

AdmissionQueue::Band& AdmissionQueue::band_in_turn() {
  int last = kBands - 1;
  while (bands_[last].waiting == 0) --last;
  for (int i = 0; i < last; ++i) {
    Band& band = bands_[i];
    if (band.waiting == 0) continue;
    if (++band.turns < kTurns) return band;
    band.turns = 0;
  }
  return bands_[last];
}

AdmissionQueue::Ticket& AdmissionQueue::ticket_in_turn() {
  Band& band = band_in_turn();
  const auto can_pay = [](const Line& line) { return line.credit >= line.tickets.first()->cost_; };
  auto line = std::ranges::find_if(band.lines, can_pay);
  if (line == band.lines.end()) {
    // So many rounds that the first one can, all at once.
    const auto quantum = std::max<uint64_t>(1, static_cast<uint64_t>(mean_cost_));
    uint64_t rounds = kMostCost;
    for (const Line& each : band.lines) {
      rounds = std::min(rounds, (each.tickets.first()->cost_ - each.credit - 1) / quantum + 1);
    }
    for (Line& each : band.lines) each.credit += rounds * quantum;
    line = std::ranges::find_if(band.lines, can_pay);
  }
  // Who could not pay has had its turn.
  band.lines.splice(band.lines.end(), band.lines, band.lines.begin(), line);
  Ticket& ticket = *line->tickets.first();
  line->credit -= ticket.cost_;
  if (ticket.next_ != nullptr && line->credit < ticket.next_->cost_) {
    band.lines.splice(band.lines.end(), band.lines, line);
  }
  return ticket;
}

void AdmissionQueue::begin(Ticket& ticket, TimePoint now) {
  ticket.state_ = State::kAtWork;
  ticket.begun_ = now;
  ++at_work_;
  cost_at_work_ += ticket.cost_;
}

void AdmissionQueue::give_up(Ticket& ticket, AdmissionWhy why, TimePoint now) {
  AdmissionRefusal& facts = ticket.refusal_;
  facts.why = why;
  facts.waited = true;
  facts.waiting = waiting_;
  facts.of_tenant = ticket.line_->waiting;
  facts.wait = now - ticket.asked_;
  facts.work = work_in_band(ticket.line_->band, ticket.cost_);
  if (ticket.deadline_) facts.left = std::max(Duration::zero(), *ticket.deadline_ - now);
  leave_line(ticket);
  ticket.state_ = State::kRefused;
  decided_.push(ticket);
}

void AdmissionQueue::go_on(TimePoint now) {
  while (waiting_ > 0 && room()) {
    Ticket& ticket = ticket_in_turn();
    const Duration needs = work_in_band(ticket.line_->band, ticket.cost_);
    if (ticket.deadline_ && now + needs > *ticket.deadline_) {
      give_up(ticket, AdmissionWhy::kDeadline, now);
      continue;
    }
    leave_line(ticket);
    begin(ticket, now);
    decided_.push(ticket);
  }
}

void AdmissionQueue::wait_over(Ticket& ticket, TimePoint now) {
  if (ticket.state_ != State::kWaiting) return;
  const bool late = ticket.deadline_ && now >= *ticket.deadline_;
  give_up(ticket, late ? AdmissionWhy::kDeadline : AdmissionWhy::kWait, now);
}

void AdmissionQueue::end(Ticket& ticket, End how, TimePoint now) {
  if (ticket.state_ == State::kWaiting) leave_line(ticket);
  if (ticket.in_ == &decided_) decided_.remove(ticket);
  const bool at_work = ticket.state_ == State::kAtWork;
  ticket.state_ = State::kOver;
  if (!at_work) return;
  if (how == End::kDone) {
    const Duration took = now - ticket.begun_;
    learn(to_seconds(took), static_cast<double>(ticket.cost_));
    // Of those that were let in: who writes what nobody could do teaches nothing.
    learned_.ended(
        took, at_work_,
        ticket.deadline_ ? std::optional(*ticket.deadline_ - ticket.asked_) : std::nullopt);
  }
  --at_work_;
  cost_at_work_ -= ticket.cost_;
  go_on(now);
}

void AdmissionQueue::learn(double seconds, double cost) {
  const double expected = units_ > 0 ? seconds_ / units_ * cost : seconds;
  off_ = off_ * kFade + std::abs(seconds - expected);
  seconds_ = seconds_ * kFade + seconds;
  units_ = units_ * kFade + cost;
}

AdmissionQueue::Ticket* AdmissionQueue::take_decided() {
  Ticket* const ticket = decided_.first();
  if (ticket != nullptr) decided_.remove(*ticket);
  return ticket;
}

}  // namespace glia
