// What there is to know of each kind besides its values: JSON schema, reference page, example.
// Made from the same description (schema.h) that drives the parser, so that they cannot disagree.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace glia {

// "Mesh", "Workload", ... in the order of the reference page.
std::vector<std::string_view> kind_names();

// JSON schema (draft 2020-12) of a kind, indented; nothing if there is no such kind. Case of `kind`
// does not matter.
std::optional<std::string> json_schema(std::string_view kind);

// One schema for a file of any of them: `kind` decides.
std::string json_schema_of_all();

// docs/mesh-objects.md, whole.
std::string reference_page();

}  // namespace glia
