// IdentityClient: gets a workload its certificate and keeps it fresh.
//
// The key is made here and never leaves the process (but for the state directory, if there is one).
// The first certificate is bought with a one-time token, each later one over mutual TLS with the
// one before it, at half of its life, so that half of it is left to get over a control plane that
// is away. What is asked and answered is api/glia/v1/identity.proto, written by hand: six fields do
// not need a library that costs the proxy megabytes. Belongs to one loop.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/random.h"
#include "proxy/base/result.h"
#include "proxy/base/task.h"
#include "proxy/base/time.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

// A certificate that can be used: the key fits, and both are PEM.
struct HeldIdentity {
  std::string certificate_chain;  // Leaf first.
  std::string private_key;        // A secret.
  std::string trust_bundle;       // What peers are checked against.
  std::string spiffe_id;
  WallTime not_before, not_after;
};

// Checks that the parts fit together and reads id and times from the leaf.
Result<HeldIdentity> make_identity(std::string certificate_chain, std::string private_key,
                                   std::string trust_bundle);

// The messages of identity.proto.
struct SignRequest {
  std::string csr_pem, token, workload;
};
struct SignResponse {
  std::string certificate_chain_pem, trust_bundle_pem;
};
std::string encode(const SignRequest& request);
Result<SignResponse> decode_sign_response(std::string_view bytes);

// Calls IdentityService.SignCertificate with an encoded request and gives the encoded response.
// `current`: the certificate to show; null when joining. It outlives the call.
using SignCall =
    std::function<Task<Result<std::string>>(std::string request, const HeldIdentity* current)>;

struct IdentityOptions {
  std::string workload;  // "namespace/name"
  std::string token;     // "": there must be a usable identity in the state directory.
  // In the place of `token`: one that may be another each time, as kubelet renews it; "" is none.
  std::function<std::string()> fresh_token = {};
  std::string trust_bundle;  // Of the join file; what the control plane itself is checked against.
  std::string state_directory;  // "": the identity is kept in memory only.
};

class IdentityClient {
 public:
  // Between attempts: doubles from the first to the last, plus up to a half of it by chance.
  static constexpr Duration kFirstRetry = 1s;
  static constexpr Duration kLastRetry = 60s;
  // Renewal is due at half of the life that is left, give or take this part of it.
  static constexpr double kJitter = 0.1;
  // The wall clock may jump (a machine that slept): look at it at least so often.
  static constexpr Duration kLookAgain = 60s;
  // A clock that stands so far before the moment of signing was put right since: the certificate
  // may not be valid yet.
  static constexpr Duration kClockBack = 60s;

  // `changed` is called on the loop with each new certificate; `loop` outlives the client.
  IdentityClient(EventLoop& loop, IdentityOptions options, SignCall sign, uint64_t seed,
                 std::function<void(const HeldIdentity&)> changed);
  IdentityClient(const IdentityClient&) = delete;
  IdentityClient& operator=(const IdentityClient&) = delete;

  // Reuses what the state directory holds if it is still valid, else joins.
  void start();
  const std::optional<HeldIdentity>& identity() const { return held_; }
  // Why the last attempt failed; "" after one that did not.
  const std::string& trouble() const { return trouble_; }

 private:
  Task<void> run();
  Task<Result<void>> obtain();
  Task<void> sleep_until_due();
  bool usable() const;
  Duration left_to_renewal() const;
  void reuse();
  void take(HeldIdentity identity);

  EventLoop& loop_;
  const IdentityOptions options_;
  const SignCall sign_;
  const std::function<void(const HeldIdentity&)> changed_;
  Random random_;
  std::optional<HeldIdentity> held_;
  WallTime taken_at_;
  WallTime renew_at_;
  std::string next_key_;  // Kept over attempts: a lost answer may be asked for again.
  std::string trouble_;
  Task<void> task_;
};

}  // namespace glia
