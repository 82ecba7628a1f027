#include "proxy/xds/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <limits>
#include <set>
#include <sstream>
#include <string>

#include "proxy/base/base64.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

Position position(const YAML::Mark& mark) {
  if (mark.is_null()) return {};
  return {static_cast<uint32_t>(mark.line + 1), static_cast<uint32_t>(mark.column + 1)};
}

// Looks for a second document. yaml-cpp takes what may not stand at the top of a file, such as a
// comma, for an empty document, again and again without end: so documents are counted before any is
// kept.
class DocumentCounter final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    ++documents;
    last = mark;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

  int documents = 0;
  YAML::Mark last;  // Where the last one began.
};

DocumentCounter count_documents(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  DocumentCounter counter;
  while (counter.documents < 2 && parser.HandleNextDocument(counter)) continue;
  return counter;
}

bool quoted(const YAML::Node& node) { return node.Tag() == "!"; }

// What YAML makes of a plain word that is no text: a number, true, false.
bool looks_like_number_or_bool(const std::string& word) {
  double number;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  return word == "true" || word == "false" ||
         (error == std::errc() && end == word.data() + word.size());
}

std::string_view kind_of(const YAML::Node& node) {
  if (node.IsMap()) return "a mapping";
  if (node.IsSequence()) return "a list";
  if (node.IsNull()) return "nothing";
  return "a single value";
}

std::string child_path(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : cat(path, ".", name);
}

class YamlReader {
 public:
  YamlReader(Errors& errors, const YamlLimits& limits)
      : errors_(errors), nodes_left_(limits.nodes), depth_left_(limits.depth) {}

  void message(const YAML::Node& node, Message& into, const std::string& path) {
    into.at = position(node.Mark());
    if (!enter(node, path)) return;
    switch (into.schema().well_known) {
      case WellKnown::kDuration: duration(node, into, path); break;
      case WellKnown::kWrapper: value(node, *into.schema().field("value"), into, path); break;
      case WellKnown::kStruct: structure(node, into, path); break;
      case WellKnown::kValue: any_value(node, into, path); break;
      case WellKnown::kList: list(node, into, path); break;
      case WellKnown::kAny: any(node, into, path); break;
      case WellKnown::kTimestamp:
        fail(node, path, "times of the calendar are not supported");
        break;
      case WellKnown::kNone: plain_message(node, into, path, ""); break;
    }
    ++depth_left_;
  }

 private:
  bool enter(const YAML::Node& node, const std::string& path) {
    if (nodes_left_ == 0 || depth_left_ == 0) {
      if (!gave_up_) {
        fail(node, path,
             nodes_left_ == 0 ? "the document has too many nodes, aliases counted each time"
                              : "the document is nested too deeply");
      }
      gave_up_ = true;
      return false;
    }
    --nodes_left_;
    --depth_left_;
    return true;
  }
  void fail(const YAML::Node& node, const std::string& path, std::string_view sentence) {
    if (!gave_up_) errors_.add(path, sentence, position(node.Mark()));
  }

  // A mapping whose keys are the fields of `into`; `skip` is a key that is not.
  void plain_message(const YAML::Node& node, Message& into, const std::string& path,
                     std::string_view skip) {
    if (node.IsNull()) return;
    if (!node.IsMap()) {
      return fail(node, path,
                  cat("expects a mapping with the fields of ", into.schema().name(), ", not ",
                      kind_of(node)));
    }
    std::set<const FieldSchema*> seen;
    for (const auto& pair : node) {
      if (gave_up_) return;
      if (!pair.first.IsScalar()) {
        fail(pair.first, path, "expects field names as keys");
        continue;
      }
      const std::string& name = pair.first.Scalar();
      if (!skip.empty() && name == skip) continue;
      const FieldSchema* field = into.schema().field(name);
      if (field == nullptr)
        unknown_field(pair.first, into.schema(), path);
      else if (!seen.insert(field).second)
        fail(pair.first, child_path(path, name), "is set twice");
      else
        set_field(pair.first, pair.second, *field, into, path);
    }
  }
  void unknown_field(const YAML::Node& key, const MessageSchema& schema, const std::string& path) {
    std::vector<std::string_view> names;
    for (const FieldSchema& field : schema.fields()) names.push_back(field.name());
    const auto meant = closest_of(key.Scalar(), names);
    fail(key, child_path(path, key.Scalar()),
         meant ? cat("unknown field, did you mean ", *meant, "?")
               : cat("unknown field of ", schema.name()));
  }
  void set_field(const YAML::Node& key, const YAML::Node& node, const FieldSchema& field,
                 Message& into, const std::string& path) {
    const std::string here = child_path(path, field.name());
    const bool null_is_a_value =
        field.is_message() && field.message().well_known == WellKnown::kValue;
    if (node.IsNull() && !null_is_a_value) return;  // As if it were not there.
    if (field.oneof != 0) {
      for (const Entry& other : into.entries) {
        if (other.field->oneof == field.oneof) {
          return fail(key, here, cat("excludes ", other.field->name(), ", which is set as well"));
        }
      }
    }
    if (field.map()) return map(node, field, into, here);
    if (!field.repeated()) return value(node, field, into, here);
    if (!node.IsSequence()) return fail(node, here, cat("expects a list, not ", kind_of(node)));
    std::size_t index = 0;
    for (const auto& element : node) value(element, field, into, cat(here, "[", index++, "]"));
  }
  void map(const YAML::Node& node, const FieldSchema& field, Message& into,
           const std::string& path) {
    if (!node.IsMap()) return fail(node, path, cat("expects a mapping, not ", kind_of(node)));
    std::set<std::string> keys;
    for (const auto& pair : node) {
      if (gave_up_) return;
      if (!pair.first.IsScalar()) {
        fail(pair.first, path, "expects single values as keys");
        continue;
      }
      const std::string here = cat(path, "[", pair.first.Scalar(), "]");
      if (!keys.insert(pair.first.Scalar()).second) {
        fail(pair.first, here, "is set twice");
        continue;
      }
      Entry& entry = into.add(field);
      entry.at = position(pair.first.Mark());
      Message& content = *entry.message;
      value(pair.first, *content.schema().field("key"), content, here, /*is_key=*/true);
      value(pair.second, *content.schema().field("value"), content, here);
    }
  }

