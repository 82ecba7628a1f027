#include "control_plane/objects/schema.h"

#include <algorithm>

#include "control_plane/objects/rules.h"

namespace glia {

namespace {

constexpr std::size_t kMaxFieldsNamed = 12;  // In a sentence; more help nobody.

std::string join(const std::vector<std::string>& words, std::string_view last) {
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 == words.size() ? cat(" ", last, " ") : ", ";
    out += words[i];
  }
  return out;
}

void unknown_field(const Shape& shape, const YamlNode& key, Reader& reader) {
  std::vector<std::string> names;
  for (const FieldShape& field : shape.fields) {
    if (field.support != FieldShape::Support::kNotYet) names.push_back(field.name);
  }
  const Reader::Step step(reader, key.text);
  if (const auto meant = closest_of(key.text, names)) {
    return reader.error(key, cat("is not a field; did you mean ", *meant, "?"));
  }
  if (names.size() > kMaxFieldsNamed) return reader.error(key, "is not a field");
  reader.error(key, cat("is not a field; the fields here are ", join(names, "and")));
}

}  // namespace

void Reader::error(const YamlNode& at, std::string_view sentence) {
  error_in("", {at.line, at.column}, sentence);
}

void Reader::error_in(std::string_view field, Place at, std::string_view sentence) {
  ++errors_;
  if (problems_.size() >= kMaxProblemsHeld) return;
  std::string path = path_;
  if (!field.empty())
    path += path.empty() || field[0] == '[' ? std::string(field) : cat(".", field);
  problems_.push_back({file_, at.line, at.column,
                       cat(object_, ": ", path, path.empty() ? "" : " ", sentence),
                       Problem::Severity::kError});
}

Reader::Step::Step(Reader& reader, std::string_view name)
    : reader_(reader), length_(reader.path_.size()) {
  if (length_ > 0) reader.path_ += '.';
  // A key with strange characters is shown in quotes, so that the path can be read.
  const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '-';
  });
  if (plain && !name.empty()) {
    reader.path_ += name;
    return;
  }
  reader.path_ += '"';
  append_json_escaped(reader.path_, name);
  reader.path_ += '"';
}

Reader::Step::Step(Reader& reader, std::size_t index)
    : reader_(reader), length_(reader.path_.size()) {
  reader.path_ += cat("[", index, "]");
}

std::optional<std::vector<const YamlNode*>> find_fields(const Shape& shape, const YamlNode& node,
                                                        Reader& reader) {
  if (node.kind != YamlNode::Kind::kMap) {
    reader.error(node, cat("must be a map of fields, not ", node.what()));
    return {};
  }
  if (node.keys.size() > kMaxMapKeys) {
    reader.error(node, cat("has ", node.keys.size(), " fields, the limit is ", kMaxMapKeys));
    return {};
  }
  std::vector<const YamlNode*> values(shape.fields.size(), nullptr);
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    const YamlNode& key = node.keys[i];
    const auto field = std::find_if(shape.fields.begin(), shape.fields.end(),
                                    [&](const FieldShape& f) { return f.name == key.text; });
    if (field == shape.fields.end()) {
      unknown_field(shape, key, reader);
    } else if (field->support == FieldShape::Support::kNotYet) {
      const Reader::Step step(reader, key.text);
      reader.error(key, field->documentation.empty() ? "is not supported yet; remove it"
                                                     : field->documentation);
    } else if (node.items[i].kind != YamlNode::Kind::kNull) {  // `field:` is as good as not there.
      const YamlNode*& value = values[static_cast<std::size_t>(field - shape.fields.begin())];
      const Reader::Step step(reader, key.text);
      if (value) reader.error(key, cat("is written twice, first in line ", value->line));
      value = &node.items[i];
    }
  }
  for (std::size_t i = 0; i < shape.fields.size(); ++i) {
    if (shape.fields[i].support != FieldShape::Support::kRequired || values[i]) continue;
    const bool one = shape.fields[i].shape->values.size() == 1;
    reader.error_in(
        shape.fields[i].name, {node.line, node.column},
        one ? cat("is missing; it must be ", shape.fields[i].shape->values[0]) : "is missing");
  }
  return values;
}

