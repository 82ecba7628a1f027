#include "control_plane/serve/resource_map.h"

#include <functional>
#include <utility>

#include "control_plane/serve/node_resources.h"
#include "proxy/base/check.h"
#include "proxy/base/text.h"

namespace glia {

struct ResourceMap::Node {
  Entry entry;
  uint64_t priority;
  NodeRef left, right;
  SetDigest own, own_name;   // Of `entry`.
  SetDigest content, names;  // Of all from here down.
  std::size_t size;
};

// Of a tree: what stands before a name, the entry of that name, what stands behind.
struct ResourceMap::Parts {
  NodeRef left, middle, right;
};

namespace {

// Gives `node` its children.
template <class Node, class Ref>
void adopt(Node& node, Ref left, Ref right) {
  node.content = node.own;
  node.names = node.own_name;
  node.size = 1;
  for (const Ref* child : {&left, &right}) {
    if (*child == nullptr) continue;
    node.content = node.content + (*child)->content;
    node.names = node.names + (*child)->names;
    node.size += (*child)->size;
  }
  node.left = std::move(left);
  node.right = std::move(right);
}

}  // namespace

ResourceMap::NodeRef ResourceMap::make(Entry entry, uint64_t priority, NodeRef left,
                                       NodeRef right) {
  auto node = std::make_shared<Node>();
  const std::string version = entry.resource == nullptr ? "" : entry.resource->version;
  node->own_name = SetDigest::of(entry.name);
  node->own = SetDigest::of(cat(entry.name.size(), " ", entry.name, version));
  node->entry = std::move(entry);
  node->priority = priority;
  adopt(*node, std::move(left), std::move(right));
  return node;
}

ResourceMap::NodeRef ResourceMap::rejoined(const NodeRef& node, NodeRef left, NodeRef right) {
  if (node->left == left && node->right == right) return node;
  auto copy = std::make_shared<Node>(*node);
  adopt(*copy, std::move(left), std::move(right));
  return copy;
}

ResourceMap::NodeRef ResourceMap::join(const NodeRef& left, const NodeRef& right) {
  if (left == nullptr) return right;
  if (right == nullptr) return left;
  if (left->priority > right->priority) {
    return rejoined(left, left->left, join(left->right, right));
  }
  return rejoined(right, join(left, right->left), right->right);
}

ResourceMap::Parts ResourceMap::split(const NodeRef& node, std::string_view name) {
  if (node == nullptr) return {};
  if (node->entry.name == name) return {node->left, node, node->right};
  if (name < node->entry.name) {
    Parts parts = split(node->left, name);
    parts.right = rejoined(node, std::move(parts.right), node->right);
    return parts;
  }
  Parts parts = split(node->right, name);
  parts.left = rejoined(node, node->left, std::move(parts.left));
  return parts;
}

ResourceMap::NodeRef ResourceMap::insert(const NodeRef& node, Entry entry, uint64_t priority) {
  if (node == nullptr) return make(std::move(entry), priority, nullptr, nullptr);
  if (node->entry.name == entry.name) {
    return make(std::move(entry), priority, node->left, node->right);
  }
  if (node->priority < priority) {
    Parts parts = split(node, entry.name);
    return make(std::move(entry), priority, std::move(parts.left), std::move(parts.right));
  }
  if (entry.name < node->entry.name) {
    return rejoined(node, insert(node->left, std::move(entry), priority), node->right);
  }
  return rejoined(node, node->left, insert(node->right, std::move(entry), priority));
}

ResourceMap::NodeRef ResourceMap::without(const NodeRef& node, std::string_view name) {
  if (node == nullptr) return nullptr;
  if (node->entry.name == name) return join(node->left, node->right);
  if (name < node->entry.name) return rejoined(node, without(node->left, name), node->right);
  return rejoined(node, node->left, without(node->right, name));
}

std::size_t ResourceMap::size() const { return root_ == nullptr ? 0 : root_->size; }

const ResourceMap::Entry* ResourceMap::find(std::string_view name) const {
  const Node* node = root_.get();
  while (node != nullptr) {
    const int order = name.compare(node->entry.name);
    if (order == 0) return &node->entry;
    node = order < 0 ? node->left.get() : node->right.get();
  }
  return nullptr;
}

const PackedRef& ResourceMap::at(std::string_view name) const {
  const Entry* found = find(name);
  CHECK(found != nullptr);
  return found->resource;
}

void ResourceMap::set(std::string name, PackedRef resource) {
  const Entry* held = find(name);
  if (held != nullptr && held->resource == resource) return;
  const uint64_t priority = std::hash<std::string_view>()(name);
  root_ = insert(root_, {std::move(name), std::move(resource)}, priority);
}

void ResourceMap::erase(std::string_view name) {
  if (contains(name)) root_ = without(root_, name);
}

SetDigest ResourceMap::content() const { return root_ == nullptr ? SetDigest() : root_->content; }
SetDigest ResourceMap::names() const { return root_ == nullptr ? SetDigest() : root_->names; }

// Keeps the trees that it splits off: changes point into the nodes of the two maps only.
struct ResourceMap::Difference {
  std::vector<Change> out;

  void all(const Node* node, const Entry* Change::* side) {
    if (node == nullptr) return;
    all(node->left.get(), side);
    Change change{};
    change.*side = &node->entry;
    out.push_back(change);
    all(node->right.get(), side);
  }

  // Entries of `a` and `b` live as long as the maps; nodes that split() makes hold copies of them,
  // so what is reported is looked up again by changes().
  void between(const NodeRef& a, const NodeRef& b) {
    if (a == b) return;
    if (a == nullptr) return all(b.get(), &Change::after);
    if (b == nullptr) return all(a.get(), &Change::before);
    if (a->content == b->content) return;
    const bool by_a = a->priority >= b->priority;
    const NodeRef& top = by_a ? a : b;
    Parts left{a->left, a, a->right}, right{b->left, b, b->right};
    if (a->entry.name != b->entry.name) {
      (by_a ? right : left) = split(by_a ? b : a, top->entry.name);
    }
    between(left.left, right.left);
    if (left.middle == nullptr) {
      out.push_back({nullptr, &right.middle->entry});
    } else if (right.middle == nullptr) {
      out.push_back({&left.middle->entry, nullptr});
    } else if (left.middle->own != right.middle->own) {
      out.push_back({&left.middle->entry, &right.middle->entry});
    }
    between(left.right, right.right);
    held.push_back(std::move(left));
    held.push_back(std::move(right));
  }

  std::vector<Parts> held;
};

std::vector<ResourceMap::Change> ResourceMap::changes(const ResourceMap& before,
                                                      const ResourceMap& after) {
  Difference difference;
  difference.between(before.root_, after.root_);
  // What split() made ends with this call.
  for (Change& change : difference.out) {
    const std::string& name = change.name();
    const Entry* was = before.find(name);
    const Entry* is = after.find(name);
    change = {was, is};
  }
  return std::move(difference.out);
}

ResourceMap::Iterator ResourceMap::begin() const {
  Iterator iterator;
  iterator.descend(root_.get());
  return iterator;
}
ResourceMap::Iterator ResourceMap::end() const { return {}; }

const ResourceMap::Entry& ResourceMap::Iterator::operator*() const { return way_.back()->entry; }

ResourceMap::Iterator& ResourceMap::Iterator::operator++() {
  const Node* node = way_.back();
  way_.pop_back();
  descend(node->right.get());
  return *this;
}

void ResourceMap::Iterator::descend(const Node* node) {
  for (; node != nullptr; node = node->left.get()) way_.push_back(node);
}

}  // namespace glia
