#include "proxy/xds/push.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/xds/wire.h"

namespace glia {

namespace {

std::string text_in(const Message& message, std::string_view field) {
  const Entry* entry = message.find(field);
  return entry == nullptr ? "" : entry->text;
}

Duration duration_of(const Message& message) {
  const auto number = [&message](std::string_view field) {
    const Entry* entry = message.find(field);
    return entry == nullptr ? int64_t{0} : static_cast<int64_t>(entry->bits);
  };
  // More than a year is for ever, and must not overflow.
  constexpr int64_t kLongest = 366 * 24 * 3600;
  const int64_t seconds = std::clamp<int64_t>(number("seconds"), 0, kLongest);
  return std::chrono::seconds(seconds) +
         Duration(std::clamp<int64_t>(number("nanos"), 0, 999'999'999));
}

std::string_view type_in(const Message& any) {
  const Entry* url = any.find("type_url");
  return url == nullptr ? std::string_view() : type_of_url(url->text);
}

void expect_type(std::string_view inside, std::string_view type, std::size_t index,
                 std::string& trouble) {
  if (inside == type) return;
  trouble = cat("resource number ", index, " is a ", inside, ", not a ", type);
}

// What is inside an envoy.service.discovery.v3.Resource.
PushedResource open_wrapper(const Message& wrapper, std::string_view type, std::size_t index,
                            std::string& trouble) {
  PushedResource one{
      .bytes = "", .name = text_in(wrapper, "name"), .version = text_in(wrapper, "version")};
  if (const Entry* ttl = wrapper.find("ttl")) one.ttl = duration_of(*ttl->message);
  const Entry* inside = wrapper.find("resource");
  if (inside == nullptr) {
    one.heartbeat = true;
    return one;
  }
  expect_type(type_in(*inside->message), type, index, trouble);
  one.bytes = text_in(*inside->message, "value");
  return one;
}

// What is inside an Any, which may hold a Resource around it.
PushedResource open_any(const Message& any, std::string_view type, std::size_t index,
                        std::string& trouble) {
  constexpr std::string_view kWrapper = "envoy.service.discovery.v3.Resource";
  if (type_in(any) == kWrapper) {
    const Result<Message> wrapper =
        decode_wire(*MessageSchema::find(kWrapper), text_in(any, "value"), {.open_any = false});
    if (wrapper.ok()) return open_wrapper(*wrapper, type, index, trouble);
  }
  expect_type(type_in(any), type, index, trouble);
  return {.bytes = text_in(any, "value"), .name = "", .version = ""};
}

// A resource_errors entry: an envoy.service.discovery.v3.ResourceError.
void take_error(const Message& error, bool delta, PushedResources& push) {
  constexpr uint64_t kNotFound = 5;  // google.rpc.Code
  const Entry* const name = error.find("resource_name");
  const Entry* const detail = error.find("error_detail");
  if (name == nullptr) return;
  ResourceTrouble trouble{.name = text_in(*name->message, "name"), .why = ""};
  const Entry* const code = detail == nullptr ? nullptr : detail->message->find("code");
  if (code != nullptr && code->bits == kNotFound) {
    if (delta) push.removed.push_back(std::move(trouble.name));
    return;
  }
  if (detail != nullptr) trouble.why = text_in(*detail->message, "message");
  push.errors.push_back(std::move(trouble));
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
    if (entry.field->name() == "resources") {
      push.resources.push_back(open_any(*entry.message, type_of_url(push.type_url),
                                        push.resources.size(), push.trouble));
    } else if (entry.field->name() == "resource_errors") {
      take_error(*entry.message, /*delta=*/false, push);
    }
  }
  return push;
}

Result<PushedResources> decode_delta_push(std::string_view bytes) {
  const auto* schema = MessageSchema::find("envoy.service.discovery.v3.DeltaDiscoveryResponse");
  TRY(const Message message, decode_wire(*schema, bytes, {.open_any = false}));
  PushedResources push{.version = text_in(message, "system_version_info"),
                       .type_url = text_in(message, "type_url"),
                       .nonce = text_in(message, "nonce")};
  for (const Entry& entry : message.entries) {
    if (entry.field->name() == "resources") {
      push.resources.push_back(open_wrapper(*entry.message, type_of_url(push.type_url),
                                            push.resources.size(), push.trouble));
    } else if (entry.field->name() == "removed_resources") {
      push.removed.push_back(entry.text);
    } else if (entry.field->name() == "resource_errors") {
      take_error(*entry.message, /*delta=*/true, push);
    }
  }
  return push;
}

}  // namespace glia
