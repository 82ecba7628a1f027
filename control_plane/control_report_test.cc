// ReportService of a whole glia-control, called by real gRPC clients: who is asked for what, and what
// ends a stream.
#include "control_plane/control_test_support.h"
#include "glia/v1/report.grpc.pb.h"

namespace glia {
namespace {

constexpr char kBackCluster[] = "outbound:80:back.default";

// One stream of a sidecar.
struct Reporting : Talk<v1::Report, v1::ReportOrder> {
  Reporting(const std::shared_ptr<grpc::Channel>& channel, std::string_view caller)
      : Talk(caller, [&](grpc::ClientContext* context) {
          return v1::ReportService::NewStub(channel)->StreamReports(context);
        }) {}
};

std::vector<std::string> names(const v1::ReportOrder& order) {
  return {order.clusters().begin(), order.clusters().end()};
}
using Names = std::vector<std::string>;

v1::Report requests(uint64_t count) {
  v1::Report report;
  v1::ClusterReport& one = *report.add_clusters();
  one.set_cluster(kBackCluster);
  one.set_requests(count);
  return report;
}

class ControlReportTest : public ControlFixture {
 protected:
  void want(std::vector<std::string> clusters) {
    running_->run([&](Control& control) { control.observations().want(clusters); });
  }
  Observed seen() {
    Observed seen;
    running_->run([&](Control& control) {
      seen = control.observations().between(kBackCluster, TimePoint(), TimePoint::max());
    });
    return seen;
  }
};

TEST_F(ControlReportTest, AsksForWhatASidecarHoldsAndAddsUpWhatItTells) {
  ASSERT_EQ(start(), "");
  Reporting front(channel("grpc.sock"), kFront);
  front.send({});
  EXPECT_EQ(names(front.receive()), Names());
  want({kBackCluster, "outbound:80:nowhere.default"});
  const v1::ReportOrder order = front.receive();
  EXPECT_EQ(names(order), Names{kBackCluster});
  EXPECT_EQ(order.interval().seconds(), 1);
  front.send(requests(5));
  front.send(requests(7));
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (seen().requests < 12 && std::chrono::steady_clock::now() < end) {
  }
  EXPECT_EQ(seen().requests, 12u);
  EXPECT_EQ(seen().sidecars, 1u);
  // The service goes, and with it the cluster.
  std::string without = mesh();
  without.resize(without.find("---\napiVersion: v1\nkind: Service"));
  save(without);
  EXPECT_EQ(names(front.receive()), Names());
}

TEST_F(ControlReportTest, RefusesWhoIsNobodyInTheMesh) {
  ASSERT_EQ(start(), "");
  Reporting nobody(channel("grpc.sock"), "");
  nobody.send({});
  EXPECT_EQ(nobody.end().error_code(), grpc::StatusCode::PERMISSION_DENIED);
  Reporting stranger(channel("grpc.sock"), "spiffe://demo.mesh/ns/default/sa/stranger");
  stranger.send({});
  const grpc::Status ended = stranger.end();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ended.error_message(),
            "spiffe://demo.mesh/ns/default/sa/stranger is no workload of the mesh");
}

TEST_F(ControlReportTest, EndsAStreamThatReportsBeforeAnOrderOrTooOften) {
  ASSERT_EQ(start(), "");
  Reporting early(channel("grpc.sock"), kFront);
  early.send(requests(1));
  EXPECT_EQ(early.end().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  want({kBackCluster});
  Reporting often(channel("grpc.sock"), kFront);
  often.send({});
  often.receive();
  for (int i = 0; i < 1000 && often.send(requests(1)); ++i) {
  }
  const grpc::Status ended = often.end();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ended.error_message(), "too many reports on one stream; at most 10 a second");
}

TEST_F(ControlReportTest, EndsAStreamWhoseReportIsTooLarge) {
  ASSERT_EQ(start(), "");
  want({kBackCluster});
  Reporting large(channel("grpc.sock"), kFront);
  large.send({});
  large.receive();
  v1::Report report = requests(1);
  for (int i = 0; i < 600; ++i) report.add_clusters()->set_cluster(std::string(1000, 'c'));
  large.send(report);
  EXPECT_EQ(large.end().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace glia
