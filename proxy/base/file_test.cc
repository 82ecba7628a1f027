#include "proxy/base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace glia {
namespace {

namespace fs = std::filesystem;

class FileTest : public ::testing::Test {
 protected:
  static std::string content(const fs::path& path) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  static mode_t mode(const fs::path& path) {
    struct stat facts = {};
    EXPECT_EQ(::stat(path.c_str(), &facts), 0);
    return facts.st_mode & 07777;
  }
  const fs::path directory_ = fs::path(::testing::TempDir()) / "file_test";
  const fs::path path_ = directory_ / "a";
  void SetUp() override {
    fs::remove_all(directory_);
    fs::create_directory(directory_);
  }
};

TEST_F(FileTest, IsReplacedWithItsRightsWhateverTheUmaskSays) {
  const mode_t before = ::umask(0077);
  EXPECT_EQ(replace_file(path_, "one", 0644), 0);
  ::umask(before);
  EXPECT_EQ(content(path_), "one");
  EXPECT_EQ(mode(path_), 0644u);
  const std::string large(1 << 20, 'x');
  EXPECT_EQ(replace_file(path_, large, 0600, FileOwner{::getuid(), ::getgid()}), 0);
  EXPECT_EQ(content(path_), large);
  EXPECT_EQ(mode(path_), 0600u);
}

TEST_F(FileTest, WhoReadsTheOldOneGoesOnReadingIt) {
  ASSERT_EQ(replace_file(path_, "old", 0600), 0);
  std::ifstream open(path_);
  ASSERT_EQ(replace_file(path_, "new", 0600), 0);
  std::string read;
  open >> read;
  EXPECT_EQ(read, "old");
}

TEST_F(FileTest, AFailureLeavesTheOldContentAndNothingBesideIt) {
  EXPECT_EQ(replace_file(directory_ / "none" / "a", "x", 0600), ENOENT);
  // A directory cannot be replaced by a file.
  fs::create_directory(path_);
  EXPECT_EQ(replace_file(path_, "x", 0600), EISDIR);
  EXPECT_TRUE(fs::is_directory(path_));
  EXPECT_FALSE(fs::exists(path_.string() + ".glia-new"));
}

TEST_F(FileTest, WhatARunThatWasCutOffLeftIsNotInTheWay) {
  std::ofstream(path_.string() + ".glia-new") << "half";
  EXPECT_EQ(replace_file(path_, "whole", 0600), 0);
  EXPECT_EQ(content(path_), "whole");
}

}  // namespace
}  // namespace glia
