// Documents of a YAML file as text: each can be kept, and read again, by itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control_plane/objects/object_set.h"

namespace glia {

struct DocumentText {
  std::string text;
  int line = 1;  // Of its first line in the file.
  // From a line "# resourceVersion: N" before its content: which version of the object was edited.
  std::optional<int64_t> version;
};

// In the order of the file; what holds only comments is left out. Cuts at lines that begin with
// "---", which nothing else in YAML can.
std::vector<DocumentText> split_documents(std::string_view text);

// A source whose mistakes have the places that they have in the file.
SourceText in_place(const std::string& file, const DocumentText& document);

// The line that split_documents() finds.
std::string version_line(int64_t version);

}  // namespace glia
