#include "control_plane/explain/conditions.h"

#include "proxy/base/text.h"
#include "proxy/http/message.h"

namespace glia {

namespace {

std::string value_text(const TextMatcher& value) {
  using Kind = TextMatcher::Kind;
  const std::string& text = value.pattern();
  switch (value.kind()) {
    case Kind::kExact: return text;
    case Kind::kPrefix: return cat("beginning with ", text);
    case Kind::kSuffix: return cat("ending with ", text);
    case Kind::kContains: return cat("containing ", text);
    case Kind::kRegex: return cat("like ", text);
  }
  return text;
}

std::string path_text(const PathMatch& path) {
  if (path.kind == PathMatch::Kind::kPathSeparatedPrefix) {
    return cat(path.text.pattern(), " or below it");
  }
  if (path.kind == PathMatch::Kind::kPrefix && path.text.pattern() == "/") return "anything";
  return value_text(path.text);
}

std::string header_name(const HeaderMatcher& header) {
  return header.name == ":method" ? "method" : cat("header ", header.name);
}

std::string header_value(const HeaderMatcher& header) {
  if (header.value) return value_text(*header.value);
  if (header.range) return cat("from ", header.range->start, " to ", header.range->end - 1);
  return header.present ? "there" : "absent";
}

std::string query_text(const QueryMatch& query) {
  return query.value ? value_text(*query.value) : "there";
}

}  // namespace

std::string conditions_text(const RouteMatch& match) {
  std::string text = cat("path ", path_text(match.path));
  for (const HeaderMatcher& header : match.headers) {
    text += cat(", ", header_name(header), header.invert ? " not " : " ", header_value(header));
  }
  for (const QueryMatch& query : match.query) {
    text += cat(", parameter ", query.name, " ", query_text(query));
  }
  return match.grpc ? text + ", gRPC" : text;
}

std::string failed_condition(const RouteMatch& match, const Request& request) {
  if (match.grpc && !request.is_grpc()) return "it is not gRPC";
  if (!matches(RouteMatch{.path = match.path}, request)) {
    return cat("path is not ", path_text(match.path));
  }
  for (const HeaderMatcher& header : match.headers) {
    if (matches(header, request)) continue;
    return cat(header_name(header), header.invert ? " is " : " is not ", header_value(header));
  }
  for (const QueryMatch& query : match.query) {
    if (matches(RouteMatch{.query = {query}}, request)) continue;
    return cat("parameter ", query.name, " is not ", query_text(query));
  }
  return matches(match, request) ? "" : "another condition does not hold";
}

}  // namespace glia
