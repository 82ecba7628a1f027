#include "proxy/xds/push.h"

#include "proxy/base/text.h"
#include "proxy/xds/wire.h"

namespace glia {

namespace {

std::string text_in(const Message& message, std::string_view field) {
  const Entry* entry = message.find(field);
  return entry == nullptr ? "" : entry->text;
}

// The resource inside an Any, which may be wrapped in a discovery.v3.Resource.
std::string unwrap(const Message& any, std::string_view type, std::size_t index,
                   std::string& trouble) {
  const std::string url = text_in(any, "type_url");
  const std::string_view inside = type_of_url(url);
  if (inside == "envoy.service.discovery.v3.Resource") {
    const auto* schema = MessageSchema::find("envoy.service.discovery.v3.Resource");
    const Result<Message> wrapper =
        decode_wire(*schema, text_in(any, "value"), {.open_any = false});
    const Entry* resource = wrapper.ok() ? wrapper->find("resource") : nullptr;
    if (resource != nullptr && type_of_url(text_in(*resource->message, "type_url")) == type) {
      return text_in(*resource->message, "value");
    }
  }
  if (inside != type) trouble = cat("resource number ", index, " is a ", inside, ", not a ", type);
  return text_in(any, "value");
}

}  // namespace

std::optional<ResourceKind> kind_of(std::string_view type_url) {
  for (const ResourceKind kind : kResourceKinds) {
    if (type_of_url(type_url) == message_of(kind)) return kind;
  }
  return {};
}

Result<PushedResources> decode_push(std::string_view bytes) {
  const auto* schema = MessageSchema::find("envoy.service.discovery.v3.DiscoveryResponse");
  TRY(const Message message, decode_wire(*schema, bytes, {.open_any = false}));
  PushedResources push{.version = text_in(message, "version_info"),
                       .type_url = text_in(message, "type_url"),
                       .nonce = text_in(message, "nonce")};
  for (const Entry& entry : message.entries) {
    if (entry.field->name() != "resources") continue;
    push.resources.push_back(
        unwrap(*entry.message, type_of_url(push.type_url), push.resources.size(), push.trouble));
  }
  return push;
}

}  // namespace glia
