#include "control_plane/translate/canary.h"

#include <map>
#include <utility>
#include <vector>

#include "control_plane/translate/outbound.h"
#include "control_plane/translate/pack.h"
#include "glia/v1/traffic.pb.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

using Message = envoy::config::route::v3::Route;
using Weighted = envoy::config::route::v3::WeightedCluster;
using Percent = envoy::type::v3::FractionalPercent;

constexpr uint32_t kWhole = 100;

// One port of one target.
struct Share {
  const Canary& canary;
  VersionClusters clusters;
};
using Shares = std::map<std::string, Share, std::less<>>;  // By the target's cluster.

Shares shares_of(const ObjectSet& objects) {
  Shares shares;
  for (const Canary& canary : objects.canaries) {
    const MeshService* target = objects.service(canary.metadata.ns, canary.spec.target_ref.name);
    if (target == nullptr || objects.canary(*target) != &canary) continue;  // It has mistakes.
    for (const MeshService::Port& port : target->spec.ports) {
      shares.emplace(outbound_cluster(*target, port.port),
                     Share{canary, version_clusters(objects, canary, port.port)});
    }
  }
  return shares;
}

// `part` leads to a target: two parts take its place, of `candidate` in a hundred.
void add_parts(const Weighted::ClusterWeight& part, const Share& share, uint32_t candidate,
               Weighted& out) {
  const uint32_t weight = part.weight().value();
  for (const bool is_candidate : {true, false}) {
    Weighted::ClusterWeight& version = *out.add_clusters();
    version = part;
    version.set_name(is_candidate ? share.clusters.candidate : share.clusters.stable);
    version.mutable_weight()->set_value(weight * (is_candidate ? candidate : kWhole - candidate));
  }
}

// A route as shares, whether it named one cluster or several.
Weighted parts_of(const envoy::config::route::v3::RouteAction& action) {
  if (action.has_weighted_clusters()) return action.weighted_clusters();
  Weighted all;
  Weighted::ClusterWeight& only = *all.add_clusters();
  only.set_name(action.cluster());
  only.mutable_weight()->set_value(1);
  return all;
}

// Null if the route does not lead to a target.
const Share* share_of(const Shares& shares, const envoy::config::route::v3::RouteAction& action) {
  const Weighted parts = parts_of(action);
  for (const auto& part : parts.clusters()) {
    const auto found = shares.find(part.name());
    if (found != shares.end()) return &found->second;
  }
  return nullptr;
}

// `all_to_candidate`: of canaries that are open, whatever their weight.
void split(const Shares& shares, bool all_to_candidate, Message& message) {
  auto& action = *message.mutable_route();
  const Weighted parts = parts_of(action);
  Weighted& out = *action.mutable_weighted_clusters();
  out.clear_clusters();
  for (const auto& part : parts.clusters()) {
    const auto found = shares.find(part.name());
    if (found == shares.end()) {
      Weighted::ClusterWeight& other = *out.add_clusters();
      other = part;
      other.mutable_weight()->set_value(part.weight().value() * kWhole);
      continue;
    }
    const Canary::Split& now = found->second.canary.split;
    const bool all = all_to_candidate && now.open;
    add_parts(part, found->second, all ? kWhole : now.weight, out);
  }
}

// Copies for a target go to its stable version.
void redirect_mirrors(const Shares& shares, Message& message) {
  for (auto& mirror : *message.mutable_route()->mutable_request_mirror_policies()) {
    const auto found = shares.find(mirror.cluster());
    if (found != shares.end()) mirror.set_cluster(found->second.clusters.stable);
  }
}

// A real Envoy does not know what is ours, and passes over what is optional.
void set_optional(const std::string& name, const google::protobuf::Message& config,
                  Message& message) {
  envoy::config::route::v3::FilterConfig optional;
  optional.set_is_optional(true);
  pack(config, *optional.mutable_config());
  pack(optional, (*message.mutable_typed_per_filter_config())[name]);
}

