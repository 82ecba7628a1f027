// What we record of a certificate that we signed: read back from the certificate itself, so that
// the record cannot differ from it.
#pragma once

#include <string>
#include <string_view>

#include "proxy/base/result.h"
#include "proxy/base/time.h"

namespace glia {

struct LeafInfo {
  std::string serial;  // Lower-case hex.
  WallTime not_before, not_after;
};

// Of the first certificate in `pem`.
Result<LeafInfo> read_leaf(std::string_view pem);

}  // namespace glia
