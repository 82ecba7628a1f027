// Fuzz target: any bytes as a mesh file. Reading must end, within its limits, with the same answer
// each time.
#include <cstddef>
#include <cstdint>
#include <string>

#include "control_plane/objects/object_set.h"
#include "proxy/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const glia::LoadReport once = glia::parse({{"mesh.yaml", text}});
  const glia::LoadReport again = glia::parse({{"mesh.yaml", text}});
  CHECK(once.errors() == again.errors());
  CHECK(once.problems.size() <= glia::kMaxProblems + 1);
  for (const glia::Problem& problem : once.problems) {
    CHECK(!problem.message.empty());
    CHECK(problem.text().find('\n') == std::string::npos);  // One problem is one line of a log.
  }
  return 0;
}
