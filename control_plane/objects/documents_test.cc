#include "control_plane/objects/documents.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"

namespace glia {
namespace {

std::string split(std::string_view text) {
  std::string out;
  for (const DocumentText& document : split_documents(text)) {
    out += cat("[", document.line, document.version ? cat(" v", *document.version) : "", " ",
               document.text, "]");
  }
  return out;
}

TEST(Documents, AreCutAtTheirMarks) {
  EXPECT_EQ(split("a: 1\n---\nb: 2\n"), "[1 a: 1\n][3 b: 2\n]");
  EXPECT_EQ(split("---\na: 1\n---\n---\n# nothing\n---\nb: 2"), "[2 a: 1\n][7 b: 2]");
  EXPECT_EQ(split("--- {a: 1}\n---\t# c\nb: |\n  ---\n"),
            "[1 --- {a: 1}\n][2 ---\t# c\nb: |\n  ---\n]");
  EXPECT_EQ(split("a: 1\r\n---\r\nb: 2\r\n"), "[1 a: 1\r\n][3 b: 2\r\n]");
  EXPECT_EQ(split(""), "");
  EXPECT_EQ(split("----\n"), "[1 ----\n]");
}

TEST(Documents, KnowWhichVersionWasEdited) {
  EXPECT_EQ(split("# ours\n# resourceVersion: 17\na: 1\n"),
            "[1 v17 # ours\n# resourceVersion: 17\na: 1\n]");
  EXPECT_EQ(split("a: 1\n# resourceVersion: 17\n"), "[1 a: 1\n# resourceVersion: 17\n]");
  EXPECT_EQ(split(version_line(3) + "a: 1"), "[1 v3 # resourceVersion: 3\na: 1]");
}

TEST(Documents, KeepTheirPlacesInTheFile) {
  const auto documents = split_documents("a: 1\n---\n\nb: 2\n");
  EXPECT_EQ(in_place("f.yaml", documents[1]).text, "\n\n\nb: 2\n");
}

}  // namespace
}  // namespace glia
