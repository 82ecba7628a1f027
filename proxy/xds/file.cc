#include "proxy/xds/file.h"

#include <malloc.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "proxy/base/text.h"
#include "proxy/xds/decode_common.h"
#include "proxy/xds/wire.h"
#include "proxy/xds/yaml.h"

namespace glia {

namespace {

constexpr std::size_t kFileMax = 16 << 20;  // bytes
// Below this the proxy could not even hold itself.
constexpr uint64_t kLeastMemory = 16 << 20;  // bytes

Result<std::string> read_whole(const std::string& path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "rbe"), &std::fclose);
  if (!file)
    return invalid(cat("cannot open ", path, ": ", std::string_view(std::strerror(errno))));
  std::string content;
  char piece[65536];
  while (const std::size_t size = std::fread(piece, 1, sizeof piece, file.get())) {
    content.append(piece, size);
    if (content.size() > kFileMax)
      return invalid(cat(path, " is larger than ", kFileMax, " bytes"));
  }
  if (std::ferror(file.get()) != 0) {
    return invalid(cat("cannot read ", path, ": ", std::string_view(std::strerror(errno))));
  }
  return content;
}

void decode_node(const Reader& node, Bootstrap& bootstrap) {
  bootstrap.node = {.id = node.text("id"), .cluster = node.text("cluster")};
  if (!node.present()) return;
  node.accept_all();  // The rest is for the control plane, which is sent the whole message.
  bootstrap.node_bytes = encode_wire(*node.raw());
}

void decode_static(const Reader& resources, WallTime now, Bootstrap& bootstrap, Errors& errors) {
  constexpr std::pair<std::string_view, ResourceKind> kLists[] = {
      {"secrets", ResourceKind::kSecret},
      {"clusters", ResourceKind::kCluster},
      {"listeners", ResourceKind::kListener}};
  for (const auto& [field, kind] : kLists) {
    resources.each(field, [&](const Reader& resource, std::size_t) {
      bootstrap.draft.add_static(kind, *resource.raw(), resource.path(), now, errors);
      resource.accept_all();  // The draft has reported what it does not read.
    });
  }
}

void decode_monitor(const Reader& monitor, ProcessLimits& limits) {
  constexpr std::string_view kMonitors = "envoy.extensions.resource_monitors.";
  monitor.accept("name");  // The type says which one it is.
  const Reader config = monitor.message("typed_config").content();
  if (!config.present()) return;
  if (config.type() == cat(kMonitors, "fixed_heap.v3.FixedHeapConfig")) {
    limits.memory = config.number("max_heap_size_bytes", 0, UINT64_MAX, kLeastMemory);
  } else if (config.type() ==
             cat(kMonitors, "downstream_connections.v3.DownstreamConnectionsConfig")) {
    limits.connections = config.number("max_active_downstream_connections", 0, UINT32_MAX, 1);
  } else {
    config.accept_all();
    config.fail(cat("the type ", config.type(),
                    " is not supported by glia-proxy; it can be fixed_heap or "
                    "downstream_connections"));
  }
}

// Which limits there are is configured; when and how the proxy lets go of work is not
// (docs/limits.md).
void decode_overload(const Reader& overload, ProcessLimits& limits) {
  if (!overload.present()) return;
  overload.accept("refresh_interval");
  overload.each("resource_monitors",
                [&](const Reader& monitor, std::size_t) { decode_monitor(monitor, limits); });
}

// Is ADS to be spoken in its delta variant?
bool decode_api_type(const Reader& ads) {
  const std::string type = ads.choice("api_type");
  if (!ads.has("api_type")) {
    ads.fail("api_type must be GRPC or DELTA_GRPC");
  } else if (type != "GRPC" && type != "DELTA_GRPC") {
    ads.fail("api_type",
             cat(type, " is not supported by glia-proxy; it can be GRPC or DELTA_GRPC"));
  }
  return type == "DELTA_GRPC";
}

void decode_dynamic(const Reader& dynamic, Bootstrap& bootstrap) {
  bootstrap.lds = dynamic.has("lds_config");
  bootstrap.cds = dynamic.has("cds_config");
  expect_ads(dynamic.message("lds_config"));
  expect_ads(dynamic.message("cds_config"));
  const Reader ads = dynamic.message("ads_config");
  if (!ads.present()) {
    if (dynamic.present())
      dynamic.fail("has no ads_config; glia-proxy takes dynamic resources by ADS only");
    return;
  }
  bootstrap.ads_delta = decode_api_type(ads);
  ads.accept("transport_api_version");
  ads.only("set_node_on_first_message_only", true);
  ads.each("grpc_services", [&](const Reader& service, std::size_t index) {
    if (index > 0) return service.accept_all(), service.fail("only one gRPC service is supported");
    const Reader envoy_grpc = service.message("envoy_grpc");
    if (!envoy_grpc.present()) return service.fail("only envoy_grpc is supported by glia-proxy");
    bootstrap.ads_cluster = envoy_grpc.text("cluster_name");
  });
  if (bootstrap.ads_cluster.empty())
    return ads.fail("needs grpc_services with envoy_grpc.cluster_name");
  const ResourceMap& clusters = bootstrap.draft.of(ResourceKind::kCluster);
  if (!clusters.contains(bootstrap.ads_cluster)) {
    ads.fail(cat("cluster ", bootstrap.ads_cluster, " is not in static_resources.clusters"));
  }
  if (bootstrap.node.id.empty())
    ads.fail("needs node.id to be set, the control plane knows us by it");
}

}  // namespace

std::optional<Bootstrap> parse_bootstrap(std::string_view text, const std::string& file,
                                         WallTime now, Errors& errors) {
  Errors found(file);
  Message message(*MessageSchema::find("envoy.config.bootstrap.v3.Bootstrap"));
  read_yaml(text, message, found);
  Bootstrap bootstrap;
  const Reader reader(message, "", found);
  decode_node(reader.message("node"), bootstrap);
  if (const Reader admin = reader.message("admin"); admin.present()) {
    if (admin.has("address")) bootstrap.admin = decode_address(admin.message("address"));
  }
  decode_static(reader.message("static_resources"), now, bootstrap, found);
  decode_dynamic(reader.message("dynamic_resources"), bootstrap);
  decode_overload(reader.message("overload_manager"), bootstrap.limits);
  reader.report_unread();
  if (found.empty()) {
    Freezer freezer(bootstrap.node);
    if (const auto snapshot = freezer.freeze(bootstrap.draft); !snapshot.ok()) {
      found.add("", snapshot.error().message());
    }
  }
  bootstrap.bytes = encode_wire(message);
  if (found.empty()) return bootstrap;
  errors.take(std::move(found));
  return {};
}

std::optional<Bootstrap> read_bootstrap(const std::string& path, WallTime now, Errors& errors) {
  const Result<std::string> text = read_whole(path);
  if (!text.ok()) {
    errors.add("", text.error().message());
    return {};
  }
  auto bootstrap = parse_bootstrap(*text, path, now, errors);
  malloc_trim(
      0);  // The trees of the file are gone; a proxy that idles should not carry their pages.
  return bootstrap;
}

Result<Bootstrap> load_bootstrap(const std::string& path, WallTime now) {
  Errors errors;
  auto bootstrap = read_bootstrap(path, now, errors);
  if (bootstrap) return *std::move(bootstrap);
  std::string all;
  for (const std::string& sentence : errors.sentences())
    all += cat(all.empty() ? "" : "\n", sentence);
  return invalid(std::move(all));
}

}  // namespace glia
