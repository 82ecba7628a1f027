// YAML text as a tree that remembers where each part stands.
//
// yaml-cpp's own Node forgets the places of keys, merges double keys and expands aliases without a
// bound; here its parser only delivers events.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace glia {

struct YamlNode {
  enum class Kind : uint8_t { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  bool quoted = false;          // kScalar: text whatever it looks like.
  int line = 0, column = 0;     // From 1.
  std::string text;             // kScalar
  std::vector<YamlNode> keys;   // kMap, in the order of the file; scalars.
  std::vector<YamlNode> items;  // kList, or the values of kMap.

  const YamlNode* find(std::string_view key) const;  // kMap: null if it is not there.
  // "a list", "a number", ...: what a person would call it.
  std::string what() const;
};

struct YamlFailure {
  int line = 0, column = 0;
  std::string message;
};

struct YamlFile {
  std::vector<YamlNode> documents;     // Those before the failure; empty ones are left out.
  std::optional<YamlFailure> failure;  // The rest of the file was not read.
};

// Refuses what is deeper than kMaxYamlDepth or larger than kMaxYamlNodes with aliases expanded.
YamlFile read_yaml(std::string_view text);

// What YAML 1.1 and 1.2 readers take a plain scalar for.
enum class PlainType : uint8_t { kText, kNumber, kBoolean };
PlainType plain_type(std::string_view text);

}  // namespace glia
