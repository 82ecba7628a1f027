// Files that only this program may read: its identity and what it keeps of its configuration over a
// restart. Mode 0600 in a directory of mode 0700; replaced whole, so that a reader, or a machine that
// loses power, finds the old content or the new.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/base/result.h"

namespace glia {

// Makes the directory if it is missing (not those above it).
Result<void> write_private_file(const std::string& directory, std::string_view name,
                                std::string_view content);
// Nothing if there is no such file. One that others may write, or that is larger than `most` bytes, is
// an error.
Result<std::optional<std::string>> read_private_file(const std::string& directory,
                                                     std::string_view name, std::size_t most);

}  // namespace glia
