// Replays the kept corpus of one fuzz target, and what is near to it: each input cut short, and each
// with one byte changed. So a fault that fuzzing found stays found, without libFuzzer.
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "proxy/base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size);

namespace glia {
namespace {

constexpr int kNear = 16;  // cuts, and changes, of each input

void take(const std::string& bytes) {
  // A copy of exactly this size on the heap: AddressSanitizer sees a read past its end.
  const auto exact = std::make_unique<uint8_t[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), exact.get());
  LLVMFuzzerTestOneInput(exact.get(), bytes.size());
}

TEST(Corpus, IsTakenWithWhatIsNearToIt) {
  Random random(1);
  int inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(GLIA_CORPUS)) {
    SCOPED_TRACE(entry.path().filename());
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    take(bytes);
    for (int i = 0; i < kNear && !bytes.empty(); ++i) {
      take(bytes.substr(0, random.below(bytes.size())));
      std::string changed = bytes;
      changed[random.below(bytes.size())] = static_cast<char>(random.below(256));
      take(changed);
    }
    ++inputs;
  }
  EXPECT_GE(inputs, 3) << "there is no corpus in " << GLIA_CORPUS;
}

}  // namespace
}  // namespace glia
