// Freezer: makes the drawing of a draft: names become pointers, TLS contexts are built, and what
// did not change is shared with the drawing before, so that workers keep its listeners and pools.
//
// What waits for a part that has not arrived (warming): a listener without its routes and a cluster
// without its endpoints are drawn without them (null), unless the drawing before has them complete,
// which then stays; without its secrets, a listener or cluster is not drawn at all, or stays as it
// was. warming() says who waits for what.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/admission/admission_desk.h"
#include "proxy/admission/token_budget.h"
#include "proxy/mesh/snapshot.h"
#include "proxy/xds/draft.h"

namespace glia {

struct NodeNames {
  std::string id, cluster;
};

class Freezer {
 public:
  explicit Freezer(NodeNames node) : node_(std::move(node)) {}

  // A failure leaves everything as it was; its sentence is that of the NACK. The same drawing comes
  // back if nothing changed.
  // `check`, if there is one, may refuse what would be new.
  using Check = std::function<Result<void>(const Snapshot&)>;
  Result<SnapshotRef> freeze(const Draft& draft, const Check& check = {});
  // Null before the first.
  const SnapshotRef& current() const { return current_; }
  // "listener web waits for routes reco"
  const std::vector<std::string>& warming() const { return warming_; }

 private:
  using TlsRef = std::shared_ptr<const TlsContext>;
  using ServerLoadRef = std::shared_ptr<const ServerLoad>;
  using DeskRef = std::shared_ptr<const AdmissionDesk>;
  using LedgerRef = std::shared_ptr<const TokenLedger>;
  // What a finished listener or cluster was made of, to know it again.
  template <class Config>
  struct Built {
    ResourceRef from;
    std::vector<std::shared_ptr<const void>> parts;
    std::shared_ptr<const Config> config;
    bool complete = false;
  };
  template <class Config>
  using BuiltMap = std::map<std::string, Built<Config>, std::less<>>;
  struct Next {  // Becomes the state below if all goes well.
    BuiltMap<ListenerConfig> listeners;
    BuiltMap<ClusterConfig> clusters;
    std::map<std::string, TlsRef> tls;
    std::map<std::string, ServerLoadRef> server_loads;
    std::map<std::string, DeskRef> desks;
    std::map<std::string, LedgerRef> ledgers;
    std::vector<std::string> warming;
    Errors errors;
  };
  // Null, with `waits` saying for what, while a secret is missing; null without on an error.
  TlsRef tls_context(const Draft& draft, const TlsSettings& settings, const std::string& path,
                     Next& next, std::string& waits);
  // Clusters of one application share what is known of its load, and keep it.
  ServerLoadRef server_load(const ModelServerConfig& config, Next& next) const;
  // So do filters of one application share its queue.
  void seat(HttpManager& http, const std::string& listener, Next& next) const;
  void freeze_listener(const Draft& draft, const ResourceRef& resource, Next& next);
  void freeze_cluster(const Draft& draft, const ResourceRef& resource, Next& next);
  template <class Config>
  void keep(const std::string& name, const std::string& waits, std::string_view word,
            const BuiltMap<Config>& before, Built<Config> made, bool usable, BuiltMap<Config>& into,
            Next& next);

  NodeNames node_;
  SnapshotRef current_;
  BuiltMap<ListenerConfig> listeners_;
  BuiltMap<ClusterConfig> clusters_;
  std::map<std::string, ServerLoadRef> server_loads_;  // By address and path of the metrics.
  std::map<std::string, DeskRef> desks_;               // By application.
  std::map<std::string, LedgerRef> ledgers_;           // By application, too.
  std::map<std::string, TlsRef> tls_;                  // By everything that went into the context.
  std::vector<std::string> warming_;
};

}  // namespace glia
