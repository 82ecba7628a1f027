#include "proxy/flow/flags.h"

#include <array>

namespace glia {
namespace {

// docs/access-log.md, and Envoy's %RESPONSE_FLAGS%.
constexpr std::array<std::string_view, static_cast<std::size_t>(ResponseFlag::kCount)> kLetters = {
    "UH", "UF", "UC", "UO", "NR", "NC", "UT", "UPE", "DC", "DPE", "SI", "DT", "OM", "LR", "URX", "RL"};

}  // namespace

std::string_view letters_of(ResponseFlag flag) { return kLetters[static_cast<std::size_t>(flag)]; }

std::string ResponseFlags::text() const {
  if (bits_ == 0) return "-";
  std::string out;
  for (std::size_t i = 0; i < kLetters.size(); ++i) {
    if (!has(static_cast<ResponseFlag>(i))) continue;
    if (!out.empty()) out += ',';
    out += kLetters[i];
  }
  return out;
}

}  // namespace glia
