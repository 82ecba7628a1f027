// Reading: one source of mesh objects as it was read, before it meets the others. A source that did
// not change need not be read again.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control_plane/objects/check.h"
#include "control_plane/objects/digest.h"
#include "control_plane/objects/kind.h"

namespace glia {

// What a mistake in a source concerns: the whole mesh, as in files, which one author saves together; or this source
// alone, as where objects come one by one from many authors: the others go on without it, and it goes on as it was.
enum class MistakesOf : uint8_t { kAll, kThisSource };

struct Reading {
  std::string name;  // Of the source.
  MistakesOf mistakes = MistakesOf::kAll;
  mesh_objects::Draft draft;  // The objects that have no mistakes of their own.
  // "Kind namespace/name" of each -> hash of what it says, wherever it stands.
  std::map<std::string, std::string> objects;
  std::vector<Problem> problems;
  Unread unread;
  std::size_t documents = 0;  // At most kMaxObjects + 1 are looked at.
  SetDigest digest;           // Of name and text.

  // Is everything in it an object without mistakes, each there once?
  bool whole() const { return problems.empty() && !unread.any() && objects.size() == documents; }
};
using ReadingRef = std::shared_ptr<const Reading>;

// What happened to the sources of a mesh.
struct SourceEdit {
  std::vector<ReadingRef> read;   // New ones, and those that say something else.
  std::vector<std::string> gone;  // Names.
  // All that cannot be read as it is now; unset: as before.
  std::optional<std::vector<Problem>> unreadable;
};

SetDigest source_digest(const SourceText& source);
ReadingRef read_source(const SourceText& source, MistakesOf mistakes = MistakesOf::kAll);
// All objects of a mesh, checked against each other.
LoadReport combine(const std::vector<ReadingRef>& readings,
                   References references = References::kMustExist);

}  // namespace glia
