// Edits one after the other say what reading everything anew says.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>

#include "control_plane/serve/mesh_state.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr int kServices = 12, kPools = 3, kFiles = 9, kEdits = 500;

// A mesh that changes at random: most of what a person could do to it, mistakes among it.
class ChangingMesh {
 public:
  explicit ChangingMesh(unsigned seed) : random_(seed) {
    add("Mesh", "");
    for (int i = 0; i < kServices; ++i) {
      add("Service", cat("s", i));
      if (i % 4 == 3) {
        add("EndpointSlice", cat("e", i));
        add("EndpointSlice", cat("g", i));
      } else {
        add("Workload", cat("w", i));
        add("Workload", cat("x", i));
      }
      if (i % 3 != 2) add("HTTPRoute", cat("r", i));
      if (i % 6 == 2) add("GRPCRoute", cat("g", i));
      if (i % 2 == 0) add("TrafficPolicy", cat("t", i));
      if (i % 3 == 0) add("AuthorizationPolicy", cat("p", i));
    }
    // Of another namespace: names are others there, and two of three may call only some Services.
    for (int i = 0; i < 3; ++i) add("Client", cat("y", i));
    add("Canary", "c0");  // By labels, of s0.
    add("Canary", "c5");  // By Services, of s5.
    for (int i = 0; i < kPools; ++i) add("InferencePool", cat("i", i));
  }

  std::vector<SourceText> files() const {
    std::vector<SourceText> all(kFiles);
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = file(i);
    return all;
  }
  SourceText file(std::size_t number) const {
    SourceText source{cat("f", number, ".yaml"), ""};
    for (const Object& object : objects_) {
      if (object.file == number && object.there) source.text += yaml(object) + "---\n";
    }
    return source;
  }
  // Changes something; the file where.
  std::size_t edit() {
    Object& object = objects_[random_() % objects_.size()];
    before_.push_back(object);
    const std::string text = yaml(object);
    const bool there = object.there;
    while (object.there == there && yaml(object) == text) {
      const unsigned what = random_() % 20;
      if (what == 0 || (what < 6 && object.kind == "EndpointSlice")) {
        object.there = !object.there;
      } else if (what == 1) {
        object.comment = !object.comment;
      } else {
        object.knobs[random_() % object.knobs.size()] = random_();
      }
    }
    return object.file;
  }
  // Takes back the newest edit since good().
  std::size_t undo() {
    const Object before = before_.back();
    before_.pop_back();
    for (Object& object : objects_) {
      if (object.name == before.name && object.kind == before.kind) object = before;
    }
    return before.file;
  }
  bool edited() const { return !before_.empty(); }
  // How far canaries may be, one that is not there among them.
  CanarySplits splits() {
    CanarySplits all;
    for (const char* name : {"default/c0", "default/c5", "default/gone"}) {
      if (random_() % 4 == 0) continue;
      all[name] = {.weight = static_cast<uint32_t>(random_() % 5 * 25),
                   .shadow = static_cast<uint32_t>(random_() % 2 * 10),
                   .open = random_() % 2 == 0};
    }
    return all;
  }
  void good() { before_.clear(); }

 private:
  struct Object {
    std::string kind, name;
    std::size_t file = 0;
    bool there = true, comment = false;
    std::vector<unsigned> knobs = std::vector<unsigned>(4);
  };