  // One value of `field`, whatever its type.
  void value(const YAML::Node& node, const FieldSchema& field, Message& into,
             const std::string& path, bool is_key = false) {
    if (gave_up_) return;
    if (field.is_message()) {
      Entry& entry = into.add(field);
      entry.at = position(node.Mark());
      Message& child = *entry.message;
      return message(node, child, path);
    }
    if (nodes_left_ == 0) {
      fail(node, path, "the document has too many nodes, aliases counted each time");
      gave_up_ = true;
      return;
    }
    --nodes_left_;
    if (!node.IsScalar()) {
      return fail(node, path, cat("expects ", wanted(field), ", not ", kind_of(node)));
    }
    Entry entry;
    entry.field = &field;
    entry.at = position(node.Mark());
    const std::string problem = scalar(node, field, entry, is_key);
    if (problem.empty())
      into.entries.push_back(std::move(entry));
    else
      fail(node, path, problem);
  }
  static std::string_view wanted(const FieldSchema& field) {
    switch (field.type) {
      case FieldType::kString: return "text";
      case FieldType::kBytes: return "base64 text";
      case FieldType::kBool: return "true or false";
      case FieldType::kEnum: return "the name of a value";
      case FieldType::kDouble:
      case FieldType::kFloat: return "a number";
      default: return "a whole number";
    }
  }
  // What is wrong, or "".
  static std::string scalar(const YAML::Node& node, const FieldSchema& field, Entry& entry,
                            bool is_key) {
    const std::string& word = node.Scalar();
    const auto wrong = [&] { return cat("\"", word, "\" is not ", wanted(field)); };
    switch (field.type) {
      case FieldType::kString:
        if (!is_key && !quoted(node) && looks_like_number_or_bool(word)) {
          return cat(word, " is not text; put it in quotes");
        }
        entry.text = word;
        return "";
      case FieldType::kBytes: return parse_base64(word, entry.text) ? "" : wrong();
      case FieldType::kBool:
        entry.bits = word == "true";
        return (quoted(node) && !is_key) || (word != "true" && word != "false") ? wrong() : "";
      case FieldType::kEnum: return enumeration(word, field, entry);
      case FieldType::kDouble:
      case FieldType::kFloat: {
        const auto [end, error] =
            std::from_chars(word.data(), word.data() + word.size(), entry.real);
        return error == std::errc() && end == word.data() + word.size() ? "" : wrong();
      }
      case FieldType::kUint32:
      case FieldType::kFixed32: return whole<uint32_t>(word, field, entry);
      case FieldType::kUint64:
      case FieldType::kFixed64: return whole<uint64_t>(word, field, entry);
      case FieldType::kInt64:
      case FieldType::kSint64:
      case FieldType::kSfixed64: return whole<int64_t>(word, field, entry);
      default: return whole<int32_t>(word, field, entry);
    }
  }
  template <class Number>
  static std::string whole(const std::string& word, const FieldSchema& field, Entry& entry) {
    Number number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error == std::errc::result_out_of_range) {
      return cat(word, " is not between ", std::numeric_limits<Number>::min(), " and ",
                 std::numeric_limits<Number>::max());
    }
    if (error != std::errc() || end != word.data() + word.size()) {
      if (std::is_unsigned_v<Number> && word.starts_with('-')) {
        return cat(word, " is negative, the least value is 0");
      }
      return cat("\"", word, "\" is not ", wanted(field));
    }
    entry.bits = static_cast<uint64_t>(number);
    return "";
  }
  static std::string enumeration(const std::string& word, const FieldSchema& field, Entry& entry) {
    const EnumSchema& schema = field.enumeration();
    const EnumValue* found = schema.find(std::string_view(word));
    int32_t number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (found == nullptr && error == std::errc() && end == word.data() + word.size()) {
      found = schema.find(int64_t{number});
    }
    if (found != nullptr) {
      entry.bits = static_cast<uint64_t>(int64_t{found->number});
      return "";
    }
    std::vector<std::string_view> names;
    std::string all;
    for (const EnumValue& value : schema.values()) {
      names.push_back(value.name());
      all += cat(all.empty() ? "" : ", ", value.name());
    }
    const auto meant = closest_of(word, names);
    return meant ? cat("unknown value ", word, ", did you mean ", *meant, "?")
                 : cat("unknown value ", word, "; it can be ", all);
  }

  void duration(const YAML::Node& node, Message& into, const std::string& path) {
    int64_t seconds = 0;
    int32_t nanos = 0;
    if (!node.IsScalar() || !parse_duration(node.Scalar(), seconds, nanos)) {
      return fail(node, path,
                  cat("expects a duration such as \"1.5s\", not ",
                      node.IsScalar() ? cat("\"", node.Scalar(), "\"") : kind_of(node)));
    }
    if (seconds != 0) into.add_bits("seconds", static_cast<uint64_t>(seconds));
    if (nanos != 0) into.add_bits("nanos", static_cast<uint64_t>(int64_t{nanos}));
  }
  void structure(const YAML::Node& node, Message& into, const std::string& path) {
    map(node, *into.schema().field("fields"), into, path);
  }
  void list(const YAML::Node& node, Message& into, const std::string& path) {
    if (!node.IsSequence()) return fail(node, path, cat("expects a list, not ", kind_of(node)));
    std::size_t index = 0;
    for (const auto& element : node) {
      value(element, *into.schema().field("values"), into, cat(path, "[", index++, "]"));
    }
  }
  void any_value(const YAML::Node& node, Message& into, const std::string& path) {
    if (node.IsMap()) return message(node, into.add_message("struct_value"), path);
    if (node.IsSequence()) return message(node, into.add_message("list_value"), path);
    if (node.IsNull()) return into.add_bits("null_value", 0);
    const std::string& word = node.Scalar();
    if (quoted(node) || !looks_like_number_or_bool(word))
      return into.add_text("string_value", word);
    const bool is_bool = word == "true" || word == "false";
    value(node, *into.schema().field(is_bool ? "bool_value" : "number_value"), into, path);
  }
  void any(const YAML::Node& node, Message& into, const std::string& path) {
    if (!node.IsMap()) return fail(node, path, "expects a mapping with \"@type\"");
    const YAML::Node type = node["@type"];
    if (!type || !type.IsScalar()) {
      return fail(node, path,
                  "has no \"@type\"; it names the message, for example "
                  "\"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\"");
    }
    into.add_text("type_url", type.Scalar());
    const MessageSchema* schema = MessageSchema::find(type_of_url(type.Scalar()));
    if (schema == nullptr) {
      return fail(type, path,
                  cat("the type ", type_of_url(type.Scalar()), " is not supported by glia-proxy"));
    }
    into.content = std::make_unique<Message>(*schema);
    into.content->at = position(node.Mark());
    if (schema->well_known != WellKnown::kNone) {
      const YAML::Node inside = node["value"];
      if (inside) message(inside, *into.content, path);
      return;
    }
    plain_message(node, *into.content, path, "@type");
  }

  Errors& errors_;
  std::size_t nodes_left_;
  int depth_left_;
  bool gave_up_ = false;
};

}  // namespace

