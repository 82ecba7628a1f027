#include "control_plane/serve/peer.h"

#include <vector>

#include "proxy/base/text.h"

namespace glia {
namespace {

Error malformed(std::string_view why) {
  return Error(ErrorKind::kDenied, Fault::kDownstream,
               cat(kForwardedCertificateHeader, " ", why,
                   "; only the control plane's own listener "
                   "may set it"));
}

struct Pair {
  std::string key, value;
};

// One element's pairs; a value may be quoted, with backslash escapes inside the quotes.
Result<std::vector<Pair>> parse_element(std::string_view text) {
  std::vector<Pair> pairs;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t equals = text.find('=', at);
    if (equals == std::string_view::npos) return malformed("has a part without '='");
    Pair pair{to_lower(text.substr(at, equals - at)), ""};
    at = equals + 1;
    if (at < text.size() && text[at] == '"') {
      for (++at; at < text.size() && text[at] != '"'; ++at) {
        if (text[at] == '\\' && at + 1 < text.size()) ++at;
        pair.value += text[at];
      }
      if (at == text.size()) return malformed("has a quote that does not end");
      ++at;
    } else {
      while (at < text.size() && text[at] != ';' && text[at] != ',') pair.value += text[at++];
    }
    pairs.push_back(std::move(pair));
    if (at == text.size()) break;
    if (text[at] == ',') return malformed("has more than one element");
    if (text[at] != ';') return malformed("has text after a quote");
    ++at;
  }
  return pairs;
}

}  // namespace

std::string printable(std::string_view text) {
  constexpr std::size_t kLongest = 200;
  std::string out;
  append_json_escaped(out, text.substr(0, kLongest));
  if (text.size() > kLongest) out += "...";
  return out;
}

Result<SpiffeId> forwarded_identity(std::string_view header) {
  TRY(const std::vector<Pair> pairs, parse_element(header));
  const std::string* uri = nullptr;
  for (const Pair& pair : pairs) {
    if (pair.key != "uri") continue;
    if (uri != nullptr) return malformed("has more than one URI");
    uri = &pair.value;
  }
  if (uri == nullptr) return malformed("has no URI");
  return SpiffeId::parse(*uri);
}

}  // namespace glia