  void add(const std::string& kind, const std::string& name) {
    objects_.push_back({kind, name, objects_.size() % kFiles});
    for (unsigned& knob : objects_.back().knobs) knob = 1;
  }
  static std::string head(const Object& object, std::string_view api) {
    return cat(object.comment ? "# a line more\n" : "", "apiVersion: ", api,
               "\nkind: ", object.kind, "\n");
  }
  std::string yaml(const Object& o) const {
    const int number = o.name.empty() ? 0 : std::stoi(o.name.substr(1));
    const auto& k = o.knobs;
    const std::string name = cat("metadata: {name: ", o.name, "}\n");
    // One in many is wrong.
    const auto target = [&](unsigned knob) {
      return knob % 37 == 0 ? std::string("nobody") : cat("s", knob % kServices);
    };
    if (o.kind == "Mesh") {
      return cat(head(o, "glia.dev/v1"), "metadata: {name: m}\nspec: {defaultAuthorization: ",
                 k[0] % 2 == 1 ? "Allow" : "Deny", "}\n");
    }
    if (o.kind == "Service") {
      return cat(head(o, "v1"), name, "spec: {",
                 number % 4 == 3 ? "" : cat("selector: {app: a", number, "}, "),
                 k[1] % 9 == 0 && number % 4 != 3 ? "clusterIP: None, " : "",
                 "ports: [{name: http, port: ", k[0] % 9 == 0 ? 81 : 80, ", targetPort: http}]}\n");
    }
    if (o.kind == "Workload") {
      const std::string egress =
          k[2] % 3 == 0 ? cat(", egress: [", target(k[2]), ", ", target(k[3]), "]") : "";
      return cat(head(o, "glia.dev/v1"), "metadata: {name: ", o.name, ", labels: {app: a",
                 k[1] % 7 == 0 ? k[1] % kServices : static_cast<unsigned>(number),
                 ", version: ", o.name[0], "}}\nspec: {identity: i", number, ", address: 10.0.",
                 o.name[0] == 'w' ? 1 : 2, ".", static_cast<unsigned>(number) * 5 + k[0] % 7 + 1,
                 ", ports: [{name: http, port: ", 8000 + number, ", appPort: 9000}]", egress,
                 "}\n");
    }
    if (o.kind == "Client") {
      const std::string egress =
          number == 0 ? ""
                      : cat(", egress: [default/", target(k[2]), ", default/", target(k[3]), "]");
      return cat("apiVersion: glia.dev/v1\nkind: Workload\nmetadata: {name: ", o.name,
                 ", namespace: other}\nspec: {address: 10.0.3.",
                 static_cast<unsigned>(number) * 7 + k[0] % 7 + 1,
                 ", ports: [{name: http, port: ", 8000 + number, ", appPort: 9000}]", egress,
                 "}\n");
    }
    if (o.kind == "Canary") return canary(o, number);
    if (o.kind == "InferencePool") {
      return cat(head(o, "inference.networking.k8s.io/v1"), name,
                 "spec: {selector: {matchLabels: {app: a", k[0] % 4,
                 "}}, targetPorts: [{number: ", 8000 + k[0] % 4, "}]}\n");
    }
    if (o.kind == "EndpointSlice") {
      std::string endpoints = "[";
      for (unsigned i = 0; i < k[0] % 3; ++i) {
        endpoints += cat(i > 0 ? ", " : "", "{addresses: [10.9.0.", k[1] % 5 + i + 1, "]}");
      }
      return cat(head(o, "discovery.k8s.io/v1"), "metadata: {name: ", o.name,
                 ", labels: {kubernetes.io/service-name: s", k[2] % 23 == 0 ? number - 1 : number,
                 "}}\naddressType: IPv4\nendpoints: ", endpoints,
                 "]\nports: [{name: http, port: ", 7000 + k[3] % 2, "}]\n");
    }
    if (o.kind == "HTTPRoute" || o.kind == "GRPCRoute") {
      return cat(head(o, "gateway.networking.k8s.io/v1"), name,
                 "spec:\n  parentRefs: [{group: '', kind: Service, name: ",
                 k[0] % 5 == 0 ? target(k[0]) : cat("s", number),
                 "}]\n  rules: [{backendRefs: [{name: ", target(k[1]),
                 ", port: ", k[1] % 25 == 0 ? 81 : 80, ", weight: ", k[2] % 100,
                 "}, {name: ", target(k[3]), ", port: 80, weight: 0}",
                 k[3] % 3 == 0 ? cat(", {group: inference.networking.k8s.io, kind: InferencePool, "
                                     "name: i",
                                     k[3] % 5 % kPools, ", weight: 5}")
                               : "",
                 "]}]\n");
    }
    if (o.kind == "TrafficPolicy") {
      return cat(head(o, "glia.dev/v1"), name, "spec: {targetRef: {kind: Service, name: ",
                 k[0] % 4 == 0 ? target(k[0]) : cat("s", number), k[1] % 5 == 0 ? ", port: 80" : "",
                 "}, timeouts: {request: ", k[2] % 9 + 1, "s, connect: ", k[3] % 9 + 1, "s}}\n");
    }
    return cat(head(o, "glia.dev/v1"), name, "spec: {selector: {app: a",
               k[0] % 3 == 0 ? k[0] % kServices : static_cast<unsigned>(number),
               "}, action: Allow, rules: [{from: [{identities: [i", k[1] % kServices,
               "]}], to: [{ports: [", k[2] % 19 == 0 ? "grpc" : "http", "], paths: [/p", k[3] % 5,
               "]}]}]}\n");
  }

  static std::string canary(const Object& o, int number) {
    const auto& k = o.knobs;
    // One in some is wrong: the other's target, a version that is not there, or not another.
    const int target = k[0] % 19 == 0 ? 5 : number;
    const std::string candidate = number == 0 ? cat("labels: {version: ",
                                                    k[1] % 13 == 0  ? "z"
                                                    : k[1] % 2 == 0 ? "w"
                                                                    : "x",
                                                    "}")
                                              : cat("service: s", k[1] % kServices);
    return cat(head(o, "glia.dev/v1"), "metadata: {name: ", o.name, "}\nspec: {targetRef: {name: s",
               target, "}, candidate: {", candidate, "}",
               k[2] % 2 == 0 ? ", header: {name: x-version, value: new}" : "",
               k[2] % 3 == 0 ? ", session: {cookie: user}" : "",
               k[3] % 3 == 0 ? ", shadow: {percent: 10}" : "",
               ", onSuccess: ", k[3] % 2 == 0 ? "Wait" : "Promote", "}\n");
  }

