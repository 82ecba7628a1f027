#include "proxy/server/own_certificate.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "proxy/net/ca_directory.h"
#include "proxy/net/tls.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

namespace fs = std::filesystem;

class OwnCertificateTest : public testing::Test {
 protected:
  OwnCertificateTest() {
    std::string pattern = testing::TempDir() + "authority_XXXXXX";
    root_ = ::mkdtemp(pattern.data());
  }
  ~OwnCertificateTest() override { fs::remove_all(root_); }

  std::string ca() const { return root_ + "/ca"; }
  WallTime now() const { return world_.loop().clock().wall_now(); }
  mode_t mode_of(const std::string& path) const {
    struct stat status = {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 0777 : 0;
  }

  mutable SimWorld world_{1};
  std::string root_;
};

TEST_F(OwnCertificateTest, TheFirstMakesAnAuthorityThatOthersShare) {
  const auto first = open_ca_directory(ca(), "demo.mesh", now());
  ASSERT_TRUE(first.ok()) << first.error().message();
  EXPECT_EQ(mode_of(ca()), 0700u);
  EXPECT_EQ(mode_of(ca() + "/ca-key.pem"), 0600u);
  const auto second = open_ca_directory(ca(), "demo.mesh", now());
  ASSERT_TRUE(second.ok()) << second.error().message();
  EXPECT_EQ(first->certificate(), second->certificate());
}

TEST_F(OwnCertificateTest, RefusesWhatIsNotTheMeshsAuthority) {
  ASSERT_TRUE(open_ca_directory(ca(), "demo.mesh", now()).ok());
  const auto other = open_ca_directory(ca(), "other.mesh", now());
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message().find("spec.trustDomain"), std::string::npos);
  EXPECT_FALSE(open_ca_directory(ca(), "demo.mesh", now() + kCaLifetime).ok());
  fs::remove(ca() + "/ca-key.pem");
  EXPECT_FALSE(open_ca_directory(ca(), "demo.mesh", now()).ok());
}

TEST_F(OwnCertificateTest, FinishesAnAuthorityWhoseMakingWasCutOff) {
  ASSERT_TRUE(open_ca_directory(ca(), "demo.mesh", now()).ok());
  fs::remove(ca() + "/ca.pem");
  EXPECT_TRUE(open_ca_directory(ca(), "demo.mesh", now()).ok());
}

TEST_F(OwnCertificateTest, IsNotRenewedWithoutPauseWhenItsLifeIsShort) {
  int renewals = 0;
  OwnCertificate own(world_.loop(), ca(), [&](const HeldIdentity&) {
    ++renewals;
    return Result<void>();
  });
  // The shortest life that a mesh may ask for, which is also how far it is dated back.
  const OwnCertificate::Wish wish{"spiffe://demo.mesh/ns/default/sa/front", 1min};
  auto first = own.sign(wish);
  ASSERT_TRUE(first.ok()) << first.error().message();
  own.keep(wish, *std::move(first));
  world_.run_for(10min);
  EXPECT_GE(renewals, 10);
  EXPECT_LE(renewals, 30);
}

TEST_F(OwnCertificateTest, IsRenewedAtHalfOfItsLifeAndAgain) {
  std::vector<HeldIdentity> renewed;
  OwnCertificate own(world_.loop(), ca(), [&](const HeldIdentity& identity) {
    renewed.push_back(identity);
    return Result<void>();
  });
  const OwnCertificate::Wish wish{"spiffe://demo.mesh/ns/default/sa/front", 10min};
  auto first = own.sign(wish);
  ASSERT_TRUE(first.ok()) << first.error().message();
  EXPECT_EQ(first->spiffe_id, wish.spiffe_id);
  const WallTime half = now() + (first->not_after - now()) / 2;
  const std::string bundle = first->trust_bundle;
  own.keep(wish, *std::move(first));
  world_.run_for(half - now() - 1s);
  EXPECT_TRUE(renewed.empty());
  world_.run_for(2s);
  ASSERT_EQ(renewed.size(), 1u);
  EXPECT_EQ(renewed[0].trust_bundle, bundle);
  world_.run_for(1h);
  EXPECT_GT(renewed.size(), 10u);
  EXPECT_GT(renewed.back().not_after, now());
}

// K6 of the checklist of faults: the clock was years ahead and is put right.
TEST_F(OwnCertificateTest, IsRenewedWhenTheClockWasWrong) {
  std::vector<HeldIdentity> renewed;
  OwnCertificate own(world_.loop(), ca(), [&](const HeldIdentity& identity) {
    renewed.push_back(identity);
    return Result<void>();
  });
  const OwnCertificate::Wish wish{"spiffe://demo.mesh/ns/default/sa/front", 1h};
  own.keep(wish, *own.sign(wish));
  world_.time().shift_wall_clock(-30s);  // As NTP does: that is no reason.
  world_.run_for(5min);
  EXPECT_TRUE(renewed.empty());
  world_.time().shift_wall_clock(-24h);
  world_.run_for(61s);
  ASSERT_EQ(renewed.size(), 1u);
  EXPECT_LE(renewed[0].not_before, now());
}

TEST_F(OwnCertificateTest, TriesAgainWhenItCannotBeRenewed) {
  int renewed = 0;
  OwnCertificate own(world_.loop(), ca(), [&](const HeldIdentity&) {
    ++renewed;
    return Result<void>();
  });
  const OwnCertificate::Wish wish{"spiffe://demo.mesh/ns/default/sa/front", 10min};
  own.keep(wish, *own.sign(wish));
  fs::rename(ca(), root_ + "/away");
  std::ofstream(ca()) << "not a directory";
  world_.run_for(20min);
  EXPECT_EQ(renewed, 0);
  fs::remove(ca());
  fs::rename(root_ + "/away", ca());
  world_.run_for(OwnCertificate::kLookAgain);
  EXPECT_EQ(renewed, 1);
}

}  // namespace
}  // namespace glia
