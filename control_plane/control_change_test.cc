// A change that sidecars refuse, at a whole glia-control: who may stop it, who is sent what, and how the
// people who made it learn of that. The sidecars are gRPC clients that speak delta ADS of clusters.
#include "control_plane/control_test_support.h"
#include "control_plane/serve/ads_stream.h"
#include "control_plane/serve/peer.h"
#include "envoy/service/discovery/v3/ads.grpc.pb.h"
#include "glia/v1/objects.grpc.pb.h"

namespace glia {
namespace {

namespace xds = envoy::service::discovery::v3;
using Ads = xds::AggregatedDiscoveryService;

// One sidecar, that answers what comes on a thread of its own.
class Sidecar {
 public:
  Sidecar(const std::shared_ptr<grpc::Channel>& channel, const std::string& name)
      : name_(name), stub_(Ads::NewStub(channel)) {
    context_.AddMetadata(kForwardedCertificateHeader,
                         cat("Hash=00;URI=spiffe://demo.mesh/ns/default/sa/", name));
    stream_ = stub_->DeltaAggregatedResources(&context_);
    xds::DeltaDiscoveryRequest request;
    request.mutable_node()->set_id(cat("default/", name));
    request.set_type_url(std::string(type_url(XdsType::kCluster)));
    stream_->Write(request);
    thread_ = std::thread([this] { run(); });
  }
  ~Sidecar() {
    context_.TryCancel();
    thread_.join();
    stream_->Finish();
  }
  // From now on it refuses every push with a cluster of which the name has `part`; "": none.
  void refuse(const std::string& part) {
    const std::lock_guard lock(mutex_);
    refused_ = part;
  }
  void be_silent(bool silent) {
    const std::lock_guard lock(mutex_);
    silent_ = silent;
  }
  // All clusters that it was ever sent, and those that it runs.
  std::string sent() const {
    const std::lock_guard lock(mutex_);
    return joined(sent_);
  }
  std::string runs() const {
    const std::lock_guard lock(mutex_);
    return joined(runs_);
  }

 private:
  static std::string joined(const std::set<std::string>& names) {
    std::string all;
    for (const std::string& name : names) {
      if (name.starts_with("outbound")) all += cat(all.empty() ? "" : " ", name);
    }
    return all;
  }
  void run() {
    xds::DeltaDiscoveryResponse response;
    while (stream_->Read(&response)) {
      if (const auto answer = this->answer(response)) stream_->Write(*answer);
    }
  }
  std::optional<xds::DeltaDiscoveryRequest> answer(const xds::DeltaDiscoveryResponse& response) {
    const std::lock_guard lock(mutex_);
    xds::DeltaDiscoveryRequest answer;
    answer.set_type_url(response.type_url());
    answer.set_response_nonce(response.nonce());
    std::set<std::string> fresh = runs_;
    for (const auto& one : response.resources()) {
      sent_.insert(one.name());
      fresh.insert(one.name());
      if (refused_.empty() || one.name().find(refused_) == std::string::npos) continue;
      answer.mutable_error_detail()->set_message(cat(name_, " does not like ", one.name()));
    }
    for (const std::string& name : response.removed_resources()) fresh.erase(name);
    if (silent_) return {};
    if (!answer.has_error_detail()) runs_ = fresh;
    return answer;
  }

