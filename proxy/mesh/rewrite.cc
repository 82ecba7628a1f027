#include "proxy/mesh/rewrite.h"

#include "proxy/base/text.h"
#include "proxy/http/canonical.h"
#include "proxy/http/syntax.h"

namespace glia {

namespace {

// The host that a redirect names is used as it is written; the request's own loses the port that only
// the old scheme takes for granted.
std::string redirect_host(const RedirectAction& action, const Request& request) {
  std::string_view host = action.host.empty() ? std::string_view(request.authority) : action.host;
  const bool new_scheme = !action.scheme.empty() && action.scheme != request.scheme;
  const bool usual = host.ends_with(usual_port(request.scheme));
  if (action.host.empty() && new_scheme && usual) host = host_of(host);
  return action.port ? cat(host_of(host), ":", *action.port) : std::string(host);
}

std::string redirect_path(const RedirectAction& action, const PathMatch& match,
                          const Request& request) {
  const std::string_view path = path_of(request);
  const std::string_view query = action.strip_query ? "" : request.path.substr(path.size());
  // A query of its own wins, also over strip_query.
  if (action.path.find('?') != action.path.npos) return action.path;
  if (!action.path.empty()) return cat(action.path, query);
  if (action.prefix.empty()) return cat(path, query);
  return cat(action.prefix, path.substr(match.text.pattern().size()), query);
}

}  // namespace

std::string rewritten_path(const ForwardAction& action, const PathMatch& match,
                           const Request& request) {
  const std::string_view path = path_of(request);
  if (action.path_rewrite) {
    return cat(action.path_rewrite->apply(path), request.path.substr(path.size()));
  }
  const std::size_t matched =
      match.kind == PathMatch::Kind::kExact ? path.size() : match.text.pattern().size();
  return cat(action.prefix_rewrite, request.path.substr(matched));
}

std::string redirect_location(const RedirectAction& action, const PathMatch& match,
                              const Request& request) {
  const std::string_view scheme = action.scheme.empty() ? request.scheme : action.scheme;
  return cat(scheme, "://", redirect_host(action, request), redirect_path(action, match, request));
}

}  // namespace glia
