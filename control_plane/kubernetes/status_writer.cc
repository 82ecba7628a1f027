#include "control_plane/kubernetes/status_writer.h"

#include <utility>

#include "control_plane/kubernetes/cluster_view.h"
#include "control_plane/objects/reference.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/base/utc.h"

namespace glia {
namespace {

bool is_route(const Resource& resource) {
  return resource.kind == HttpRoute::kKind || resource.kind == GrpcRoute::kKind;
}

const Json* of_type(const Json& conditions, const std::string& type) {
  for (const Json& condition : conditions) {
    if (text_at(condition, "type") == type) return &condition;
  }
  return nullptr;
}

// Whatever the order of keys.
bool same(const Json& a, const Json& b) { return nlohmann::json(a) == nlohmann::json(b); }

// As RouteStatus names it.
std::string parent_text(const Json& parent, const std::string& ns) {
  const std::string own = text_at(parent, "namespace"), port = text_at(parent, "port");
  return cat(own.empty() ? ns : own, "/", text_at(parent, "name"), port.empty() ? "" : ":", port);
}

}  // namespace

StatusWriter::StatusWriter(ApiServer& server)
    : loop_(server.loop()), questions_(server), retry_(server.loop(), [this] { write(); }) {}

void StatusWriter::see(const Resource& resource, const Json& object) {
  if (resource.group != "glia.dev" && !is_route(resource)) return;
  const Json& metadata = object_at(object, "metadata");
  Seen seen;
  seen.resource = resource;
  seen.version = text_at(metadata, "resourceVersion");
  seen.generation =
      static_cast<int64_t>(parse_decimal(text_at(metadata, "generation")).value_or(0));
  seen.status = object_at(object, "status");
  if (is_route(resource)) {
    seen.parents = Json::array();
    for (const Json& parent : list_at(object_at(object, "spec"), "parentRefs")) {
      if (text_at(parent, "kind") == "Service") seen.parents.push_back(parent);
    }
    if (seen.parents.empty())
      return forget(resource, text_at(metadata, "namespace"), text_at(metadata, "name"));
  }
  seen_[{resource.kind, text_at(metadata, "namespace"), text_at(metadata, "name")}] =
      std::move(seen);
}

void StatusWriter::forget(const Resource& resource, const std::string& ns,
                          const std::string& name) {
  const Key key{resource.kind, ns, name};
  seen_.erase(key);
  due_.erase(key);
}

// With the moment of before, where nothing has changed since.
Json StatusWriter::wanted_conditions(const Seen& seen, const std::vector<Condition>& conditions,
                                     const Json& before) const {
  Json all = Json::array();
  for (const Condition& condition : conditions) {
    const std::string status = condition.holds ? "True" : "False";
    const Json* const was = of_type(before, condition.type);
    const bool since = was != nullptr && text_at(*was, "status") == status;
    all.push_back({{"type", condition.type},
                   {"status", status},
                   {"reason", condition.reason},
                   {"message", condition.message},
                   {"lastTransitionTime", since ? text_at(*was, "lastTransitionTime")
                                                : utc_text(loop_.clock().wall_now())},
                   {"observedGeneration", seen.generation}});
  }
  return all;
}

// What others say of the route stays.
Json StatusWriter::wanted_parents(const Key& key, const Seen& seen,
                                  const std::string* wrong) const {
  Json all = Json::array();
  std::map<std::string, const Json*> before;
  const std::string& ns = std::get<1>(key);
  for (const Json& parent : list_at(seen.status, "parents")) {
    if (text_at(parent, "controllerName") == kController) {
      before[parent_text(object_at(parent, "parentRef"), ns)] = &parent;
    } else {
      all.push_back(parent);
    }
  }
  const auto known = routes_.find(key);
  for (const Json& parent : seen.parents) {
    const std::string text = parent_text(parent, ns);
    std::vector<Condition> conditions;
    if (known != routes_.end() && known->second.contains(text)) {
      conditions = known->second.at(text);
    }
    if (wrong != nullptr) conditions = {{"Accepted", false, "UnsupportedValue", *wrong}};
    if (conditions.empty()) continue;
    const auto was = before.find(text);
    const Json& old = was == before.end() ? Json::array() : list_at(*was->second, "conditions");
    all.push_back({{"parentRef", parent},
                   {"controllerName", kController},
                   {"conditions", wanted_conditions(seen, conditions, old)}});
  }
  return all;
}

void StatusWriter::tell(const ObjectSet& objects,
                        const std::map<std::string, std::string>& set_aside) {
  routes_.clear();
  for (RouteStatus& route : route_statuses(objects)) {
    const std::size_t slash = route.name.find('/');
    routes_[{route.kind, route.name.substr(0, slash), route.name.substr(slash + 1)}][route.parent] =
        std::move(route.conditions);
  }
  due_.clear();
  for (auto& [key, seen] : seen_) {
    const auto& [kind, ns, name] = key;
    const auto aside = set_aside.find(ClusterView::source_name(kind, ns, name));
    const std::string* const wrong = aside == set_aside.end() ? nullptr : &aside->second;
    const char* const field = is_route(seen.resource) ? "parents" : "conditions";
    if (is_route(seen.resource)) {
      seen.wanted = wanted_parents(key, seen, wrong);
    } else {
      const Condition accepted = wrong != nullptr
                                     ? Condition{"Accepted", false, "Invalid", *wrong}
                                     : Condition{"Accepted", true, "Accepted", "it is in force"};
      seen.wanted = wanted_conditions(seen, {accepted}, list_at(seen.status, "conditions"));
    }
    if (!same(seen.wanted, list_at(seen.status, field))) due_.insert(key);
  }
  write();
}

void StatusWriter::write() {
  if (retry_.running()) return;
  for (auto next = due_.begin(); next != due_.end() && under_way_.size() < kMostAtOnce;) {
    const Key key = *next;
    if (under_way_.contains(key)) {
      ++next;
      continue;
    }
    next = due_.erase(next);
    const Seen& seen = seen_.at(key);
    const auto& [kind, ns, name] = key;
    const Json patch = {
        {"metadata", {{"resourceVersion", seen.version}}},
        {"status", {{is_route(seen.resource) ? "parents" : "conditions", seen.wanted}}}};
    under_way_.insert(key);
    questions_.ask({.method = "PATCH",
                    .path = cat(seen.resource.path_of(ns, name), "/status"),
                    .body = patch.dump(-1, ' ', false, Json::error_handler_t::replace),
                    .content_type = "application/merge-patch+json"},
                   [this, key](const Result<ApiAnswer>& said) { written(key, said); });
  }
}

void StatusWriter::written(const Key& key, const Result<ApiAnswer>& said) {
  under_way_.erase(key);
  // 409: there is a newer version, which is on its way to us; 404: it is gone.
  const bool settled = said && (said->status == 200 || said->status == 409 || said->status == 404);
  if (!settled) {
    const std::string why = said ? refusal_of(*said) : said.error().message();
    if (why != trouble_) {
      LOG(warning, "cannot write the status of ", std::get<0>(key), " ", std::get<1>(key), "/",
          std::get<2>(key), ": ", why, "; the service account needs the verb patch on its status");
    }
    trouble_ = why;
    if (seen_.contains(key)) due_.insert(key);
    retry_.start(kRetry);
    return;
  }
  trouble_.clear();
  write();
}

}  // namespace glia
