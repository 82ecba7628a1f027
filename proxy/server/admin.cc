#include "proxy/server/admin.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/http/syntax.h"

namespace glia {
namespace {

using Method = AdminPage::Method;

// Where a peer on a UNIX socket is, it has been let in by the file's mode.
bool is_local(const Address& address) { return address.is_unix() || address.is_loopback(); }

// DNS rebinding: a page of evil.example, whose name suddenly means 127.0.0.1, is of one origin with
// us as far as the browser knows, but the Host it sends is still its own.
bool host_is_ours(std::string_view authority, const ConnectionInfo& connection) {
  if (connection.local.is_unix()) return true;
  std::string_view host = host_of(authority);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);  // "[::1]"
  if (equal_no_case(host, "localhost")) return true;
  const auto address = Address::ip(host, 0);
  if (!address) return false;
  return address->is_loopback() || address->ip_text() == connection.local.ip_text();
}

bool origin_is_ours(const Request& request) {
  const auto origin = request.headers.get("origin");
  if (!origin) return true;  // Not a browser, or the same page.
  return equal_no_case(*origin, cat(request.scheme, "://", request.authority));
}

// A sentence if the request must not be answered.
std::optional<AdminAnswer> guard(const ServerStream& stream, const Request& request,
                                 const AdminPage* page) {
  const ConnectionInfo& connection = stream.connection();
  if (!host_is_ours(request.authority, connection)) {
    return AdminAnswer{403,
                       cat("Host ", request.authority, " is not an address of this proxy; ask for ",
                           connection.local.text(), " or localhost\n")};
  }
  const bool anywhere = page != nullptr && page->reach == AdminPage::Reach::kAnywhere;
  if (!is_local(connection.remote) && !anywhere) {
    return AdminAnswer{403, cat("callers from other machines (", connection.remote.ip_text(),
                                ") may see only /ready and /stats; ask on the machine itself\n")};
  }
  if (request.method == "POST" && !origin_is_ours(request)) {
    return AdminAnswer{403, cat("a page of ", *request.headers.get("origin"),
                                " may not change this proxy; send the request without Origin\n")};
  }
  return {};
}

std::optional<AdminAnswer> check_method(const AdminPage& page, std::string_view method) {
  const bool reads = method == "GET" || method == "HEAD";
  const bool known = reads || method == "POST";
  const std::string_view allow = page.method == Method::kPost  ? "POST"
                                 : page.method == Method::kGet ? "GET"
                                                               : "GET, POST";
  const bool fits = page.method == Method::kBoth   ? known
                    : page.method == Method::kPost ? method == "POST"
                                                   : reads;
  if (fits) return {};
  return AdminAnswer{405, cat(page.path, " is asked with ", allow, ", not ", method, '\n'),
                     AdminAnswer::kText, allow};
}

void write_head(const AdminAnswer& answer, Response& response) {
  response.status = answer.status;
  Headers& headers = response.headers;
  headers.add_kept("content-type", answer.type);
  headers.add_kept("cache-control", "no-cache, max-age=0");
  headers.add_kept("x-content-type-options", "nosniff");
  headers.add_kept("content-security-policy",
                   "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
                   "frame-ancestors 'none'");
  headers.add_kept("server", "glia");
  if (!answer.allow.empty()) headers.add_kept("allow", answer.allow);
}

}  // namespace

Task<void> AdminService::serve(ServerStream& stream) {
  const Request& request = stream.request();
  const std::size_t mark = std::min(request.path.find('?'), request.path.size());
  const std::string_view path = request.path.substr(0, mark);
  const auto pages = admin_pages();
  const auto found = std::ranges::find(pages, path, &AdminPage::path);
  const AdminPage* page = found == pages.end() ? nullptr : &*found;

  std::optional<AdminAnswer> answer = guard(stream, request, page);
  if (!answer && page == nullptr) {
    answer = AdminAnswer{404, cat("there is no admin page ", path, "; ", admin_page_list())};
  }
  if (!answer) answer = check_method(*page, request.method);
  if (!answer) {
    const AdminCall call{view_,
                         AdminQuery(request.path.substr(std::min(mark + 1, request.path.size()))),
                         request.method == "POST", stream.loop().clock().wall_now()};
    answer = co_await page->answer(call);
  }
  Response response(stream.arena());
  write_head(*answer, response);
  if (request.method != "HEAD" && !answer->body.empty()) {
    response.body = std::make_unique<TextBody>(Slice::copy(answer->body));
  }
  co_await stream.respond(std::move(response));
}

}  // namespace glia
