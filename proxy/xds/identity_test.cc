#include "proxy/xds/identity.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "glia/v1/identity.pb.h"
#include "proxy/base/text.h"
#include "proxy/net/x509.h"
#include "proxy/xds/identity_file.h"
#include "test/sim/virtual_time.h"

namespace glia {
namespace {

constexpr char kFront[] = "spiffe://demo.mesh/ns/default/sa/front";

// The control plane as a sidecar sees it: one call after the other, in virtual time.
class Signer {
 public:
  explicit Signer(EventLoop& loop)
      : loop_(loop),
        authority_(
            *CertificateAuthority::create("demo.mesh", loop.clock().wall_now(), 10 * 365 * 24h)) {}

  SignCall call() {
    return [this](std::string request, const HeldIdentity* current) {
      return answer(std::move(request), current);
    };
  }
  const std::string& bundle() const { return authority_.certificate(); }

  struct Seen {
    v1::SignCertificateRequest request;
    std::string public_key, caller;
    WallTime when;
  };
  std::vector<Seen> seen;
  int refuse = 0;  // So many calls to come.
  Duration lifetime = 1h;

 private:
  Task<Result<std::string>> answer(std::string bytes, const HeldIdentity* current) {
    co_await sleep_for(loop_, 5ms);
    Seen& call = seen.emplace_back();
    EXPECT_TRUE(call.request.ParseFromString(bytes)) << "as protobuf writes it";
    CO_TRY(const SigningRequest csr, parse_signing_request(call.request.csr_pem()));
    call.public_key = csr.public_key;
    call.caller = current == nullptr ? "" : current->spiffe_id;
    call.when = loop_.clock().wall_now();
    if (refuse > 0) {
      --refuse;
      co_return Error(ErrorKind::kTimeout, Fault::kUpstream, "no answer");
    }
    CO_TRY(std::string leaf,
           authority_.sign(
               csr, {.uri_san = kFront, .dns_sans = {}, .now = call.when, .lifetime = lifetime}));
    v1::SignCertificateResponse response;
    response.set_certificate_chain_pem(std::move(leaf));
    response.set_trust_bundle_pem(bundle());
    response.set_not_after_unix_s(4'000'000'000);
    response.set_not_before_unix_s(-1);
    response.set_spiffe_id(kFront);
    co_return response.SerializeAsString();
  }
  EventLoop& loop_;
  CertificateAuthority authority_;
};

class IdentityTest : public testing::Test {
 protected:
  IdentityTest() {
    std::string pattern = testing::TempDir() + "identity_XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  ~IdentityTest() override { std::filesystem::remove_all(directory_); }

  void start(IdentityOptions options) {
    options.workload = "default/front";
    client_.emplace(loop_, std::move(options), signer_.call(), 7,
                    [this](const HeldIdentity& identity) { got_.push_back(identity); });
    client_->start();
  }
  void passes(Duration time) {
    const TimePoint end = loop_.clock().now() + time;
    CallbackTimer stop(loop_, [] {});
    stop.start(time);
    while (loop_.clock().now() < end) loop_.turn(end - loop_.clock().now());
    loop_.turn(0ns);
  }

  VirtualTime* time_ = new VirtualTime;
  EventLoop loop_{std::unique_ptr<LoopBackend>(time_)};
  Signer signer_{loop_};
  std::string directory_;
  std::vector<HeldIdentity> got_;
  std::optional<IdentityClient> client_;
};

TEST_F(IdentityTest, JoinsWithItsTokenAndRenewsWithItsCertificateAtHalfOfItsLife) {
  start({.token = "secret", .trust_bundle = signer_.bundle()});
  passes(1s);
  ASSERT_EQ(got_.size(), 1u);
  EXPECT_EQ(got_[0].spiffe_id, kFront);
  EXPECT_EQ(signer_.seen[0].request.token(), "secret");
  EXPECT_EQ(signer_.seen[0].request.workload(), "default/front");
  EXPECT_EQ(signer_.seen[0].caller, "");

  passes(45min);
  ASSERT_EQ(got_.size(), 2u);
  EXPECT_EQ(signer_.seen[1].request.token(), "") << "a token is good once";
  EXPECT_EQ(signer_.seen[1].caller, kFront);
  EXPECT_NE(got_[1].private_key, got_[0].private_key) << "a new certificate has a new key";
  const double part = to_seconds(signer_.seen[1].when - got_[0].not_before) /
                      to_seconds(got_[0].not_after - got_[0].not_before);
  EXPECT_GT(part, 0.39);
  EXPECT_LT(part, 0.61);
}

TEST_F(IdentityTest, ATokenThatSomebodyRenewsIsReadForEachTry) {
  signer_.refuse = 1;
  int reads = 0;
  start({.fresh_token = [&reads] { return "token-" + std::to_string(++reads); },
         .trust_bundle = signer_.bundle()});
  passes(10s);
  ASSERT_EQ(got_.size(), 1u);
  ASSERT_EQ(signer_.seen.size(), 2u);
  EXPECT_EQ(signer_.seen[0].request.token(), "token-1");
  EXPECT_EQ(signer_.seen[1].request.token(), "token-2");
}

TEST_F(IdentityTest, RenewsAShortCertificateNoMoreOftenThanALongOne) {
  signer_.lifetime = 1min;
  start({.token = "secret", .trust_bundle = signer_.bundle()});
  passes(20s);
  EXPECT_EQ(got_.size(), 1u);
  passes(20s);
  EXPECT_EQ(got_.size(), 2u);
}

TEST_F(IdentityTest, TriesAgainWithTheSameKeyAndMorePatience) {
  signer_.refuse = 4;
  start({.token = "secret", .trust_bundle = signer_.bundle()});
  passes(500ms);
  EXPECT_EQ(client_->trouble(), "no answer");
  passes(5min);
  ASSERT_EQ(signer_.seen.size(), 5u);
  EXPECT_EQ(client_->trouble(), "");
  Duration before{};
  for (std::size_t i = 1; i < 5; ++i) {
    EXPECT_EQ(signer_.seen[i].public_key, signer_.seen[0].public_key)
        << "the control plane may have signed, and its answer may have been lost";
    const Duration pause = signer_.seen[i].when - signer_.seen[i - 1].when;
    EXPECT_GT(pause, before);
    before = pause;
  }
}

TEST_F(IdentityTest, OutlivesAControlPlaneThatIsAwayForTheRestOfTheLife) {
  start({.token = "secret", .trust_bundle = signer_.bundle()});
  passes(1s);
  signer_.refuse = 12;
  passes(55min);
  EXPECT_EQ(got_.size(), 2u) << "half of the life was left to try again in";
}

TEST_F(IdentityTest, SaysWhatToDoWhenTheCertificateHasExpired) {
  start({.trust_bundle = signer_.bundle()});
  passes(1s);
  EXPECT_NE(client_->trouble().find("neither a join token nor a certificate"), std::string::npos);
  EXPECT_TRUE(signer_.seen.empty());
}

TEST_F(IdentityTest, NoticesThatTheMachineSlept) {
  start({.token = "secret", .trust_bundle = signer_.bundle()});
  passes(1s);
  time_->shift_wall_clock(45min);
  passes(IdentityClient::kLookAgain + 1s);
  EXPECT_EQ(got_.size(), 2u);
}

// K6 of the checklist of faults: the clock was years ahead and is put right.
TEST_F(IdentityTest, NoticesThatTheClockWasWrong) {
  start({.token = "secret", .trust_bundle = signer_.bundle()});
  passes(1s);
  time_->shift_wall_clock(-10 * 365 * 24h);
  passes(IdentityClient::kLookAgain + 1s);
  EXPECT_EQ(got_.size(), 2u);
  time_->shift_wall_clock(-30s);  // As NTP does: that is no reason.
  passes(10 * IdentityClient::kLookAgain);
  EXPECT_EQ(got_.size(), 2u);
}

TEST_F(IdentityTest, KeepsItsIdentityOverARestart) {
  start(
      {.token = "secret", .trust_bundle = signer_.bundle(), .state_directory = directory_ + "/s"});
  passes(1s);
  client_.reset();
  struct stat status = {};
  ASSERT_EQ(::stat((directory_ + "/s/identity.pem").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);

  start({.state_directory = directory_ + "/s"});
  ASSERT_EQ(got_.size(), 2u) << "at once";
  EXPECT_EQ(got_[1].private_key, got_[0].private_key);
  EXPECT_EQ(got_[1].not_after, got_[0].not_after);
  EXPECT_EQ(signer_.seen.size(), 1u);
  passes(45min);
  EXPECT_EQ(signer_.seen.size(), 2u) << "and goes on renewing";
}

TEST_F(IdentityTest, JoinsAnewWhenWhatItKeptIsOfNoUse) {
  start({.token = "a", .trust_bundle = signer_.bundle(), .state_directory = directory_});
  passes(1s);
  Signer other(loop_);
  start({.token = "b", .trust_bundle = other.bundle(), .state_directory = directory_});
  passes(1s);
  EXPECT_EQ(signer_.seen.back().request.token(), "b") << "another mesh";

  client_.reset();
  passes(2h);
  start({.token = "c", .trust_bundle = signer_.bundle(), .state_directory = directory_});
  passes(1s);
  EXPECT_EQ(signer_.seen.back().request.token(), "c") << "expired";

  std::filesystem::resize_file(directory_ + "/identity.pem", 300);
  start({.token = "d", .trust_bundle = signer_.bundle(), .state_directory = directory_});
  passes(1s);
  EXPECT_EQ(signer_.seen.back().request.token(), "d") << "cut off";
}

TEST_F(IdentityTest, RefusesAnswersThatAreNoIdentity) {
  EXPECT_FALSE(decode_sign_response("\x0a\x7f").ok()) << "longer than the message";
  EXPECT_FALSE(decode_sign_response("\x0b\x01").ok()) << "a group";
  EXPECT_FALSE(decode_sign_response(std::string(20, '\xff')).ok());
  EXPECT_TRUE(decode_sign_response("").ok());
  const Identity a = *issue(
      *CertificateAuthority::create("m", loop_.clock().wall_now(), 1h),
      {.uri_san = "spiffe://m/a", .dns_sans = {}, .now = loop_.clock().wall_now(), .lifetime = 1h});
  EXPECT_TRUE(make_identity(a.certificate, a.private_key, signer_.bundle()).ok());
  EXPECT_FALSE(make_identity(a.certificate, make_private_key(), signer_.bundle()).ok());
  EXPECT_FALSE(make_identity(a.certificate, a.private_key, "").ok());
}

}  // namespace
}  // namespace glia
