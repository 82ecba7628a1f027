#include "proxy/xds/decode_cors.h"

#include "proxy/xds/decode_common.h"

namespace glia {

std::shared_ptr<const CorsPolicy> decode_cors(const Reader&) {
  return std::make_shared<CorsPolicy>();
}

std::shared_ptr<const CorsPolicy> decode_cors_policy(const Reader& policy) {
  CorsPolicy cors;
  policy.each("allow_origin_string_match", [&](const Reader& matcher, std::size_t) {
    if (auto origin = decode_text_matcher(matcher)) cors.origins.push_back(*std::move(origin));
  });
  cors.methods = decode_field_text(policy, "allow_methods");
  cors.headers = decode_field_text(policy, "allow_headers");
  cors.exposed = decode_field_text(policy, "expose_headers");
  cors.max_age = decode_field_text(policy, "max_age");
  cors.credentials = policy.flag("allow_credentials");
  cors.forward_others = policy.flag("forward_not_matching_preflights", true);
  policy.only("allow_private_network_access", false);
  if (policy.has("filter_enabled") &&
      decode_share(policy.message("filter_enabled")) != kWholeShare) {
    policy.fail("filter_enabled",
                "must be 100 %: glia-proxy applies a CORS policy to every request");
  }
  return std::make_shared<const CorsPolicy>(std::move(cors));
}

}  // namespace glia
