#include "proxy/xds/wire.h"

#include <bit>
#include <cstring>

#include "proxy/base/text.h"

namespace glia {

namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

uint32_t wire_type_of(const FieldSchema& field) {
  switch (field.type) {
    case FieldType::kDouble:
    case FieldType::kFixed64:
    case FieldType::kSfixed64: return kFixed64;
    case FieldType::kFloat:
    case FieldType::kFixed32:
    case FieldType::kSfixed32: return kFixed32;
    case FieldType::kString:
    case FieldType::kBytes:
    case FieldType::kMessage: return kLength;
    default: return kVarint;
  }
}

class Decoder {
 public:
  Decoder(std::string_view all, const WireLimits& limits) : all_(all.data()), limits_(limits) {}

  Result<void> message(std::string_view bytes, Message& into) {
    if (limits_.depth == 0) return trouble(bytes, into, "is nested too deeply");
    --limits_.depth;
    while (!bytes.empty()) {
      uint64_t tag = 0;
      if (!varint(bytes, tag) || tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) {
        return trouble(bytes, into, "has a broken tag");
      }
      if (limits_.entries == 0) return trouble(bytes, into, "has too many fields");
      --limits_.entries;
      TRY_VOID(field(bytes, static_cast<uint32_t>(tag >> 3), tag & 7, into));
    }
    ++limits_.depth;
    if (limits_.open_any && into.schema().well_known == WellKnown::kAny) return open_any(into);
    return {};
  }

 private:
  static bool varint(std::string_view& bytes, uint64_t& value) {
    value = 0;
    for (std::size_t i = 0; i < bytes.size() && i < 10; ++i) {
      const auto byte = static_cast<unsigned char>(bytes[i]);
      value |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
      if (byte < 0x80) {
        bytes.remove_prefix(i + 1);
        return true;
      }
    }
    return false;
  }
  template <class Number>
  static bool fixed(std::string_view& bytes, uint64_t& value) {
    Number number;
    if (bytes.size() < sizeof number) return false;
    std::memcpy(&number, bytes.data(), sizeof number);
    bytes.remove_prefix(sizeof number);
    value = number;
    return true;
  }
  // One value as it stands on the wire; for kLength, `piece` is the content.
  static bool raw(std::string_view& bytes, uint64_t wire_type, uint64_t& number,
                  std::string_view& piece) {
    if (wire_type == kVarint) return varint(bytes, number);
    if (wire_type == kFixed64) return fixed<uint64_t>(bytes, number);
    if (wire_type == kFixed32) return fixed<uint32_t>(bytes, number);
    if (wire_type != kLength || !varint(bytes, number) || number > bytes.size()) return false;
    piece = bytes.substr(0, number);
    bytes.remove_prefix(number);
    return true;
  }

