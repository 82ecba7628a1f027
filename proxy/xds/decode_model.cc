#include "proxy/xds/decode_model.h"

#include "proxy/base/text.h"
#include "proxy/http/syntax.h"
#include "proxy/model/reader.h"

namespace glia {

ModelReading decode_model_requests(const Reader& config) {
  constexpr uint64_t kLeast = 1024, kMost = 64 * 1024 * 1024;
  ModelReading reading;
  reading.held_bytes =
      static_cast<uint32_t>(config.number("held_bytes", reading.held_bytes, kMost, kLeast));
  if (config.choice("unknown") == "REFUSE") reading.unknown = ModelReading::Unknown::kRefuse;
  reading.always = config.flag("always");
  reading.prefix_hashes = config.flag("prefix_hashes");
  return reading;
}

ModelName decode_model_rewrite(const Reader& config) {
  ModelName name{config.text("model"), config.text("version")};
  if (name.model.empty()) config.fail("model", "is empty; write what the model is called");
  for (const auto& [field, text] : {std::pair("model", &name.model), {"version", &name.version}}) {
    if (!is_value(*text) || text->size() > ModelReader::kLongestName) {
      config.fail(field, cat("has a control character, or more than ", ModelReader::kLongestName,
                             " bytes"));
    }
  }
  return name;
}

}  // namespace glia
