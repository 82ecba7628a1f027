#include "proxy/server/admin_pages.h"

#include <algorithm>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/server/admin_text.h"

namespace glia {
namespace {

using Method = AdminPage::Method;
using Reach = AdminPage::Reach;

AdminAnswer bad_request(std::string sentence) { return {400, std::move(sentence) + "\n"}; }
AdminAnswer json(std::string document) { return {200, std::move(document), AdminAnswer::kJson}; }

// Which of two forms is wanted; an error names the other values of `format`.
Result<bool> wants_json(const AdminQuery& query) {
  const std::string_view format = query.get("format").value_or("text");
  if (format == "json") return true;
  if (format == "text") return false;
  return invalid(cat("format=", format, " is not known; use format=text or format=json"));
}

Task<AdminAnswer> ready(const AdminCall& call) {
  const ServerFacts facts = call.view.facts();
  std::string body = cat(name_of(facts.state), '\n');
  if (facts.state == ServerState::kInitializing && !facts.waiting_for.empty()) {
    body += facts.waiting_for + '\n';
  }
  if (!facts.config_origin.empty()) body += facts.config_origin + '\n';
  co_return AdminAnswer{facts.state == ServerState::kLive ? 200 : 503, std::move(body)};
}

Task<AdminAnswer> prometheus(const AdminCall& call) {
  const MetricsPage page = co_await call.view.metrics();
  co_return AdminAnswer{200, page.prometheus(), AdminAnswer::kPrometheus};
}

Task<AdminAnswer> stats(const AdminCall& call) {
  const std::string_view format = call.query.get("format").value_or("text");
  if (format == "prometheus") co_return co_await prometheus(call);
  if (format != "text" && format != "json") {
    co_return bad_request(
        cat("format=", format, " is not known; use format=text, format=json or format=prometheus"));
  }
  const std::string_view filter = call.query.get("filter").value_or("");
  const MetricsPage page = co_await call.view.metrics();
  if (format == "json") co_return json(page.json(filter));
  co_return AdminAnswer{200, page.text(filter)};
}

Task<AdminAnswer> config_dump(const AdminCall& call) {
  Result<std::string> dump =
      call.view.config_dump({.resource = std::string(call.query.get("resource").value_or("")),
                             .name = std::string(call.query.get("name").value_or(""))});
  if (!dump) co_return bad_request(dump.error().message());
  co_return json(std::move(*dump));
}

Task<AdminAnswer> clusters(const AdminCall& call) {
  const Result<bool> as_json = wants_json(call.query);
  if (!as_json) co_return bad_request(as_json.error().message());
  const auto rows = co_await call.view.endpoints();
  if (*as_json) co_return json(clusters_json(rows));
  co_return AdminAnswer{200, clusters_text(rows)};
}

Task<AdminAnswer> endpoints(const AdminCall& call) {
  const Result<bool> as_json = wants_json(call.query);
  if (!as_json) co_return bad_request(as_json.error().message());
  const std::string_view cluster = call.query.get("cluster").value_or("");
  const auto rows = co_await call.view.endpoints();
  if (*as_json) co_return json(endpoints_json(rows, cluster));
  co_return AdminAnswer{200, endpoints_text(rows, cluster)};
}

Task<AdminAnswer> listeners(const AdminCall& call) {
  const Result<bool> as_json = wants_json(call.query);
  if (!as_json) co_return bad_request(as_json.error().message());
  const auto rows = call.view.listeners();
  if (*as_json) co_return json(listeners_json(rows));
  co_return AdminAnswer{200, listeners_text(rows)};
}

Task<AdminAnswer> certificates(const AdminCall& call) {
  co_return json(certificates_json(call.view.certificates(), call.now));
}

Task<AdminAnswer> exchanges(const AdminCall& call) {
  const Result<bool> as_json = wants_json(call.query);
  if (!as_json) co_return bad_request(as_json.error().message());
  const auto rows = co_await call.view.exchanges();
  if (*as_json) co_return json(exchanges_json(rows));
  std::string body;
  for (const std::string& row : rows) body += row + '\n';
  co_return AdminAnswer{200, std::move(body)};
}

Task<AdminAnswer> server_info(const AdminCall& call) {
  co_return json(server_info_json(call.view.facts()));
}

Task<AdminAnswer> logging(const AdminCall& call) {
  if (call.post) {
    const auto name = call.query.get("level");
    const auto level = name ? parse_log_level(*name) : std::nullopt;
    if (!level) {
      co_return bad_request(
          cat(name ? cat("level=", *name, " is not known") : "level is missing",
              "; use /logging?level= with trace, debug, info, warning, error or off"));
    }
    set_log_level(*level);
  }
  co_return AdminAnswer{200, cat("level: ", name_of(log_level()), '\n')};
}

Task<AdminAnswer> drain_listeners(const AdminCall& call) {
  call.view.drain_listeners(
      call.query.has("graceful") ? AdminView::Drain::kGraceful : AdminView::Drain::kAtOnce,
      call.query.has("inboundonly") ? AdminView::Which::kInbound : AdminView::Which::kAll);
  co_return AdminAnswer{200, "OK\n"};
}

Task<AdminAnswer> reopen_logs(const AdminCall& call) {
  const auto problems = co_await call.view.reopen_logs();
  if (problems.empty()) co_return AdminAnswer{200, "OK\n"};
  std::string body;
  for (const std::string& problem : problems) body += problem + '\n';
  co_return AdminAnswer{500, std::move(body)};
}

Task<AdminAnswer> quit(const AdminCall& call) {
  call.view.quit();
  co_return AdminAnswer{200, "OK\n"};
}

Task<AdminAnswer> help(const AdminCall&) { co_return AdminAnswer{200, admin_page_list()}; }

std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

// No script, no picture, nothing from anywhere else: it must work on an island.
Task<AdminAnswer> front(const AdminCall& call) {
  const ServerFacts facts = call.view.facts();
  std::string body =
      cat("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>glia-proxy ",
          html_escaped(facts.node_id),
          "</title><style>body{font-family:sans-serif;margin:2em}td,th{padding:.3em 1em .3em 0;"
          "text-align:left}</style></head><body>\n<h1>glia-proxy ",
          html_escaped(facts.node_id), "</h1>\n<p>", name_of(facts.state), ", version ",
          html_escaped(facts.version), ", configuration ", html_escaped(facts.config_version),
          ", up for ", facts.uptime / 1s,
          " s</p>\n<table>\n<tr><th>page</th><th>what it does</th></tr>\n");
  for (const AdminPage& page : admin_pages()) {
    const bool button = page.method == Method::kPost;
    body += cat("<tr><td>",
                button ? cat("<form method=\"post\" action=\"", page.path, "\"><button>", page.path,
                             "</button></form>")
                       : cat("<a href=\"", page.path, "\">", page.path, "</a>"),
                "</td><td>", html_escaped(page.help), "</td></tr>\n");
  }
  body += "</table>\n</body></html>\n";
  co_return AdminAnswer{200, std::move(body), AdminAnswer::kHtml};
}

constexpr AdminPage kPages[] = {
    {"/", Method::kGet, Reach::kLoopback, "this list, for a browser", front},
    {"/certs", Method::kGet, Reach::kLoopback, "certificates in use and when they end (JSON)",
     certificates},
    {"/clusters", Method::kGet, Reach::kLoopback,
     "endpoints, their health and counts (?format=json)", clusters},
    {"/config_dump", Method::kGet, Reach::kLoopback,
     "the configuration in force (JSON; ?resource=, ?name=)", config_dump},
    {"/drain_listeners", Method::kPost, Reach::kLoopback,
     "stop accepting connections (?graceful, ?inboundonly)", drain_listeners},
    {"/endpoints", Method::kGet, Reach::kLoopback,
     "what is believed of endpoints that report their load (?cluster=, ?format=json)", endpoints},
    {"/exchanges", Method::kGet, Reach::kLoopback, "requests in flight (?format=json)", exchanges},
    {"/help", Method::kGet, Reach::kLoopback, "this list, as text", help},
    {"/listeners", Method::kGet, Reach::kLoopback, "listeners and their addresses (?format=json)",
     listeners},
    {"/logging", Method::kBoth, Reach::kLoopback, "the log level; POST ?level=debug changes it",
     logging},
    {"/quitquitquit", Method::kPost, Reach::kLoopback, "drain, then end the process", quit},
    {"/ready", Method::kGet, Reach::kAnywhere, "200 LIVE, or 503 and the state", ready},
    {"/reopen_logs", Method::kPost, Reach::kLoopback,
     "open the access logs again, after a rotation", reopen_logs},
    {"/server_info", Method::kGet, Reach::kLoopback, "version, state, node, options (JSON)",
     server_info},
    {"/stats", Method::kGet, Reach::kAnywhere,
     "counts (?filter=text, ?format=json, ?format=prometheus)", stats},
    {"/stats/prometheus", Method::kGet, Reach::kAnywhere, "counts for Prometheus", prometheus},
};

std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = escaped_byte(text.substr(i));
    out += byte ? static_cast<char>(*byte) : text[i] == '+' ? ' ' : text[i];
    if (byte) i += 2;
  }
  return out;
}

}  // namespace

AdminQuery::AdminQuery(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    const std::string_view one = text.substr(0, end);
    const std::size_t equals = std::min(one.find('='), one.size());
    if (!one.empty()) {
      parameters_.emplace_back(decoded(one.substr(0, equals)),
                               equals < one.size() ? decoded(one.substr(equals + 1)) : "");
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::optional<std::string_view> AdminQuery::get(std::string_view name) const {
  for (const auto& [parameter, value] : parameters_) {
    if (parameter == name) return value;
  }
  return {};
}

std::span<const AdminPage> admin_pages() { return kPages; }

std::string admin_page_list() {
  std::string out = "admin pages are:\n";
  for (const AdminPage& page : kPages) {
    out += cat("  ", page.path, page.method == Method::kPost ? " (POST): " : ": ", page.help, '\n');
  }
  return out;
}

}  // namespace glia
