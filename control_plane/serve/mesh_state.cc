#include "control_plane/serve/mesh_state.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "control_plane/translate/find_host.h"
#include "control_plane/translate/outbound.h"
#include "control_plane/translate/proxyless.h"
#include "control_plane/translate/routes.h"
#include "control_plane/translate/scope.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using NodeRef = std::shared_ptr<const NodeResources>;

// Certificates of one domain mean nothing in another, and ours can only sign for the first.
std::string trust_domain_changed(const ObjectSet& old, const ObjectSet& edited) {
  return cat("Mesh ", edited.mesh.metadata.name, ": spec.trustDomain cannot change from ",
             old.mesh.spec.trust_domain, " to ", edited.mesh.spec.trust_domain,
             " while the mesh runs; stop glia-control and start it with a new --state-dir, then "
             "let every sidecar join again");
}

template <class Map, class Key>
NodeRef find(const Map& map, const Key& key) {
  const auto found = map.find(key);
  return found == map.end() ? nullptr : found->second;
}

// What is the same stays the same object, so that those who hold it see that at a glance.
NodeRef kept(const NodeRef& before, NodeRef made) {
  if (before == nullptr) return made;
  for (const XdsType type : kXdsTypes) {
    if (before->of(type).version != made->of(type).version) return made;
  }
  return before;
}

PackedRef held(const ResourceMap& map, const std::string& name) {
  const ResourceMap::Entry* found = map.find(name);
  return found == nullptr ? nullptr : found->resource;
}

NodeResources::Kind table_of(const ResourceMap& hosts, const NodeRef& before) {
  PackedRef table = pack_table(kOutboundName, hosts);
  if (before != nullptr) {
    const ResourceMap& tables = before->of(XdsType::kRoutes).resources;
    const PackedRef old = held(tables, kOutboundName);
    if (same_content(old, table)) table = old;
  }
  ResourceMap only;
  only.set(kOutboundName, std::move(table));
  return kind_of(std::move(only));
}

}  // namespace

MeshState::MeshState(ObjectSet objects, const std::vector<ReadingRef>& readings)
    : live_(std::move(objects)) {
  for (const ReadingRef& reading : readings) readings_[reading->name] = reading;
}

Result<MeshState> MeshState::open(const std::vector<ReadingRef>& readings,
                                  const std::vector<Problem>& unreadable) {
  MeshState state(ObjectSet(), readings);
  LoadReport report = state.combine_usable();
  report.problems.insert(report.problems.begin(), unreadable.begin(), unreadable.end());
  if (state.note(report.problems)) {
    return invalid(cat("the mesh cannot be used:\n", report.errors()));
  }
  state.live_ = LiveSet(std::move(report.objects));
  return state;
}

// Sorts problems into errors_ and warnings_; are there errors?
bool MeshState::note(const std::vector<Problem>& problems) {
  errors_.clear();
  warnings_.clear();
  for (const Problem& problem : problems) {
    const bool error = problem.severity == Problem::Severity::kError;
    (error ? errors_ : warnings_).push_back(problem.text());
  }
  return !errors_.empty();
}

MeshState::Edit MeshState::apply(LoadReport report) {
  const ObjectSet& old = objects();
  note(report.problems);
  if (errors_.empty() && report.objects.mesh.spec.trust_domain != old.mesh.spec.trust_domain) {
    const Metadata& mesh = report.objects.mesh.metadata;
    errors_.push_back(
        cat(mesh.file, ":", mesh.at.line, ": ", trust_domain_changed(old, report.objects)));
  }
  if (!errors_.empty()) {
    in_force_ = false;
    return Edit::kRefused;
  }
  in_force_ = true;
  before_edit_.clear();
  if (report.objects.sources == old.sources) return Edit::kUnchanged;
  undo_ = Undo{.live = std::exchange(live_, LiveSet(std::move(report.objects)))};
  live_.split(splits_);
  (void)live_.away(away_);
  before_ = std::exchange(now_, {});
  return Edit::kTaken;
}

