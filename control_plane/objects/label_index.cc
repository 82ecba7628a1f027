#include "control_plane/objects/label_index.h"

#include "proxy/base/text.h"

namespace glia {

LabelIndex::LabelIndex(const std::vector<Workload>& workloads) {
  for (std::size_t i = 0; i < workloads.size(); ++i) {
    const Metadata& metadata = workloads[i].metadata;
    places_[metadata.ns].push_back(i);
    for (const auto& [key, value] : metadata.labels) {
      places_[cat(metadata.ns, "/", key, "=", value)].push_back(i);
    }
  }
}

std::vector<std::size_t> LabelIndex::select(const std::vector<Workload>& workloads,
                                            const std::string& ns, const TextMap& selector) const {
  const std::vector<std::size_t>* fewest = find(ns);
  for (const auto& [key, value] : selector) {
    const auto* having = find(cat(ns, "/", key, "=", value));
    if (!having) return {};
    if (having->size() < fewest->size()) fewest = having;
  }
  std::vector<std::size_t> selected;
  if (fewest == nullptr) return selected;
  for (const std::size_t i : *fewest) {
    if (selects(selector, workloads[i].metadata.labels)) selected.push_back(i);
  }
  return selected;
}

const std::vector<std::size_t>* LabelIndex::find(const std::string& key) const {
  const auto found = places_.find(key);
  return found == places_.end() ? nullptr : &found->second;
}

}  // namespace glia
