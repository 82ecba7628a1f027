#include "proxy/xds/json.h"

#include <set>
#include <utility>

#include "proxy/base/base64.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  append_json_escaped(out, text);
  out += '"';
}

void append_quoted_base64(std::string& out, std::string_view bytes) {
  out += '"';
  append_base64(out, bytes);
  out += '"';
}

uint64_t bits_of(const Message& message, std::string_view name) {
  const Entry* entry = message.find(name);
  return entry == nullptr ? 0 : entry->bits;
}

void append_duration(std::string& out, const Message& message) {
  const auto seconds = static_cast<int64_t>(bits_of(message, "seconds"));
  const auto nanos = static_cast<int64_t>(bits_of(message, "nanos"));
  out += seconds < 0 || nanos < 0 ? "\"-" : "\"";
  out += cat(seconds < 0 ? -seconds : seconds);
  if (nanos != 0) {
    std::string digits = cat(1'000'000'000 + (nanos < 0 ? -nanos : nanos));
    digits[0] = '.';
    while (digits.ends_with("000")) digits.resize(digits.size() - 3);
    out += digits;
  }
  out += "s\"";
}

void append_number(std::string& out, const Entry& entry) {
  switch (entry.field->type) {
    case FieldType::kDouble:
    case FieldType::kFloat: out += cat(entry.real); return;
    case FieldType::kUint64:
    case FieldType::kFixed64: out += cat("\"", entry.bits, "\""); return;
    case FieldType::kInt64:
    case FieldType::kSint64:
    case FieldType::kSfixed64: out += cat("\"", static_cast<int64_t>(entry.bits), "\""); return;
    default: out += cat(static_cast<int64_t>(entry.bits)); return;
  }
}

void append_value(std::string& out, const Entry& entry, bool redact);
void append_message(std::string& out, const Message& message, bool redact);

void append_enum(std::string& out, const Entry& entry) {
  if (entry.field->enumeration().values()[0].name() == "NULL_VALUE") {
    out += "null";
    return;
  }
  const EnumValue* value = entry.field->enumeration().find(static_cast<int64_t>(entry.bits));
  if (value == nullptr)
    append_number(out, entry);
  else
    append_quoted(out, value->name());
}

void append_value(std::string& out, const Entry& entry, bool redact) {
  switch (entry.field->type) {
    case FieldType::kString: return append_quoted(out, redact ? "[redacted]" : entry.text);
    case FieldType::kBytes:
      return redact ? append_quoted(out, "W3JlZGFjdGVkXQ==")
                    : append_quoted_base64(out, entry.text);
    case FieldType::kBool: out += entry.bits != 0 ? "true" : "false"; return;
    case FieldType::kEnum: return append_enum(out, entry);
    case FieldType::kMessage: return append_message(out, *entry.message, redact);
    default: return append_number(out, entry);
  }
}

void append_map(std::string& out, const Message& message, const FieldSchema& field, bool redact) {
  out += '{';
  bool first = true;
  for (const Entry& entry : message.entries) {
    if (entry.field != &field) continue;
    if (!std::exchange(first, false)) out += ',';
    const Entry* key = entry.message->find("key");
    const Entry* value = entry.message->find("value");
    append_quoted(out, key == nullptr          ? ""
                       : key->field->is_text() ? key->text
                                               : cat(static_cast<int64_t>(key->bits)));
    out += ':';
    if (value == nullptr)
      out += "null";
    else
      append_value(out, *value, redact);
  }
  out += '}';
}

void append_list(std::string& out, const Message& message, const FieldSchema& field, bool redact) {
  out += '[';
  bool first = true;
  for (const Entry& entry : message.entries) {
    if (entry.field != &field) continue;
    if (!std::exchange(first, false)) out += ',';
    append_value(out, entry, redact);
  }
  out += ']';
}

// Fields that Envoy's .proto files mark as sensitive.
bool sensitive(const FieldSchema& field) {
  const std::string_view name = field.name();
  return name == "private_key" || name == "password" || name == "session_ticket_keys" ||
         name == "generic_secret" || name == "private_key_provider" || name == "pkcs12";
}

void append_fields(std::string& out, const Message& message, bool redact, bool first) {
  std::set<const FieldSchema*> done;
  for (const Entry& entry : message.entries) {
    const FieldSchema& field = *entry.field;
    if (!done.insert(&field).second) continue;
    if (!std::exchange(first, false)) out += ',';
    append_quoted(out, field.name());
    out += ':';
    // The name of a file is no secret, its content is: within a redacted message all but file
    // names.
    const bool hide = (redact || sensitive(field)) && field.name() != "filename";
    if (field.map())
      append_map(out, message, field, hide);
    else if (field.repeated())
      append_list(out, message, field, hide);
    else
      append_value(out, *message.find(field), hide);
  }
}

void append_any(std::string& out, const Message& message, bool redact) {
  const Entry* url = message.find("type_url");
  out += "{\"@type\":";
  append_quoted(out, url == nullptr ? "" : url->text);
  if (message.content && message.content->schema().well_known == WellKnown::kNone) {
    append_fields(out, *message.content, redact, false);
  } else if (message.content) {
    out += ",\"value\":";
    append_message(out, *message.content, redact);
  }
  out += '}';
}

void append_message(std::string& out, const Message& message, bool redact) {
  const MessageSchema& schema = message.schema();
  switch (schema.well_known) {
    case WellKnown::kAny: return append_any(out, message, redact);
    case WellKnown::kDuration: return append_duration(out, message);
    case WellKnown::kStruct: return append_map(out, message, *schema.field("fields"), redact);
    case WellKnown::kList: return append_list(out, message, *schema.field("values"), redact);
    case WellKnown::kValue:
      if (message.entries.empty())
        out += "null";
      else
        append_value(out, message.entries.back(), redact);
      return;
    case WellKnown::kWrapper: {
      Entry unset{.field = schema.field("value")};
      const Entry* value = message.find("value");
      return append_value(out, value == nullptr ? unset : *value, redact);
    }
    case WellKnown::kTimestamp:
    case WellKnown::kNone: break;
  }
  out += '{';
  append_fields(out, message, redact, true);
  out += '}';
}

}  // namespace

void append_json(std::string& out, const Message& message) { append_message(out, message, false); }

}  // namespace glia
