// HostDemand: asks the control plane for hosts by name (glia.v1.Host over delta ADS), for a sidecar that
// holds only what it has used.
//
// A found host comes as a part of the routes, behind its clusters and endpoints, as any change does;
// here is only noted that it was asked for. What is held is asked for again when a stream begins, so
// that the control plane, which remembers nothing, does not take it away. What nobody has used for a while
// is unsubscribed from, and goes as it came; never while the control plane is away, because then
// nothing could be found again. Belongs to the main thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/net/loop.h"
#include "proxy/xds/configuration.h"
#include "proxy/xds/push.h"

namespace glia {

class HostDemand {
 public:
  static constexpr std::string_view kType = "glia.v1.Host";
  static constexpr std::size_t kMostHosts = 1000;     // That are asked for at a time.
  static constexpr Duration kBetweenRequests = 50ms;  // At least, so that names go together.

  // How often it is looked for who uses what: a quarter of the idle time, within these.
  static constexpr Duration kLookOften = 1s, kLookSeldom = 60s;

  using Send = std::function<void(Message request)>;
  // There is no such host, it may not be called, or nobody has said within the time.
  using Refused = std::function<void(const std::string& host, const Error& error)>;
  // All outlive it. `send` is called while a stream is open only.
  HostDemand(EventLoop& loop, const Configuration& configuration, Send send, Refused refused);

  void want(const std::string& host, Duration limit);
  // A stream is open: asks again for all that is held or wanted. To be told before anything is asked.
  void opened();
  void ended(std::string_view why);
  // The control plane has said something on this stream.
  void heard() { why_ended_.clear(); }
  // What `push` says of hosts; answered.
  void take(const PushedResources& push);
  // The resources that are held have changed.
  void look();

  // From now on what is not used is given back. `ask` is called now and then, where there is something to
  // give back, and answered by used(), at once or later.
  void forget_idle(std::function<void()> ask);
  // Clusters that somebody has used since the last time, or uses now.
  void used(const std::set<std::string>& clusters);
  uint64_t given_back() const { return given_back_; }  // Hosts.

 private:
  struct Wanted {
    TimePoint until;
    Duration limit;
    bool sent = false;  // On this stream.
  };
  void send_wanted();
  void give_up();
  void wake_for_first();
  bool held(std::string_view host) const;
  // Hosts that differ in their ports only: one Service, or one workload.
  struct Group {
    std::vector<std::string> hosts;
    std::set<std::string_view> clusters;
    Duration idle;  // Before they are given back.
  };
  std::map<std::string, Group> groups() const;
  void plan_looking();
  void give_back(const std::vector<std::string>& hosts);
  std::vector<std::string> all_held() const;

  EventLoop& loop_;
  const Configuration& configuration_;
  const Send send_;
  const Refused refused_;
  std::map<std::string, Wanted, std::less<>> wanted_;
  CallbackTimer sending_, giving_up_, looking_;
  std::function<void()> ask_used_;              // Null: nothing is given back.
  std::map<std::string, TimePoint> last_used_;  // By group.
  uint64_t given_back_ = 0;
  std::optional<TimePoint> last_sent_;
  std::string why_ended_;  // The last stream; "" once one was heard after that.
  bool open_ = false;
};

}  // namespace glia
