#include "control_plane/translate/cors.h"

#include <algorithm>

#include "control_plane/translate/pack.h"
#include "envoy/extensions/filters/http/cors/v3/cors.pb.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

namespace cors_v3 = envoy::extensions::filters::http::cors::v3;
constexpr char kCorsName[] = "envoy.filters.http.cors";

// As browsers write it: in lower case, without the port that the scheme has anyway.
std::string plain(const std::string& origin) {
  std::string text = to_lower(origin);
  const std::string_view usual = text.starts_with("https:") ? ":443" : ":80";
  if (text.ends_with(usual)) text.resize(text.size() - usual.size());
  return text;
}

// A host name has no other character that means something in a pattern.
std::string escaped(std::string_view host) {
  std::string out;
  for (const char c : host) out += c == '.' ? "\\." : std::string(1, c);
  return out;
}

void set_origin(const std::string& origin, envoy::type::matcher::v3::StringMatcher& matcher) {
  constexpr char kLabels[] = "[^/:@\\[\\]]+";  // Of a host, with the dots between them.
  constexpr char kAnyHost[] = "([^/:@\\[\\]]+|\\[[0-9a-f:.]+\\])";
  const std::string text = plain(origin);
  const std::size_t star = text.find('*');
  if (star == text.npos) return matcher.set_exact(text);
  auto& pattern = *matcher.mutable_safe_regex()->mutable_regex();
  if (text == "*") {
    pattern = ".*";
    return;
  }
  const std::string_view rest = std::string_view(text).substr(star + 1);
  pattern = cat(text.substr(0, star), rest.starts_with('.') ? kLabels : kAnyHost, escaped(rest));
}

std::string joined(const std::vector<std::string>& values) {
  std::string out;
  for (const std::string& value : values) out += cat(out.empty() ? "" : ", ", value);
  return out;
}

}  // namespace

void add_cors(
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager) {
  auto* filter = manager.add_http_filters();
  filter->set_name(kCorsName);
  pack(cors_v3::Cors(), *filter->mutable_typed_config());
}

void set_cors(const CorsRule& cors, envoy::config::route::v3::Route& route) {
  cors_v3::CorsPolicy policy;
  for (const std::string& origin : cors.allow_origins) {
    set_origin(origin, *policy.add_allow_origin_string_match());
  }
  policy.set_allow_methods(joined(cors.allow_methods));
  policy.set_allow_headers(joined(cors.allow_headers));
  policy.set_expose_headers(joined(cors.expose_headers));
  policy.set_max_age(cat(cors.max_age));
  if (cors.allow_credentials) policy.mutable_allow_credentials()->set_value(true);
  policy.mutable_forward_not_matching_preflights()->set_value(false);
  // gRPC without a sidecar does not know it, and passes over what is optional.
  envoy::config::route::v3::FilterConfig optional;
  optional.set_is_optional(true);
  pack(policy, *optional.mutable_config());
  pack(optional, (*route.mutable_typed_per_filter_config())[kCorsName]);
}

}  // namespace glia
