// What one edit of a mesh costs the control plane, from the text of the file that was saved to
// resources that are packed for the wire, in meshes of several sizes; `./dev bench control` runs
// it.
//
// CPU time of one thread. Twenty sidecars look at the result: half of them may call ten Services,
// the others all.
//
//   control_edits SERVICES [EDITS]      prints one line of JSON
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "control_plane/serve/mesh_state.h"
#include "proxy/base/check.h"
#include "test/bench/control_mesh.h"

namespace glia {
namespace {

constexpr int kSidecars = 20, kEgress = 10;

// Milliseconds of this thread.
double cpu() {
  timespec time = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
}

double median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

ReadingRef read(const ControlMesh& mesh, int file) {
  return read_source({mesh.file_name(file), mesh.file(file)});
}

void look(MeshState& state) {
  for (int i = 0; i < kSidecars; ++i) CHECK(state.resources(cat("w", i)) != nullptr);
}

struct Cost {
  double parse = 0, rest = 0;
};

template <class Edit>
Cost measure(ControlMesh& mesh, MeshState& state, int edits, Edit edit) {
  std::vector<double> parse, rest;
  for (int i = 0; i < edits; ++i) {
    edit();
    const SourceText source{mesh.file_name(0), mesh.file(0)};
    const double start = cpu();
    const ReadingRef reading = read_source(source);
    const double parsed = cpu();
    CHECK(state.apply({.read = {reading}}) == MeshState::Edit::kTaken);
    look(state);
    parse.push_back(parsed - start);
    rest.push_back(cpu() - parsed);
  }
  return {median(parse), median(rest)};
}

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: control_edits SERVICES [EDITS]\n", stderr);
    return 2;
  }
  ControlMesh mesh{.services = std::max(20, std::atoi(argv[1])), .egress = kEgress};
  mesh.workloads = mesh.services;
  mesh.narrow_only = 2;
  const int edits = argc > 2 ? std::max(1, std::atoi(argv[2])) : 51;
  std::vector<ReadingRef> readings;
  const double start = cpu();
  for (int i = 0; i < mesh.files(); ++i) readings.push_back(read(mesh, i));
  const double parsed = cpu();
  LoadReport report = combine(readings);
  if (!report.ok()) std::fputs(report.errors().c_str(), stderr);
  CHECK(report.ok());
  MeshState state(std::move(report.objects), readings);
  look(state);
  const double whole = cpu() - parsed;
  const Cost endpoint = measure(mesh, state, edits, [&] { ++mesh.moved; });
  const Cost weight = measure(mesh, state, edits, [&] { ++mesh.weight; });
  const Cost policy = measure(mesh, state, edits, [&] { ++mesh.policy; });
  std::printf(
      "{\"services\": %d, \"parse_all_ms\": %.1f, \"whole_ms\": %.1f, \"parse_ms\": %.3f, "
      "\"endpoint_ms\": %.3f, \"weight_ms\": %.3f, \"policy_ms\": %.3f}\n",
      mesh.services, parsed - start, whole, endpoint.parse, endpoint.rest, weight.rest,
      policy.rest);
  return 0;
}

}  // namespace
}  // namespace glia

int main(int argc, char** argv) { return glia::main(argc, argv); }
