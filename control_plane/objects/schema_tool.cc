// Writes docs/schema/<Kind>.json, docs/schema/all.json, docs/mesh-objects.md and deploy/crds.yaml below the
// directory that is its argument:
//   bazel run //control_plane/objects:schema_tool -- $PWD
#include <cstdio>
#include <fstream>
#include <string>

#include "control_plane/objects/crds.h"
#include "control_plane/objects/kinds.h"
#include "proxy/base/text.h"

namespace {

bool write(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  if (file) return true;
  std::fprintf(stderr, "schema_tool: cannot write %s\n", path.c_str());
  return false;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: schema_tool DIRECTORY (of the source tree)\n");
    return 2;
  }
  const std::string root = arguments[1];
  bool good = write(root + "/docs/mesh-objects.md", glia::reference_page());
  for (const std::string_view kind : glia::kind_names()) {
    good &= write(glia::cat(root, "/docs/schema/", kind, ".json"), *glia::json_schema(kind));
  }
  good &= write(root + "/deploy/crds.yaml", glia::crds_page());
  good &= write(root + "/docs/schema/all.json", glia::json_schema_of_all());
  return good ? 0 : 1;
}
