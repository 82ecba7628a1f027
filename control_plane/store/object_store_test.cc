#include "control_plane/store/object_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "proxy/base/text.h"

namespace glia {
namespace {

namespace fs = std::filesystem;
using Change = ObjectStore::Change;

class ObjectStoreTest : public testing::Test {
 protected:
  ObjectStoreTest() {
    std::string pattern = testing::TempDir() + "objects_XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    path_ = directory_ + "/objects.db";
    open();
  }
  ~ObjectStoreTest() override { fs::remove_all(directory_); }

  void open() {
    store_.reset();
    auto store = ObjectStore::open(path_);
    ASSERT_TRUE(store.ok()) << store.error().message();
    store_ = *std::move(store);
  }
  int64_t write(const std::vector<Change>& changes,
                int64_t most_bytes = ObjectStore::kMostHistoryBytes) {
    const auto version = store_->write(
        changes, {"anna", "applied", WallTime(std::chrono::seconds(1000))}, most_bytes);
    EXPECT_TRUE(version.ok()) << version.error().message();
    return version ? *version : 0;
  }
  std::string objects() {
    std::string all;
    const auto held = store_->objects();
    for (const ObjectStore::Object& object : *held) {
      all += cat(all.empty() ? "" : " ", object.name, "=", object.text, "@", object.version);
    }
    return all;
  }
  void back_to(int64_t version) {
    const auto changes = store_->back_to(version);
    ASSERT_TRUE(changes.ok()) << changes.error().message();
    write(*changes);
  }

  std::string directory_, path_;
  std::unique_ptr<ObjectStore> store_;
};

Change put(const std::string& name, const std::string& text) {
  return {"Service", name, text, "shop.yaml:1"};
}
Change gone(const std::string& name) { return {"Service", name, {}, ""}; }

TEST_F(ObjectStoreTest, KeepsWhatWasWritten) {
  EXPECT_EQ(write({put("a", "1"), put("b", "1")}), 1);
  EXPECT_EQ(write({put("a", "2")}), 2);
  EXPECT_EQ(write({gone("b"), put("c", "3")}), 3);
  open();
  EXPECT_EQ(objects(), "a=2@2 c=3@3");
  EXPECT_EQ(*store_->newest(), 3);
}

TEST_F(ObjectStoreTest, KnowsWhoChangedWhatAndWhen) {
  write({put("a", "1")});
  write({put("a", "2"), put("b", "1")});
  write({gone("a")});
  const auto history = store_->history(2);
  ASSERT_TRUE(history.ok());
  ASSERT_EQ(history->size(), 2u);
  EXPECT_EQ((*history)[0].number, 3);
  EXPECT_EQ((*history)[0].author.who, "anna");
  EXPECT_EQ((*history)[0].author.at, WallTime(std::chrono::seconds(1000)));
  ASSERT_EQ((*history)[0].touched.size(), 1u);
  EXPECT_TRUE((*history)[0].touched[0].before);
  EXPECT_FALSE((*history)[0].touched[0].after);
  ASSERT_EQ((*history)[1].touched.size(), 2u);
  EXPECT_FALSE((*history)[1].touched[1].before);
}

TEST_F(ObjectStoreTest, EveryVersionCanBeHadBack) {
  write({put("a", "1"), put("b", "1")});
  write({put("a", "2")});
  write({gone("b"), put("c", "3")});
  back_to(1);
  EXPECT_EQ(objects(), "a=1@4 b=1@4");
  back_to(3);
  EXPECT_EQ(objects(), "a=2@5 c=3@5");
  back_to(0);
  EXPECT_EQ(objects(), "");
  back_to(5);
  EXPECT_EQ(objects(), "a=2@7 c=3@7");
}

TEST_F(ObjectStoreTest, ThereIsNoWayToWhatIsNotKept) {
  EXPECT_EQ(store_->back_to(0).error().message(),
            "nothing was ever applied here, so there is no way back");
  write({put("a", "1")});
  EXPECT_EQ(store_->back_to(2).error().message(),
            "version 2 is not kept; the history has 0 to 1 (glia history shows them)");
}

TEST_F(ObjectStoreTest, ForgetsTheOldestVersionsButNotTheirObjects) {
  for (int64_t i = 0; i < ObjectStore::kMostVersions + 5; ++i)
    write({put(cat("n", i % 7), cat(i))});
  const auto all = store_->history(ObjectStore::kMostVersions * 2);
  EXPECT_EQ(all->size(), static_cast<std::size_t>(ObjectStore::kMostVersions));
  EXPECT_EQ(all->back().number, 6);
  EXPECT_FALSE(store_->back_to(4).ok());
  back_to(5);
  EXPECT_EQ(objects(), "n0=0@1006 n1=1@1006 n2=2@1006 n3=3@1006 n4=4@1006");
}

TEST_F(ObjectStoreTest, TheHistoryTakesOnlySoManyBytes) {
  const std::string large(1000, 'x');
  write({put("a", "1")}, 2500);
  for (int i = 0; i < 6; ++i) write({put("a", large + cat(i))}, 2500);
  EXPECT_EQ(store_->history(100)->size(), 2u);
  write({put("a", std::string(5000, 'y'))}, 2500);
  write({put("a", "small")}, 2500);
  EXPECT_EQ(store_->history(100)->size(), 1u) << "the newest stays, however large";
  back_to(8);
}

// A process that dies between its writes and its commit, as kill -9 or a lost machine would have
// it.
TEST_F(ObjectStoreTest, AfterACrashInTheMiddleThereIsAllOrNothing) {
  write({put("a", "1")});
  store_.reset();
  for (int round = 0; round < 5; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      // However far it gets.
      rlimit limit{static_cast<rlim_t>(30'000 + 20'000 * round), RLIM_INFINITY};
      ::setrlimit(RLIMIT_FSIZE, &limit);
      ::signal(SIGXFSZ, SIG_DFL);
      auto store = ObjectStore::open(path_);
      for (int i = 0; store.ok(); ++i) {
        const std::string text = cat("r", round, "-", i);
        const std::string filler(2000, 'z');
        (void)(*store)->write({put("a", text + filler), put("b", text + filler)}, {"", "", {}});
      }
      ::_exit(1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 1);
    open();
    const auto objects = *store_->objects();
    if (objects.size() > 1) EXPECT_EQ(objects[0].text, objects[1].text) << "round " << round;
    EXPECT_EQ(objects[0].version, *store_->newest());
    store_.reset();
  }
}

TEST_F(ObjectStoreTest, AFullDiskIsAnErrorThatLeavesWhatIsThere) {
  write({put("a", "1")});
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{static_cast<rlim_t>(fs::file_size(path_)), before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &tight);
  const auto written = store_->write({put("a", std::string(200'000, 'x'))}, {"", "", {}});
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  ASSERT_FALSE(written.ok());
  EXPECT_NE(written.error().message().find(path_), std::string::npos) << written.error().message();
  EXPECT_EQ(objects(), "a=1@1");
  EXPECT_EQ(write({put("a", "2")}), 2) << "as soon as there is room again";
}

TEST_F(ObjectStoreTest, ADamagedFileIsAnErrorAndIsLeftAsItIs) {
  write({put("a", "1")});
  store_.reset();
  std::ofstream(path_, std::ios::in | std::ios::out) << "this is not a database at all";
  const auto size = fs::file_size(path_);
  const auto opened = ObjectStore::open(path_);
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.error().message().find("move it away to start with no objects"),
            std::string::npos)
      << opened.error().message();
  EXPECT_EQ(fs::file_size(path_), size);
}

}  // namespace
}  // namespace glia