  Result<void> field(std::string_view& bytes, uint32_t number, uint64_t wire_type, Message& into) {
    uint64_t value = 0;
    std::string_view piece;
    if (!raw(bytes, wire_type, value, piece)) return trouble(bytes, into, "is cut off or broken");
    const FieldSchema* schema = into.schema().field(number);
    if (schema == nullptr) {
      into.unknown.push_back(number);
      return {};
    }
    const uint32_t expected = wire_type_of(*schema);
    if (wire_type == kLength && expected != kLength && schema->repeated()) {
      return packed(piece, expected, *schema, into);
    }
    if (wire_type != expected) return trouble(bytes, into, "has a field of the wrong wire type");
    if (!schema->repeated()) {
      if (into.entries.size() > limits_.steps)
        return trouble(bytes, into, "takes too long to read");
      limits_.steps -= into.entries.size();
    }
    if (schema->is_message()) return nested(piece, *schema, into);
    Entry& entry = place(*schema, into);
    if (schema->is_text())
      entry.text = piece;
    else
      set_number(entry, value);
    return {};
  }
  // A singular field that comes again replaces the earlier one; a message is merged with it. Fields
  // of one oneof replace each other.
  static Entry& place(const FieldSchema& schema, Message& into) {
    if (!schema.repeated()) {
      for (Entry& entry : into.entries) {
        if (entry.field == &schema) return entry;
      }
      if (schema.oneof != 0) {
        std::erase_if(into.entries, [&](const Entry& e) { return e.field->oneof == schema.oneof; });
      }
    }
    return into.add(schema);
  }
  Result<void> nested(std::string_view piece, const FieldSchema& schema, Message& into) {
    // The reference would not survive a growing vector, the message does.
    Message& child = *place(schema, into).message;
    return message(piece, child);
  }
  Result<void> packed(std::string_view piece, uint32_t expected, const FieldSchema& schema,
                      Message& into) {
    while (!piece.empty()) {
      uint64_t value = 0;
      std::string_view none;
      if (limits_.entries == 0) return trouble(piece, into, "has too many fields");
      --limits_.entries;
      if (!raw(piece, expected, value, none))
        return trouble(piece, into, "has a broken packed field");
      set_number(into.add(schema), value);
    }
    return {};
  }
  static void set_number(Entry& entry, uint64_t value) {
    switch (entry.field->type) {
      case FieldType::kDouble: entry.real = std::bit_cast<double>(value); break;
      case FieldType::kFloat:
        entry.real = std::bit_cast<float>(static_cast<uint32_t>(value));
        break;
      case FieldType::kSint32:
      case FieldType::kSint64: entry.bits = (value >> 1) ^ (~(value & 1) + 1); break;
      case FieldType::kInt32:
      case FieldType::kEnum:
      case FieldType::kSfixed32:
        entry.bits = static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(value)));
        break;
      case FieldType::kUint32: entry.bits = static_cast<uint32_t>(value); break;
      case FieldType::kBool: entry.bits = value != 0; break;
      default: entry.bits = value;
    }
  }
  Result<void> open_any(Message& any) {
    const Entry* url = any.find("type_url");
    const Entry* value = any.find("value");
    const MessageSchema* type =
        url == nullptr ? nullptr : MessageSchema::find(type_of_url(url->text));
    if (type == nullptr) return {};
    any.content = std::make_unique<Message>(*type);
    if (value == nullptr) return {};
    const std::string bytes = value->text;
    std::erase_if(any.entries, [&](const Entry& e) { return &e == value; });
    Decoder inside(bytes, limits_);
    TRY_VOID(inside.message(bytes, *any.content));
    limits_ = inside.limits_;
    return {};
  }
  Error trouble(std::string_view rest, const Message& where, std::string_view what) const {
    return invalid(
        cat("message ", where.schema().name(), " ", what, " near byte ", rest.data() - all_));
  }

  const char* all_;
  WireLimits limits_;  // What is left of them.
};

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void put_piece(std::string& out, std::string_view piece) {
  put_varint(out, piece.size());
  out += piece;
}

template <class Number>
void put_fixed(std::string& out, Number number) {
  char bytes[sizeof number];
  std::memcpy(bytes, &number, sizeof number);
  out.append(bytes, sizeof number);
}

void put_value(std::string& out, const Entry& entry) {
  switch (entry.field->type) {
    case FieldType::kDouble: return put_fixed(out, entry.real);
    case FieldType::kFloat: return put_fixed(out, static_cast<float>(entry.real));
    case FieldType::kFixed64:
    case FieldType::kSfixed64: return put_fixed(out, entry.bits);
    case FieldType::kFixed32:
    case FieldType::kSfixed32: return put_fixed(out, static_cast<uint32_t>(entry.bits));
    case FieldType::kSint32:
    case FieldType::kSint64: return put_varint(out, (entry.bits << 1) ^ (~(entry.bits >> 63) + 1));
    case FieldType::kString:
    case FieldType::kBytes: return put_piece(out, entry.text);
    case FieldType::kMessage: return put_piece(out, encode_wire(*entry.message));
    default: return put_varint(out, entry.bits);
  }
}

}  // namespace

Result<Message> decode_wire(const MessageSchema& schema, std::string_view bytes,
                            const WireLimits& limits) {
  Message message(schema);
  TRY_VOID(Decoder(bytes, limits).message(bytes, message));
  return message;
}

std::string encode_wire(const Message& message) {
  std::string out;
  for (const Entry& entry : message.entries) {
    put_varint(out, uint64_t{entry.field->number} << 3 | wire_type_of(*entry.field));
    put_value(out, entry);
  }
  if (message.content) {
    put_varint(out, 2 << 3 | kLength);  // Any.value
    put_piece(out, encode_wire(*message.content));
  }
  return out;
}

}  // namespace glia