  const std::string name_;
  const std::unique_ptr<Ads::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<xds::DeltaDiscoveryRequest, xds::DeltaDiscoveryResponse>>
      stream_;
  mutable std::mutex mutex_;
  std::string refused_;
  bool silent_ = false;
  std::set<std::string> sent_, runs_;
  std::thread thread_;
};

constexpr char kBackOnly[] = "outbound:80:back.default";
constexpr char kBadToo[] = "outbound:80:back.default outbound:80:bad.default";
constexpr char kGoodToo[] = "outbound:80:back.default outbound:80:good.default";

class ControlChange : public ControlFixture {
 protected:
  // Those of the mesh, and of as many workloads more as `names` has.
  void start_with(const std::vector<std::string>& names) {
    base_ = mesh();
    for (std::size_t i = 2; i < names.size(); ++i) {
      base_ += workload(names[i], cat("127.0.1.", i + 1), 18090 + static_cast<int>(i));
    }
    save(base_);
    ASSERT_EQ(start(), "");
    const auto socket = channel("grpc.sock");
    for (const std::string& name : names) {
      sidecars_[name] = std::make_unique<Sidecar>(socket, name);
    }
    ASSERT_TRUE(all_run(kBackOnly));
    status_when([&](const v1::Status& now) { return accepted_by(now) == names.size(); });
  }
  static std::size_t accepted_by(const v1::Status& status) {
    std::size_t accepted = 0;
    for (const v1::Proxy& proxy : status.proxies()) {
      for (const v1::ResourceType& type : proxy.types()) {
        accepted += !type.acked_version().empty() && type.sent_version() == type.acked_version();
      }
    }
    return accepted;
  }
  bool all_run(const std::string& clusters) {
    const auto end = std::chrono::steady_clock::now() + 20s;
    const auto does = [&](const auto& entry) { return entry.second->runs() == clusters; };
    while (std::chrono::steady_clock::now() < end) {
      if (std::ranges::all_of(sidecars_, does)) return true;
      status();  // A turn of the control plane.
    }
    for (const auto& [name, sidecar] : sidecars_) {
      ADD_FAILURE() << name << " runs " << sidecar->runs();
    }
    return false;
  }
  Sidecar& sidecar(const std::string& name) { return *sidecars_.at(name); }
  v1::ApplyResponse apply(const std::string& text) {
    v1::ApplyRequest request;
    request.set_who("anna");
    request.add_files()->set_name("shop.yaml");
    request.mutable_files(0)->set_text(text);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 20s);
    v1::ApplyResponse response;
    const auto stub = v1::ObjectService::NewStub(channel("control.sock"));
    const grpc::Status called = stub->Apply(&context, request, &response);
    EXPECT_TRUE(called.ok()) << called.error_message();
    return response;
  }
  v1::GetHistoryResponse history() {
    grpc::ClientContext context;
    v1::GetHistoryResponse response;
    const auto stub = v1::ObjectService::NewStub(channel("control.sock"));
    EXPECT_TRUE(stub->GetHistory(&context, {}, &response).ok());
    return response;
  }

