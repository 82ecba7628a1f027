// SimProxy: a whole sidecar in a simulated world: one Worker, and the configuration that comes over
// ADS, in the variant that chance chooses. Only the program around it (options, admin pages,
// threads) is missing.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/x509.h"
#include "proxy/server/worker.h"
#include "proxy/xds/ads.h"
#include "proxy/xds/configuration.h"
#include "test/sim/sim.h"

namespace glia {

class SimProxy {
 public:
  // On the machine `ip`, beside `workload` ("namespace/name") with that identity.
  SimProxy(SimWorld& world, const std::string& ip, const std::string& workload,
           const std::string& spiffe_id, const CertificateAuthority& authority,
           const Address& control);
  // Call it between turns only.
  ~SimProxy();

  // Goes on with a new certificate of the same identity.
  void renew(const CertificateAuthority& authority);

  const std::string& workload() const { return workload_; }
  Worker& worker() { return worker_; }
  const Configuration& configuration() const { return *configuration_; }
  const AdsClient& ads() const { return *ads_; }
  // What came over ADS: bytes by "type name".
  std::map<std::string, std::string> resources() const;
  // What the worker could not do, ever.
  const std::vector<std::string>& problems() const { return problems_; }
  // Counts of requests that the worker has in hand and that are not 0, "name value" each: nothing
  // once everything has ended.
  std::vector<std::string> in_hand() const;

 private:
  void publish(const SnapshotRef& snapshot);

  EventLoop& loop_;
  const std::string workload_, spiffe_id_;
  Worker worker_;
  std::unique_ptr<Configuration> configuration_;
  std::unique_ptr<AdsClient> ads_;
  std::vector<std::string> problems_;
};

}  // namespace glia
