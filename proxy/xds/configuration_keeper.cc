#include "proxy/xds/configuration_keeper.h"

#include <algorithm>
#include <utility>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/xds/kept_configuration.h"

namespace glia {

ConfigurationKeeper::ConfigurationKeeper(EventLoop& loop, const Configuration& configuration,
                                         const AdsClient& ads, std::string owner, Write write)
    : loop_(loop),
      configuration_(configuration),
      ads_(ads),
      owner_(std::move(owner)),
      write_(std::move(write)),
      timer_(loop, [this] { begin(); }) {}

void ConfigurationKeeper::changed() {
  changed_ = true;
  if (writing_) return;
  if (!since_) since_ = loop_.now();
  TimePoint due = std::min(loop_.now() + kSettle, *since_ + kBetweenWrites);
  if (last_) due = std::max(due, *last_ + (trouble_.empty() ? kBetweenWrites : kTryAgain));
  timer_.start(std::max(due - loop_.now(), Duration::zero()));
}

Result<std::string> ConfigurationKeeper::content() const {
  std::string all = encode_kept(
      configuration_.draft(),
      [this](ResourceKind kind, const std::string& name) { return ads_.time_left(kind, name); },
      owner_, loop_.clock().wall_now());
  if (all.size() <= kMostKept) return all;
  return invalid(cat("it has ", all.size(), " bytes, and at most ", kMostKept,
                     " are kept; name what this workload calls in spec.egress of its Workload"));
}

void ConfigurationKeeper::begin() {
  since_.reset();
  // A start with a part would be worse than one with an older file. What completes it is a change.
  if (!ads_.was_complete()) return;
  last_ = loop_.now();
  changed_ = false;
  Result<std::string> all = content();
  if (!all) return note(all.error());
  writing_ = true;
  const std::size_t size = all->size();
  write_(*std::move(all), [this, size](const Result<void>& result) { ended(size, result); });
}

void ConfigurationKeeper::ended(std::size_t size, const Result<void>& result) {
  writing_ = false;
  if (result) {
    ++written_;
    size_ = size;
    trouble_.clear();
  } else {
    note(result.error());
    changed_ = true;
  }
  if (changed_) changed();
}

void ConfigurationKeeper::note(const Error& error) {
  ++failed_;
  if (error.message() == trouble_) return;
  trouble_ = error.message();
  LOG(warning,
      "the configuration is not kept on disk, a restart without control plane would begin ",
      size_ == 0 ? "with what an earlier run has kept, if anything: " : "with an older one: ",
      trouble_);
}

std::optional<std::string> ConfigurationKeeper::unwritten() {
  // A write that is under way may still fail; then the file before stays, which is good, too.
  if (!ads_.was_complete() || !std::exchange(changed_, false)) return {};
  timer_.stop();
  Result<std::string> all = content();
  if (all) return *std::move(all);
  note(all.error());
  return {};
}

}  // namespace glia
