#include "control_plane/objects/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <sstream>
#include <utility>

#include "control_plane/objects/object_set.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

// Thrown through yaml-cpp, which has no other way to stop its parser; never leaves read_yaml().
struct Stop {
  YamlFailure failure;
};

class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::size_t& nodes) : nodes_(nodes) {}

  std::optional<YamlNode> take() {
    if (!root_ || root_->kind == YamlNode::Kind::kNull) return {};
    return std::move(root_);
  }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(leaf(mark, YamlNode::Kind::kNull), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = leaf(mark, YamlNode::Kind::kScalar);
    node.quoted = tag == "!" || tag == "tag:yaml.org,2002:str";
    if (!node.quoted) refuse_tag(mark, tag);
    node.text = value;
    add(std::move(node), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto known = anchors_.find(anchor);
    if (known == anchors_.end()) stop(mark, "an alias may not refer to a value that contains it");
    count(mark, size_of(known->second));
    YamlNode copy = known->second;
    place(std::move(copy));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::kList);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::kMap);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    YAML::anchor_t anchor;
  };

  [[noreturn]] static void stop(const YAML::Mark& mark, std::string message) {
    throw Stop{{mark.line + 1, mark.column + 1, std::move(message)}};
  }
  static void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    stop(mark, cat("the YAML tag ", tag, " is not supported; write the value without it"));
  }
  static std::size_t size_of(const YamlNode& node) {
    std::size_t size = 1 + node.keys.size();
    for (const YamlNode& item : node.items) size += size_of(item);
    return size;
  }

  void count(const YAML::Mark& mark, std::size_t more) {
    nodes_ += more;
    if (nodes_ <= kMaxYamlNodes) return;
    stop(mark,
         cat("the file has more than ", kMaxYamlNodes, " values, aliases expanded; split it"));
  }
  YamlNode leaf(const YAML::Mark& mark, YamlNode::Kind kind) {
    count(mark, 1);
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    return node;
  }
  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            YamlNode::Kind kind) {
    refuse_tag(mark, tag);
    if (open_.size() >= kMaxYamlDepth) stop(mark, cat("nested deeper than ", kMaxYamlDepth));
    open_.push_back({leaf(mark, kind), anchor});
  }
  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    add(std::move(done.node), done.anchor);
  }
  void add(YamlNode node, YAML::anchor_t anchor) {
    if (anchor != 0) {
      nodes_ += size_of(node);  // The copy below; the next value looks at the limit.
      anchors_[anchor] = node;
    }
    place(std::move(node));
  }
  void place(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    YamlNode& parent = open_.back().node;
    if (parent.kind == YamlNode::Kind::kMap && parent.keys.size() == parent.items.size()) {
      place_key(parent, std::move(node));
      return;
    }
    // yaml-cpp reports an empty value at the token after it.
    if (node.kind == YamlNode::Kind::kNull && !parent.keys.empty()) {
      node.line = parent.keys.back().line;
      node.column = parent.keys.back().column;
    }
    parent.items.push_back(std::move(node));
  }
  static void place_key(YamlNode& parent, YamlNode node) {
    YAML::Mark mark;
    mark.line = node.line - 1;
    mark.column = node.column - 1;
    if (node.kind != YamlNode::Kind::kScalar) stop(mark, "a key must be text");
    if (node.text == "<<") stop(mark, "merge keys (<<) are not supported; write the fields out");
    parent.keys.push_back(std::move(node));
  }

  std::size_t& nodes_;
  std::optional<YamlNode> root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
};

bool is_number(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  if (text.starts_with("0x") || text.starts_with("0o")) return text.size() > 2;
  if (text == ".inf" || text == ".nan" || text == ".Inf" || text == ".NaN") return true;
  std::size_t digits = 0, points = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (std::isdigit(static_cast<unsigned char>(c))) {
      ++digits;
    } else if (c == '.') {
      if (++points > 1) return false;
    } else if ((c == 'e' || c == 'E') && digits > 0) {
      text.remove_prefix(i + 1);
      if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
      return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
    } else {
      return false;
    }
  }
  return digits > 0;
}

}  // namespace

PlainType plain_type(std::string_view text) {
  if (is_number(text)) return PlainType::kNumber;
  for (const std::string_view word : {"true", "false", "yes", "no", "on", "off"}) {
    if (equal_no_case(text, word)) return PlainType::kBoolean;
  }
  return PlainType::kText;
}

const YamlNode* YamlNode::find(std::string_view key) const {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].text == key) return &items[i];
  }
  return nullptr;
}

std::string YamlNode::what() const {
  constexpr std::size_t kShown = 60;
  switch (kind) {
    case Kind::kNull: return "nothing";
    case Kind::kList: return "a list";
    case Kind::kMap: return "a map";
    case Kind::kScalar: break;
  }
  if (!quoted && plain_type(text) != PlainType::kText) return text.substr(0, kShown);
  return cat('"', text.substr(0, kShown), text.size() > kShown ? "...\"" : "\"");
}

YamlFile read_yaml(std::string_view text) {
  YamlFile file;
  std::size_t nodes = 0;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (true) {
      TreeBuilder builder(nodes);
      if (!parser.HandleNextDocument(builder)) break;
      if (auto document = builder.take()) file.documents.push_back(std::move(*document));
    }
  } catch (const Stop& stop) {
    file.failure = stop.failure;
  } catch (const YAML::Exception& error) {
    file.failure = YamlFailure{std::max(error.mark.line, 0) + 1, std::max(error.mark.column, 0) + 1,
                               cat("not valid YAML: ", error.msg)};
  } catch (const std::exception& error) {
    file.failure = YamlFailure{1, 1, cat("not valid YAML: ", error.what())};
  }
  return file;
}

}  // namespace glia
