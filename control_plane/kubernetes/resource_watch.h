// ResourceWatch: all objects of one kind in the cluster, and what becomes of them: listed in pages, then watched
// from there (Kubernetes API concepts: "efficient detection of changes").
//
// What is known stays while the API server is away. A version that it has forgotten (410 Gone) means a new list;
// objects that are not in it any more are gone at its end, not before, so that nobody misses one meanwhile. Belongs
// to one loop.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "control_plane/inject/decide.h"
#include "control_plane/kubernetes/api_server.h"
#include "proxy/base/random.h"
#include "proxy/xds/backoff.h"

namespace glia {

struct Resource {
  std::string group, version;  // "": the core group.
  std::string plural;          // "httproutes"
  std::string kind;            // "HTTPRoute"
  std::string selector;        // "fieldSelector=...": of those that are wanted; "": all.

  // "/apis/gateway.networking.k8s.io/v1/httproutes"
  std::string path() const;
  // The same of one object; `ns` is "" for a kind without namespaces.
  std::string path_of(const std::string& ns, const std::string& name) const;
  // "httproutes.gateway.networking.k8s.io"
  std::string text() const;
};

class ResourceWatch {
 public:
  static constexpr int kPage = 500;                    // objects of one answer
  static constexpr std::size_t kMostObjects = 50'000;  // Of a kind; more are left out, with a word.
  static constexpr std::size_t kLongestEvent = 8u << 20;  // bytes of one line of a watch
  static constexpr int kWatchSeconds = 300;  // Then the server ends it; up to twice that.
  // Bookmarks come about every minute: who has said nothing for so long is not there.
  static constexpr Duration kSilence = 150s;
  static constexpr Duration kFirstRetry = 200ms;
  static constexpr Duration kLastRetry = 30s;
  // Of what we may not see, or what the cluster does not have: somebody must do something first.
  static constexpr Duration kDeniedRetry = 60s;
  // A watch that lived so long has been worth it.
  static constexpr Duration kGoodWatch = 5s;

  class Owner {
   public:
    virtual ~Owner() = default;
    // A new object, or a new version of one. Lists leave out kind and apiVersion of their items.
    virtual void on_object(const Resource& resource, const Json& object) = 0;
    virtual void on_gone(const Resource& resource, const std::string& ns,
                         const std::string& name) = 0;
  };

  // Both outlive it.
  ResourceWatch(ApiServer& server, Resource resource, uint64_t seed, Owner& owner);
  ~ResourceWatch() { task_.cancel(); }
  ResourceWatch(const ResourceWatch&) = delete;

  void start();
  const Resource& resource() const { return resource_; }
  // Why the last try failed; "" while it goes well.
  const std::string& trouble() const { return trouble_; }
  std::size_t objects() const { return held_.size(); }
  // A list has ended, or was refused for a reason that will not change soon: see trouble().
  bool settled() const { return settled_; }

 private:
  using Key = std::pair<std::string, std::string>;  // Namespace, name

  Task<void> run();
  Task<Result<void>> list();
  Task<Result<void>> page(std::string rest, std::set<Key>& seen, std::string& next);
  Task<Result<void>> watch();
  Result<void> take_event(std::string_view line);
  bool put(const Json& object, std::set<Key>& seen);
  Error refused(std::string_view verb, const ApiAnswer& answer);
  Duration fail(const Error& error);

  ApiServer& server_;
  const Resource resource_;
  Owner& owner_;
  Random random_;
  Backoff backoff_;
  std::set<Key> held_;
  std::string version_;  // To watch from; "": list first.
  std::string trouble_;
  bool denied_ = false, full_ = false, settled_ = false;
  Task<void> task_;
};

}  // namespace glia
