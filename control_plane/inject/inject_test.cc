// What becomes of manifests. Each file of test/golden/inject but *.txt is one; its .txt is what `glia inject`
// makes of it, a line of dashes, and what it says of each pod. A first line "# flags:" has flags of the
// command.
//
// To accept what changed: GLIA_UPDATE_GOLDEN=$PWD/test/golden/inject with --test_env, then look at the diff.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "control_plane/inject/json_patch.h"
#include "control_plane/inject/manifest.h"
#include "control_plane/inject/yaml_edit.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

namespace fs = std::filesystem;
using Verdict = Decision::Verdict;

const std::string kDashes = "--------------------------------------------------\n";

std::string read(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

InjectSettings settings_in(const std::string& text) {
  InjectSettings settings;
  settings.image = "glia:1";
  std::istringstream words(text.substr(0, text.find('\n')));
  for (std::string word; words >> word;) {
    if (word == "--classic") settings.native = false;
    if (word == "--image") words >> settings.image;
    if (word == "--control") words >> settings.control;
    if (word != "--capture") continue;
    words >> word;
    settings.capture =
        word == "cni" ? InjectSettings::Capture::kCni : InjectSettings::Capture::kNone;
  }
  return settings;
}

ManifestText inject(const std::string& text, Direction direction = Direction::kInject) {
  const auto made = inject_manifest(text, direction, settings_in(text), "default");
  EXPECT_TRUE(made.ok()) << (made ? "" : made.error().message()) << "\n" << text;
  return made ? *made : ManifestText();
}

std::string error_of(const std::string& text) {
  const auto made = inject_manifest(text, Direction::kInject, {}, "default");
  return made ? "" : made.error().message();
}

std::string lines_of(const ManifestText& made) {
  constexpr std::string_view kWords[] = {"injected", "left", "refused"};
  std::string out;
  for (const ManifestLine& line : made.lines) {
    out += cat(line.object, ": ", kWords[static_cast<int>(line.decision.verdict)], ": ",
               line.decision.why, "\n");
  }
  return out;
}

TEST(Inject, ASidecarIsToldByWhatItKnowsTheControlPlane) {
  const Json pod =
      Json::parse(R"({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "app"}]}})");
  InjectSettings settings;
  const auto environment = [&]() -> Json {
    const auto made = with_sidecar(pod, "Pod", settings);
    EXPECT_TRUE(made.ok());
    return list_at(made ? (*made)["spec"]["initContainers"][1] : Json(), "env");
  };
  EXPECT_EQ(environment().size(), 2u);
  settings.trust_bundle = "PEM";
  ASSERT_EQ(environment().size(), 3u);
  EXPECT_EQ(environment()[2], (Json{{"name", "GLIA_TRUST_BUNDLE"}, {"value", "PEM"}}));
}

TEST(InjectGolden, EveryManifestBecomesWhatItSays) {
  const char* const update = std::getenv("GLIA_UPDATE_GOLDEN");
  int manifests = 0;
  for (const auto& entry : fs::directory_iterator("test/golden/inject")) {
    if (entry.path().extension() != ".yaml" && entry.path().extension() != ".json") continue;
    SCOPED_TRACE(entry.path().filename().string());
    ++manifests;
    const std::string text = read(entry.path());
    const ManifestText made = inject(text);
    const std::string got = cat(made.text, kDashes, lines_of(made));
    const fs::path expected = fs::path(entry.path()).replace_extension(".txt");
    if (update != nullptr) {
      std::ofstream(fs::path(update) / expected.filename()) << got;
    } else {
      EXPECT_EQ(got, read(expected));
    }
    // Twice is the same as once, and what was put in can be taken out: to the letter, but for what was
    // written in braces.
    EXPECT_EQ(inject(made.text).text, made.text);
    const ManifestText out = inject(made.text, Direction::kUninject);
    if (text.find("{") == text.npos) EXPECT_EQ(out.text, text);
    EXPECT_EQ(out.text.find("glia-proxy:"), text.npos);
  }
  EXPECT_GE(manifests, 9);
}

constexpr char kPod[] = "kind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  - name: app\n";

TEST(InjectTest, WhatCannotBeReadSaysWhere) {
  EXPECT_EQ(error_of("kind: Pod\n---\n- a\n"), "line 2: is a list, not an object of Kubernetes");
  EXPECT_TRUE(error_of("kind: Pod\n---\na: [\n").starts_with("line "));
  EXPECT_NE(error_of("a: \tb\n\tc: d\n"), "");
  EXPECT_NE(error_of("kind: Pod\n<<: {a: b}\n").find("merge keys"), std::string::npos);
}

TEST(InjectTest, WhatHasNoPodStaysToTheLetter) {
  for (const std::string text :
       {"", "# nothing\n", "---\n---\n", "kind: ConfigMap\ndata: {a: b}", "kind: Pod\n",
        "kind: Deployment\nspec: {}\n", "kind: Deployment\nspec: {template: 3}\n"}) {
    const ManifestText made = inject(text);
    EXPECT_EQ(made.text, text);
  }
}

TEST(InjectTest, TextWithoutALastLineBreakAndWithCarriageReturnsIsTaken) {
  std::string bare = kPod;
  bare.pop_back();
  EXPECT_NE(inject(bare).text.find("glia-proxy"), std::string::npos);
  std::string dos;
  for (const char c : std::string(kPod)) dos += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_NE(inject(dos).text.find("glia-proxy"), std::string::npos);
}

TEST(InjectTest, AnAliasThatWouldHaveToChangeIsNamed) {
  const std::string error = error_of(
      "kind: List\nitems:\n- kind: Pod\n  metadata: &m\n    name: a\n  spec:\n    containers:\n    "
      "- "
      "name: a\n- kind: Pod\n  metadata: *m\n  spec:\n    containers:\n    - name: a\n");
  EXPECT_NE(error, "");
}

TEST(InjectTest, ValuesAreNeverPutTogetherAsText) {
  // Those that pass are quoted where YAML would read them as something else.
  for (const std::string value :
       {"2", "yes", "null", "1e3", "a: b", "a #b", "- a", "*a", "&a", "\\n"}) {
    Json pod = {{"kind", "Pod"}, {"metadata", {{"name", "a"}}}, {"spec", {{"x", 1}}}};
    YamlFile file = read_yaml("kind: Pod\nmetadata:\n  name: a\nspec:\n  x: 1\n");
    pod["spec"]["y"] = value;
    pod["spec"]["list"] = {value, {{"name", value}}};
    const auto made = edited_yaml("kind: Pod\nmetadata:\n  name: a\nspec:\n  x: 1\n",
                                  file.documents.front(), pod);
    ASSERT_TRUE(made.ok()) << value;
    EXPECT_TRUE(same(json_of(read_yaml(*made).documents.front()), pod)) << *made;
  }
}

TEST(InjectTest, ThePodOfTheApplicationRunsAsItsOwnUser) {
  const Json pod = {{"metadata", {{"name", "a"}}}, {"spec", {{"containers", {{{"name", "app"}}}}}}};
  const auto made = with_sidecar(pod, "Pod", {});
  ASSERT_TRUE(made.ok());
  const Json& inits = (*made)["spec"]["initContainers"];
  ASSERT_EQ(inits.size(), 2u);
  EXPECT_EQ(inits[0]["name"], "glia-init");
  EXPECT_EQ(inits[0]["securityContext"]["capabilities"]["add"], Json({"NET_ADMIN", "NET_RAW"}));
  EXPECT_EQ(inits[1]["restartPolicy"], "Always");
  const Json& context = inits[1]["securityContext"];
  EXPECT_EQ(context["runAsUser"], 1337);
  EXPECT_EQ(context["runAsNonRoot"], true);
  EXPECT_EQ(context["allowPrivilegeEscalation"], false);
  EXPECT_EQ(context["readOnlyRootFilesystem"], true);
  EXPECT_EQ(context["capabilities"], Json({{"drop", {"ALL"}}}));
  const Json& source = (*made)["spec"]["volumes"][0]["projected"]["sources"][0];
  EXPECT_EQ(source["serviceAccountToken"]["audience"], "glia");
  EXPECT_EQ((*made)["spec"]["containers"], pod["spec"]["containers"]);
  EXPECT_EQ(without_sidecar(*made), pod);
}

TEST(InjectTest, APatchLeadsFromOneToTheOther) {
  const Json before = {
      {"a/b~c", 1}, {"gone", 2}, {"list", {{{"name", "x"}, {"v", 1}}, {{"name", "y"}}}}};
  const Json after = {{"a/b~c", 2},
                      {"new", {{"k", "v"}}},
                      {"list", {{{"name", "w"}}, {{"name", "x"}, {"v", 2}}, {{"name", "z"}}}}};
  const Json patch = json_patch(before, after);
  EXPECT_TRUE(same(before.patch(patch), after)) << patch.dump(1);
  EXPECT_EQ(patch[0]["path"], "/a~1b~0c");
  EXPECT_TRUE(json_patch(after, after).empty());
  // Items that change places, and lists of words.
  for (const auto& [from, to] : std::vector<std::pair<Json, Json>>{
           {{{"l", {"a", "b"}}}, {{"l", {"b", "a"}}}},
           {{{"l", {"a", "a"}}}, {{"l", {"a"}}}},
           {{{"l", Json::array()}}, {{"l", {"a"}}}},
           {{{"l", 1}}, {{"l", {{"a", 1}}}}},
       }) {
    EXPECT_TRUE(same(from.patch(json_patch(from, to)), to));
  }
}

}  // namespace
}  // namespace glia