// Are the newest sources others than before?
bool MeshState::remember(const SourceEdit& edit) {
  bool changed = false;
  for (const ReadingRef& reading : edit.read) {
    ReadingRef& held = readings_[reading->name];
    const bool in_use = held != nullptr && !set_aside_.contains(reading->name);
    if (in_use && held->mistakes == MistakesOf::kThisSource) {
      before_edit_.try_emplace(reading->name, held);
    }
    changed = changed || held == nullptr || held->digest != reading->digest;
    in_force_readings_.try_emplace(reading->name, held);
    held = reading;
  }
  for (const std::string& name : edit.gone) {
    const auto held = readings_.find(name);
    if (held == readings_.end()) continue;
    in_force_readings_.try_emplace(name, held->second);
    if (held->second->mistakes == MistakesOf::kThisSource && !set_aside_.contains(name)) {
      before_edit_.try_emplace(name, held->second);
    }
    readings_.erase(held);
    changed = true;
  }
  return changed;
}

// Of objects that come one by one, those first that concern few others. Takes them out of the edit; was there any?
bool MeshState::replace_each(SourceEdit& edit) {
  const bool one_by_one = !edit.read.empty() && edit.gone.empty() &&
                          std::ranges::all_of(edit.read, [](const ReadingRef& reading) {
                            return reading->mistakes == MistakesOf::kThisSource;
                          });
  if (!one_by_one) return false;
  Sources before;
  const auto taken = [&](const ReadingRef& reading) {
    if (!replace({.read = {reading}, .gone = {}, .unreadable = {}})) return false;
    before.merge(undo_->readings);
    return true;
  };
  if (std::erase_if(edit.read, taken) == 0) return false;
  undo_ = Undo{.readings = std::move(before)};
  return true;
}

MeshState::Edit MeshState::apply(const SourceEdit& given) {
  SourceEdit edit = given;
  if (edit.unreadable) unreadable_ = *edit.unreadable;
  // What was set aside may be right now, or not be needed any more: for that, all are looked at.
  const bool all_good = in_force_ && unreadable_.empty() && set_aside_.empty();
  if (all_good && replace(edit)) return Edit::kTaken;
  const bool some = all_good && replace_each(edit);
  if (some && edit.read.empty()) return Edit::kTaken;
  Sources replaced = some ? undo_->readings : Sources();
  Undo before{.set_aside = set_aside_, .in_place = in_place_};
  const bool changed = remember(edit);
  if (note(unreadable_)) {
    in_force_ = false;
    return Edit::kRefused;
  }
  if (!changed && in_force_) {
    in_force_readings_.clear();
    return some ? Edit::kTaken : Edit::kUnchanged;
  }
  const Edit outcome = apply(combine_usable());
  if (outcome == Edit::kTaken) {
    before.readings = in_force_readings_;
    if (some) {
      before.readings.merge(replaced);
    } else {
      before.live = std::move(undo_->live);
    }
    undo_ = std::move(before);
  }
  if (outcome != Edit::kRefused) in_force_readings_.clear();
  if (!some) return outcome;
  // What of the edit was taken one by one can be taken back; what is wrong in it stays set aside.
  if (outcome != Edit::kTaken) {
    undo_->set_aside = set_aside_;
    undo_->in_place = in_place_;
  }
  return Edit::kTaken;
}

// Makes one source say again what it said; could that be done for the cost of it?
bool MeshState::replace_back(const Sources& readings) {
  static const Reading kNothing;
  if (readings.size() != 1) return false;
  const auto& [name, earlier] = *readings.begin();
  const auto held = readings_.find(name);
  const Reading& now = held == readings_.end() ? kNothing : *held->second;
  std::vector<Problem> heard_before;
  const std::optional<Touched> touched =
      live_.replace(now, earlier == nullptr ? kNothing : *earlier, heard_before);
  if (touched) remake(*touched);
  return touched.has_value();
}

