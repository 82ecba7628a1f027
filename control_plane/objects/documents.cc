#include "control_plane/objects/documents.h"

#include "proxy/base/text.h"

namespace glia {

namespace {

constexpr std::string_view kVersion = "# resourceVersion: ";

bool is_mark(std::string_view line) {
  return line.starts_with("---") && (line.size() == 3 || line[3] == ' ' || line[3] == '\t');
}

// Looks at the comments before the content, and whether there is any.
bool look_at(DocumentText& document) {
  std::string_view rest = document.text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = trim(rest.substr(0, end), " \t\r");
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty() || line == "---" || line == "...") continue;
    if (!line.starts_with('#')) return true;
    if (!line.starts_with(kVersion)) continue;
    const auto number = parse_decimal(line.substr(kVersion.size()));
    constexpr uint64_t kMost = INT64_MAX;
    if (number && *number <= kMost) document.version = static_cast<int64_t>(*number);
  }
  return false;
}

}  // namespace

std::vector<DocumentText> split_documents(std::string_view text) {
  std::vector<DocumentText> documents;
  DocumentText document;
  const auto end_document = [&](int next_line) {
    if (look_at(document)) documents.push_back(std::move(document));
    document = {"", next_line, {}};
  };
  int line_number = 1;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    const std::string_view line = text.substr(0, end);
    const std::string_view bare = trim(line, "\r\n");
    text.remove_prefix(end);
    if (is_mark(bare)) end_document(line_number);
    // A mark alone says nothing; one with content is a part of the document.
    const bool alone = is_mark(bare) && trim(bare.substr(3)).empty();
    if (alone) {
      document.line = line_number + 1;
    } else {
      document.text += line;
    }
    ++line_number;
  }
  end_document(line_number);
  return documents;
}

SourceText in_place(const std::string& file, const DocumentText& document) {
  return {file, std::string(static_cast<std::size_t>(document.line - 1), '\n') + document.text};
}

std::string version_line(int64_t version) { return cat(kVersion, version, "\n"); }

}  // namespace glia
