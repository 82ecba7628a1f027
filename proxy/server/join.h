// JoinSource: a proxy that belongs to a mesh: it gets its certificate from the control plane, then
// everything else over ADS.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proxy/server/sources.h"
#include "proxy/xds/identity.h"
#include "proxy/xds/identity_http.h"

namespace glia {

// What a sidecar must know to join: the content of a join file (`glia token`).
struct JoinFacts {
  std::string token;                      // One use; "" if the state directory holds an identity.
  std::string token_file;                 // In its place: of a service account, renewed by kubelet.
  std::string workload;                   // "namespace/name"
  std::string admin = "127.0.0.1:15000";  // Of the admin pages: spec.admin of the Workload.
  ControlPlaneAddress control;
};
// From --join, or from --control, --workload and --token-file.
Result<JoinFacts> join_facts(const Options& options);

class JoinSource final : public Source {
 public:
  JoinSource(const Options& options, JoinFacts facts, EventLoop& loop, Network& network);
  Result<void> start(Proxy& proxy) override;

 private:
  void use(const HeldIdentity& identity);

  const Options& options_;
  JoinFacts facts_;
  Proxy* proxy_ = nullptr;
  IdentityClient identity_;
};

}  // namespace glia