void MeshState::take_back() {
  if (!undo_) return;
  Undo undo = *std::exchange(undo_, {});
  const bool replaced = !undo.live && replace_back(undo.readings);
  for (const auto& [name, reading] : undo.readings) {
    if (reading == nullptr) {
      readings_.erase(name);
    } else {
      readings_[name] = reading;
    }
  }
  set_aside_ = std::move(undo.set_aside);
  in_place_ = std::move(undo.in_place);
  note({});
  if (replaced) return;
  if (!undo.live) undo.live = LiveSet(combine_usable().objects);
  live_ = *std::move(undo.live);
  live_.split(splits_);
  (void)live_.away(away_);
  before_ = std::exchange(now_, {});
}

bool MeshState::stands_alone(const std::string& source) const {
  const auto held = readings_.find(source);
  return held != readings_.end() && held->second->mistakes == MistakesOf::kThisSource;
}

LoadReport MeshState::combine_all(const Sources& readings) {
  // Of two objects of one name the first stays, and the other is the mistake: that of a source which can be
  // set aside.
  std::vector<ReadingRef> all, alone;
  for (const auto& [name, reading] : readings) {
    (reading->mistakes == MistakesOf::kAll ? all : alone).push_back(reading);
  }
  const bool many_authors = !alone.empty();
  all.insert(all.end(), alone.begin(), alone.end());
  return combine(all, many_authors ? References::kMayBeMissing : References::kMustExist);
}

// All sources together; those that are wrong and concern nobody else as they were before, or not at all.
LoadReport MeshState::combine_usable() {
  constexpr int kMostRounds = 10;  // One mistake may hide another; beyond, the edit is refused.
  Sources use = readings_;
  // What is in force in the place of those that may be wrong.
  Sources before = std::exchange(in_place_, {});
  before.insert(before_edit_.begin(), before_edit_.end());
  set_aside_.clear();
  for (int round = 0;; ++round) {
    LoadReport report = combine_all(use);
    std::set<std::string> again;
    const auto set_aside = [&](const std::string& file, const std::string& why) {
      const auto wrong = use.find(file);
      const bool alone = wrong != use.end() && wrong->second->mistakes == MistakesOf::kThisSource;
      if (!alone || round == kMostRounds || !again.insert(file).second) return;
      set_aside_.try_emplace(file, why);
      const auto held = before.find(file);
      const bool as_before =
          held != before.end() && held->second != nullptr && held->second != wrong->second;
      if (as_before) {
        wrong->second = held->second;
      } else {
        use.erase(wrong);
      }
    };
    for (const Problem& problem : report.problems) {
      // Without a line it is no object's.
      const bool error = problem.severity == Problem::Severity::kError && problem.line > 0;
      if (error) set_aside(problem.file, problem.message);
    }
    const Metadata& mesh = objects().mesh.metadata;
    const bool moved = again.empty() && report.ok() && !mesh.name.empty() &&
                       report.objects.mesh.spec.trust_domain != objects().mesh.spec.trust_domain;
    if (moved) {
      // In its place stays the Mesh that it was to take the place of.
      const std::string& file = report.objects.mesh.metadata.file;
      const auto replaced = before.find(mesh.file);
      if (replaced != before.end()) before.try_emplace(file, replaced->second);
      set_aside(file, trust_domain_changed(objects(), report.objects));
    }
    if (!again.empty()) continue;
    for (const auto& [name, why] : set_aside_) {
      const auto used = use.find(name);
      in_place_[name] = used == use.end() ? nullptr : used->second;
    }
    return report;
  }
}

LoadReport MeshState::preview(const std::vector<std::string>& without,
                              const std::vector<ReadingRef>& with) const {
  Sources kept = readings_;
  for (const auto& [name, reading] : in_place_) {
    kept.erase(name);
    if (reading != nullptr) kept.emplace(name, reading);
  }
  for (const std::string& name : without) kept.erase(name);
  std::size_t number = 0;  // Several may have one name: documents of one file.
  for (const ReadingRef& reading : with) kept.emplace(cat(reading->name, "\n", ++number), reading);
  LoadReport report = combine_all(kept);
  report.problems.insert(report.problems.begin(), unreadable_.begin(), unreadable_.end());
  if (report.ok() && report.objects.mesh.spec.trust_domain != objects().mesh.spec.trust_domain) {
    const Metadata& mesh = report.objects.mesh.metadata;
    report.problems.push_back(
        {mesh.file, mesh.at.line, mesh.at.column, trust_domain_changed(objects(), report.objects)});
  }
  return report;
}

