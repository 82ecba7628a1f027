// ControlPlane: one mesh as its sidecars and its operator see it. It holds the objects in force,
// the streams of the sidecars, and says what is sent to whom.
//
// A change is tried out first (trial.h). What comes meanwhile waits, at most Trial::kWait for each that
// came before it; only what the world forces upon us (a sidecar that connects, one that needs another
// host) does not. Sidecars that refuse a change in spite of its trial keep what they had, alone.
//
// Everything here belongs to one loop, so there is no lock; transports (grpc_server.h, and the
// simulation) bring requests to that loop and take responses from it.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "control_plane/serve/ads_session.h"
#include "control_plane/serve/mesh_state.h"
#include "control_plane/serve/rate.h"
#include "control_plane/serve/registrar.h"
#include "control_plane/serve/token_reviewer.h"
#include "control_plane/serve/trial.h"
#include "envoy/service/status/v3/csds.pb.h"
#include "glia/v1/status.pb.h"
#include "proxy/net/loop.h"

namespace glia {

class AdsStream;

class ControlPlane {
 public:
  static constexpr std::size_t kMostStreams = 20'000;
  // One for each type if it does not use ADS. A sidecar that reconnects may be there twice for a
  // moment, and an Envoy beside it once more.
  static constexpr int kMostStreamsOfWorkload = 12;
  static constexpr int kMostClients = 1000;          // Of one answer about client status.
  static constexpr std::size_t kMostWaiting = 1000;  // Changes of people.

  // `registrar` and `loop` outlive the control plane. `version`: of this program.
  ControlPlane(EventLoop& loop, MeshState mesh, Registrar& registrar, std::string version);
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  // "host:port" at which sidecars reach us, for join files.
  void advertise(std::string address) { advertised_ = std::move(address); }
  // What is sent lives so long, whole seconds, unless the proxy hears of it again (Resource.ttl), of those
  // that understand that. Nothing: for ever. Before the first stream.
  static constexpr Duration kLeastTtl = 3s, kMostTtl = 7 * 24h;
  void resources_live_for(std::optional<Duration> ttl) { resource_ttl_ = ttl; }
  std::optional<Duration> resource_ttl() const { return resource_ttl_; }
  // Sidecars that hold what they have used give it back after so long without use (whole seconds; 0:
  // never). Before the first stream.
  void forget_hosts_after(Duration idle) { mesh_.forget_hosts_after(idle); }
  // A new reading of the mesh's files: pushed if it is good and new, else remembered as the reason.
  void apply(LoadReport report);
  // The same, for the cost of what it changes.
  void apply(const SourceEdit& edit);
  // What people handed in, which preview() found right; only while nothing is tried out. `decided` is
  // told what sidecars refused of it, a sentence each; nothing: it is in force. `what` it is: "applied
  // shop.yaml by anna".
  using Decided = std::function<void(const std::vector<std::string>& refusals)>;
  void apply(const SourceEdit& edit, std::string what, Decided decided);
  // Does `work` as soon as no change is being tried out, one after the other; false if too much of it
  // waits already.
  bool when_decided(std::function<void()> work);

  // See MeshState::preview().
  LoadReport preview(const std::vector<std::string>& without,
                     const std::vector<ReadingRef>& with) const {
    return mesh_.preview(without, with);
  }

  // How far the canaries are; pushed if that is new.
  void split(const CanarySplits& splits);
  // Who is not among the endpoints, and why; pushed if that is new.
  void away(const AwayWorkloads& away);
  // Called with objects that were taken, before they are sent to anybody, and with those before them if
  // they are taken back.
  void on_objects(std::function<void(const ObjectSet&)> taken) {
    objects_taken_ = std::move(taken);
  }

