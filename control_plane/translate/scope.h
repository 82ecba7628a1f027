// What of a mesh one workload may call (Workload spec.egress): the hosts of some Services, and the
// clusters that their routes lead to, which may be those of other Services.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "envoy/config/route/v3/route.pb.h"

namespace glia {

// All clusters to which a table can lead.
std::set<std::string> clusters_of(const envoy::config::route::v3::RouteConfiguration& table);

// The outbound routes of a namespace by Service, so that a small part of a large mesh is found
// without looking at all of it. Points into `table`, which must outlive it.
class RouteIndex {
 public:
  explicit RouteIndex(const envoy::config::route::v3::RouteConfiguration& table);

  // The table with the hosts of these Services ("namespace/name") only, and what answers unknown
  // names. `clusters` gets the names of all clusters that it can lead to.
  envoy::config::route::v3::RouteConfiguration within(const std::vector<std::string>& services,
                                                      std::set<std::string>& clusters) const;

 private:
  using VirtualHost = envoy::config::route::v3::VirtualHost;
  const envoy::config::route::v3::RouteConfiguration& table_;
  std::map<std::string, std::vector<const VirtualHost*>> hosts_;  // By "namespace/name".
  std::vector<const VirtualHost*> others_;
};

}  // namespace glia
