#include "proxy/telemetry/log_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <sstream>

#include "proxy/base/text.h"

namespace glia {
namespace {

class LogWriterTest : public testing::Test {
 protected:
  LogWriterTest() { std::signal(SIGPIPE, SIG_IGN); }

  std::string path(std::string_view name) {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    const std::string whole = cat(testing::TempDir(), info->name(), "-", getpid(), "-", name);
    unlink(whole.c_str());
    return whole;
  }
  static std::string contents(const std::string& path) {
    std::stringstream all;
    all << std::ifstream(path).rdbuf();
    return all.str();
  }
  static std::string read_some(int file) {
    std::string bytes(1 << 20, '\0');
    const ssize_t count = read(file, bytes.data(), bytes.size());
    bytes.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    return bytes;
  }
  static std::size_t lines_in(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count(text, '\n'));
  }

  AccessRecord record_;
  LogFormat format_;
};

TEST_F(LogWriterTest, WritesWhenAskedAndNotBefore) {
  const std::string file = path("log");
  auto writer = *LogWriter::open(file);
  writer->write(format_, record_);
  EXPECT_TRUE(writer->pending());
  EXPECT_EQ(contents(file), "");
  writer->flush();
  EXPECT_FALSE(writer->pending());
  EXPECT_EQ(lines_in(contents(file)), 1u);
  struct stat about;
  ASSERT_EQ(stat(file.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0007, 0u);  // Paths and identities are not for everybody.
}

TEST_F(LogWriterTest, WritesALargeBufferByItself) {
  const std::string file = path("log");
  auto writer = *LogWriter::open(file);
  for (int i = 0; contents(file).empty() && i < 10000; ++i) writer->write(format_, record_);
  EXPECT_GE(contents(file).size(), kLogFlushAt);
  EXPECT_TRUE(contents(file).ends_with("}\n"));
}

TEST_F(LogWriterTest, FlushesWhenItEnds) {
  const std::string file = path("log");
  (*LogWriter::open(file))->write(format_, record_);
  EXPECT_EQ(lines_in(contents(file)), 1u);
}

TEST_F(LogWriterTest, AppendsBesideOtherWorkers) {
  const std::string file = path("log");
  auto one = *LogWriter::open(file);
  auto two = *LogWriter::open(file);
  for (int i = 0; i < 50; ++i) {
    one->write(format_, record_);
    two->write(format_, record_);
    one->flush();
    two->flush();
  }
  EXPECT_EQ(lines_in(contents(file)), 100u);
}

TEST_F(LogWriterTest, FollowsARotation) {
  const std::string file = path("log");
  auto writer = *LogWriter::open(file);
  writer->write(format_, record_);
  ASSERT_EQ(rename(file.c_str(), (file + ".1").c_str()), 0);
  ASSERT_TRUE(writer->reopen());
  writer->write(format_, record_);
  writer->flush();
  EXPECT_EQ(lines_in(contents(file + ".1")), 1u);  // What was buffered went to the old file.
  EXPECT_EQ(lines_in(contents(file)), 1u);
}

TEST_F(LogWriterTest, KeepsTheOldFileIfReopeningFails) {
  const std::string directory = path("dir");
  ASSERT_EQ(mkdir(directory.c_str(), 0700), 0);
  auto writer = *LogWriter::open(directory + "/log");
  ASSERT_EQ(rename(directory.c_str(), (directory + ".moved").c_str()), 0);
  const auto reopened = writer->reopen();
  ASSERT_FALSE(reopened);
  EXPECT_EQ(reopened.error().message(),
            cat("access log ", directory,
                "/log cannot be opened: No such file or directory; make "
                "its directory first"));
  writer->write(format_, record_);
  writer->flush();
  EXPECT_EQ(lines_in(contents(directory + ".moved/log")), 1u);
}

TEST_F(LogWriterTest, SaysWhyAFileCannotBeOpened) {
  const auto writer = LogWriter::open(path("no") + "/log");
  ASSERT_FALSE(writer);
  EXPECT_TRUE(
      writer.error().message().ends_with("No such file or directory; make its directory first"));
}

TEST_F(LogWriterTest, DropsAndCountsWhenAReaderIsTooSlowThenGoesOn) {
  const std::string fifo = path("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const int reader = open(fifo.c_str(), O_RDONLY | O_NONBLOCK);
  auto writer = *LogWriter::open(fifo);
  uint64_t written = 0;
  for (; writer->lines_dropped() < 10 && written < 100000; ++written) {
    writer->write(format_, record_);
  }
  EXPECT_EQ(writer->lines_dropped(), 10u);
  writer->flush();  // Still full: nothing is lost and nothing blocks.
  EXPECT_TRUE(writer->pending());
  std::string seen;
  while (writer->pending()) {
    seen += read_some(reader);
    writer->flush();
  }
  seen += read_some(reader);
  EXPECT_EQ(lines_in(seen), written - 10);
  writer->write(format_, record_);
  writer->flush();
  EXPECT_EQ(lines_in(read_some(reader)), 1u);
  MetricsPage page;
  writer->collect(page);
  EXPECT_NE(page.text().find("glia_access_log_lines_dropped_total: 10\n"), std::string::npos);
  close(reader);
}

TEST_F(LogWriterTest, KeepsLinesWholeInAPipeThatWorkersShare) {
  const std::string fifo = path("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const int reader = open(fifo.c_str(), O_RDONLY | O_NONBLOCK);
  auto one = *LogWriter::open(fifo);
  auto two = *LogWriter::open(fifo);
  AccessRecord other;
  other.path = "/two";
  const std::string long_path(300, 'x');
  record_.path = long_path;
  for (int i = 0; i < 600; ++i) {  // Together more than a pipe holds.
    one->write(format_, record_);
    two->write(format_, other);
  }
  std::string seen;
  while (one->pending() || two->pending()) {
    one->flush();
    two->flush();
    seen += read_some(reader);
  }
  seen += read_some(reader);
  std::istringstream lines(seen);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    ASSERT_TRUE(line.starts_with("{\"start_time\"") && line.ends_with("}")) << line;
  }
  EXPECT_EQ(count, 1200);
  close(reader);
}

TEST_F(LogWriterTest, ComplainsOnceWhenTheDiskIsFull) {
  auto writer = *LogWriter::open("/dev/full");
  testing::internal::CaptureStderr();
  for (int i = 0; i < 5; ++i) {
    writer->write(format_, record_);
    writer->flush();
  }
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(lines_in(said), 1u) << said;
  EXPECT_NE(said.find("access log /dev/full cannot be written: No space left on device"), said.npos)
      << said;
}

TEST_F(LogWriterTest, SurvivesAReaderThatGoesAway) {
  const std::string fifo = path("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const int reader = open(fifo.c_str(), O_RDONLY | O_NONBLOCK);
  auto writer = *LogWriter::open(fifo);
  close(reader);
  writer->write(format_, record_);
  writer->flush();
  EXPECT_TRUE(writer->pending());
}

}  // namespace
}  // namespace glia
