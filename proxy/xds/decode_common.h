// Pieces that several resources have: addresses, matchers, changes to headers, data sources.
#pragma once

#include <optional>
#include <string>

#include "proxy/mesh/cluster_config.h"
#include "proxy/mesh/matcher.h"
#include "proxy/mesh/route.h"
#include "proxy/xds/reader.h"

namespace glia {

// envoy.config.core.v3.Address that is an IP address or a UNIX socket.
std::optional<Address> decode_address(const Reader& address);
// The same, or a host name (into endpoint.host and .port) if `names_allowed`.
void decode_target(const Reader& address, bool names_allowed, EndpointConfig& endpoint);
// envoy.type.matcher.v3.StringMatcher and RegexMatcher.
std::optional<TextMatcher> decode_text_matcher(const Reader& matcher);
std::optional<TextMatcher> decode_regex(const Reader& matcher);
// envoy.config.route.v3.HeaderMatcher.
HeaderMatcher decode_header_matcher(const Reader& matcher);
// envoy.config.core.v3.CidrRange.
std::optional<CidrRange> decode_cidr(const Reader& range);
// All of a file, up to 1 MiB; nothing if it cannot be read or is larger.
std::optional<std::string> read_file(const std::string& path);
// envoy.config.core.v3.DataSource; reads the file or the environment variable.
std::string decode_data_source(const Reader& source);
// The fields {request,response}_headers_to_{add,remove} of a route, virtual host, ...
HeaderMutation decode_header_mutation(const Reader& owner, std::string_view direction);
// envoy.config.core.v3.ConfigSource: refuses everything but {ads: {}}.
void expect_ads(const Reader& config_source);
// Lower-case name of a header field; refuses what is none.
std::string decode_field_name(const Reader& owner, std::string_view field);
bool is_field_name(std::string_view name);
// A text that is sent in a header field: refuses what may not stand there.
std::string decode_field_text(const Reader& owner, std::string_view field);
// A host with or without a port, as a request names it, or "".
std::string decode_authority(const Reader& owner, std::string_view field);
// A path, or what stands in place of the beginning of one; "" is neither.
std::string decode_path_text(const Reader& owner, std::string_view field);
// envoy.config.core.v3.RuntimeFractionalPercent, in millionths: there is no runtime here, so its
// default counts.
inline constexpr uint32_t kWholeShare = 1'000'000;
uint32_t decode_share(const Reader& fraction);
// A time limit that Envoy switches off by 0s; ours is then a year.
Duration decode_limit(const Reader& owner, std::string_view field, Duration otherwise);
// Limits in Http2ProtocolOptions and HttpProtocolOptions (envoy.config.core.v3).
void decode_http2_options(const Reader& options, HttpLimits& limits);
void decode_common_http_options(const Reader& options, HttpLimits& limits);

}  // namespace glia