// Only where nobody else answers: the copy's answer is compared with the stable version's.
void add_shadow(const Share& share, Message& message) {
  if (share.canary.split.shadow == 0) return;
  for (const auto& part : message.route().weighted_clusters().clusters()) {
    if (part.name() != share.clusters.stable && part.name() != share.clusters.candidate) return;
  }
  if (const auto& shadow = share.canary.spec.shadow) {
    v1::CompareAnswers rules;
    rules.mutable_ignore()->Assign(shadow->ignore.begin(), shadow->ignore.end());
    rules.set_absolute_tolerance(shadow->absolute_tolerance);
    rules.set_relative_tolerance(shadow->relative_tolerance);
    set_optional("glia.compare_answers", rules, message);
  }
  auto& mirror = *message.mutable_route()->add_request_mirror_policies();
  mirror.set_cluster(share.clusters.candidate);
  Percent& part = *mirror.mutable_runtime_fraction()->mutable_default_value();
  part.set_numerator(share.canary.split.shadow);
  part.set_denominator(Percent::HUNDRED);
}

// The candidate stands first in each pair of a constant sum, so that a share that grows only moves
// sessions to it.
void keep_sessions(const Canary::Session& session, Message& message) {
  v1::Session key;
  key.set_header(to_lower(session.header));
  key.set_cookie(session.cookie);
  set_optional("glia.session", key, message);
}

// The same route for requests with the header.
Message for_header(const Shares& shares, const Canary::Header& header, Message message) {
  auto* condition = message.mutable_match()->add_headers();
  condition->set_name(to_lower(header.name));
  condition->mutable_string_match()->set_exact(header.value);
  split(shares, /*all_to_candidate=*/true, message);
  return message;
}

std::vector<Message> split_route(const Shares& shares, const Message& route) {
  std::vector<Message> out;
  if (!route.has_route()) return {route};
  Message message = route;
  redirect_mirrors(shares, message);
  const Share* share = share_of(shares, message.route());
  if (share == nullptr) return {message};
  const Canary& canary = share->canary;
  if (canary.spec.header && canary.split.open) {
    out.push_back(for_header(shares, *canary.spec.header, message));
  }
  split(shares, /*all_to_candidate=*/false, message);
  if (canary.spec.session) keep_sessions(*canary.spec.session, message);
  add_shadow(*share, message);
  out.push_back(std::move(message));
  return out;
}

std::string version_cluster(std::string_view version, const MeshService& target, uint16_t port) {
  return cat(version, ":", port, ":", target.metadata.name, ".", target.metadata.ns);
}

}  // namespace

VersionClusters version_clusters(const ObjectSet& objects, const Canary& canary, uint16_t port) {
  const std::string& ns = canary.metadata.ns;
  const Canary::Spec& spec = canary.spec;
  const MeshService& target = *objects.service(ns, spec.target_ref.name);
  if (canary.by_labels()) {
    return {version_cluster("stable", target, port), version_cluster("candidate", target, port)};
  }
  const auto cluster = [&](const std::string& name) {
    const MeshService* service = objects.service(ns, name);
    return outbound_cluster(service == nullptr ? target : *service, port);
  };
  return {cluster(spec.stable.service), cluster(spec.candidate.service)};
}

MeshService only_version(const MeshService& target, const Canary& canary, CanaryVersion version) {
  MeshService only = target;
  only.members =
      version == CanaryVersion::kCandidate ? canary.candidate_members : canary.stable_members;
  return only;
}

void share_between_versions(const ObjectSet& objects, envoy::config::route::v3::VirtualHost& host) {
  const Shares shares = shares_of(objects);
  if (shares.empty()) return;
  google::protobuf::RepeatedPtrField<Message> routes;
  for (const Message& route : host.routes()) {
    for (Message& part : split_route(shares, route)) *routes.Add() = std::move(part);
  }
  host.mutable_routes()->Swap(&routes);
}

}  // namespace glia
