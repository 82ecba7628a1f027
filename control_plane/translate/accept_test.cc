// What translate() makes is what glia-proxy takes: every resource of every golden mesh file goes
// over the wire into the proxy's own decoders and becomes a drawing.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "control_plane/translate/pack.h"
#include "control_plane/translate/translate.h"
#include "proxy/base/text.h"
#include "proxy/xds/draft.h"
#include "proxy/xds/freeze.h"

namespace glia {
namespace {

template <class Messages>
void apply(Draft& draft, ResourceKind kind, const std::string& version, const Messages& messages,
           Errors& errors) {
  std::vector<std::string> bytes;
  for (const auto& message : messages) bytes.push_back(serialize(message));
  const std::vector<std::string_view> views(bytes.begin(), bytes.end());
  draft.apply(kind, version, views, {}, errors);
}

void apply(Draft& draft, const Resources& made, Errors& errors) {
  apply(draft, ResourceKind::kCluster, made.clusters_version, made.clusters, errors);
  apply(draft, ResourceKind::kEndpoints, made.endpoints_version, made.endpoints, errors);
  apply(draft, ResourceKind::kListener, made.listeners_version, made.listeners, errors);
  apply(draft, ResourceKind::kRoutes, made.routes_version, made.routes, errors);
}

// Clear text: the drawing is then complete without a certificate.
void expect_accepted(const Resources& made, const std::string& what) {
  Draft draft;
  Errors errors;
  apply(draft, made, errors);
  EXPECT_EQ(errors.joined(), "") << what;
  Freezer freezer({"default/test", "test"});
  const auto drawing = freezer.freeze(draft);
  ASSERT_TRUE(drawing.ok()) << what << ": " << drawing.error().message();
}

TEST(Accept, TheProxyTakesEveryResourceOfEveryGoldenMesh) {
  std::size_t workloads = 0;
  for (const auto& entry : std::filesystem::directory_iterator("test/golden/mesh")) {
    if (entry.path().extension() != ".yaml") continue;
    const LoadReport report = load({entry.path().string()});
    for (const Workload& workload : report.objects.workloads) {
      const std::string what = cat(entry.path().string(), " ", workload.metadata.key());
      expect_accepted(translate(report.objects, workload, HopSecurity::kClearText), what);
      expect_accepted(translate(report.objects, workload, HopSecurity::kMutualTls), what);
      ++workloads;
    }
  }
  EXPECT_GT(workloads, 5u);
}

TEST(Accept, AClearTextDrawingIsComplete) {
  const LoadReport report = load({"test/golden/mesh/demo.yaml"});
  ASSERT_EQ(report.errors(), "");
  const Resources made =
      translate(report.objects, *report.objects.workload("front"), HopSecurity::kClearText);
  Draft draft;
  Errors errors;
  apply(draft, made, errors);
  Freezer freezer({"default/front", "front"});
  const auto drawing = freezer.freeze(draft);
  ASSERT_TRUE(drawing.ok()) << drawing.error().message();
  EXPECT_TRUE(freezer.warming().empty());
  EXPECT_EQ((*drawing)->listeners.size(), made.listeners.size());
  EXPECT_EQ((*drawing)->clusters.size(), made.clusters.size());
}

TEST(Accept, ARouteThatMatchesOnAModelHasItRead) {
  const LoadReport report = load({"test/golden/mesh/models.yaml"});
  ASSERT_EQ(report.errors(), "");
  const Resources made =
      translate(report.objects, *report.objects.workload("caller"), HopSecurity::kClearText);
  Draft draft;
  Errors errors;
  apply(draft, made, errors);
  Freezer freezer({"default/caller", "caller"});
  const auto drawing = freezer.freeze(draft);
  ASSERT_TRUE(drawing.ok()) << drawing.error().message();
  for (const auto& [name, listener] : (*drawing)->listeners) {
    EXPECT_EQ(listener->chains[0].http.model.has_value(), name == "outbound") << name;
  }
}

}  // namespace
}  // namespace glia
