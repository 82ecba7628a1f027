// Message: one protobuf message as a tree of what was set, with where in a file it was set.
//
// It lives from the moment bytes or YAML arrive until they are decoded into our own types; nothing
// keeps it. Readers mark what they looked at, so that a field nobody looked at can be refused by
// name (reader.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/xds/schema.h"

namespace glia {

// Where in a file; 0:0 if the message came over the wire.
struct Position {
  uint32_t line = 0, column = 0;
};

class Message;

// One set value. A repeated field has an entry for each element, in order.
struct Entry {
  const FieldSchema* field;
  uint64_t bits = 0;                 // Integers (sign-extended), bools and enums.
  double real = 0;                   // double and float.
  std::string text;                  // string and bytes.
  std::unique_ptr<Message> message;  // Set exactly if field->is_message().
  Position at;
  mutable bool seen = false;  // A decoder looked at it.
};

class Message {
 public:
  explicit Message(const MessageSchema& schema) : schema_(&schema) {}

  const MessageSchema& schema() const { return *schema_; }
  // The last entry of that field, as the wire format has it; null if it is not set.
  const Entry* find(const FieldSchema& field) const;
  const Entry* find(std::string_view name) const;  // The name is one of the schema's.
  Entry& add(const FieldSchema& field);
  // For messages that we write.
  Message& add_message(std::string_view name);
  void add_text(std::string_view name, std::string text);
  void add_bits(std::string_view name, uint64_t bits);
  void add_real(std::string_view name, double real);

  std::vector<Entry> entries;
  std::vector<uint32_t> unknown;  // Numbers on the wire that the schema does not have.
  // google.protobuf.Any: the message inside, if its type is known; then `value` is not an entry.
  std::unique_ptr<Message> content;
  Position at;

 private:
  const MessageSchema* schema_;
};

// "envoy.config.cluster.v3.Cluster" of "type.googleapis.com/envoy.config.cluster.v3.Cluster".
std::string_view type_of_url(std::string_view url);

}  // namespace glia
