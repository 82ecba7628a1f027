#include "proxy/xds/identity.h"

#include <algorithm>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/net/tls.h"
#include "proxy/net/x509.h"
#include "proxy/xds/backoff.h"
#include "proxy/xds/identity_file.h"

namespace glia {
namespace {

// The control plane writes the name, whatever a request says; a request must have one.
constexpr char kAnyName[] = "spiffe://unknown/joining";

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void put_text(std::string& out, uint32_t field, std::string_view text) {
  if (text.empty()) return;
  put_varint(out, field << 3 | 2);
  put_varint(out, text.size());
  out += text;
}

Error broken() {
  return Error(ErrorKind::kProtocol, Fault::kUpstream,
               "the control plane's answer is not a SignCertificateResponse");
}

Result<uint64_t> get_varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return broken();
}

}  // namespace

std::string encode(const SignRequest& request) {
  std::string out;
  put_text(out, 1, request.csr_pem);
  put_text(out, 2, request.token);
  put_text(out, 3, request.workload);
  return out;
}

Result<SignResponse> decode_sign_response(std::string_view bytes) {
  SignResponse response;
  while (!bytes.empty()) {
    TRY(const uint64_t tag, get_varint(bytes));
    TRY(const uint64_t value, get_varint(bytes));  // A number, or the length of a text.
    if ((tag & 7) == 0) continue;                  // Times; they stand in the certificate as well.
    if ((tag & 7) != 2 || value > bytes.size()) return broken();
    const std::string_view text = bytes.substr(0, value);
    bytes.remove_prefix(value);
    if (tag >> 3 == 1) response.certificate_chain_pem = text;
    if (tag >> 3 == 2) response.trust_bundle_pem = text;
  }
  return response;
}

Result<HeldIdentity> make_identity(std::string chain, std::string key, std::string bundle) {
  if (chain.empty() || key.empty() || bundle.empty()) {
    return invalid("an identity needs a certificate, its key and a trust bundle");
  }
  TlsOptions options;
  options.certificate_chain = chain;
  options.private_key = key;
  options.trusted_ca = bundle;
  TRY(const auto context, TlsContext::create(TlsContext::Side::kClient, options));
  const auto own = context->own_certificate();
  if (!own || own->uri_sans.size() != 1) {
    return invalid("the certificate does not have exactly one URI name");
  }
  return HeldIdentity{std::move(chain),      std::move(key),  std::move(bundle),
                      own->uri_sans.front(), own->not_before, own->not_after};
}

IdentityClient::IdentityClient(EventLoop& loop, IdentityOptions options, SignCall sign,
                               uint64_t seed, std::function<void(const HeldIdentity&)> changed)
    : loop_(loop),
      options_(std::move(options)),
      sign_(std::move(sign)),
      changed_(std::move(changed)),
      random_(seed) {}

void IdentityClient::start() {
  task_ = run();
  task_.start();
}

Task<void> IdentityClient::run() {
  reuse();
  Backoff backoff(kFirstRetry, kLastRetry);
  while (true) {
    if (held_) co_await sleep_until_due();
    const Result<void> obtained = co_await obtain();
    if (obtained) {
      trouble_.clear();
      backoff.reset();
      continue;
    }
    trouble_ = obtained.error().message();
    const Duration delay = backoff.next(random_);
    LOG(warning, "no certificate for ", options_.workload, ": ", trouble_, "; trying again in ",
        to_ms(delay), " ms");
    co_await sleep_for(loop_, delay);
  }
}

Task<void> IdentityClient::sleep_until_due() {
  for (Duration left = left_to_renewal(); left > Duration::zero(); left = left_to_renewal()) {
    co_await sleep_for(loop_, std::min(left, kLookAgain));
  }
}

Duration IdentityClient::left_to_renewal() const {
  const WallTime now = loop_.clock().wall_now();
  return now < taken_at_ - kClockBack ? Duration::zero() : Duration(renew_at_ - now);
}

bool IdentityClient::usable() const { return held_ && held_->not_after > loop_.clock().wall_now(); }

Task<Result<void>> IdentityClient::obtain() {
  const bool renewing = usable();
  const std::string token = options_.fresh_token ? options_.fresh_token() : options_.token;
  if (!renewing && token.empty()) {
    co_return Error(ErrorKind::kDenied, Fault::kSelf,
                    held_
                        ? "the certificate has expired and there is no join token; make a new join "
                          "file on the control plane"
                        : "there is neither a join token nor a certificate; make a join file on "
                          "the control plane");
  }
  if (next_key_.empty()) next_key_ = make_private_key();
  CO_TRY(std::string csr,
         make_signing_request(next_key_, renewing ? held_->spiffe_id : std::string(kAnyName)));
  // A copy: held_ may not change while the call looks at it.
  const std::optional<HeldIdentity> current = renewing ? held_ : std::nullopt;
  CO_TRY(const std::string answer,
         co_await sign_(encode({std::move(csr), renewing ? "" : token, options_.workload}),
                        current ? &*current : nullptr));
  CO_TRY(SignResponse response, decode_sign_response(answer));
  CO_TRY(HeldIdentity identity, make_identity(std::move(response.certificate_chain_pem), next_key_,
                                              std::move(response.trust_bundle_pem)));
  next_key_.clear();
  if (!options_.state_directory.empty()) {
    const Result<void> kept = write_identity_file(options_.state_directory, identity);
    if (!kept) LOG(error, "the identity is not kept on disk: ", kept.error().message());
  }
  take(std::move(identity));
  co_return Result<void>();
}

// What an earlier run left, if it is still good.
void IdentityClient::reuse() {
  if (options_.state_directory.empty()) return;
  Result<std::optional<HeldIdentity>> found = read_identity_file(options_.state_directory);
  if (!found) {
    LOG(warning, "joining anew: ", found.error().message());
    return;
  }
  if (!*found || (*found)->not_after <= loop_.clock().wall_now()) return;
  // Another bundle means another mesh, to which the old certificate says nothing.
  const auto same = [](std::string_view a, std::string_view b) {
    return trim(a, " \r\n") == trim(b, " \r\n");
  };
  if (!options_.trust_bundle.empty() && !same((*found)->trust_bundle, options_.trust_bundle))
    return;
  take(std::move(**found));
}

void IdentityClient::take(HeldIdentity identity) {
  held_ = std::move(identity);
  // From now on, not from not_before: that lies in the past for peers whose clocks are slow.
  const WallTime now = loop_.clock().wall_now();
  taken_at_ = now;
  const double part = 0.5 + kJitter * (2 * random_.unit() - 1);
  renew_at_ = now + std::chrono::duration_cast<Duration>((held_->not_after - now) * part);
  LOG(info, options_.workload, " is ", held_->spiffe_id, " for ",
      std::chrono::duration_cast<std::chrono::seconds>(held_->not_after - now).count(), " s");
  changed_(*held_);
}

}  // namespace glia