std::optional<std::string> read_text(const YamlNode& node, Reader& reader) {
  if (node.kind != YamlNode::Kind::kScalar) {
    reader.error(node, cat("must be text, not ", node.what()));
    return {};
  }
  const PlainType type = node.quoted ? PlainType::kText : plain_type(node.text);
  if (type == PlainType::kText) return node.text;
  reader.error(node, cat("must be text, but ", node.text, " is a ",
                         type == PlainType::kNumber ? "number" : "boolean", " in YAML; write \"",
                         node.text, "\""));
  return {};
}

std::optional<int64_t> read_integer(const YamlNode& node, Reader& reader, int64_t minimum,
                                    int64_t maximum) {
  if (node.kind == YamlNode::Kind::kScalar && !node.quoted) {
    const bool negative = node.text.starts_with('-');
    const auto magnitude = parse_decimal(std::string_view(node.text).substr(negative ? 1 : 0));
    const bool fits = magnitude && *magnitude <= static_cast<uint64_t>(INT64_MAX);
    const int64_t value = fits ? static_cast<int64_t>(*magnitude) * (negative ? -1 : 1) : 0;
    if (fits && value >= minimum && value <= maximum) return value;
  }
  reader.error(
      node, cat("must be a whole number from ", minimum, " to ", maximum, ", not ", node.what()));
  return {};
}

namespace {

// "12", "0.5"; std::from_chars would also take "inf" and "1e9".
std::optional<double> parse_number(std::string_view text) {
  constexpr std::size_t kMostDigits = 9;
  const std::size_t point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  const auto left = parse_decimal(whole);
  if (!left || whole.size() > kMostDigits + 1) return {};
  if (point == text.npos) return static_cast<double>(*left);
  const std::string_view rest = text.substr(point + 1);
  const auto right = parse_decimal(rest);
  if (!right || rest.size() > kMostDigits) return {};
  double fraction = static_cast<double>(*right);
  for (std::size_t i = 0; i < rest.size(); ++i) fraction /= 10;
  return static_cast<double>(*left) + fraction;
}

}  // namespace

Type<double> number(std::string what, int64_t minimum, int64_t maximum) {
  auto shape = std::make_shared<Shape>();
  shape->kind = Shape::Kind::kNumber;
  shape->what = std::move(what);
  shape->minimum = minimum;
  shape->maximum = maximum;
  return {shape, [=](const YamlNode& node, Reader& reader, double& out) {
            const bool plain = node.kind == YamlNode::Kind::kScalar && !node.quoted;
            const auto value = plain ? parse_number(node.text) : std::nullopt;
            if (value && *value >= static_cast<double>(minimum) &&
                *value <= static_cast<double>(maximum)) {
              out = *value;
              return;
            }
            reader.error(node, cat("must be a number from ", minimum, " to ", maximum, ", not ",
                                   node.what()));
          }};
}

std::optional<std::size_t> read_choice(const YamlNode& node, Reader& reader,
                                       const std::vector<std::string>& values,
                                       const std::vector<std::string>& not_yet) {
  const auto text = read_text(node, reader);
  if (!text) return {};
  const auto known = std::find(values.begin(), values.end(), *text);
  if (known != values.end()) return static_cast<std::size_t>(known - values.begin());
  if (std::find(not_yet.begin(), not_yet.end(), *text) != not_yet.end()) {
    reader.error(node, cat("is ", *text, ", which is not supported yet; use ", join(values, "or")));
    return {};
  }
  // Case counts in YAML; people forget it.
  const auto same = std::find_if(values.begin(), values.end(),
                                 [&](const std::string& v) { return equal_no_case(v, *text); });
  const auto meant =
      same != values.end() ? std::optional<std::string_view>(*same) : closest_of(*text, values);
  std::string hint;
  if (meant && values.size() > 1) hint = cat("; did you mean ", *meant, "?");
  reader.error(node, cat("must be ", join(values, "or"), ", not ", node.what(), hint));
  return {};
}

