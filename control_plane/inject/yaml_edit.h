// Changes a YAML text so that it says something else, and leaves what need not change as it was written:
// comments, order, quotes and blank lines.
//
// It inserts and removes whole lines at the places of nodes. A value in flow style ({...}, [...]) that
// changes is written anew, in block style.
#pragma once

#include <string>
#include <string_view>

#include "control_plane/inject/decide.h"
#include "control_plane/objects/yaml.h"
#include "proxy/base/result.h"

namespace glia {

// What the node says, as JSON.
Json json_of(const YamlNode& node);
// What an item of a list is known by when the list changes: its name, else its place.
std::string name_of_item(const Json& item, std::size_t place);
// Equal, whatever the order of keys.
bool same(const Json& a, const Json& b);

// `document` holds one document, which read_yaml() has read as `root`, a map. The result says `wanted`;
// that is checked by reading it. Lists are compared by the names of their items.
Result<std::string> edited_yaml(std::string_view document, const YamlNode& root,
                                const Json& wanted);

}  // namespace glia