// One source, perhaps a new one or one that is gone, with one object that is other than before; is it in
// force now?
bool MeshState::replace(const SourceEdit& edit) {
  static const Reading kNothing;
  if (edit.read.size() + edit.gone.size() != 1) return false;
  const bool gone = edit.read.empty();
  const std::string& name = gone ? edit.gone.front() : edit.read.front()->name;
  const auto held = readings_.find(name);
  const Reading& before = held == readings_.end() ? kNothing : *held->second;
  const Reading& after = gone ? kNothing : *edit.read.front();
  if (before.digest == after.digest) return false;
  std::vector<Problem> problems;
  const std::optional<Touched> touched = live_.replace(before, after, problems);
  if (!touched) return false;
  note(problems);
  undo_ = Undo{.readings = {{name, held == readings_.end() ? nullptr : held->second}}};
  if (gone) {
    readings_.erase(held);
  } else {
    readings_[name] = edit.read.front();
  }
  remake(*touched);
  return true;
}

void MeshState::remake(const Touched& touched) {
  before_ = {};
  for (const std::size_t place : touched.workloads) {
    const Workload& workload = objects().workloads[place];
    const auto made = now_.own.find(workload.metadata.key());
    if (made == now_.own.end()) continue;
    made->second = kept(made->second, pack(translate_own(objects(), workload), made->second.get()));
  }
  if (touched.services.empty()) return;
  for (auto& [key, out] : now_.outbound) {
    std::set<WithinKey> users;
    const auto relayed = out.relayed;
    for (const std::size_t service : touched.services) {
      put_service(service, key, out, out);
      users.merge(std::exchange(out.users[service], {}));
    }
    const NodeRef before = out.packed;
    pack_all(before, out);
    // Those that hold only some Services have the listeners of all, and what is relayed that they may call.
    const auto listeners = [](const NodeRef& node) { return node->of(XdsType::kListener).version; };
    if (listeners(before) != listeners(out.packed) || relayed != out.relayed) {
      for (const auto& [user, node] : now_.within) {
        const auto& [ns, egress, client, used] = user;
        if (OutboundKey(ns, client) == key) users.insert(user);
      }
    }
    for (const WithinKey& user : users) {
      const auto found = now_.within.find(user);
      if (found == now_.within.end()) continue;
      before_.within[user] = std::move(found->second);
      now_.within.erase(found);
    }
  }
}

std::shared_ptr<const NodeResources> MeshState::resources(std::string_view name,
                                                          ClientKind client) {
  const Workload* workload = objects().workload(name);
  if (workload == nullptr) return nullptr;
  const NodeRef shared = this->shared(*workload, client);
  if (client == ClientKind::kProxyless) return shared;
  return whole(*workload, client, shared);
}

std::shared_ptr<const NodeResources> MeshState::resources(std::string_view name,
                                                          const std::set<std::string>& used) {
  const Workload* workload = objects().workload(name);
  if (workload == nullptr) return nullptr;
  std::vector<std::string> services;
  std::ranges::copy_if(used, std::back_inserter(services), [workload](const std::string& one) {
    return may_call(workload->spec.egress, one);
  });
  constexpr ClientKind kClient = ClientKind::kSidecar;
  if (now_.within.size() > most_within_) forget_used();
  return whole(
      *workload, kClient,
      within({workload->metadata.ns, workload->spec.egress, kClient, std::move(services)}));
}

std::shared_ptr<const NodeResources> MeshState::callable(std::string_view name) {
  const Workload* workload = objects().workload(name);
  return workload == nullptr ? nullptr : shared(*workload, ClientKind::kSidecar);
}

