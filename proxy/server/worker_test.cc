// What a worker tells on the metrics page while its listeners come, change and go.
#include "proxy/server/worker.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "proxy/base/text.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

class WorkerTest : public testing::Test {
 protected:
  WorkerTest() { t.upstream("10.0.1.1").replies(200, "hello"); }
  // The page has this line.
  bool tells(std::string_view sample) const {
    return t.metrics().find(cat(sample, "\n")) != std::string::npos;
  }

  SimWorld world_{1};
  MeshWorld t{world_};
};

constexpr std::string_view kTwoRequests = R"(_rq_total{envoy_http_conn_manager_prefix="in"} 2)";

TEST_F(WorkerTest, KeepsTheTotalsOfAChainThatIsReplaced) {
  t.manager().stat_prefix = "in";
  t.start();
  t.get();
  t.get();
  ASSERT_TRUE(tells(kTwoRequests)) << t.metrics();
  t.chain().application_protocols = {"h3"};  // Takes nothing of what the old one took.
  t.publish();
  EXPECT_TRUE(tells(kTwoRequests)) << t.metrics();
  t.advance(60s);
  t.publish();  // The old one has ended.
  EXPECT_TRUE(tells(kTwoRequests)) << t.metrics();
}

TEST_F(WorkerTest, KeepsTheTotalsOfAListenerThatIsRemoved) {
  t.manager().stat_prefix = "in";
  t.start();
  t.get();
  t.get();
  const auto nothing = std::make_shared<Snapshot>();
  t.worker().apply(nothing, {});
  EXPECT_TRUE(tells(kTwoRequests)) << t.metrics();
  t.advance(60s);
  t.worker().apply(nothing, {});
  EXPECT_TRUE(tells(kTwoRequests)) << t.metrics();
  EXPECT_TRUE(t.worker().drained());
  EXPECT_EQ(t.metrics().find("cx_active{envoy_http"), std::string::npos) << "no gauge stays";
}

TEST_F(WorkerTest, GivesRequestsOfARemovedListenerTheDrainTime) {
  t.upstream("10.0.1.1").replies(200, "late", 20s);
  t.route().forward->timeout = 0s;
  t.start();
  const auto answer = t.client().send({});
  t.advance(1s);
  t.worker().apply(std::make_shared<Snapshot>(), {}, 30s);
  t.advance(25s);
  EXPECT_EQ(answer->body, "late") << answer->error;
}

TEST_F(WorkerTest, CutsRequestsOfARemovedListenerAfterTheDrainTime) {
  t.upstream("10.0.1.1").replies(200, "late", 40s);
  t.route().forward->timeout = 0s;
  t.start();
  const auto answer = t.client().send({});
  t.advance(1s);
  t.worker().apply(std::make_shared<Snapshot>(), {}, 30s);
  t.advance(31s);
  EXPECT_TRUE(answer->finished);
  EXPECT_NE(answer->error, "");
}

TEST_F(WorkerTest, SaysWhichAccessLogCannotBeOpenedAgain) {
  namespace fs = std::filesystem;
  const std::string directory = cat(testing::TempDir(), "worker-", getpid());
  const std::string path = directory + "/access.log";
  fs::create_directory(directory);
  t.manager().access_logs = {{.path = path}};
  t.start();
  EXPECT_EQ(t.worker().reopen_logs(), std::vector<std::string>());
  fs::rename(directory, directory + ".old");
  const auto problems = t.worker().reopen_logs();
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0], cat("access log ", path,
                             " cannot be opened: No such file or directory; make its directory "
                             "first"));
  fs::create_directory(directory);
  EXPECT_EQ(t.worker().reopen_logs(), std::vector<std::string>());
  t.get();
  t.advance(250ms);
  EXPECT_GT(fs::file_size(path), 0u);
}

TEST_F(WorkerTest, AnAccessLogThatCouldNotBeOpenedIsTriedAgainByReopen) {
  namespace fs = std::filesystem;
  const std::string directory = cat(testing::TempDir(), "worker-late-", getpid());
  t.manager().access_logs = {{.path = directory + "/access.log"}};
  t.start();
  EXPECT_EQ(t.get().status, 200);
  ASSERT_EQ(t.worker().reopen_logs().size(), 1u);
  fs::create_directory(directory);
  EXPECT_EQ(t.worker().reopen_logs(), std::vector<std::string>());
  t.get();
  t.advance(250ms);
  EXPECT_GT(fs::file_size(directory + "/access.log"), 0u);
}

}  // namespace
}  // namespace glia
