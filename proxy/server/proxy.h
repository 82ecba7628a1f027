// Proxy: the whole program: where its configuration comes from, the workers that run it, the admin
// pages that show it, and how it ends.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/http/small_server.h"
#include "proxy/server/admin.h"
#include "proxy/server/admin_view.h"
#include "proxy/server/file_writer.h"
#include "proxy/server/options.h"
#include "proxy/server/overload.h"
#include "proxy/server/server.h"
#include "proxy/xds/ads.h"
#include "proxy/xds/configuration.h"
#include "proxy/xds/configuration_keeper.h"
#include "proxy/xds/health_reporter.h"
#include "proxy/xds/reporter.h"

namespace glia {

class Proxy final : private AdminView {
 public:
  // `loop` runs on the calling thread, which is the main thread; it and `network` outlive the proxy.
  Proxy(const Options& options, EventLoop& loop, Network& network);
  Proxy(const Proxy&) = delete;
  ~Proxy() override;

  // Runs on `bootstrap`: draws it, listens, and begins to ask the control plane if it names one. What
  // cannot be done at once is the error.
  Result<void> start(Bootstrap bootstrap);
  bool started() const { return configuration_ != nullptr; }
  // Trouble that cannot be lived with: ends the process with failed() true.
  void fail();
  bool failed() const { return failed_; }
  // SIGTERM: stops accepting and stops the loop when all requests have ended, or after the drain
  // time. A second call stops it at once.
  void shut_down();
  void reopen_logs_now();
  // Resources of several kinds, all or none (Configuration::push).
  Result<void> push(const std::vector<Push>& pushes) { return configuration_->push(pushes); }
  // Secrets that the proxy holds itself, put in force together.
  Result<void> set_secrets(std::vector<SecretResource> secrets);

 private:
  void publish(SnapshotRef snapshot);
  void set_limits(const ProcessLimits& limits);
  Task<void> finish();
  Result<void> listen_for_admin();
  void begin_reports();
  void begin_keeping();
  void restore(const std::string& owner);
  void keep_the_rest();
  void begin_health();
  Task<void> look_for_idle_hosts();

  // AdminView.
  ServerFacts facts() const override;
  std::string origin() const;  // See ServerFacts.
  std::vector<ListenerRow> listeners() const override;
  std::vector<CertificateRow> certificates() const override;
  Result<std::string> config_dump(const ConfigDumpQuery& query) const override;
  Task<MetricsPage> metrics() override;
  Task<std::vector<EndpointRow>> endpoints() override { return server_.endpoints(); }
  Task<std::vector<std::string>> exchanges() override { return server_.exchanges(); }
  void drain_listeners(Drain how, Which which) override;
  Task<std::vector<std::string>> reopen_logs() override { return server_.reopen_logs(); }
  void quit() override { shut_down(); }

  const Options& options_;
  EventLoop& loop_;
  Network& network_;
  std::unique_ptr<Configuration> configuration_;
  std::unique_ptr<AdsClient> ads_;
  std::unique_ptr<FileWriter> writer_;           // Null, as the next one: nothing is kept on disk.
  std::unique_ptr<ConfigurationKeeper> keeper_;  // Before writer_ ends, so that that tells nobody.
  std::string kept_;  // "PATH of TIME": what the proxy was started with; "" if nothing.
  Server server_;
  std::unique_ptr<Reporter> reporter_;  // Null: nobody is told.
  std::unique_ptr<HealthReporter> health_;  // The same.
  AdminService admin_pages_;
  SmallServer admin_;
  std::unique_ptr<Overload> overload_;  // Null: nothing limits our memory.
  Result<void> first_publish_;
  CallbackTimer late_drain_;  // A graceful drain closes the listeners when it fires.
  Task<void> finishing_;
  Task<void> looking_;  // For hosts that nobody uses.
  // Set when /ready first says LIVE. Later drawings are taken over without a moment of not serving.
  mutable bool was_live_ = false;
  bool shutting_down_ = false;
  bool failed_ = false;
};

}  // namespace glia
