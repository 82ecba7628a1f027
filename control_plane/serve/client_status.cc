// What the client status discovery service (CSDS) says: what each sidecar was sent and what it made
// of that, resource by resource.
#include <set>

#include "control_plane/serve/ads_stream.h"
#include "control_plane/serve/control_plane.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

namespace status = envoy::service::status::v3;
namespace admin = envoy::admin::v3;
using StringMatcher = envoy::type::matcher::v3::StringMatcher;
using GenericConfig = status::ClientConfig::GenericXdsConfig;

Result<bool> matches(const StringMatcher& matcher, std::string_view text) {
  switch (matcher.match_pattern_case()) {
    case StringMatcher::kExact: return text == matcher.exact();
    case StringMatcher::kPrefix: return text.starts_with(matcher.prefix());
    case StringMatcher::kSuffix: return text.ends_with(matcher.suffix());
    case StringMatcher::kContains: return text.find(matcher.contains()) != std::string_view::npos;
    default: return invalid("node_matchers.node_id can be exact, prefix, suffix or contains");
  }
}

// Without matchers every sidecar is meant.
Result<bool> is_meant(const status::ClientStatusRequest& request, std::string_view node_id) {
  bool meant = request.node_matchers().empty();
  for (const auto& matcher : request.node_matchers()) {
    if (!matcher.node_metadatas().empty()) {
      return invalid(
          "node_matchers.node_metadatas is not supported; sidecars are known by node_id");
    }
    TRY(const bool one, matches(matcher.node_id(), node_id));
    meant = meant || one;
  }
  return meant;
}

PackedRef found_in(const ResourceMap& map, const std::string& name) {
  const ResourceMap::Entry* found = map.find(name);
  return found == nullptr ? nullptr : found->resource;
}

void describe(const AdsTopic& topic, const PackedRef& wanted, const std::string& name,
              bool with_contents, GenericConfig& config) {
  const PackedRef held = found_in(topic.accepted, name);
  const PackedRef sent = found_in(topic.sent, name);
  const bool refused =
      topic.answer == AdsTopic::Answer::kRefused && !same_content(held, sent) && sent != nullptr;
  config.set_type_url(std::string(type_url(topic.type)));
  config.set_name(name);
  if (refused) {
    config.set_config_status(status::ERROR);
    config.set_client_status(admin::NACKED);
    config.mutable_error_state()->set_details(topic.refusal);
    config.mutable_error_state()->set_version_info(topic.delta() ? sent->version
                                                                 : topic.sent_version);
  } else if (held != nullptr) {
    config.set_config_status(same_content(held, wanted) ? status::SYNCED : status::STALE);
    config.set_client_status(admin::ACKED);
  } else {
    config.set_config_status(sent != nullptr ? status::STALE : status::NOT_SENT);
    config.set_client_status(wanted == nullptr ? admin::DOES_NOT_EXIST : admin::REQUESTED);
  }
  if (held == nullptr) return;
  config.set_version_info(topic.delta() ? held->version : topic.accepted_version);
  if (with_contents) *config.mutable_xds_config() = held->any();
}

void describe(const AdsSession& session, XdsType type, bool with_contents,
              status::ClientConfig& client) {
  const AdsTopic& topic = session.topic(type);
  const ResourceMap wanted = topic.wanted(session.target().of(type));
  std::set<std::string, std::less<>> names = topic.names;
  for (const ResourceMap& map : {wanted, topic.accepted, topic.sent}) {
    for (const ResourceMap::Entry& entry : map) names.insert(entry.name);
  }
  for (const std::string& name : names) {
    describe(topic, found_in(wanted, name), name, with_contents, *client.add_generic_xds_configs());
  }
}

}  // namespace

Result<status::ClientStatusResponse> ControlPlane::client_status(
    const status::ClientStatusRequest& request) const {
  status::ClientStatusResponse response;
  for (const auto& [workload, sidecar] : sidecars_) {
    TRY(const bool meant, is_meant(request, sidecar.node_id));
    if (!meant || sidecar.streams.empty()) continue;
    if (response.config_size() == kMostClients) {
      return Error(ErrorKind::kTooLarge, Fault::kDownstream,
                   cat("the request is about more than ", kMostClients,
                       " sidecars; name fewer with node_matchers"));
    }
    status::ClientConfig& client = *response.add_config();
    client.mutable_node()->set_id(sidecar.node_id);
    for (const XdsType type : kXdsTypes) {
      const AdsSession* session = sidecar.session(type);
      if (session == nullptr) continue;
      describe(*session, type, !request.exclude_resource_contents(), client);
    }
  }
  return response;
}

}  // namespace glia
