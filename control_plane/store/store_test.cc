#include "control_plane/store/store.h"

#include "control_plane/store/state_directory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace glia {
namespace {

const WallTime kNow = WallTime(1'800'000'000s);

class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    // Not the test's own directory: one test looks at it as another user.
    std::string pattern = std::filesystem::temp_directory_path() / "store_XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    path_ = directory_ + "/mesh.db";
  }
  ~StoreTest() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<Store> open(WallTime now = kNow) {
    Result<std::unique_ptr<Store>> store = Store::open(path_, now);
    EXPECT_TRUE(store.ok()) << store.error().message();
    return std::move(*store);
  }
  // The sentence with which opening fails.
  std::string refusal() {
    const Result<std::unique_ptr<Store>> store = Store::open(path_, kNow);
    return store.ok() ? "" : store.error().message();
  }
  std::string content() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }

  std::string directory_, path_;
};

TEST_F(StoreTest, KeepsTheAuthorityAcrossARestart) {
  ASSERT_FALSE(open()->root()->has_value());
  ASSERT_TRUE(open()->save_root({"certificate", "key"}, kNow).ok());
  const auto root = open()->root();
  ASSERT_TRUE(root.ok() && root->has_value());
  EXPECT_EQ((*root)->certificate, "certificate");
  EXPECT_EQ((*root)->private_key, "key");
}

TEST_F(StoreTest, NeverReplacesAnAuthority) {
  auto store = open();
  ASSERT_TRUE(store->save_root({"first", "key"}, kNow).ok());
  EXPECT_FALSE(store->save_root({"second", "key"}, kNow).ok());
  EXPECT_EQ((*store->root())->certificate, "first");
}

TEST_F(StoreTest, IsReadableByItsOwnerOnly) {
  auto store = open();
  ASSERT_TRUE(store->save_root({"certificate", "key"}, kNow).ok());
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
    struct stat status = {};
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u) << entry.path();
  }
  ::chmod(path_.c_str(), 0644);
  store = open();
  struct stat status = {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(StoreTest, ATokenIsUsedOnceEvenAfterARestart) {
  const std::string hash = hash_of_token("secret");
  auto store = open();
  ASSERT_TRUE(store->add_token(hash, "default/front", kNow + 1h, kNow).ok());
  EXPECT_FALSE((*store->token(hash))->used.has_value());
  ASSERT_TRUE(
      store
          ->add_certificate({"01", "spiffe://m/x", "default/front", kNow + 1h}, kNow, hash, "key-a")
          .ok());
  store.reset();
  store = open();
  const auto token = *store->token(hash);
  ASSERT_TRUE(token.has_value());
  EXPECT_EQ(token->used, kNow);
  EXPECT_EQ(token->used_by_key, "key-a");

  const auto again = store->add_certificate({"02", "spiffe://m/x", "default/front", kNow + 1h},
                                            kNow, hash, "key-b");
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().kind(), ErrorKind::kDenied);
  EXPECT_FALSE((*store->certificate("02")).has_value()) << "both or neither";
}

TEST_F(StoreTest, TheSameKeyMayAskAgainBecauseItsAnswerMayHaveBeenLost) {
  const std::string hash = hash_of_token("secret");
  auto store = open();
  ASSERT_TRUE(store->add_token(hash, "default/front", kNow + 1h, kNow).ok());
  for (const char* serial : {"01", "02"}) {
    EXPECT_TRUE(store
                    ->add_certificate({serial, "spiffe://m/x", "default/front", kNow + 1h}, kNow,
                                      hash, "key-a")
                    .ok());
  }
}

TEST_F(StoreTest, TheTokenItselfIsNotInTheFile) {
  const std::string token = make_token();
  {
    auto store = open();
    ASSERT_TRUE(store->add_token(hash_of_token(token), "default/front", kNow + 1h, kNow).ok());
  }
  EXPECT_EQ(content().find(token.substr(5)), std::string::npos);
  EXPECT_NE(content().find("default/front"), std::string::npos);
}

TEST_F(StoreTest, TokensAreLongAndDifferent) {
  const std::string a = make_token(), b = make_token();
  EXPECT_NE(a, b);
  EXPECT_EQ(a.size(), 5u + 64u);
}

