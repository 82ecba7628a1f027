#include "proxy/xds/schema.h"

#include <algorithm>

namespace glia {

using namespace schema_tables;

std::string_view EnumValue::name() const { return kNames + name_offset; }

std::span<const EnumValue> EnumSchema::values() const { return {kEnumValues + first, count}; }

const EnumValue* EnumSchema::find(std::string_view name) const {
  for (const EnumValue& value : values()) {
    if (value.name() == name) return &value;
  }
  return nullptr;
}

const EnumValue* EnumSchema::find(int64_t number) const {
  for (const EnumValue& value : values()) {
    if (value.number == number) return &value;
  }
  return nullptr;
}

std::string_view FieldSchema::name() const { return kNames + name_offset; }
std::string_view FieldSchema::json_name() const { return kNames + json_name_offset; }
const MessageSchema& FieldSchema::message() const { return kMessages[of]; }
const EnumSchema& FieldSchema::enumeration() const { return kEnums[of]; }

const MessageSchema* MessageSchema::find(std::string_view full_name) {
  const MessageSchema* end = kMessages + kMessageCount;
  const MessageSchema* found = std::lower_bound(
      kMessages, end, full_name,
      [](const MessageSchema& m, std::string_view name) { return m.name() < name; });
  return found != end && found->name() == full_name ? found : nullptr;
}

std::string_view MessageSchema::name() const { return kNames + name_offset; }
std::span<const FieldSchema> MessageSchema::fields() const { return {kFields + first, count}; }

const FieldSchema* MessageSchema::field(uint32_t number) const {
  for (const FieldSchema& field : fields()) {
    if (field.number == number) return &field;
  }
  return nullptr;
}

const FieldSchema* MessageSchema::field(std::string_view name) const {
  for (const FieldSchema& field : fields()) {
    if (field.name() == name || field.json_name() == name) return &field;
  }
  return nullptr;
}

}  // namespace glia