MeshState::NodeRef MeshState::whole(const Workload& workload, ClientKind client,
                                    const NodeRef& shared) {
  const NodeRef own = this->own(workload);
  const OutboundKey key = {workload.metadata.key(), client};
  Whole& whole = now_.whole[key];
  if (whole.made == nullptr) {
    const auto before = before_.whole.find(key);
    if (before != before_.whole.end()) whole = before->second;
  }
  if (whole.made != nullptr && whole.own == own && whole.shared == shared) return whole.made;
  auto made = std::make_shared<NodeResources>(*shared);
  made->of(XdsType::kListener) = own->of(XdsType::kListener);
  ResourceMap clusters = shared->of(XdsType::kCluster).resources;
  for (const ResourceMap::Entry& entry : own->of(XdsType::kCluster).resources) {
    clusters.set(entry.name, entry.resource);
  }
  made->of(XdsType::kCluster) = kind_of(std::move(clusters));
  whole = {own, shared, kept(whole.made, std::move(made))};
  return whole.made;
}

MeshState::NodeRef MeshState::own(const Workload& workload) {
  const std::string key = workload.metadata.key();
  NodeRef& made = now_.own[key];
  if (made == nullptr) {
    const NodeRef before = find(before_.own, key);
    made = kept(before, pack(translate_own(objects(), workload), before.get()));
  }
  return made;
}

// Puts `made` in the place of what `out` had of it, or `before`, and shares what is the same. Returns
// its names.
MeshState::Names MeshState::put(Resources made, ClientKind client, const Outbound& before,
                                Outbound& out) {
  Names names;
  if (client == ClientKind::kProxyless) made = proxyless(std::move(made));
  for (const auto& cluster : made.clusters) {
    const PackedRef old = held(before.clusters, cluster.name());
    out.clusters.set(cluster.name(), pack_one(XdsType::kCluster, cluster, old));
  }
  for (const auto& set : made.endpoints) {
    const PackedRef old = held(before.endpoints, set.cluster_name());
    out.endpoints.set(set.cluster_name(), pack_one(XdsType::kEndpoints, set, old));
  }
  for (const auto& listener : made.listeners) {
    names.listeners.insert(listener.name());
    const PackedRef old = held(before.listeners, listener.name());
    out.listeners.set(listener.name(), pack_one(XdsType::kListener, listener, old));
  }
  for (auto& host : *made.routes.front().mutable_virtual_hosts()) {
    const std::string name = host.name();
    names.hosts.insert(name);
    out.hosts.set(name, pack_host(std::move(host), held(before.hosts, name)));
  }
  return names;
}

void MeshState::put_service(std::size_t place, const OutboundKey& key, const Outbound& before,
                            Outbound& out) const {
  const MeshService& service = objects().services[place];
  Resources made = translate_service(objects(), service, key.first);
  out.leads_to[place] = clusters_of(made.routes.front());
  out.relayed.erase(place);
  if (auto relayed = relayed_clusters(objects(), service); !relayed.empty()) {
    out.relayed[place] = std::move(relayed);
  }
  for (const auto& cluster : made.clusters) out.owners[cluster.name()] = place;
  Names names = put(std::move(made), key.second, before, out);
  std::swap(names, out.made_of[place]);
  // gRPC without a sidecar has nothing of a port whose routes are all answers of the proxy's own.
  const Names& now = out.made_of[place];
  for (const std::string& name : names.hosts) {
    if (!now.hosts.contains(name)) out.hosts.erase(name);
  }
  for (const std::string& name : names.listeners) {
    if (!now.listeners.contains(name)) out.listeners.erase(name);
  }
}

void MeshState::pack_all(const NodeRef& before, Outbound& out) {
  auto all = std::make_shared<NodeResources>();
  all->of(XdsType::kCluster) = kind_of(out.clusters);
  all->of(XdsType::kEndpoints) = kind_of(out.endpoints);
  all->of(XdsType::kListener) = kind_of(out.listeners);
  all->of(XdsType::kRoutes) = table_of(out.hosts, before);
  out.packed = kept(before, std::move(all));
}

