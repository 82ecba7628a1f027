// The whole proxy on real threads, with real sockets on loopback: certificates that are replaced,
// admin pages, logs and memory watched, while requests are on their way. Runs under ThreadSanitizer.
#include "proxy/server/proxy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <list>
#include <nlohmann/json.hpp>

#include "proxy/base/text.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/tcp.h"
#include "proxy/net/x509.h"
#include "proxy/xds/file.h"
#include "test/sim/party.h"

namespace glia {
namespace {

constexpr int kRounds = 40;

std::string listener(std::string_view name, std::string_view socket, const std::string& log) {
  return cat("  - name: ", name, R"(
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - )",
             socket, R"(filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: )",
             name, R"(
          access_log:
          - name: file
            typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: ")",
             log, R"("}
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: served}}}]}]}
)");
}

std::string bootstrap_text(const std::string& log) {
  constexpr std::string_view kTls = R"(transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context: {tls_certificate_sds_secret_configs: [{name: default}]}
      )";
  return cat(R"(
node: {id: threads, cluster: test}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
overload_manager:
  resource_monitors:
  - name: heap
    typed_config: {"@type": type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig, max_heap_size_bytes: 68719476736}
static_resources:
  listeners:
)",
             listener("clear", "", log), listener("secure", kTls, log));
}

class ProxyTest : public testing::Test {
 protected:
  ProxyTest()
      : directory_(testing::TempDir()),
        log_(cat(directory_, "/proxy-test-", getpid(), ".log")),
        authority_(*CertificateAuthority::create("m.test", now(), 24h)) {
    options_.concurrency = 2;
    options_.admin_address_path = cat(directory_, "/proxy-test-", getpid(), ".admin");
    options_.drain_time = 1s;
  }
  ~ProxyTest() override {
    asked_.clear();
    proxy_.reset();
    main_.turn(0s);
    ::unlink(log_.c_str());
    ::unlink(options_.admin_address_path.c_str());
  }
  WallTime now() { return main_.clock().wall_now(); }

  template <class Condition>
  void until(Condition condition) {
    const TimePoint limit = main_.clock().now() + 60s;
    bool holds = condition();
    for (; !holds && main_.clock().now() < limit; holds = condition()) main_.turn(20ms);
    ASSERT_TRUE(holds);
  }
  void start() {
    Errors errors;
    std::optional<Bootstrap> bootstrap =
        parse_bootstrap(bootstrap_text(log_), "test.yaml", now(), errors);
    for (const std::string& sentence : errors.sentences()) ADD_FAILURE() << sentence;
    ASSERT_TRUE(bootstrap);
    proxy_.emplace(options_, main_, network_);
    const Result<void> started = proxy_->start(*std::move(bootstrap));
    ASSERT_TRUE(started.ok()) << (started ? "" : started.error().message());
    renew();
    std::ifstream file(options_.admin_address_path);
    std::string admin;
    std::getline(file, admin);
    admin_ = *Address::parse(admin);
    until([&] { return ask_once(admin_, "GET /ready").starts_with("HTTP/1.1 200"); });
    until([&] {  // The secure one waits for its certificate.
      learn_ports();
      return ports_.size() == 2;
    });
  }
  void learn_ports() {
    const std::string listeners = ask_once(admin_, "GET /listeners?format=json");
    ASSERT_TRUE(listeners.starts_with("HTTP/1.1 200")) << listeners;
    const auto told = nlohmann::json::parse(listeners.substr(listeners.find("\r\n\r\n") + 4));
    for (const auto& row : told["listener_statuses"]) {
      const auto& at = row["local_address"]["socket_address"];
      ports_[row["name"].get<std::string>()] =
          *Address::ip("127.0.0.1", at["port_value"].get<uint16_t>());
    }
  }
  // Another certificate for the secure listener.
  void renew() {
    const Identity identity =
        *issue(authority_, {.uri_san = "spiffe://m.test/x", .dns_sans = {"a.test"}, .now = now()});
    const Result<void> set = proxy_->set_secrets({{.name = "default",
                                                   .certificate_chain = identity.certificate,
                                                   .private_key = identity.private_key}});
    ASSERT_TRUE(set.ok()) << (set ? "" : set.error().message());
  }

  Party& ask(const Address& to, std::string_view what) {
    std::unique_ptr<Stream> stream = network_.connect(to);
    if (const auto at = ports_.find("secure"); at != ports_.end() && to == at->second)
      stream = tls_->wrap(main_, std::move(stream), 10s);
    Party& party = asked_.emplace_back(std::move(stream));
    party.send(cat(what, " HTTP/1.1\r\nhost: ", to.text(),
                   "\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
    return party;
  }
  std::string ask_once(const Address& to, std::string_view what) {
    Party& party = ask(to, what);
    until([&] { return party.ended || party.broken; });
    EXPECT_FALSE(party.broken) << what << ": " << party.stream->error().message();
    const std::string answer = std::move(party.received);
    asked_.pop_back();  // The admin server has room for few that do not hang up.
    return answer;
  }

  const std::string directory_, log_;
  EventLoop main_{std::make_unique<LibeventBackend>()};
  SocketNetwork network_{main_};
  CertificateAuthority authority_;
  std::shared_ptr<const TlsContext> tls_ = *TlsContext::create(
      TlsContext::Side::kClient, {.trusted_ca = authority_.certificate(),
                                  .peer_sans = {{.type = SanMatch::Type::kDns, .value = "a.test"}},
                                  .server_name = "a.test"});
  Options options_;
  std::optional<Proxy> proxy_;
  Address admin_;
  std::map<std::string, Address> ports_;
  std::list<Party> asked_;
};

TEST_F(ProxyTest, ServesWhileCertificatesChangeAndEveryAdminPageIsAsked) {
  ASSERT_NO_FATAL_FAILURE(start());
  const std::string_view pages[] = {"GET /stats/prometheus",
                                    "GET /clusters?format=json",
                                    "GET /certs",
                                    "GET /config_dump",
                                    "GET /exchanges",
                                    "GET /server_info",
                                    "POST /reopen_logs",
                                    "GET /stats?filter=http",
                                    "POST /logging?level=warning",
                                    "GET /listeners?format=json"};
  for (int round = 0; round < kRounds; ++round) {
    asked_.clear();
    ASSERT_NO_FATAL_FAILURE(renew());
    for (int i = 0; i < 4; ++i) {
      ask(ports_["secure"], "GET /");
      ask(ports_["clear"], "GET /");
    }
    for (int i = 0; i < 3; ++i) ask(admin_, pages[(3 * round + i) % std::size(pages)]);
    until([&] {
      return std::ranges::all_of(asked_, [](const Party& p) { return p.ended || p.broken; });
    });
    for (const Party& party : asked_) {
      EXPECT_TRUE(party.received.starts_with("HTTP/1.1 200"))
          << party.to_send << party.received
          << (party.broken ? party.stream->error().message() : "");
    }
  }
  proxy_->shut_down();
  main_.run();
  EXPECT_FALSE(proxy_->failed());
}

TEST_F(ProxyTest, IsDestroyedWhileEverybodyAsks) {
  ASSERT_NO_FATAL_FAILURE(start());
  for (int i = 0; i < 8; ++i) {
    ask(ports_["secure"], "GET /");
    ask(ports_["clear"], "GET /");
    ask(admin_, "GET /stats/prometheus");
  }
  main_.turn(0s);
  proxy_.reset();
  until([&] {
    return std::ranges::all_of(asked_, [](const Party& p) { return p.ended || p.broken; });
  });
}

}  // namespace
}  // namespace glia
