// explain: where one request of a workload would go, which rule and which policies decide that, and
// why.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control_plane/objects/object_set.h"
#include "proxy/base/result.h"

namespace glia {

struct Question {
  std::string from;  // A workload, as ObjectSet::workload() takes it.
  std::string method = "GET";
  std::string scheme = "http", authority, path = "/";
  std::vector<std::pair<std::string, std::string>> headers;  // Names in lower case.

  // Fills in what a URL says: "http://classify:80/v2?a=b"; "grpc://" makes it a gRPC call, and
  // "http://" may be left out.
  Result<void> read_url(std::string_view url);
};

struct Explanation {
  struct Hop {
    std::string workload;  // "default/classify-v1", or "outside of the mesh"
    std::string address;
    bool allowed = true;
    std::string why;  // Which policy lets the request in, or refuses it.
  };
  struct Share {
    double percent = 0;
    std::string cluster;
    std::string service;               // Where it is from: "Service default/a (mesh.yaml:3)"
    std::vector<std::string> changes;  // For this share alone.
    std::vector<Hop> hops;             // The first kMostHops endpoints.
    std::size_t endpoints = 0;
  };
  static constexpr std::size_t kMostHops = 20;

  std::string caller, request;      // "default/web", "GET classify:80/v2"
  std::string host;                 // The virtual host that takes it,
  bool on_demand = false;           // which the sidecar is sent when it asks for it.
  std::string route, route_origin;  // "" if none takes it.
  std::string because;              // The conditions that hold.
  struct Passed {
    std::string route, because;
  };
  std::vector<Passed> passed;        // Routes that come first and do not take it, in order.
  std::string policy;                // The TrafficPolicy of the Service that was called.
  std::vector<std::string> changes;  // Of headers, path, host and times.
  std::string answer;                // What the sidecar itself says: "404: ...", "302 to ..."
  std::vector<Share> shares;
  std::vector<std::string> mirrors;

  std::string text() const;
};

// An error says what the question lacks.
Result<Explanation> explain(const ObjectSet& objects, const Question& question);

}  // namespace glia
