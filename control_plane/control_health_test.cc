// HealthService of a whole glia-control, called by real gRPC clients: who is heard, and who is out of the
// endpoints because of it.
#include "control_plane/control_test_support.h"
#include "glia/v1/health.grpc.pb.h"

namespace glia {
namespace {

using Report = v1::HealthReport;

// One stream of a sidecar.
struct Telling : Talk<Report, v1::HealthOrder> {
  Telling(const std::shared_ptr<grpc::Channel>& channel, std::string_view caller)
      : Talk(caller, [&](grpc::ClientContext* context) {
          return v1::HealthService::NewStub(channel)->StreamHealth(context);
        }) {}
  void say(Report::State state, const std::string& why = "",
           const std::string& workload = "default/back") {
    Report report;
    report.set_workload(workload);
    report.set_state(state);
    report.set_why(why);
    send(report);
  }
};

class ControlHealthTest : public ControlFixture {
 protected:
  static std::string with_health() {
    std::string text = mesh();
    const std::string address = "127.0.1.2\n";
    text.insert(text.find(address) + address.size(), "  health: {path: /healthz, interval: 10s}\n");
    return text;
  }
  std::string away() {
    std::string why;
    running_->run([&](Control& control) {
      const Workload* back = control.plane().objects().workload("default/back");
      why = back == nullptr ? "there is no such workload" : back->away;
    });
    return why;
  }
  // What was sent may still be on its way.
  void is_away(const std::string& wanted) {
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (away() != wanted && std::chrono::steady_clock::now() < end) {
    }
    EXPECT_EQ(away(), wanted);
  }
};

TEST_F(ControlHealthTest, EachReportIsAnsweredAndWhoIsNotWellIsNoEndpoint) {
  save(with_health());
  ASSERT_EQ(start(), "");
  Telling back(channel("grpc.sock"), kBack);
  back.say(Report::UNKNOWN);
  const v1::HealthOrder order = back.receive();
  EXPECT_EQ(order.interval_ms(), 10'000u);
  EXPECT_EQ(order.timeout_ms(), 1000u);
  EXPECT_EQ(order.failures(), 2u);
  EXPECT_EQ(order.address(), "127.0.0.1");
  EXPECT_EQ(order.port(), 18082u);
  EXPECT_EQ(order.path(), "/healthz");
  EXPECT_EQ(away(), "");  // The control plane has just begun.
  back.say(Report::NOT_WELL, "it answers 500");
  back.receive();
  is_away("its application is not well: it answers 500");
  back.say(Report::WELL);
  back.receive();
  is_away("");
  back.say(Report::LEAVING);
  back.receive();
  is_away("its sidecar has ended");
}

TEST_F(ControlHealthTest, AnEditIsANewOrderAndWhoIsNotAskedIsAnEndpoint) {
  ASSERT_EQ(start(), "");
  Telling back(channel("grpc.sock"), kBack);
  back.say(Report::UNKNOWN);
  EXPECT_EQ(back.receive().interval_ms(), 0u);
  save(with_health());
  EXPECT_EQ(back.receive().interval_ms(), 10'000u);
  is_away("its sidecar, with a join file, has not told yet that its application is well");
  save(mesh());
  EXPECT_EQ(back.receive().interval_ms(), 0u);
  is_away("");
}

TEST_F(ControlHealthTest, NobodySpeaksForAnother) {
  save(with_health());
  ASSERT_EQ(start(), "");
  Telling front(channel("grpc.sock"), kFront);
  front.say(Report::NOT_WELL, "a lie");
  const grpc::Status refused = front.end();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(refused.error_message().find("may not speak for workload default/back"),
            std::string::npos)
      << refused.error_message();
  EXPECT_EQ(Telling(channel("grpc.sock"), "").end().error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(away(), "");
}

TEST_F(ControlHealthTest, AStreamKeepsToOneWorkloadAndToItsLimits) {
  save(with_health());
  ASSERT_EQ(start(), "");
  Telling other(channel("grpc.sock"), kBack);
  other.say(Report::WELL);
  other.say(Report::WELL, "", "default/front");
  EXPECT_EQ(other.end().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  Telling large(channel("grpc.sock"), kBack);
  large.say(Report::NOT_WELL, std::string(8192, 'x'));
  EXPECT_EQ(large.end().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  Telling fast(channel("grpc.sock"), kBack);
  for (int i = 0; i < 100; ++i) fast.say(Report::WELL);
  EXPECT_EQ(fast.end().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace glia
