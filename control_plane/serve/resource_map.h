// ResourceMap: resources by name, as a value whose copies share all that they have in common.
//
// A change of one resource makes few new nodes, however many there are, and comparing two maps
// looks only at where they differ: an edit of a large mesh touches few of its resources, and every
// sidecar has nearly the same ones. A treap whose priorities are hashes of the names, so that equal
// names are always one shape, however they came together (Seidel and Aragon, "Randomized search
// trees", 1996). Nodes never change once they are made; everything belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control_plane/objects/digest.h"

namespace glia {

struct PackedResource;
using PackedRef = std::shared_ptr<const PackedResource>;

class ResourceMap {
 public:
  struct Entry {
    std::string name;
    PackedRef resource;  // Null: a resource of which only the name is known.
  };

  std::size_t size() const;
  bool empty() const { return root_ == nullptr; }
  // Null if it is not there. Valid while any map holds the entry.
  const Entry* find(std::string_view name) const;
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  const PackedRef& at(std::string_view name) const;  // It is there.

  void set(std::string name, PackedRef resource);
  void erase(std::string_view name);

  // Of names and versions, and of names alone; equal for equal content.
  SetDigest content() const;
  SetDigest names() const;
  bool same(const ResourceMap& other) const { return content() == other.content(); }

  struct Change {
    const Entry* before;  // Null: it was added.
    const Entry* after;   // Null: it was removed.
    const std::string& name() const { return before != nullptr ? before->name : after->name; }
  };
  // What is not the same, in order of names. Valid while both maps are.
  static std::vector<Change> changes(const ResourceMap& before, const ResourceMap& after);

  // In order of names.
  class Iterator;
  Iterator begin() const;
  Iterator end() const;

 private:
  struct Node;
  using NodeRef = std::shared_ptr<const Node>;
  struct Parts;

  static NodeRef make(Entry entry, uint64_t priority, NodeRef left, NodeRef right);
  // The entry of `node` with other children; `node` itself if they are the same.
  static NodeRef rejoined(const NodeRef& node, NodeRef left, NodeRef right);
  static NodeRef join(const NodeRef& left, const NodeRef& right);
  static Parts split(const NodeRef& node, std::string_view name);
  static NodeRef insert(const NodeRef& node, Entry entry, uint64_t priority);
  static NodeRef without(const NodeRef& node, std::string_view name);
  struct Difference;

  NodeRef root_;
};

class ResourceMap::Iterator {
 public:
  const Entry& operator*() const;
  const Entry* operator->() const { return &**this; }
  Iterator& operator++();
  bool operator==(const Iterator& other) const { return way_.size() == other.way_.size(); }

 private:
  friend class ResourceMap;
  void descend(const Node* node);
  std::vector<const Node*> way_;  // The nodes that are still to be visited, and their right sides.
};

}  // namespace glia