MeshState::Outbound& MeshState::outbound(const std::string& ns, ClientKind client) {
  static const Outbound kNone;
  const OutboundKey key = {ns, client};
  const auto [made, fresh] = now_.outbound.try_emplace(key);
  Outbound& out = made->second;
  if (!fresh) return out;
  const auto earlier = before_.outbound.find(key);
  const Outbound& before = earlier == before_.outbound.end() ? kNone : earlier->second;
  for (std::size_t place = 0; place < objects().services.size(); ++place) {
    put_service(place, key, before, out);
  }
  put(translate_others(objects(), ns), client, before, out);
  pack_all(before.packed, out);
  return out;
}

void MeshState::forget_used() {
  std::erase_if(now_.within, [](const auto& entry) {
    return std::get<3>(entry.first) && entry.second.use_count() == 1;
  });
  for (auto& [key, outbound] : now_.outbound) {
    for (auto& [service, users] : outbound.users) {
      std::erase_if(users, [this](const WithinKey& user) { return !now_.within.contains(user); });
    }
  }
  most_within_ = std::max<std::size_t>(1000, 2 * now_.within.size());
}

// Clusters and endpoints are those of the whole, the routes a table of their own.
MeshState::NodeRef MeshState::within(const WithinKey& key) {
  const auto& [ns, egress, client, used] = key;
  NodeRef& made = now_.within[key];
  if (made != nullptr) return made;
  Outbound& all = outbound(ns, client);
  std::set<std::string> clusters;
  for (const auto& [place, relayed] : all.relayed) {
    if (!may_call(egress, objects().services[place].metadata.key())) continue;
    clusters.insert(relayed.begin(), relayed.end());
    all.users[place].insert(key);
  }
  ResourceMap hosts;
  if (used && undiscovered_ == nullptr) undiscovered_ = pack_host(undiscovered_host(host_idle_));
  const PackedRef unknown = used ? undiscovered_ : held(all.hosts, kUnknownHost);
  if (unknown != nullptr) hosts.set(kUnknownHost, unknown);
  for (const std::string& name : used.value_or(egress)) {
    const std::size_t slash = name.find('/');
    if (slash == name.npos) {
      const PackedRef alone = held(all.hosts, name);
      if (alone == nullptr) continue;
      hosts.set(name, alone);
      clusters.insert(cluster_of_alone(name));
      continue;
    }
    const auto place = place_of(objects().services, name.substr(0, slash), name.substr(slash + 1));
    if (!place) continue;
    all.users[*place].insert(key);
    clusters.insert(all.leads_to[*place].begin(), all.leads_to[*place].end());
    for (const MeshService::Port& port : objects().services[*place].spec.ports) {
      const std::string host = service_host(objects().services[*place], port.port);
      if (const PackedRef packed = held(all.hosts, host)) hosts.set(host, packed);
    }
  }
  auto node = std::make_shared<NodeResources>();
  ResourceMap some_clusters, some_endpoints;
  for (const std::string& name : clusters) {
    const auto owner = all.owners.find(name);
    if (owner != all.owners.end()) all.users[owner->second].insert(key);
    if (const PackedRef cluster = held(all.clusters, name)) some_clusters.set(name, cluster);
    if (const PackedRef set = held(all.endpoints, name)) some_endpoints.set(name, set);
  }
  const NodeRef before = find(before_.within, key);
  node->of(XdsType::kListener) = all.packed->of(XdsType::kListener);
  node->of(XdsType::kCluster) = kind_of(std::move(some_clusters));
  node->of(XdsType::kEndpoints) = kind_of(std::move(some_endpoints));
  node->of(XdsType::kRoutes) = table_of(hosts, before);
  return made = kept(before, std::move(node));
}

MeshState::NodeRef MeshState::shared(const Workload& workload, ClientKind client) {
  if (!workload.spec.egress.empty()) {
    return within({workload.metadata.ns, workload.spec.egress, client, {}});
  }
  return outbound(workload.metadata.ns, client).packed;
}

}  // namespace glia
