// CORS: which pages of other origins may read the answers of a route (fetch.spec.whatwg.org,
// "HTTP CORS protocol").
#pragma once

#include <string>
#include <vector>

#include "proxy/mesh/matcher.h"

namespace glia {

// envoy.extensions.filters.http.cors.v3.CorsPolicy. The filter of a listener alone has none:
// without origins nothing is done.
struct CorsPolicy {
  std::vector<TextMatcher> origins;  // "https://shop.example:8443"; one of them must match.
  // Values of access-control-allow-methods and -headers, -expose-headers and -max-age; "" leaves
  // the field out. In the first two, "*" stands for whatever a page asks for.
  std::string methods, headers, exposed, max_age;
  bool credentials = false;
  // Whether the question of a page that no origin matches goes up like any request.
  bool forward_others = true;
};

}  // namespace glia
