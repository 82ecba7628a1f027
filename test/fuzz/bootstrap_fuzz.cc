// Fuzz target: any bytes as a bootstrap file, and as a resource off the wire. Reading must end,
// within its limits, with the same answer each time; what was accepted can be drawn and printed.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proxy/base/check.h"
#include "proxy/xds/file.h"
#include "proxy/xds/json.h"
#include "proxy/xds/print.h"
#include "proxy/xds/wire.h"

namespace {

void as_bootstrap(std::string_view text) {
  glia::Errors once, again;
  const auto bootstrap = glia::parse_bootstrap(text, "fuzz.yaml", {}, once);
  (void)glia::parse_bootstrap(text, "fuzz.yaml", {}, again);
  CHECK(once.sentences() == again.sentences());
  CHECK(bootstrap.has_value() == once.empty());
  if (!bootstrap) return;
  glia::Freezer freezer(bootstrap->node);
  const auto snapshot = freezer.freeze(bootstrap->draft);
  CHECK(snapshot.ok());
  CHECK(!glia::print(**snapshot).empty());
}

void as_resource(glia::ResourceKind kind, std::string_view bytes) {
  const auto message = glia::decode_wire(*glia::MessageSchema::find(glia::message_of(kind)), bytes);
  if (!message.ok()) return;
  std::string json;
  glia::append_json(json, *message);
  glia::Errors errors;
  (void)glia::decode_resource(kind, *message, "1", "resource", {}, errors);
  // What we write is what we read.
  const std::string written = glia::encode_wire(*message);
  const auto back = glia::decode_wire(message->schema(), written);
  CHECK(back.ok());
  CHECK(glia::encode_wire(*back) == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.empty()) return 0;
  const std::size_t first = static_cast<unsigned char>(bytes[0]);
  if (first < 5)
    as_resource(glia::kResourceKinds[first], bytes.substr(1));
  else
    as_bootstrap(bytes);
  return 0;
}
