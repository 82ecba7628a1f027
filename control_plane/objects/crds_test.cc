// The definitions of our kinds for Kubernetes: the file is what is made, and every kind of ours is in it. That an
// API server takes them is seen end to end (test/e2e/kubernetes_server_test.py).
#include "control_plane/objects/crds.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "control_plane/objects/kind.h"
#include "control_plane/objects/yaml.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

TEST(Crds, TheFileIsWhatIsMade) {
  std::ifstream file("deploy/crds.yaml", std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), crds_page())
      << "write it anew: bazel run //control_plane/objects:schema_tool -- $PWD";
}

TEST(Crds, EveryKindOfOursHasOne) {
  const YamlFile file = read_yaml(crds_page());
  ASSERT_FALSE(file.failure) << file.failure->line << ": " << file.failure->message;
  std::set<std::string> defined;
  for (const YamlNode& document : file.documents) {
    defined.insert(document.find("spec")->find("names")->find("kind")->text);
  }
  for (const Kind& kind : kinds()) {
    EXPECT_EQ(defined.contains(kind.name), kind.api_version == "glia.dev/v1") << kind.name;
  }
}

}  // namespace
}  // namespace glia
