// Files that are written on a thread of their own, on a real loop. Runs under ThreadSanitizer.
#include "proxy/server/file_writer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>

#include "proxy/base/text.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/xds/private_file.h"

namespace glia {
namespace {

struct FileWriting : testing::Test {
  ~FileWriting() override {
    writer.reset();
    ::unlink(cat(directory, "/some").c_str());
    ::rmdir(directory.c_str());
  }
  std::string content() { return **read_private_file(directory, "some", 1 << 20); }

  EventLoop loop{std::make_unique<LibeventBackend>()};
  const std::string directory = cat(testing::TempDir(), "writer-", getpid());
  std::optional<FileWriter> writer{std::in_place, loop, directory, "some"};
  int done = 0;
  bool went_well = false;
};

TEST_F(FileWriting, TheLoopIsToldOnceTheFileIsThere) {
  for (int i = 1; i <= 20; ++i) {
    writer->write(cat("content ", i), [this](const Result<void>& result) {
      ++done;
      went_well = result.ok();
    });
    while (done < i) loop.turn(20ms);
    EXPECT_TRUE(went_well);
    EXPECT_EQ(content(), cat("content ", i));
  }
  EXPECT_TRUE(writer->write_now("the last").ok());
  EXPECT_EQ(content(), "the last");
}

TEST_F(FileWriting, WhatIsUnderWayIsFinishedAndNobodyIsToldAfterTheEnd) {
  writer->write(std::string(1 << 20, 'x'), [this](const Result<void>&) { ++done; });
  writer.reset();
  loop.turn(0s);
  EXPECT_EQ(done, 0);
  EXPECT_EQ(content().size(), std::size_t{1} << 20);
}

TEST_F(FileWriting, AFailureIsToldToo) {
  FileWriter lost(loop, directory + "/no/such", "some");
  lost.write("x", [this](const Result<void>& result) {
    ++done;
    went_well = result.ok();
  });
  while (done == 0) loop.turn(20ms);
  EXPECT_FALSE(went_well);
}

}  // namespace
}  // namespace glia
