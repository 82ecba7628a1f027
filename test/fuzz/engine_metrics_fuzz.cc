// Any bytes as a metrics page of each engine: whole or in pieces, the same is read.
#include <cstdint>
#include <string_view>

#include "proxy/base/check.h"
#include "proxy/model/engine_metrics.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace glia;
  if (size == 0) return 0;
  const auto engine = static_cast<Engine>(data[0] % 7);
  const std::string_view page(reinterpret_cast<const char*>(data) + 1, size - 1);
  EngineScanner whole(engine), pieces(engine);
  whole.feed(page);
  const std::size_t step = 1 + data[0] / 7;
  for (std::size_t i = 0; i < page.size(); i += step) pieces.feed(page.substr(i, step));
  CHECK(whole.finish() == pieces.finish());
  CHECK(whole.known_lines() == pieces.known_lines());
  const EngineSample& sample = whole.finish();
  CHECK(sample.running_adapters.size() <= kMostAdapters);
  CHECK(sample.waiting_adapters.size() <= kMostAdapters);
  return 0;
}
