// Rules on single values: names, durations, addresses, paths. Each check returns nothing when it
// holds, else the end of a sentence that begins with the field: "must be ...".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/time.h"

namespace glia {

using Wrong = std::optional<std::string>;

inline constexpr int kMaxPort = 65535;

// GEP-2257: up to four of <number><h|m|s|ms>, each number of at most five digits.
std::optional<Duration> parse_duration(std::string_view text);

Wrong check_label_name(std::string_view text);      // RFC 1123 label, 63 characters
Wrong check_service_name(std::string_view text);    // RFC 1035 label: begins with a letter
Wrong check_subdomain_name(std::string_view text);  // RFC 1123 subdomain, 253 characters
Wrong check_port_name(std::string_view text);       // RFC 6335 service name, 15 characters
Wrong check_label_key(std::string_view text);       // Kubernetes: [prefix/]name
Wrong check_label_value(std::string_view text);
Wrong check_variable_name(std::string_view text);  // Of the environment
Wrong check_trust_domain(std::string_view text);   // SPIFFE ID, section 2.1
Wrong check_identity(std::string_view text);       // "name", "ns/name", "spiffe://...", "*"
Wrong check_ip(std::string_view text);
Wrong check_reachable_ip(std::string_view text);    // An IP to which others can connect.
Wrong check_hostname(std::string_view text);        // RFC 1123, no wildcard
Wrong check_header_name(std::string_view text);     // RFC 9110 token
Wrong check_changed_header(std::string_view text);  // A header that filters may change.
Wrong check_header_value(std::string_view text);
Wrong check_path(std::string_view text);          // Absolute, without dot segments
Wrong check_path_pattern(std::string_view text);  // A path, or a prefix with a final *
Wrong check_regex(std::string_view text);         // RE2

}  // namespace glia
