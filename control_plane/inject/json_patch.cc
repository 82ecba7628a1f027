#include "control_plane/inject/json_patch.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "control_plane/inject/yaml_edit.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

// RFC 6901 section 3.
std::string pointer_part(std::string_view key) {
  std::string out = "/";
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

class Patch {
 public:
  void value(const std::string& path, const Json& before, const Json& after) {
    if (same(before, after)) return;
    if (before.is_object() && after.is_object()) return object(path, before, after);
    if (before.is_array() && after.is_array() && list(path, before, after)) return;
    operations_.push_back({{"op", "replace"}, {"path", path}, {"value", after}});
  }
  Json take() { return std::move(operations_); }

 private:
  void add(std::string path, const Json& value) {
    operations_.push_back({{"op", "add"}, {"path", std::move(path)}, {"value", value}});
  }

  void object(const std::string& path, const Json& before, const Json& after) {
    for (const auto& [key, value] : before.items()) {
      const std::string at = path + pointer_part(key);
      if (after.contains(key)) {
        this->value(at, value, after[key]);
      } else {
        operations_.push_back({{"op", "remove"}, {"path", at}});
      }
    }
    for (const auto& [key, value] : after.items()) {
      if (!before.contains(key)) add(path + pointer_part(key), value);
    }
  }

  static std::vector<std::string> names_of(const Json& list) {
    std::vector<std::string> names;
    for (const Json& item : list) {
      names.push_back(name_of_item(item, names.size()));
    }
    return names;
  }

  // False if items cannot be told from each other, or change places.
  bool list(const std::string& path, const Json& before, const Json& after) {
    std::vector<std::string> old = names_of(before);
    const std::vector<std::string> wanted = names_of(after);
    const std::set<std::string> in_old(old.begin(), old.end()),
        in_wanted(wanted.begin(), wanted.end());
    if (in_old.size() != old.size() || in_wanted.size() != wanted.size()) return false;
    std::vector<std::string> kept_old, kept_wanted;
    for (const auto& name : old) {
      if (in_wanted.contains(name)) kept_old.push_back(name);
    }
    for (const auto& name : wanted) {
      if (in_old.contains(name)) kept_wanted.push_back(name);
    }
    if (kept_old != kept_wanted) return false;
    // From the end, so that the places before stay what they are.
    for (std::size_t i = old.size(); i-- > 0;) {
      const std::string at = cat(path, "/", i);
      const auto found = std::ranges::find(wanted, old[i]);
      if (found == wanted.end()) {
        operations_.push_back({{"op", "remove"}, {"path", at}});
      } else {
        value(at, before[i], after[static_cast<std::size_t>(found - wanted.begin())]);
      }
    }
    // What is left stands in the order of `after`.
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (!in_old.contains(wanted[i])) add(cat(path, "/", i), after[i]);
    }
    return true;
  }

  Json operations_ = Json::array();
};

}  // namespace

Json json_patch(const Json& before, const Json& after) {
  Patch patch;
  patch.value("", before, after);
  return patch.take();
}

}  // namespace glia
