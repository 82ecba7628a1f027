// glia-control as the world meets it: real TLS through the front door, with the client of the
// sidecar.
#include "control_plane/serve/front_door.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "control_plane/control.h"
#include "proxy/base/text.h"
#include "proxy/net/tcp.h"
#include "proxy/net/x509.h"
#include "proxy/xds/identity_http.h"

namespace glia {
namespace {

namespace fs = std::filesystem;

constexpr char kMesh[] = R"(
apiVersion: glia.dev/v1
kind: Mesh
metadata: {name: demo}
spec: {trustDomain: demo.mesh}
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: front}
spec:
  address: 127.0.1.1
  ports: [{name: http, port: 8080, appPort: 18081}]
---
apiVersion: glia.dev/v1
kind: Workload
metadata: {name: back}
spec:
  address: 127.0.1.2
  ports: [{name: http, port: 8080, appPort: 18082}]
)";

class FrontDoorTest : public testing::Test {
 protected:
  FrontDoorTest() {
    std::string pattern = fs::temp_directory_path() / "door_XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    std::ofstream(root_ + "/mesh.yaml") << kMesh;
    ControlOptions options;
    options.mesh = {root_ + "/mesh.yaml"};
    options.state_directory = root_ + "/state";
    control_ = *Control::start(loop_, *backend_, options);
    door_ = *FrontDoor::start(
        loop_, control_->authority(),
        {.listen = *Address::ip("127.0.0.1", 0), .socket = control_->sockets().mesh});
  }
  ~FrontDoorTest() override {
    door_->drain();
    control_.reset();
    door_.reset();
    fs::remove_all(root_);
  }

  std::string token(const char* workload) {
    v1::CreateTokenRequest request;
    request.set_workload(workload);
    const std::string file = control_->plane().create_token(request)->join_file();
    const std::size_t at = file.find("token: ") + 7;
    return file.substr(at, file.find('\n', at) - at);
  }
  ControlPlaneAddress address() const {
    return {"127.0.0.1", door_->address().port(), control_->authority().certificate()};
  }
  // One call of a sidecar; the sentence on failure, else what came is in identity_.
  std::string sign(const ControlPlaneAddress& to, const std::string& workload,
                   const std::string& token, const HeldIdentity* current) {
    const std::string key = make_private_key();
    const SignCall call = sign_over_http(loop_, network_, to);
    Task<Result<std::string>> task =
        call(encode({*make_signing_request(key, "spiffe://x/y"), token, workload}), current);
    task.start();
    while (!task.done()) loop_.turn(1s);
    const Result<std::string> answer = task.take();
    if (!answer) return answer.error().message();
    const Result<SignResponse> response = decode_sign_response(*answer);
    if (!response) return response.error().message();
    Result<HeldIdentity> identity =
        make_identity(response->certificate_chain_pem, key, response->trust_bundle_pem);
    if (!identity) return identity.error().message();
    identity_ = *std::move(identity);
    return "";
  }

  LibeventBackend* backend_ = new LibeventBackend;
  EventLoop loop_{std::unique_ptr<LoopBackend>(backend_)};
  SocketNetwork network_{loop_};
  std::string root_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<FrontDoor> door_;
  HeldIdentity identity_;
};

TEST_F(FrontDoorTest, ASidecarJoinsWithoutACertificateAndRenewsWithIt) {
  ASSERT_EQ(sign(address(), "default/front", token("front"), nullptr), "");
  EXPECT_EQ(identity_.spiffe_id, "spiffe://demo.mesh/ns/default/sa/front");
  const HeldIdentity first = identity_;
  ASSERT_EQ(sign(address(), "default/front", "", &first), "");
  EXPECT_NE(identity_.certificate_chain, first.certificate_chain);
}

TEST_F(FrontDoorTest, ACertificateIsGoodForItsOwnWorkloadOnly) {
  ASSERT_EQ(sign(address(), "default/front", token("front"), nullptr), "");
  const HeldIdentity first = identity_;
  EXPECT_NE(sign(address(), "default/back", "", &first).find("may not renew"), std::string::npos);
  EXPECT_NE(sign(address(), "default/front", "", nullptr).find("needs a client certificate"),
            std::string::npos);
}

TEST_F(FrontDoorTest, ACertificateOfAnotherAuthorityDoesNotGetIn) {
  const CertificateAuthority stranger =
      *CertificateAuthority::create("demo.mesh", loop_.clock().wall_now(), 24h);
  const Identity forged = *issue(stranger, {.uri_san = "spiffe://demo.mesh/ns/default/sa/front",
                                            .dns_sans = {},
                                            .now = loop_.clock().wall_now(),
                                            .lifetime = 1h});
  const HeldIdentity forged_identity =
      *make_identity(forged.certificate, forged.private_key, control_->authority().certificate());
  EXPECT_NE(sign(address(), "default/front", "", &forged_identity), "");
}

TEST_F(FrontDoorTest, ASidecarGivesItsTokenToNobodyElse) {
  // A control plane of another mesh stands at the address.
  ControlPlaneAddress to = address();
  to.trust_bundle =
      CertificateAuthority::create("demo.mesh", loop_.clock().wall_now(), 24h)->certificate();
  const std::string secret = token("front");
  EXPECT_NE(sign(to, "default/front", secret, nullptr), "");
  EXPECT_EQ(sign(address(), "default/front", secret, nullptr), "") << "the token never left";
}

TEST_F(FrontDoorTest, ShowsWhoItIs) {
  const SnapshotRef snapshot =
      *front_door_snapshot(control_->authority(), {.listen = door_->address(), .socket = "/s"},
                           loop_.clock().wall_now());
  const auto own = snapshot->listeners.begin()->second->chains[0].tls->own_certificate();
  EXPECT_EQ(own->uri_sans, std::vector<std::string>{"spiffe://demo.mesh/glia-control"});
  EXPECT_EQ(own->dns_sans, (std::vector<std::string>{"glia-control", "localhost"}));
}

}  // namespace
}  // namespace glia