bool parse_duration(std::string_view text, int64_t& seconds, int32_t& nanos) {
  constexpr int64_t kSecondsMax = 315'576'000'000;  // Ten thousand years, protobuf's limit.
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (!text.ends_with('s')) return false;
  text.remove_suffix(1);
  const std::size_t dot = text.find('.');
  const auto whole = parse_decimal(text.substr(0, dot));
  if (!whole || *whole > static_cast<uint64_t>(kSecondsMax)) return false;
  uint64_t fraction = 0;
  if (dot != text.npos) {
    std::string digits(text.substr(dot + 1));
    if (digits.empty() || digits.size() > 9) return false;
    digits.resize(9, '0');
    const auto parsed = parse_decimal(digits);
    if (!parsed) return false;
    fraction = *parsed;
  }
  seconds = negative ? -static_cast<int64_t>(*whole) : static_cast<int64_t>(*whole);
  nanos = static_cast<int32_t>(fraction) * (negative ? -1 : 1);
  return true;
}

void read_yaml(std::string_view text, Message& into, Errors& errors, const YamlLimits& limits) {
  if (text.size() > limits.bytes) {
    return errors.add("", cat("the file has ", text.size(), " bytes, the limit is ", limits.bytes));
  }
  try {
    const std::string copy(text);
    const DocumentCounter counted = count_documents(copy);
    if (counted.documents == 0) return errors.add("", "the file is empty");
    if (counted.documents > 1) {
      return errors.add("",
                        "the file has more than one YAML document, or something stands here "
                        "that may not stand at the top of a file",
                        position(counted.last));
    }
    YamlReader(errors, limits).message(YAML::Load(copy), into, "");
  } catch (const YAML::Exception& trouble) {
    errors.add("", cat("not YAML: ", trouble.msg), position(trouble.mark));
  }
}

}  // namespace glia