Type<std::string> text(std::string what, std::string pattern, TextCheck check) {
  auto shape = std::make_shared<Shape>();
  shape->what = std::move(what);
  shape->pattern = std::move(pattern);
  return {shape, [=](const YamlNode& node, Reader& reader, std::string& out) {
            auto value = read_text(node, reader);
            if (!value) return;
            const auto wrong = check ? check(*value) : std::nullopt;
            if (wrong) return reader.error(node, cat(*wrong, ", not ", node.what()));
            out = std::move(*value);
          }};
}

Type<std::string> one_of(std::vector<std::string> values, std::vector<std::string> not_yet) {
  auto shape = std::make_shared<Shape>();
  shape->values = std::move(values);
  return {shape, [=](const YamlNode& node, Reader& reader, std::string& out) {
            const auto index = read_choice(node, reader, shape->values, not_yet);
            if (index) out = shape->values[*index];
          }};
}

Type<Duration> duration() {
  auto shape = std::make_shared<Shape>();
  shape->what = "a duration such as 500ms, 10s or 1h30m";
  shape->pattern = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
  return {shape, [](const YamlNode& node, Reader& reader, Duration& out) {
            const auto value =
                node.kind == YamlNode::Kind::kScalar ? parse_duration(node.text) : std::nullopt;
            if (value) {
              out = *value;
              return;
            }
            reader.error(node,
                         cat("must be a duration such as 500ms, 10s or 1h30m, not ", node.what()));
          }};
}

Type<bool> boolean() {
  auto shape = std::make_shared<Shape>();
  shape->kind = Shape::Kind::kBoolean;
  return {shape, [](const YamlNode& node, Reader& reader, bool& out) {
            const bool plain = node.kind == YamlNode::Kind::kScalar && !node.quoted;
            if (plain && (node.text == "true" || node.text == "false")) {
              out = node.text == "true";
              return;
            }
            reader.error(node, cat("must be true or false, not ", node.what()));
          }};
}

Type<TextMap> text_map(std::string what, TextCheck key, TextCheck value) {
  auto shape = std::make_shared<Shape>();
  shape->kind = Shape::Kind::kTextMap;
  shape->what = std::move(what);
  return {shape, [=](const YamlNode& node, Reader& reader, TextMap& out) {
            if (node.kind != YamlNode::Kind::kMap) {
              return reader.error(node, cat("must be a map of text, not ", node.what()));
            }
            if (node.keys.size() > kMaxMapKeys) {
              return reader.error(
                  node, cat("has ", node.keys.size(), " keys, the limit is ", kMaxMapKeys));
            }
            for (std::size_t i = 0; i < node.keys.size(); ++i) {
              const Reader::Step step(reader, node.keys[i].text);
              const YamlNode& item = node.items[i];
              if (const auto wrong = key(node.keys[i].text)) {
                reader.error(node.keys[i], cat("is not a key that can be used here: it ", *wrong));
                continue;
              }
              auto text =
                  item.kind == YamlNode::Kind::kNull ? std::string() : read_text(item, reader);
              if (!text) continue;
              if (const auto wrong = value ? value(*text) : std::nullopt) {
                reader.error(item, cat(*wrong, ", not ", item.what()));
                continue;
              }
              if (out.emplace(node.keys[i].text, std::move(*text)).second) continue;
              reader.error(node.keys[i], "is written twice");
            }
          }};
}

Type<MeshService::Target> target_port() {
  auto shape = std::make_shared<Shape>();
  shape->kind = Shape::Kind::kTextOrInteger;
  shape->what = "name or number of a Workload port";
  shape->minimum = 1;
  shape->maximum = kMaxPort;
  return {shape, [](const YamlNode& node, Reader& reader, MeshService::Target& out) {
            const bool number = node.kind == YamlNode::Kind::kScalar && !node.quoted &&
                                plain_type(node.text) == PlainType::kNumber;
            if (number) {
              const auto value = read_integer(node, reader, 1, kMaxPort);
              if (value) out.number = static_cast<uint16_t>(*value);
              return;
            }
            auto name = read_text(node, reader);
            if (!name) return;
            if (const auto wrong = check_port_name(*name)) {
              return reader.error(node, cat(*wrong, ", not ", node.what()));
            }
            out.name = std::move(*name);
          }};
}

}  // namespace glia