TEST_F(StoreTest, ForgetsWhatHasLongExpired) {
  auto store = open();
  ASSERT_TRUE(store->add_token("old", "default/a", kNow + 1h, kNow).ok());
  ASSERT_TRUE(store->add_certificate({"01", "spiffe://m/a", "default/a", kNow + 1h}, kNow).ok());
  store.reset();
  store = open(kNow + Store::kKeepExpired);
  EXPECT_TRUE(store->token("old")->has_value());
  EXPECT_TRUE(store->certificate("01")->has_value());
  store.reset();
  store = open(kNow + Store::kKeepExpired + 2h);
  EXPECT_FALSE(store->token("old")->has_value());
  EXPECT_FALSE(store->certificate("01")->has_value());
}

TEST_F(StoreTest, ForgetsWhatHasLongExpiredWhileItRuns) {
  auto store = open();
  const WallTime later = kNow + Store::kKeepExpired + 2h;
  for (const bool by_token : {true, false}) {
    ASSERT_TRUE(store->add_token("old", "default/a", kNow + 1h, kNow).ok());
    ASSERT_TRUE(store->add_certificate({"01", "spiffe://m/a", "default/a", kNow + 1h}, kNow).ok());
    if (by_token) {
      ASSERT_TRUE(store->add_token("new", "default/a", later + 1h, later).ok());
    } else {
      const Store::Certificate fresh{"02", "spiffe://m/a", "default/a", later + 1h};
      ASSERT_TRUE(store->add_certificate(fresh, later).ok());
    }
    EXPECT_FALSE(store->token("old")->has_value());
    EXPECT_FALSE(store->certificate("01")->has_value());
  }
  EXPECT_TRUE(store->token("new")->has_value());
  EXPECT_TRUE(store->certificate("02")->has_value());
}

TEST_F(StoreTest, LeavesAFileAloneThatIsNoDatabase) {
  const std::string text(5000, 'x');
  write(text);
  EXPECT_NE(refusal().find(path_), std::string::npos);
  EXPECT_NE(refusal().find("damaged and was left as it is"), std::string::npos) << refusal();
  EXPECT_EQ(content(), text);
}

TEST_F(StoreTest, LeavesADamagedDatabaseAlone) {
  {
    auto store = open();
    ASSERT_TRUE(store->save_root({std::string(9000, 'c'), "key"}, kNow).ok());
  }
  std::string bytes = content();
  ASSERT_GT(bytes.size(), 8192u);
  for (std::size_t i = 4096; i < bytes.size(); ++i) bytes[i] = '\xff';
  write(bytes);
  EXPECT_NE(refusal().find("damaged"), std::string::npos) << refusal();
  EXPECT_EQ(content(), bytes);
}

TEST_F(StoreTest, DoesNotTakeAnEmptyFileForANewStart) {
  write("");
  EXPECT_NE(refusal().find("is empty"), std::string::npos) << refusal();
  EXPECT_EQ(content(), "");
}

TEST_F(StoreTest, DoesNotTouchAFileOfANewerVersion) {
  open().reset();
  {
    Database database;
    ASSERT_TRUE(database.open(path_, "").ok());
    ASSERT_TRUE(database.execute("PRAGMA user_version = 7").ok());
  }
  EXPECT_NE(refusal().find("newer glia-control (layout 7, this one knows 1)"), std::string::npos)
      << refusal();
}

TEST_F(StoreTest, SaysThatItCannotWrite) {
  open().reset();
  ASSERT_EQ(::chmod(directory_.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(path_.c_str(), 0444), 0);
  // Root may write everywhere, so look as somebody else.
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(2);
    ::_exit(refusal().find("cannot write") != std::string::npos ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(StoreTest, AStateDirectoryIsForOneProcessAndItsUser) {
  const std::string path = directory_ + "/deep/state";
  {
    const auto first = StateDirectory::open(path);
    ASSERT_TRUE(first.ok()) << first.error().message();
    struct stat status = {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0700u);
    const auto second = StateDirectory::open(path);
    ASSERT_FALSE(second.ok());
    EXPECT_NE(second.error().message().find("in use by another glia-control"), std::string::npos);
  }
  EXPECT_TRUE(StateDirectory::open(path).ok()) << "the lock ends with its holder";
}

TEST_F(StoreTest, SaysThatTheDirectoryIsMissing) {
  path_ = directory_ + "/nowhere/mesh.db";
  EXPECT_NE(refusal().find("cannot create"), std::string::npos) << refusal();
}

}  // namespace
}  // namespace glia
