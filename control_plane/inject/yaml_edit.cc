#include "control_plane/inject/yaml_edit.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "proxy/base/text.h"

namespace glia {
namespace {

using Kind = YamlNode::Kind;

// --- Values as block YAML --------------------------------------------------------------------------

// Plain where every reader takes it for the same text.
std::string scalar(const Json& value) {
  if (!value.is_string()) return value.dump();
  const auto& text = value.get_ref<const std::string&>();
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
  const bool letter = !text.empty() && std::isalpha(static_cast<unsigned char>(text[0])) != 0;
  const bool plain = (letter || text.starts_with('/')) &&
                     text.find_first_not_of(kPlain) == text.npos &&
                     plain_type(text) == PlainType::kText && !equal_no_case(text, "null") &&
                     !equal_no_case(text, "y") && !equal_no_case(text, "n");
  // What is no UTF-8 would be another text; edited_yaml() finds that.
  return plain ? text : value.dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::string spaces(int column) { return std::string(static_cast<std::size_t>(column - 1), ' '); }

void put_entries(std::string& out, const Json& map, int column);

void put_items(std::string& out, const Json& list, int column) {
  for (const Json& item : list) {
    if (item.is_object() && !item.empty()) {
      std::string inner;
      put_entries(inner, item, column + 2);
      inner.replace(static_cast<std::size_t>(column - 1), 2, "- ");
      out += inner;
    } else {
      out += cat(spaces(column), "- ", item.is_structured() ? item.dump() : scalar(item), "\n");
    }
  }
}

void put_entry(std::string& out, const std::string& key, const Json& value, int column) {
  out += cat(spaces(column), scalar(key), ":");
  if (value.is_object() && !value.empty()) {
    out += "\n";
    put_entries(out, value, column + 2);
  } else if (value.is_array() && !value.empty()) {
    out += "\n";
    put_items(out, value, column);
  } else {
    out += cat(" ", value.is_structured() ? value.dump() : scalar(value), "\n");
  }
}

void put_entries(std::string& out, const Json& map, int column) {
  for (const auto& [key, value] : map.items()) put_entry(out, key, value, column);
}

// --- The places of nodes ---------------------------------------------------------------------------

class Editor {
 public:
  explicit Editor(std::string_view text) : text_(text) {
    for (std::size_t at = 0; at <= text.size();) {
      lines_.push_back(at);
      const std::size_t end = text.find('\n', at);
      if (end == text.npos) break;
      at = end + 1;
    }
    if (lines_.empty() || lines_.back() != text.size()) lines_.push_back(text.size());
  }

  // A block map whose keys differ.
  void map(const YamlNode& node, const Json& wanted);
  // Sorted by place; none reaches into another.
  Result<std::string> result();

 private:
  struct Change {
    std::size_t at = 0, size = 0;
    std::string text;
    std::size_t order = 0;  // As they were found.
  };

  std::size_t line_begin(int line) const {
    return lines_[std::min(static_cast<std::size_t>(line - 1), lines_.size() - 1)];
  }
  std::size_t offset(const YamlNode& node) const {
    return line_begin(node.line) + static_cast<std::size_t>(node.column - 1);
  }
  std::string_view line(int number) const {
    const std::size_t begin = line_begin(number);
    return trim(text_.substr(begin, line_begin(number + 1) - begin), "\r\n");
  }
  int lines() const { return static_cast<int>(lines_.size()) - 1; }
  bool is_block(const YamlNode& node) const {
    const std::size_t at = offset(node);
    return !node.items.empty() && at < text_.size() && text_[at] != '{' && text_[at] != '[';
  }
  int end_line(int first, int column, bool key) const;
  void value(const YamlNode& key, const YamlNode& node, const Json& wanted);
  bool list(const YamlNode& key, const YamlNode& node, const Json& wanted);
  std::optional<int> dash_line(const YamlNode& list, const YamlNode& item) const;
  void replace(std::size_t at, std::size_t end, std::string text) {
    changes_.push_back({at, end - at, std::move(text), changes_.size()});
  }
  void insert(int line, std::string text) {
    const std::size_t at = line_begin(line);
    if (at == text_.size() && !text_.ends_with('\n')) text.insert(0, "\n");
    replace(at, at, std::move(text));
  }
  void fail(const YamlNode& node, std::string_view why) {
    if (!error_) error_ = invalid(cat("line ", node.line, ": ", why));
  }

  std::string_view text_;
  std::vector<std::size_t> lines_;  // Where they begin; the last is the end of the text.
  std::vector<Change> changes_;
  std::optional<Error> error_;
};

// The line behind an entry that begins in line `first` and column `column`: what is deeper is its own, and
// under a key the items that stand at its column. Blank lines and comments behind it are not.
int Editor::end_line(int first, int column, bool key) const {
  int last = first;
  for (int at = first + 1; at <= lines(); ++at) {
    const std::string_view text = line(at);
    const std::size_t indent = text.find_first_not_of(' ');
    if (indent == text.npos) continue;
    if (text.starts_with("---") || text.starts_with("...")) break;
    const int where = static_cast<int>(indent) + 1;
    const bool item = text.substr(indent).starts_with("- ") || text.substr(indent) == "-";
    if (where > column || (key && where == column && item)) {
      last = at;
    } else if (text[indent] != '#') {
      break;
    }
  }
  return last + 1;
}

void Editor::map(const YamlNode& node, const Json& wanted) {
  const int column = node.keys.front().column;
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    const YamlNode& key = node.keys[i];
    if (key.column != column) return fail(key, "stands at another column than its neighbours");
    const auto found = wanted.find(key.text);
    if (found != wanted.end()) {
      value(key, node.items[i], *found);
      continue;
    }
    if (offset(key) != line_begin(key.line) + static_cast<std::size_t>(column - 1) ||
        trim(line(key.line).substr(0, static_cast<std::size_t>(column - 1))) != "") {
      return fail(key, "the first field of a list's item cannot be taken out");
    }
    replace(line_begin(key.line), line_begin(end_line(key.line, column, true)), "");
  }
  std::string added;
  for (const auto& [key, value] : wanted.items()) {
    if (node.find(key) == nullptr) put_entry(added, key, value, column);
  }
  if (added.empty()) return;
  // Behind the entry that stands last in the text.
  insert(end_line(node.keys.back().line, column, true), std::move(added));
}

void Editor::value(const YamlNode& key, const YamlNode& node, const Json& wanted) {
  if (same(json_of(node), wanted)) return;
  if (node.line < key.line) {
    return fail(key, "is an alias (*); write the value out, so that it can change alone");
  }
  const bool block = is_block(node);
  if (block && node.kind == Kind::kMap && wanted.is_object() && !wanted.empty()) {
    return map(node, wanted);
  }
  if (block && node.kind == Kind::kList && wanted.is_array() && !wanted.empty() &&
      list(key, node, wanted)) {
    return;
  }
  std::string text;
  put_entry(text, key.text, wanted, key.column);
  replace(offset(key), line_begin(end_line(key.line, key.column, true)),
          text.substr(static_cast<std::size_t>(key.column - 1)));
}

std::optional<int> Editor::dash_line(const YamlNode& list, const YamlNode& item) const {
  for (int at = item.line; at >= list.line; --at) {
    const std::string_view text = line(at);
    const auto column = static_cast<std::size_t>(list.column - 1);
    if (text.size() > column && text[column] == '-' && trim(text.substr(0, column)).empty()) {
      return at;
    }
  }
  return {};
}

// False if items cannot be told from each other, or change places: then it is written anew.
bool Editor::list(const YamlNode& key, const YamlNode& node, const Json& wanted) {
  std::vector<std::string> before, after;
  for (const YamlNode& item : node.items) {
    before.push_back(name_of_item(json_of(item), before.size()));
  }
  for (const Json& item : wanted) after.push_back(name_of_item(item, after.size()));
  const std::set<std::string> in_before(before.begin(), before.end()),
      in_after(after.begin(), after.end());
  if (in_before.size() != before.size() || in_after.size() != after.size()) return false;
  std::vector<std::string> kept_before, kept_after;
  std::ranges::copy_if(before, std::back_inserter(kept_before),
                       [&](const auto& name) { return in_after.contains(name); });
  std::ranges::copy_if(after, std::back_inserter(kept_after),
                       [&](const auto& name) { return in_before.contains(name); });
  if (kept_before != kept_after || kept_before.empty()) return false;
  std::vector<int> dashes;
  for (const YamlNode& item : node.items) {
    const auto dash = dash_line(node, item);
    if (!dash) return false;
    dashes.push_back(*dash);
  }
  if (dashes.front() == key.line) return false;
  const auto end_of = [&](std::size_t i) { return end_line(dashes[i], node.column, false); };
  // New ones stand behind the item that they follow, before the comments of the next one.
  int behind = key.line + 1;
  std::size_t next = 0;
  for (std::size_t i = 0; i < after.size(); ++i) {
    const Json& item = wanted[i];
    if (!in_before.contains(after[i])) {
      std::string text;
      put_items(text, Json::array({item}), node.column);
      insert(behind, std::move(text));
      continue;
    }
    while (before[next] != after[i]) ++next;
    const YamlNode& old = node.items[next];
    if (!same(json_of(old), item)) {
      const bool inside = old.kind == Kind::kMap && is_block(old) && item.is_object();
      if (inside) {
        map(old, item);
      } else {
        std::string text;
        put_items(text, Json::array({item}), node.column);
        replace(line_begin(dashes[next]), line_begin(end_of(next)), std::move(text));
      }
    }
    behind = end_of(next);
    ++next;
  }
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (in_after.contains(before[i])) continue;
    replace(line_begin(dashes[i]), line_begin(end_of(i)), "");
  }
  return true;
}

Result<std::string> Editor::result() {
  if (error_) return *error_;
  // What is put in at a place stands before what is replaced there.
  std::ranges::sort(changes_, {}, [](const Change& change) {
    return std::tuple(change.at, change.size > 0, change.order);
  });
  std::string out;
  std::size_t at = 0;
  for (const Change& change : changes_) {
    if (change.at < at) return invalid("its parts overlap; write it in block style");
    out += text_.substr(at, change.at - at);
    out += change.text;
    at = change.at + change.size;
  }
  out += text_.substr(at);
  return out;
}

}  // namespace

