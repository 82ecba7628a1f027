// Golden files: each test/golden/mesh/*.yaml and, beside it, a .txt with its problems and the
// resources that its "# print: WORKLOAD TYPE..." lines ask for; a line "# split: CANARY WEIGHT SHADOW"
// before them says how far a Canary is.
//   bazel test //control_plane/translate:golden_test --test_arg=--update   writes them anew
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "control_plane/translate/translate.h"
#include "google/protobuf/text_format.h"
#include "proxy/base/text.h"

namespace glia {

bool update_golden_files = false;

namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string printed(const google::protobuf::Message& message) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetExpandAny(true);
  printer.SetUseShortRepeatedPrimitives(true);
  std::string out;
  printer.PrintToString(message, &out);
  return out;
}

template <class Message>
void print_all(const char* title, const std::vector<Message>& messages, std::string& out) {
  for (const Message& message : messages) out += cat("---- ", title, "\n", printed(message));
}

std::string print_line(const ObjectSet& objects, std::istringstream words) {
  std::string name, type, out;
  words >> name;
  const Workload* workload = objects.workload(name);
  if (!workload) return cat("no workload ", name, "\n");
  const Resources resources = translate(objects, *workload);
  while (words >> type) {
    const std::string title = cat(name, " ", type);
    if (type == "listeners") print_all(title.c_str(), resources.listeners, out);
    if (type == "clusters") print_all(title.c_str(), resources.clusters, out);
    if (type == "routes") print_all(title.c_str(), resources.routes, out);
    if (type == "endpoints") print_all(title.c_str(), resources.endpoints, out);
  }
  return out;
}

// "NAME WEIGHT SHADOW": what a controller would have decided of an open Canary.
void set_split(ObjectSet& objects, std::istringstream words) {
  std::string name;
  Canary::Split split{.open = true};
  words >> name >> split.weight >> split.shadow;
  for (Canary& canary : objects.canaries) {
    if (canary.metadata.name == name) canary.split = split;
  }
}

std::string run(const std::string& name, const std::string& yaml) {
  LoadReport report = parse({{name, yaml}});
  std::string out;
  for (const Problem& problem : report.problems) out += problem.text() + "\n";
  std::istringstream lines(yaml);
  for (std::string line; std::getline(lines, line);) {
    constexpr char kPrint[] = "# print: ", kSplit[] = "# split: ";
    if (line.starts_with(kSplit)) {
      set_split(report.objects, std::istringstream(line.substr(std::strlen(kSplit))));
    }
    if (line.starts_with(kPrint)) {
      out += print_line(report.objects, std::istringstream(line.substr(std::strlen(kPrint))));
    }
  }
  return out;
}

TEST(Golden, EveryMeshFileGivesWhatIsWrittenBesideIt) {
  std::vector<std::filesystem::path> inputs;
  for (const auto& entry : std::filesystem::directory_iterator("test/golden/mesh")) {
    if (entry.path().extension() == ".yaml") inputs.push_back(entry.path());
  }
  std::sort(inputs.begin(), inputs.end());
  ASSERT_FALSE(inputs.empty());
  for (const auto& input : inputs) {
    const std::string got = run(input.filename(), read(input));
    // Bazel shows links to the source tree: write there.
    auto expected = std::filesystem::canonical(input).replace_extension(".txt");
    if (update_golden_files)
      std::ofstream(expected, std::ios::binary) << got;
    else
      EXPECT_EQ(got, read(expected)) << input << ": see the top of this test for how to update";
  }
}

}  // namespace
}  // namespace glia

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(arguments[i], "--update") == 0) glia::update_golden_files = true;
  }
  return RUN_ALL_TESTS();
}
