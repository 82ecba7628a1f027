#include "proxy/xds/configuration.h"

namespace glia {

Configuration::Configuration(EventLoop& loop, Bootstrap bootstrap,
                             std::function<void(SnapshotRef)> publish)
    : bootstrap_(std::move(bootstrap)),
      draft_(std::move(bootstrap_.draft)),
      freezer_(bootstrap_.node),
      publish_(std::move(publish)),
      loop_(loop),
      publishing_(loop, [this] {
        if (snapshot() == published_) return;
        published_ = snapshot();
        publish_(published_);
      }) {
  bootstrap_.draft = Draft();
}

Result<void> Configuration::start() { return adopt(draft_); }

Result<void> Configuration::adopt(Draft draft) {
  TRY(const SnapshotRef drawn, freezer_.freeze(draft, check_));
  draft_ = std::move(draft);
  // A delay of nothing: what else this turn brings goes into the same publication.
  if (drawn != published_ && !publishing_.running()) publishing_.start(Duration::zero());
  return {};
}

Result<void> Configuration::push(ResourceKind kind, const std::string& version,
                                 const std::vector<std::string_view>& resources) {
  return push({{kind, version, resources}});
}

Result<void> Configuration::adopt_with(const std::vector<Push>& pushes) {
  Draft next = draft_;
  Errors errors;
  const WallTime now = loop_.clock().wall_now();
  for (const Push& push : pushes) {
    if (push.delta) {
      next.change(push.kind, push.version, push.resources, *push.delta, now, errors);
    } else {
      next.apply(push.kind, push.version, push.resources, now, errors, push.unsaid);
    }
  }
  next.prune();
  if (!errors.empty()) return invalid(errors.joined());
  return adopt(std::move(next));
}

Result<void> Configuration::push(const std::vector<Push>& pushes) {
  Result<void> adopted = adopt_with(pushes);
  for (const Push& push : pushes) {
    auto& refusal = refusals_[static_cast<std::size_t>(push.kind)];
    if (adopted.ok())
      refusal.reset();
    else
      refusal = Refusal{push.version, adopted.error().message(), loop_.clock().wall_now()};
  }
  return adopted;
}

Result<void> Configuration::expire(ResourceKind kind, const std::set<std::string>& names) {
  Draft next = draft_;
  next.expire(kind, names);
  next.prune();
  return adopt(std::move(next));
}

Result<void> Configuration::set_secret(SecretResource secret) {
  Draft next = draft_;
  next.set_secret(std::move(secret));
  return adopt(std::move(next));
}

}  // namespace glia
