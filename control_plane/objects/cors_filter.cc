// The CORS filter of HTTPRoutes.
#include <algorithm>
#include <charconv>

#include "control_plane/objects/kind.h"
#include "control_plane/objects/route_filter.h"

namespace glia {

namespace {

constexpr std::size_t kMostOrigins = 64, kMostNames = 64, kMostMethods = 9;
constexpr int64_t kLongestAge = 0x7FFFFFFF;

Wrong check_origin(std::string_view origin) {
  const Wrong wrong =
      "must be *, or an origin such as https://shop.example, https://*.example:8443";
  if (origin == "*") return {};
  const std::size_t slashes = origin.find("://");
  if (slashes == origin.npos) return wrong;
  const std::string_view scheme = origin.substr(0, slashes);
  std::string_view host = origin.substr(slashes + 3);
  if (scheme != "http" && scheme != "https") return wrong;
  const std::size_t colon = std::min(host.size(), host.find(':'));
  if (colon < host.size()) {
    const std::string_view port = host.substr(colon + 1);
    uint16_t number = 0;
    const auto read = std::from_chars(port.data(), port.data() + port.size(), number);
    if (read.ptr != port.data() + port.size() || number == 0) return wrong;
  }
  host = host.substr(0, colon);
  if (host == "*") return {};
  if (host.starts_with("*.")) host.remove_prefix(2);
  return check_hostname(to_lower(host)) ? wrong : Wrong();
}

// "*" stands for all of them, and so alone.
void check_star(const std::vector<std::string>& values, const char* field, const CorsRule& cors,
                Reader& reader) {
  if (values.size() < 2 || std::ranges::find(values, "*") == values.end()) return;
  reader.error_in(field, cors.at, "must not have anything beside \"*\", which is all of them");
}

}  // namespace

Type<CorsRule> cors_filter() {
  const auto origin = text("an origin", "", check_origin);
  const auto method =
      one_of({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"});
  ObjectType<CorsRule> type("what pages of other origins may do");
  type.required(
          "allowOrigins", &CorsRule::allow_origins, list(origin, 1, kMostOrigins),
          "Of the pages: scheme://host, with :port if it is not that of the scheme. *.example "
          "is any host below example, * as host any host, and * alone any origin.")
      .optional("allowMethods", &CorsRule::allow_methods, list(method, 0, kMostMethods),
                "Besides GET, HEAD and POST; \\* allows all.")
      .optional("allowHeaders", &CorsRule::allow_headers, list(header_name(), 0, kMostNames),
                "Of requests, besides those that are always allowed; \\* allows all.")
      .optional(
          "exposeHeaders", &CorsRule::expose_headers, list(header_name(), 0, kMostNames),
          "Of answers, that a page may read besides those that it always may; \\* is all, but "
          "not with allowCredentials.")
      .optional("allowCredentials", &CorsRule::allow_credentials, boolean(),
                "Whether a page may send cookies and the like along.", "false")
      .optional("maxAge", &CorsRule::max_age, integer<uint32_t>("seconds", 1, kLongestAge),
                "For so long a browser need not ask again.", "5")
      .check([](CorsRule& cors, const YamlNode&, Reader& reader) {
        check_star(cors.allow_origins, "allowOrigins", cors, reader);
        check_star(cors.allow_methods, "allowMethods", cors, reader);
        check_star(cors.allow_headers, "allowHeaders", cors, reader);
        const bool all = std::ranges::find(cors.expose_headers, "*") != cors.expose_headers.end();
        if (!all || !cors.allow_credentials) return;
        reader.error_in("exposeHeaders", cors.at,
                        "must name the headers: with allowCredentials, browsers take \"*\" for the "
                        "name of one");
      });
  return type;
}

}  // namespace glia
