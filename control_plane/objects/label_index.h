// LabelIndex: workloads by namespace and label, so that a selector looks at few of them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "control_plane/objects/object_set.h"

namespace glia {

class LabelIndex {
 public:
  LabelIndex() = default;
  explicit LabelIndex(const std::vector<Workload>& workloads);

  // Places in `workloads`, in order; those whose labels have not changed since the index was made.
  std::vector<std::size_t> select(const std::vector<Workload>& workloads, const std::string& ns,
                                  const TextMap& selector) const;

 private:
  const std::vector<std::size_t>* find(const std::string& key) const;

  std::map<std::string, std::vector<std::size_t>> places_;  // "ns" and "ns/label=value"
};

}  // namespace glia
