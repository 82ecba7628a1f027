#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "control_plane/objects/object_set.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using Json = nlohmann::ordered_json;

struct Share {
  std::string to;  // "classify-v1:80 (2 workloads)"
  uint32_t weight = 0;
  double percent = 0;
};

// One rule of one service port.
struct Row {
  std::string host, match, route;
  std::vector<Share> shares;
};

std::string workloads_behind(const ObjectSet& objects, const MeshService* service) {
  if (service == nullptr) return "no such service";
  std::string names;
  for (const std::size_t member : service->members) {
    names += cat(names.empty() ? "" : ", ", objects.workloads[member].metadata.display());
  }
  return names.empty() ? "no workload" : names;
}

template <class Rule>
std::vector<Share> shares_of(const ObjectSet& objects, const Rule& rule) {
  uint64_t total = 0;
  for (const RouteBackend& backend : rule.backend_refs) total += backend.weight;
  std::vector<Share> shares;
  for (const RouteBackend& backend : rule.backend_refs) {
    const MeshService* const service = objects.backend(backend.kind, backend.ns, backend.name);
    const bool pool = backend.kind == InferencePool::kKind;
    shares.push_back(
        {cat(pool ? MeshService::kPoolMark : "", backend.name, pool ? "" : cat(":", backend.port),
             " (", workloads_behind(objects, service), ")"),
         backend.weight, total == 0 ? 0 : 100.0 * backend.weight / static_cast<double>(total)});
  }
  return shares;
}

std::string match_text(const HttpRoute::Rule& rule) {
  std::string all;
  for (const HttpRoute::Match& match : rule.matches) {
    using enum HttpRoute::PathCondition::Type;
    const std::string_view sign = match.path.type == kExact        ? ""
                                  : match.path.type == kPathPrefix ? "*"
                                                                   : "~";
    all += cat(all.empty() ? "" : " | ", match.method.empty() ? "" : cat(match.method, " "),
               sign == "~" ? "~" : "", match.path.value, sign == "*" ? "*" : "");
    for (const NameCondition& header : match.headers)
      all += cat(" ", header.name, "=", header.value);
    for (const NameCondition& query : match.query_params)
      all += cat(" ?", query.name, "=", query.value);
  }
  return all.empty() ? "*" : all;
}

std::string match_text(const GrpcRoute::Rule& rule) {
  std::string all;
  for (const GrpcRoute::Match& match : rule.matches) {
    all += all.empty() ? "" : " | ";
    if (match.method) all += cat(match.method->service, "/", match.method->method);
    for (const NameCondition& header : match.headers)
      all += cat(" ", header.name, "=", header.value);
  }
  return all.empty() ? "*" : all;
}

// Adds the rules of a route that has this service port as a parent.
template <class Route>
void add_rules(const ObjectSet& objects, const Route& route, const MeshService& service,
               const MeshService::Port& port, const std::string& host, std::vector<Row>& rows) {
  for (const RouteParent& parent : route.spec.parent_refs) {
    if (parent.name != service.metadata.name || parent.ns != service.metadata.ns ||
        (parent.port && *parent.port != port.port)) {
      continue;
    }
    for (const auto& rule : route.spec.rules) {
      rows.push_back({host, match_text(rule), cat(Route::kKind, " ", route.metadata.display()),
                      shares_of(objects, rule)});
    }
  }
}

std::vector<Row> rows_of(const ObjectSet& objects, const std::string& only) {
  std::vector<Row> rows;
  for (const MeshService& service : objects.services) {
    if (service.is_pool()) continue;
    if (!only.empty() && service.metadata.name != only && service.metadata.key() != only) continue;
    for (const MeshService::Port& port : service.spec.ports) {
      const std::string host = cat(service.metadata.name, ".", service.metadata.ns, ":", port.port);
      const std::size_t before = rows.size();
      for (const std::size_t at : service.http_routes) {
        add_rules(objects, objects.http_routes[at], service, port, host, rows);
      }
      for (const std::size_t at : service.grpc_routes) {
        add_rules(objects, objects.grpc_routes[at], service, port, host, rows);
      }
      if (rows.size() > before) continue;
      rows.push_back({host,
                      "*",
                      "default",
                      {{cat(service.metadata.name, ":", port.port, " (",
                            workloads_behind(objects, &service), ")"),
                        1, 100}}});
    }
  }
  return rows;
}

Json to_json(const Row& row) {
  Json shares = Json::array();
  for (const Share& share : row.shares) {
    shares.push_back({{"to", share.to}, {"weight", share.weight}, {"percent", share.percent}});
  }
  return {{"host", row.host}, {"match", row.match}, {"route", row.route}, {"backends", shares}};
}

}  // namespace

int routes_command(const std::vector<std::string>& paths, const std::string& service,
                   Output output) {
  const LoadReport report = load(paths);
  if (!report.ok()) {
    std::fprintf(stderr, "glia routes: the mesh has errors:\n%s\n", report.errors().c_str());
    return 1;
  }
  const std::vector<Row> rows = rows_of(report.objects, service);
  if (!service.empty() && rows.empty()) {
    std::fprintf(stderr, "glia routes: there is no Service %s\n", service.c_str());
    return 1;
  }
  if (output == Output::kJson) {
    Json all = Json::array();
    for (const Row& row : rows) all.push_back(to_json(row));
    std::printf("%s\n", all.dump(2).c_str());
    return 0;
  }
  std::printf("%-28s %-26s %7s  %s\n", "HOST", "MATCH", "SHARE", "GOES TO");
  for (const Row& row : rows) {
    std::string host = row.host, match = row.match;
    for (const Share& share : row.shares) {
      std::printf("%-28s %-26s %6.1f%%  %s\n", host.c_str(), match.c_str(), share.percent,
                  share.to.c_str());
      host = match = "";
    }
    if (row.shares.empty()) {
      std::printf("%-28s %-26s %7s  answered by its filters, or with 500\n", host.c_str(),
                  match.c_str(), "-");
    }
  }
  return 0;
}

}  // namespace glia