  std::string base_;
  std::map<std::string, std::unique_ptr<Sidecar>> sidecars_;
};

TEST_F(ControlChange, ThatIsRefusedIsInForceNowhereAndShownWithTheSidecarsSentence) {
  start_with({"front", "back"});
  const std::string before = status().config_version();
  sidecar("back").refuse("bad");
  save(base_ + service("bad"));
  const v1::Status stopped =
      status_when([](const v1::Status& now) { return now.config_errors_size() > 0; });
  EXPECT_NE(stopped.config_errors(0).find("/mesh.yaml: taken back, the sidecar of default/back "
                                          "refuses clusters "),
            std::string::npos)
      << stopped.config_errors(0);
  EXPECT_NE(stopped.config_errors(0).find("back does not like outbound:80:bad.default"),
            std::string::npos)
      << stopped.config_errors(0);
  EXPECT_EQ(stopped.config_version(), before);
  EXPECT_TRUE(all_run(kBackOnly)) << "front gives back what it has accepted";
  status_when([](const v1::Status& now) { return accepted_by(now) == 2; });

  save(base_ + service("good"));
  EXPECT_TRUE(all_run(kGoodToo)) << "what mends the mistake goes through";
  EXPECT_EQ(status_when([](const v1::Status& now) {
              return now.config_errors_size() == 0;
            }).proxies_size(),
            2);
}

TEST_F(ControlChange, ThatPeopleHandInIsAnsweredWithTheSentenceAndTakenOutOfTheStore) {
  start_with({"front", "back"});
  EXPECT_EQ(apply(service("good")).verdict(), v1::ApplyResponse::TAKEN);
  EXPECT_TRUE(all_run(kGoodToo));
  sidecar("front").refuse("bad");
  const v1::ApplyResponse refused = apply(service("bad"));
  EXPECT_EQ(refused.verdict(), v1::ApplyResponse::REFUSED);
  ASSERT_GT(refused.problems_size(), 0);
  const std::string& last = refused.problems(refused.problems_size() - 1);  // After warnings.
  EXPECT_TRUE(last.ends_with("front does not like outbound:80:bad.default")) << last;
  EXPECT_EQ(refused.changes_size(), 0);
  EXPECT_TRUE(all_run(kGoodToo));
  EXPECT_EQ(apply(service("bad")).verdict(), v1::ApplyResponse::REFUSED) << "and again";
  const v1::GetHistoryResponse past = history();
  ASSERT_EQ(past.versions_size(), 5);
  EXPECT_TRUE(past.versions(0).what().starts_with("took version 4 back: the sidecar of "))
      << past.versions(0).what();
  EXPECT_EQ(past.versions(0).who(), "glia-control");
  sidecars_.clear();
  EXPECT_EQ(start(), "");
  const v1::Status again = status();
  EXPECT_EQ(again.config_errors_size(), 0) << "after a restart it does not come again";
  const auto services = std::ranges::find(again.objects(), "Service", &v1::ObjectCount::kind);
  ASSERT_NE(services, again.objects().end());
  EXPECT_EQ(services->count(), 2);
}

TEST_F(ControlChange, OfOthersGoesThroughBesideAFileThatWasRefused) {
  start_with({"front", "back"});
  for (const char* name : {"front", "back"}) sidecar(name).refuse("bad");
  save(base_ + service("bad"));
  status_when([](const v1::Status& now) { return now.config_errors_size() > 0; });
  EXPECT_EQ(apply(service("good")).verdict(), v1::ApplyResponse::TAKEN);
  EXPECT_TRUE(all_run(kGoodToo));
  EXPECT_GT(status().config_errors_size(), 0) << "the file is still not in force";
  save(base_);
  status_when([](const v1::Status& now) { return now.config_errors_size() == 0; });
}

TEST_F(ControlChange, IsNotStoppedByOneThatRefusesAlone) {
  start_with({"front", "back", "more"});
  sidecar("more").refuse("bad");
  EXPECT_EQ(apply(service("bad")).verdict(), v1::ApplyResponse::TAKEN);
  const v1::Status now = status_when([](const v1::Status& now) {
    return accepted_by(now) == 2 && std::ranges::any_of(now.proxies(), [](const v1::Proxy& proxy) {
             return proxy.workload() == "default/more" && proxy.types_size() == 1 &&
                    !proxy.types(0).nack_error().empty();
           });
  });
  EXPECT_EQ(now.config_errors_size(), 0);
  for (const char* name : {"front", "back"}) EXPECT_EQ(sidecar(name).runs(), kBadToo);
  EXPECT_EQ(sidecar("more").runs(), kBackOnly);
  sidecar("more").refuse("");
  save(base_ + service("good"));
  EXPECT_TRUE(all_run(cat(kBadToo, " outbound:80:good.default")))
      << "and it comes back when it likes what is new";
}

TEST_F(ControlChange, IsHeldUpForAMomentOnlyByOneThatIsSilent) {
  start_with({"front"});
  sidecar("front").be_silent(true);
  EXPECT_EQ(apply(service("bad")).verdict(), v1::ApplyResponse::TAKEN);
  const auto end = std::chrono::steady_clock::now() + 20s;  // For its thread to have read it.
  while (sidecar("front").sent() != kBadToo && std::chrono::steady_clock::now() < end) status();
  EXPECT_EQ(sidecar("front").sent(), kBadToo);
  EXPECT_EQ(sidecar("front").runs(), kBackOnly);
}

TEST_F(ControlChange, IsSentToAFewUntilTheyHaveAccepted) {
  std::vector<std::string> names = {"front", "back"};
  for (std::size_t i = 0; i < 8; ++i) names.push_back(cat("more", i));
  start_with(names);
  for (const std::string& name : names) sidecar(name).refuse("bad");
  save(base_ + service("bad"));
  status_when([](const v1::Status& now) { return now.config_errors_size() > 0; });
  // What comes behind it on each stream shows that nothing of it is still on its way.
  save(base_ + service("good"));
  EXPECT_TRUE(all_run(kGoodToo));
  std::size_t tried = 0;
  for (const std::string& name : names) {
    tried += sidecar(name).sent().find("bad") != std::string::npos;
  }
  EXPECT_GE(tried, 1u);
  EXPECT_LE(tried, Trial::kOfNamespace);
}

TEST_F(ControlChange, ManyAtATimeAreDecidedOneAfterTheOther) {
  start_with({"front", "back"});
  sidecar("front").refuse("bad");
  std::vector<std::thread> people;
  std::atomic<int> taken = 0, refused = 0;
  for (int i = 0; i < 8; ++i) {
    people.emplace_back([&, i] {
      const auto response = apply(service(cat(i % 2 == 0 ? "bad" : "good", i)));
      (response.verdict() == v1::ApplyResponse::TAKEN ? taken : refused) += 1;
    });
  }
  for (std::thread& one : people) one.join();
  EXPECT_EQ(taken, 4);
  EXPECT_EQ(refused, 4);
  EXPECT_TRUE(all_run(cat(kBackOnly, " outbound:80:good1.default outbound:80:good3.default",
                          " outbound:80:good5.default outbound:80:good7.default")));
}

}  // namespace
}  // namespace glia