Json json_of(const YamlNode& node) {
  switch (node.kind) {
    case Kind::kNull: return nullptr;
    case Kind::kList: {
      Json list = Json::array();
      for (const YamlNode& item : node.items) list.push_back(json_of(item));
      return list;
    }
    case Kind::kMap: {
      Json map = Json::object();
      for (std::size_t i = 0; i < node.keys.size(); ++i) {
        map[node.keys[i].text] = json_of(node.items[i]);
      }
      return map;
    }
    case Kind::kScalar: break;
  }
  const std::string& text = node.text;
  if (node.quoted) return text;
  const PlainType type = plain_type(text);
  if (type == PlainType::kBoolean) {
    for (const std::string_view yes : {"true", "yes", "on"}) {
      if (equal_no_case(text, yes)) return true;
    }
    return false;
  }
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (type == PlainType::kNumber && error == std::errc() && end == text.data() + text.size()) {
    return number;
  }
  return text;  // Numbers that are no integers stay as they are written.
}

std::string name_of_item(const Json& item, std::size_t place) {
  const std::string name = text_at(item, "name");
  return name.empty() ? cat("#", place) : name;
}

bool same(const Json& a, const Json& b) {
  if (a.type() != b.type() && !(a.is_number() && b.is_number())) return false;
  if (a.is_object()) {
    if (a.size() != b.size()) return false;
    return std::ranges::all_of(a.items(), [&](const auto& entry) {
      const auto found = b.find(entry.key());
      return found != b.end() && same(entry.value(), *found);
    });
  }
  if (a.is_array()) return std::ranges::equal(a, b, same);
  return a == b;
}

Result<std::string> edited_yaml(std::string_view document, const YamlNode& root,
                                const Json& wanted) {
  if (same(json_of(root), wanted)) return std::string(document);
  Editor editor(document);
  editor.map(root, wanted);
  TRY(std::string text, editor.result());
  const YamlFile read = read_yaml(text);
  const bool good =
      !read.failure && read.documents.size() == 1 && same(json_of(read.documents.front()), wanted);
  if (!good) {
    return invalid(
        "cannot be edited as it is written; write it in block style, one field a line, without "
        "anchors");
  }
  return text;
}

}  // namespace glia
