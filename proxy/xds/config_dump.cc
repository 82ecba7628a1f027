#include "proxy/xds/config_dump.h"

#include <utility>

#include "proxy/base/text.h"
#include "proxy/base/utc.h"
#include "proxy/xds/json.h"
#include "proxy/xds/wire.h"

namespace glia {

namespace {

// One of Envoy's dumps: the message and its two lists.
struct Section {
  ResourceKind kind;
  std::string_view type;
  std::string_view static_list, dynamic_list;
  std::string_view body;  // The field of an element that holds the resource.
};

constexpr Section kSections[] = {
    {ResourceKind::kCluster, "ClustersConfigDump", "static_clusters", "dynamic_active_clusters",
     "cluster"},
    {ResourceKind::kEndpoints, "EndpointsConfigDump", "static_endpoint_configs",
     "dynamic_endpoint_configs", "endpoint_config"},
    {ResourceKind::kListener, "ListenersConfigDump", "static_listeners", "dynamic_listeners",
     "listener"},
    {ResourceKind::kRoutes, "RoutesConfigDump", "static_route_configs", "dynamic_route_configs",
     "route_config"},
    {ResourceKind::kSecret, "SecretsConfigDump", "static_secrets", "dynamic_active_secrets",
     "secret"},
};

void put_text(std::string& out, std::string_view key, std::string_view value) {
  out += '"';
  out += key;
  out += "\":\"";
  append_json_escaped(out, value);
  out += '"';
}

// The resource as an Any is written: with its type first.
void put_body(std::string& out, const Resource& resource, ResourceKind kind) {
  std::string json;
  const Result<Message> message =
      decode_wire(*MessageSchema::find(message_of(kind)), resource.bytes);
  if (message.ok())
    append_json(json, *message);
  else
    json = "{}";
  out += '{';
  put_text(out, "@type", type_url_of(kind));
  if (json.size() > 2) out += ',';
  out.append(json, 1);
}

void put_state(std::string& out, const Resource& resource, const Section& section) {
  if (!resource.version.empty()) {
    put_text(out, "version_info", resource.version);
    out += ',';
  }
  out += cat("\"", section.body, "\":");
  put_body(out, resource, section.kind);
  out += ',';
  put_text(out, "last_updated", utc_text_with_millis(resource.updated));
}

void put_element(std::string& out, const Resource& resource, const Section& section) {
  out += '{';
  const bool dynamic_listener = section.kind == ResourceKind::kListener && !resource.is_static;
  if (dynamic_listener || section.kind == ResourceKind::kSecret) {
    put_text(out, "name", resource.name);
    out += ',';
  }
  if (dynamic_listener) out += "\"active_state\":{";
  put_state(out, resource, section);
  out += dynamic_listener ? "}}" : "}";
}

// The elements of one list, with commas between.
std::string elements(const Configuration& configuration, const Section& section, bool is_static,
                     std::string_view name) {
  std::string out;
  for (const auto& [resource_name, resource] : configuration.draft().of(section.kind)) {
    if (resource->is_static != is_static || (!name.empty() && name != resource_name)) continue;
    if (!out.empty()) out += ',';
    put_element(out, *resource, section);
  }
  return out;
}

void put_bootstrap(std::string& out, const Configuration& configuration) {
  const auto* schema = MessageSchema::find("envoy.config.bootstrap.v3.Bootstrap");
  const Result<Message> message = decode_wire(*schema, configuration.bootstrap().bytes);
  out += R"({"@type":"type.googleapis.com/envoy.admin.v3.BootstrapConfigDump","bootstrap":)";
  if (message.ok())
    append_json(out, *message);
  else
    out += "{}";
  out += '}';
}

void put_section(std::string& out, const Configuration& configuration, const Section& section,
                 std::string_view name) {
  out += cat(",{\"@type\":\"type.googleapis.com/envoy.admin.v3.", section.type, "\"");
  const bool versioned =
      section.kind == ResourceKind::kCluster || section.kind == ResourceKind::kListener;
  if (versioned && !configuration.draft().version(section.kind).empty()) {
    out += ',';
    put_text(out, "version_info", configuration.draft().version(section.kind));
  }
  for (const bool is_static : {true, false}) {
    const std::string list = elements(configuration, section, is_static, name);
    if (list.empty()) continue;
    out += cat(",\"", is_static ? section.static_list : section.dynamic_list, "\":[", list, "]");
  }
  out += '}';
}

void put_own(std::string& out, const Configuration& configuration, std::string_view origin) {
  out += "\"glia\":{";
  if (!origin.empty()) {
    put_text(out, "origin", origin);
    out += ',';
  }
  out += "\"warming\":[";
  bool first = true;
  for (const std::string& sentence : configuration.warming()) {
    out += std::exchange(first, false) ? "\"" : ",\"";
    append_json_escaped(out, sentence);
    out += '"';
  }
  out += "],\"refused\":[";
  first = true;
  for (const ResourceKind kind : kResourceKinds) {
    const auto& refusal = configuration.refusal(kind);
    if (!refusal) continue;
    out += std::exchange(first, false) ? "{" : ",{";
    put_text(out, "type_url", type_url_of(kind));
    out += ',';
    put_text(out, "version_info", refusal->version);
    out += ',';
    put_text(out, "details", refusal->sentence);
    out += ',';
    put_text(out, "last_update_attempt", utc_text_with_millis(refusal->when));
    out += '}';
  }
  out += "]}";
}

}  // namespace

Result<std::string> config_dump(const Configuration& configuration,
                                const ConfigDumpChoice& choice) {
  std::string out = "{\"configs\":[";
  if (!choice.resource.empty()) {
    std::string lists;
    for (const Section& section : kSections) {
      const bool is_static = choice.resource == section.static_list;
      if (is_static || choice.resource == section.dynamic_list) {
        return cat(out, elements(configuration, section, is_static, choice.name), "]}\n");
      }
      lists += cat(lists.empty() ? "" : ", ", section.static_list, ", ", section.dynamic_list);
    }
    return invalid(
        cat("there is no list ", choice.resource, " in the configuration; there are ", lists));
  }
  put_bootstrap(out, configuration);
  for (const Section& section : kSections) {
    if (section.kind == ResourceKind::kEndpoints && !choice.include_endpoints) continue;
    put_section(out, configuration, section, choice.name);
  }
  out += "],";
  put_own(out, configuration, choice.origin);
  return out + "}\n";
}

}  // namespace glia
