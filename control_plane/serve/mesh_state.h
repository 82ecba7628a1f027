// MeshState: the objects in force, what each sidecar shall have because of them, and why the newest
// edit is not in force.
//
// Belongs to the control plane's loop. An edit replaces everything or nothing. Nearly all of what a
// sidecar gets is the same for all workloads of its namespace that may call the same Services, so
// that is made once for them, Service by Service: an edit of one object makes only what that object
// changes, and shares the rest with what was there before (resource_map.h).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "control_plane/objects/live_set.h"
#include "control_plane/serve/node_resources.h"
#include "proxy/base/result.h"

namespace glia {

// Who asks: a proxy beside the application, or the application itself, with gRPC's own xDS.
enum class ClientKind : uint8_t { kSidecar, kProxyless };

class MeshState {
 public:
  // `objects` of a report that is ok(), combined from `readings`; none if edits come whole.
  explicit MeshState(ObjectSet objects, const std::vector<ReadingRef>& readings = {});

  // Of all that is there at the start, apart from what is set aside. An error: every mistake, one a line.
  static Result<MeshState> open(const std::vector<ReadingRef>& readings,
                                const std::vector<Problem>& unreadable);

  enum class Edit : uint8_t {
    kTaken,      // The objects are in force now.
    kUnchanged,  // They say what is in force already; earlier errors are settled.
    kRefused,    // Nothing changed; see errors().
  };
  Edit apply(LoadReport report);
  // The same, for the cost of what it changes.
  Edit apply(const SourceEdit& edit);
  // What the newest sources would be without those of these names, and with these: are they right?
  LoadReport preview(const std::vector<std::string>& without,
                     const std::vector<ReadingRef>& with) const;

  // Makes what was in force before the newest edit that was taken be in force again. What that edit, and
  // those before it that were refused, said is not looked at again until it is edited.
  void take_back();
  // That edit stays; forgets the way back.
  void keep() { undo_.reset(); }

  // Does a mistake in that source concern that one alone?
  bool stands_alone(const std::string& source) const;

  // How far the canaries are, those of these objects and of those that will be applied. Did that
  // change anything?
  bool split(CanarySplits splits);

  // Who is not among the endpoints, of these objects and of those that will be applied. Did that change
  // anything?
  bool away(const AwayWorkloads& away);
  const AwayWorkloads& away() const { return away_; }
  // Those that hold what they have used give it back after so long without use; before the first is served.
  void forget_hosts_after(Duration idle) { host_idle_ = idle; }

  const ObjectSet& objects() const { return live_.objects(); }
  // Of the newest edit; empty if it is in force. One "file:line:column: sentence" each.
  const std::vector<std::string>& errors() const { return errors_; }
  const std::vector<std::string>& warnings() const { return warnings_; }
  // Sources whose newest text is not in force, though all others are (MistakesOf::kThisSource), and why.
  const std::map<std::string, std::string>& set_aside() const { return set_aside_; }
  // Made on first use and kept until the objects change; null if there is no such workload.
  std::shared_ptr<const NodeResources> resources(std::string_view workload,
                                                 ClientKind client = ClientKind::kSidecar);
  // The same for a sidecar that holds only what it has used: `used` as find_host() names it. It holds all
  // relayed Services that it may call, too: a relayed connection names no host that could be asked for.
  std::shared_ptr<const NodeResources> resources(std::string_view workload,
                                                 const std::set<std::string>& used);
  // The way to all that its sidecar may call, whether it holds that already or will when it has used it;
  // null if there is no such workload.
  std::shared_ptr<const NodeResources> callable(std::string_view workload);

 private:
  using NodeRef = std::shared_ptr<const NodeResources>;
  using OutboundKey = std::pair<std::string, ClientKind>;
  // By namespace, the Services that its workloads may call (none: all), and kind of client; and which of
  // them were used so far, of sidecars that hold no others.
  using WithinKey = std::tuple<std::string, std::vector<std::string>, ClientKind,
                               std::optional<std::vector<std::string>>>;
  struct Names {
    std::set<std::string> listeners, hosts;
  };
  // The way to every Service, for a namespace and a kind of client.
  struct Outbound {
    ResourceMap clusters, endpoints, listeners, hosts;
    NodeRef packed;
    // By place of a Service: what it has here, clusters to which its hosts lead, those of its relayed
    // ports, and who of those that hold only some Services has something of it.
    std::map<std::size_t, Names> made_of;
    std::map<std::size_t, std::set<std::string>> leads_to;
    std::map<std::size_t, std::set<std::string>> relayed;  // Clusters; only of who has some.
    std::map<std::size_t, std::set<WithinKey>> users;
    std::map<std::string, std::size_t, std::less<>> owners;  // Cluster -> place of its Service.
  };
  struct Whole {
    NodeRef own, shared, made;
  };
  struct Made {
    std::map<std::string, NodeRef, std::less<>> own;  // By workload.
    std::map<OutboundKey, Outbound> outbound;
    std::map<WithinKey, NodeRef> within;  // Of workloads that hold only some Services.
    std::map<OutboundKey, Whole> whole;   // By workload.
  };

  using Sources = std::map<std::string, ReadingRef>;  // Null: it was not there.
  struct Undo {
    Sources readings = {};             // As they were in force.
    std::optional<LiveSet> live = {};  // Nothing: objects of some sources were replaced.
    // As they were.
    std::map<std::string, std::string> set_aside = {};
    Sources in_place = {};
  };

  bool note(const std::vector<Problem>& problems);
  static LoadReport combine_all(const Sources& readings);
  LoadReport combine_usable();
  bool replace_each(SourceEdit& edit);
  bool remember(const SourceEdit& edit);
  bool replace(const SourceEdit& edit);
  void remake(const Touched& touched);
  bool replace_back(const Sources& readings);
  NodeRef own(const Workload& workload);
  static Names put(Resources made, ClientKind client, const Outbound& before, Outbound& out);
  void put_service(std::size_t place, const OutboundKey& key, const Outbound& before,
                   Outbound& out) const;
  static void pack_all(const NodeRef& before, Outbound& out);
  Outbound& outbound(const std::string& ns, ClientKind client);
  NodeRef within(const WithinKey& key);
  // Forgets what sidecars have used at some time and no more.
  void forget_used();
  NodeRef shared(const Workload& workload, ClientKind client);
  NodeRef whole(const Workload& workload, ClientKind client, const NodeRef& shared);

  LiveSet live_;
  CanarySplits splits_;
  AwayWorkloads away_;
  // The newest of each source, and whether they are what is in force.
  Sources readings_;
  Sources in_force_readings_;  // Of sources that were edited since: what of them is in force.
  std::optional<Undo> undo_;
  // Of set_aside(): what is in force in the place of the newest; null: nothing.
  Sources in_place_;
  Sources before_edit_;  // In force before edits that are not yet.
  std::map<std::string, std::string> set_aside_;
  std::vector<Problem> unreadable_;
  bool in_force_ = true;
  PackedRef undiscovered_;  // kUnknownHost of those that hold what they have used.
  std::optional<Duration> host_idle_;
  std::size_t most_within_ = 1000;  // Beyond it, forget_used().
  std::vector<std::string> errors_, warnings_;
  Made now_, before_;  // Of the objects in force, and of those before them.
};

}  // namespace glia
