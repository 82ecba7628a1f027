#include "control_plane/source/file_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "proxy/base/text.h"

namespace glia {
namespace {

namespace fs = std::filesystem;

std::string mesh(std::string_view name) {
  return cat("apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: ", name, "}\n");
}
std::string service(std::string_view name) {
  return cat("---\napiVersion: v1\nkind: Service\nmetadata: {name: ", name,
             "}\nspec:\n  selector: {app: x}\n  ports: [{port: 80}]\n");
}

class FileSourceTest : public testing::Test {
 protected:
  // What no test should ever reach, even on a machine that is busy.
  static constexpr Duration kPatience = 20s;

  FileSourceTest() {
    std::string pattern = testing::TempDir() + "source_XXXXXX";
    root_ = ::mkdtemp(pattern.data());
  }
  ~FileSourceTest() override { fs::remove_all(root_); }

  fs::path at(std::string_view name) const { return fs::path(root_) / name; }
  void write(std::string_view name, const std::string& text) { std::ofstream(at(name)) << text; }
  // As editors save: a new file, then a rename over the old one.
  void save(std::string_view name, const std::string& text) {
    write("saved~", text);
    fs::rename(at("saved~"), at(name));
  }
  void watch(std::string_view path) {
    auto source = FileSource::start(loop_, *backend_, {at(path)},
                                    [this](const SourceEdit& edit) { note(edit); });
    ASSERT_TRUE(source.ok()) << source.error().message();
    source_ = *std::move(source);
    readings_.clear();
    note(*source_->read());
    reports_.clear();
  }
  void note(const SourceEdit& edit) {
    for (const ReadingRef& reading : edit.read) readings_[reading->name] = reading;
    for (const std::string& name : edit.gone) readings_.erase(name);
    read_ += edit.read.size();
    std::vector<ReadingRef> all;
    for (const auto& [name, reading] : readings_) all.push_back(reading);
    reports_.push_back(combine(all));
    auto& problems = reports_.back().problems;
    problems.insert(problems.end(), edit.unreadable->begin(), edit.unreadable->end());
  }
  // Turns until a report says the mesh is called `name`; "" waits for one with errors.
  LoadReport seen(std::string_view name) {
    const TimePoint end = loop_.clock().now() + kPatience;
    while (loop_.clock().now() < end) {
      loop_.turn(100ms);
      if (reports_.empty()) continue;
      LoadReport last = std::move(reports_.back());
      reports_.clear();
      if (last.ok() ? last.objects.mesh.metadata.name == name : name.empty()) return last;
    }
    ADD_FAILURE() << "nothing was seen of \"" << name << '"';
    return {};
  }

