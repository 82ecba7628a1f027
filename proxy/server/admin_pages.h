// The admin pages: one table of what there is, and what each of them answers.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/base/task.h"
#include "proxy/server/admin_view.h"

namespace glia {

// The part of a request's target after '?', decoded.
class AdminQuery {
 public:
  explicit AdminQuery(std::string_view text);
  // The value of the first parameter of that name; "" if it has none.
  std::optional<std::string_view> get(std::string_view name) const;
  bool has(std::string_view name) const { return get(name).has_value(); }

 private:
  std::vector<std::pair<std::string, std::string>> parameters_;
};

struct AdminAnswer {
  static constexpr std::string_view kText = "text/plain; charset=utf-8";
  static constexpr std::string_view kJson = "application/json";
  static constexpr std::string_view kHtml = "text/html; charset=utf-8";
  static constexpr std::string_view kPrometheus = "text/plain; version=0.0.4; charset=utf-8";

  int status = 200;
  std::string body;
  std::string_view type = kText;
  std::string_view allow = {};  // With 405: the method to use.
};

// One request to a page. Lives until the page has answered.
struct AdminCall {
  AdminView& view;
  AdminQuery query;
  bool post;
  WallTime now;
};

struct AdminPage {
  enum class Method : uint8_t { kGet, kPost, kBoth };
  enum class Reach : uint8_t { kLoopback, kAnywhere };
  std::string_view path;
  Method method;
  // kAnywhere: also for callers from other machines, if the listener can be reached from there.
  Reach reach;
  std::string_view help;
  Task<AdminAnswer> (*answer)(const AdminCall& call);
};

std::span<const AdminPage> admin_pages();

// "path: help" lines, for /help and for a 404.
std::string admin_page_list();

}  // namespace glia
