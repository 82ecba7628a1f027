#include "proxy/xds/message.h"

#include "proxy/base/check.h"

namespace glia {

namespace {

const FieldSchema& known(const MessageSchema& schema, std::string_view name) {
  const FieldSchema* field = schema.field(name);
  CHECK(field != nullptr);  // Our own code named a field that Envoy's message does not have.
  return *field;
}

}  // namespace

const Entry* Message::find(const FieldSchema& field) const {
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    if (entry->field == &field) return &*entry;
  }
  return nullptr;
}

const Entry* Message::find(std::string_view name) const { return find(known(*schema_, name)); }

Entry& Message::add(const FieldSchema& field) {
  Entry& entry = entries.emplace_back();
  entry.field = &field;
  if (field.is_message()) entry.message = std::make_unique<Message>(field.message());
  return entry;
}

Message& Message::add_message(std::string_view name) { return *add(known(*schema_, name)).message; }

void Message::add_text(std::string_view name, std::string text) {
  add(known(*schema_, name)).text = std::move(text);
}

void Message::add_bits(std::string_view name, uint64_t bits) {
  add(known(*schema_, name)).bits = bits;
}

void Message::add_real(std::string_view name, double real) {
  add(known(*schema_, name)).real = real;
}

std::string_view type_of_url(std::string_view url) {
  const std::size_t slash = url.rfind('/');
  return slash == url.npos ? url : url.substr(slash + 1);
}

}  // namespace glia