  const ObjectSet& objects() const { return mesh_.objects(); }
  // See MeshState::set_aside().
  const std::map<std::string, std::string>& set_aside() const { return mesh_.set_aside(); }
  // Which of these clusters (xDS names) the sidecars of `caller` have in their configuration; an
  // error if it is no workload's identity.
  Result<std::vector<std::string>> held_of(const SpiffeId& caller,
                                           const std::vector<std::string>& clusters);
  v1::Status status() const;
  // Of the sidecars that are connected now: what each holds, has refused, or waits for.
  Result<envoy::service::status::v3::ClientStatusResponse> client_status(
      const envoy::service::status::v3::ClientStatusRequest& request) const;
  Result<v1::CreateTokenResponse> create_token(const v1::CreateTokenRequest& request);
  Result<v1::SignCertificateResponse> sign(const v1::SignCertificateRequest& request,
                                           const std::optional<SpiffeId>& caller);
  // The same for a request whose token may be one of a service account; `done` is called now or later.
  using Signed = std::function<void(Result<v1::SignCertificateResponse>)>;
  void sign(const v1::SignCertificateRequest& request, const std::optional<SpiffeId>& caller,
            Signed done);
  // Who knows such tokens; outlives the calls. Without one they are unknown tokens.
  void review_tokens_by(TokenReviewer& reviewer) { reviewer_ = &reviewer; }

 private:
  friend class AdsStream;
  // What is known of a workload's sidecar beyond its present stream.
  struct Sidecar {
    std::string node_id, spiffe_id;
    std::vector<AdsStream*> streams;                 // The newest last; empty: not connected.
    std::vector<AdsSession::KindStatus> last_known;  // When the last stream ended.
    TimePoint heard_again;  // Until then it has no vote, because it has let a trial wait.

    // The newest session in which the sidecar asked for that kind; null if there is none.
    const AdsSession* session(XdsType type) const;
    std::vector<AdsSession::KindStatus> kinds() const;
  };
  // A change that was taken and may be taken back.
  struct Change {
    std::set<std::string> sources;  // Names; empty: of people, or of all sources.
    std::string what;               // For sentences.
    bool whole = false;             // Of all sources.
    Decided decided = {};
  };
  // Why the newest edit of some sources is not in force although it has no mistake.
  struct Stopped {
    std::set<std::string> sources;
    std::vector<std::string> sentences;
  };
  struct Waiting {
    std::optional<CanarySplits> splits;
    std::optional<LoadReport> report;
    std::optional<SourceEdit> edit;
    std::deque<std::function<void()>> work;
  };
  static Change change_of(const SourceEdit& edit);
  void applied(MeshState::Edit edit, Change change);
  void tell_mistakes();
  void apply_untried(const SourceEdit& edit);
  void put_in_force();
  void tell_objects();
  // Offers what is new to a few; without any of them, it is in force.
  void try_out();
  bool offer(std::string_view workload, Sidecar& sidecar, std::vector<AdsStream*>& told);
  // A sidecar has said something.
  void hear_soon();
  void hear_trial();
  void take_word(Trial::Voter& voter) const;
  void end_trial();
  void pass();
  void stop();
  void decide(const std::vector<std::string>& refusals);
  void do_what_waits();
  Result<v1::SignCertificateResponse> sign_for(v1::SignCertificateRequest request,
                                               const Result<TokenHolder>& holder);
  // Tells the streams whose node's resources are others than before.
  void push();
  WallTime wall_now() const { return loop_.clock().wall_now(); }

  EventLoop& loop_;
  MeshState mesh_;
  Registrar& registrar_;
  TokenReviewer* reviewer_ = nullptr;
  std::function<void(const ObjectSet&)> objects_taken_;
  // In the log.
  std::map<std::string, std::string> told_aside_;
  std::set<std::string> told_warnings_;
  const std::string version_;
  std::string advertised_;
  std::optional<Duration> resource_ttl_;
  const WallTime started_;
  std::set<AdsStream*> streams_;
  // What held_of() has found, of the objects of this version; made when asked for.
  struct Held {
    std::string version;
    std::multimap<std::string, std::string, std::less<>> workloads = {};  // By SPIFFE id.
    std::vector<std::string> wanted = {};
    std::map<std::string, std::vector<std::string>, std::less<>> found = {};  // By SPIFFE id.
  };
  Held held_;
  std::map<std::string, Sidecar, std::less<>> sidecars_;  // By "namespace/name".
  std::string in_force_;        // Version of objects, tried or old enough.
  std::optional<Trial> trial_;  // While one is under way,
  CallbackTimer trial_timer_;   // its end, or words to listen to,
  Change change_;               // and what it is about.
  std::optional<Stopped> stopped_;
  Waiting waiting_;
  bool doing_what_waits_ = false;
  bool edit_had_its_turn_ = false;  // Of what waits.
  bool telling_ = false;     // on_objects() is under way.
  bool words_came_ = false;  // trial_timer_ is about to fire because of them.
};

}  // namespace glia