  std::mt19937 random_;
  std::vector<Object> objects_;
  std::vector<Object> before_;
};

std::string text(const std::vector<std::size_t>& places) {
  std::string out;
  for (const std::size_t place : places) out += cat(" ", place);
  return out;
}

// Who refers to whom, and where it stands.
std::string places(const ObjectSet& set) {
  std::string out = set.version + "\n";
  for (const Workload& w : set.workloads) {
    out += cat(w.metadata.key(), " ", w.metadata.at.line, ":", text(w.policies), "\n");
  }
  for (const MeshService& s : set.services) {
    out += cat(s.metadata.key(), " ", s.metadata.at.line, ":", text(s.members), ";",
               text(s.http_routes), ";", text(s.grpc_routes), ";", text(s.slices), ";",
               text(s.traffic_policies), "\n");
  }
  for (const auto& [socket, place] : set.sockets) out += cat(socket, " ", place, "\n");
  return out;
}

std::string described(const NodeResources& node) {
  std::string out;
  for (const XdsType type : kXdsTypes) {
    out += cat(name_of(type), " ", node.of(type).version, ":");
    for (const auto& [name, resource] : node.of(type).resources) {
      out += cat(" ", name, "=", resource->version);
    }
    out += "\n";
  }
  return out;
}

// Not of every workload each time: what nobody asked for between two edits must be right as well.
void expect_same(MeshState& state, MeshState& scratch, std::size_t number) {
  ASSERT_EQ(places(state.objects()), places(scratch.objects()));
  const auto& workloads = scratch.objects().workloads;
  for (std::size_t i = 0; i < workloads.size(); ++i) {
    if ((i + number) % 5 < 2) continue;
    const std::string key = workloads[i].metadata.key();
    for (const ClientKind client : {ClientKind::kSidecar, ClientKind::kProxyless}) {
      ASSERT_EQ(described(*state.resources(key, client)),
                described(*scratch.resources(key, client)))
          << key;
    }
  }
  const Workload& one = workloads[number % workloads.size()];
  ASSERT_EQ(described(*state.resources(one.metadata.key())),
            described(*pack(translate(scratch.objects(), one))));
}

// What is in force, beside what it was edited from.
class Edited {
 public:
  explicit Edited(const ChangingMesh& mesh) {
    for (const SourceText& source : mesh.files()) readings_[source.name] = read_source(source);
    LoadReport report = combine(all());
    EXPECT_TRUE(report.ok()) << report.errors();
    good_ = report.objects;
    state_.emplace(std::move(report.objects), all());
  }
  MeshState::Edit apply(const SourceText& source) {
    const ReadingRef reading = read_source(source);
    readings_[source.name] = reading;
    const MeshState::Edit edit = state_->apply({.read = {reading}});
    LoadReport report = combine(all());
    EXPECT_EQ(edit == MeshState::Edit::kRefused, !report.ok()) << report.errors();
    if (report.ok()) good_ = std::move(report.objects);
    return edit;
  }
  void split(CanarySplits splits) {
    splits_ = splits;
    state_->split(std::move(splits));
  }
  void expect_right(std::size_t number) {
    MeshState scratch(good_);
    scratch.split(splits_);
    expect_same(*state_, scratch, number);
  }
  bool refused() const { return !state_->errors().empty(); }

 private:
  std::vector<ReadingRef> all() const {
    std::vector<ReadingRef> list;
    for (const auto& [name, reading] : readings_) list.push_back(reading);
    return list;
  }

  std::map<std::string, ReadingRef> readings_;
  ObjectSet good_;
  CanarySplits splits_;
  std::optional<MeshState> state_;
};

class Incremental : public testing::TestWithParam<unsigned> {};

TEST_P(Incremental, EachOf500EditsSaysWhatReadingEverythingSays) {
  ChangingMesh mesh(GetParam());
  Edited edited(mesh);
  int taken = 0, refused = 0;
  for (std::size_t i = 0; i < kEdits && !HasFailure(); ++i) {
    if (i % 3 == 0) {
      edited.split(mesh.splits());
      edited.expect_right(i);
      if (HasFailure()) FAIL() << "shares before edit " << i;
    }
    // Mistakes are mended before long, else nothing would ever be taken.
    const bool mended = edited.refused() && mesh.edited() && i % 4 != 0;
    const SourceText source = mesh.file(mended ? mesh.undo() : mesh.edit());
    const MeshState::Edit edit = edited.apply(source);
    refused += edit == MeshState::Edit::kRefused;
    taken += edit == MeshState::Edit::kTaken;
    if (edit == MeshState::Edit::kRefused) continue;
    mesh.good();
    edited.expect_right(i);
    if (HasFailure()) FAIL() << "edit " << i << " of " << source.name << "\n" << source.text;
  }
  EXPECT_GT(taken, kEdits / 3);
  EXPECT_GT(refused, kEdits / 20);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Incremental, testing::Values(1u, 2u));

}  // namespace
}  // namespace glia
