// Schema: what the protobuf messages that we read look like, as constant tables.
//
// The proxy does not link the protobuf library: its registered messages would cost several MB of
// resident memory before the first request. The tables (about 200 KB of read-only pages, touched
// only where a configuration goes) are made by the build from Envoy's own .proto files, and drive
// the YAML reader, the wire format reader and the JSON printer. schema_test.cc compares all three
// with the protobuf library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace glia {

// The numbers of google.protobuf.FieldDescriptorProto.Type.
enum class FieldType : uint8_t {
  kDouble = 1,
  kFloat,
  kInt64,
  kUint64,
  kInt32,
  kFixed64,
  kFixed32,
  kBool,
  kString,
  kGroup,
  kMessage,
  kBytes,
  kUint32,
  kEnum,
  kSfixed32,
  kSfixed64,
  kSint32,
  kSint64
};

// Messages with a form of their own in JSON and YAML.
enum class WellKnown : uint8_t {
  kNone,
  kAny,
  kDuration,
  kTimestamp,
  kStruct,
  kValue,
  kList,
  kWrapper
};

struct EnumValue {
  uint32_t name_offset;
  int32_t number;
  std::string_view name() const;
};

struct EnumSchema {
  uint32_t first, count;
  std::span<const EnumValue> values() const;
  const EnumValue* find(std::string_view name) const;
  const EnumValue* find(int64_t number) const;
};

struct MessageSchema;

struct FieldSchema {
  uint32_t number;
  uint32_t name_offset, json_name_offset;
  FieldType type;
  uint8_t flags;   // 1: repeated, 2: map
  uint16_t of;     // Index of the message or enum.
  uint16_t oneof;  // 0: none; else the same for the fields that exclude each other.

  std::string_view name() const;       // "virtual_hosts"
  std::string_view json_name() const;  // "virtualHosts"
  bool repeated() const { return (flags & 1) != 0; }
  bool map() const { return (flags & 2) != 0; }
  bool is_message() const { return type == FieldType::kMessage; }
  bool is_text() const { return type == FieldType::kString || type == FieldType::kBytes; }
  const MessageSchema& message() const;   // Of a message field.
  const EnumSchema& enumeration() const;  // Of an enum field.
};

struct MessageSchema {
  uint32_t name_offset;
  uint32_t first;
  uint16_t count;
  WellKnown well_known;

  // By full name, "envoy.config.cluster.v3.Cluster"; null if the tables do not hold it.
  static const MessageSchema* find(std::string_view full_name);
  std::string_view name() const;
  std::span<const FieldSchema> fields() const;
  const FieldSchema* field(uint32_t number) const;
  // Both spellings, as Envoy takes them.
  const FieldSchema* field(std::string_view name) const;
};

// Defined by the file that schema/generate.cc writes.
namespace schema_tables {
extern const MessageSchema kMessages[];
extern const std::size_t kMessageCount;
extern const FieldSchema kFields[];
extern const EnumSchema kEnums[];
extern const EnumValue kEnumValues[];
extern const char kNames[];
}  // namespace schema_tables

}  // namespace glia