  LibeventBackend* backend_ = new LibeventBackend;
  EventLoop loop_{std::unique_ptr<LoopBackend>(backend_)};
  std::string root_;
  std::map<std::string, ReadingRef> readings_;
  std::size_t read_ = 0;  // Sources, ever.
  std::vector<LoadReport> reports_;
  std::unique_ptr<FileSource> source_;
};

TEST_F(FileSourceTest, SeesAFileThatIsRewrittenInPlace) {
  write("mesh.yaml", mesh("one"));
  watch("mesh.yaml");
  write("mesh.yaml", mesh("two"));
  seen("two");
}

TEST_F(FileSourceTest, SeesEverySaveByRename) {
  write("mesh.yaml", mesh("one"));
  watch("mesh.yaml");
  for (const char* name : {"two", "three", "four"}) {
    save("mesh.yaml", mesh(name));
    seen(name);
  }
}

TEST_F(FileSourceTest, ReportsMistakesWithTheirPlace) {
  write("mesh.yaml", mesh("one"));
  watch("mesh.yaml");
  save("mesh.yaml", mesh("two") + "---\nkind: Nonsense\n");
  const LoadReport report = seen("");
  EXPECT_NE(report.errors().find("mesh.yaml:"), std::string::npos) << report.errors();
  save("mesh.yaml", mesh("three"));
  seen("three");
}

TEST_F(FileSourceTest, SeesDeletionAndReturn) {
  write("mesh.yaml", mesh("one"));
  watch("mesh.yaml");
  fs::remove(at("mesh.yaml"));
  seen("");
  write("mesh.yaml", mesh("two"));
  seen("two");
}

TEST_F(FileSourceTest, SeesADirectoryThatComesBack) {
  fs::create_directory(at("mesh"));
  write("mesh/mesh.yaml", mesh("one"));
  watch("mesh");
  fs::rename(at("mesh"), at("gone"));
  seen("");
  write("gone/mesh.yaml", mesh("two"));
  fs::rename(at("gone"), at("mesh"));
  seen("two");
  write("mesh/mesh.yaml", mesh("three"));
  seen("three");
}

TEST_F(FileSourceTest, SeesFilesThatComeAndGoInADirectory) {
  fs::create_directory(at("mesh"));
  write("mesh/mesh.yaml", mesh("one"));
  watch("mesh");
  write("mesh/service.yaml", service("s"));
  EXPECT_EQ(seen("one").objects.services.size(), 1u);
  fs::remove(at("mesh/service.yaml"));
  EXPECT_EQ(seen("one").objects.services.size(), 0u);
}

TEST_F(FileSourceTest, ReadsOnlyTheFileThatWasSaved) {
  fs::create_directory(at("mesh"));
  write("mesh/a.yaml", mesh("one"));
  write("mesh/b.yaml", service("b"));
  write("mesh/c.yaml", service("c"));
  watch("mesh");
  EXPECT_EQ(read_, 3u);
  save("mesh/b.yaml", service("bb"));
  EXPECT_NE(seen("one").objects.service("default", "bb"), nullptr);
  EXPECT_EQ(read_, 4u);
}

TEST(FileReader, SeesWhatIsSavedTwiceInOneTickOfTheFileSystem) {
  std::string directory = testing::TempDir() + "reader_XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string name = directory + "/mesh.yaml";
  FileReader reader({name});
  const WallTime now{std::chrono::seconds(::time(nullptr))};
  for (const char* mesh_name : {"one", "two", "six"}) {
    std::ofstream(name, std::ios::in | std::ios::out | std::ios::trunc) << mesh(mesh_name);
    if (!fs::exists(name)) std::ofstream(name) << mesh(mesh_name);
    const SourceEdit edit = reader.read(now);
    ASSERT_EQ(edit.read.size(), 1u) << mesh_name;
    EXPECT_EQ(edit.read[0]->draft.meshes[0].metadata.name, mesh_name);
  }
  EXPECT_TRUE(reader.read(now + FileReader::kTickOfFiles + 5s).read.empty());
  EXPECT_TRUE(reader.read(now + FileReader::kTickOfFiles + 5s).read.empty()) << "by its stamp";
  fs::remove(name);
  const SourceEdit gone = reader.read(now);
  EXPECT_EQ(gone.gone, std::vector<std::string>{name});
  EXPECT_EQ(gone.unreadable->size(), 1u);
  fs::remove_all(directory);
}

// A ConfigMap: mesh.yaml -> ..data/mesh.yaml, ..data -> a directory that is swapped by rename.
TEST_F(FileSourceTest, SeesASymbolicLinkThatIsSwapped) {
  fs::create_directories(at("volume/v1"));
  fs::create_directories(at("volume/v2"));
  write("volume/v1/mesh.yaml", mesh("one"));
  write("volume/v2/mesh.yaml", mesh("two"));
  fs::create_symlink("v1", at("volume/..data"));
  fs::create_symlink("..data/mesh.yaml", at("volume/mesh.yaml"));
  for (const char* path : {"volume", "volume/mesh.yaml"}) {
    watch(path);
    fs::create_symlink("v2", at("volume/..next"));
    fs::rename(at("volume/..next"), at("volume/..data"));
    seen("two");
    write("volume/v2/mesh.yaml", mesh("two-b"));
    seen("two-b");
    fs::create_symlink("v1", at("volume/..next"));
    fs::rename(at("volume/..next"), at("volume/..data"));
    seen("one");
    write("volume/v2/mesh.yaml", mesh("two"));
  }
}

TEST_F(FileSourceTest, DoesNotReadAFileBeforeItsWriterIsDone) {
  write("mesh.yaml", mesh("one") + service("s"));
  watch("mesh.yaml");
  const std::string first = mesh("half"), second = service("s");
  const int file = ::open(at("mesh.yaml").c_str(), O_WRONLY | O_TRUNC);
  ASSERT_GE(file, 0);
  ASSERT_EQ(::write(file, first.data(), first.size()), static_cast<ssize_t>(first.size()));
  // Much longer than a save is gathered, much shorter than a writer is waited for.
  const TimePoint end = loop_.clock().now() + 2 * FileWatch::kLongestWait;
  while (loop_.clock().now() < end) loop_.turn(10ms);
  EXPECT_TRUE(reports_.empty()) << "half of a file is valid YAML";
  ASSERT_EQ(::write(file, second.data(), second.size()), static_cast<ssize_t>(second.size()));
  ::close(file);
  EXPECT_EQ(seen("half").objects.services.size(), 1u);
}

TEST_F(FileSourceTest, DoesNotWaitForEverForAWriterThatNeverCloses) {
  write("mesh.yaml", mesh("one"));
  watch("mesh.yaml");
  const int file = ::open(at("mesh.yaml").c_str(), O_WRONLY | O_TRUNC);
  const std::string text = mesh("open");
  ASSERT_EQ(::write(file, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  seen("open");
  ::close(file);
}

TEST_F(FileSourceTest, IgnoresOtherFilesAndTouching) {
  write("mesh.yaml", mesh("one"));
  watch("mesh.yaml");
  write("notes.txt", "hello");
  write("mesh.yaml.swp", "editor");
  save("mesh.yaml", mesh("two"));
  seen("two");
  EXPECT_TRUE(reports_.empty());
}

TEST_F(FileSourceTest, SurvivesALinkThatLeadsInACircle) {
  fs::create_symlink("b", at("a"));
  fs::create_symlink("a", at("b"));
  watch("a");
  fs::remove(at("a"));
  write("mesh.yaml", mesh("two"));
  fs::create_symlink("mesh.yaml", at("a"));
  seen("two");
}

}  // namespace
}  // namespace glia
