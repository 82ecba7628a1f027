// The admin pages as curl, a browser and an attacker see them, over a simulated network.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/http/small_server.h"
#include "proxy/server/admin.h"
#include "test/sim/party.h"
#include "test/sim/sim.h"

namespace glia {
namespace {

using Json = nlohmann::json;

// A proxy that says what a test wants it to say.
class MadeUpProxy final : public AdminView {
 public:
  explicit MadeUpProxy(EventLoop& loop) : loop_(loop) {
    said.state = ServerState::kLive;
    said.version = "1.2.3";
    said.uptime = 90s;
    said.node_id = "default/front<script>";
    said.node_cluster = "front";
    said.config_version = "abc";
    said.options = {{"concurrency", "2"}};
  }
  ServerFacts facts() const override { return said; }
  std::vector<ListenerRow> listeners() const override {
    return {{"inbound:rest", *Address::parse("127.0.1.3:8080")},
            {"outbound", *Address::parse("[::1]:15001")},
            {"local", *Address::parse("unix:/run/app.sock")}};
  }
  std::vector<CertificateRow> certificates() const override {
    TlsContext::CertificateInfo info;
    info.serial = "01ab";
    info.uri_sans = {"spiffe://demo.mesh/ns/default/sa/front"};
    info.not_before = loop_.clock().wall_now() - 1min;
    info.not_after = loop_.clock().wall_now() + 49h + 1s;
    TlsContext::CertificateInfo root = info;
    root.not_after = loop_.clock().wall_now() - 1h;
    return {{"listener inbound:rest", false, info},
            {"listener inbound:rest", true, root},
            {"cluster c", false, info}};
  }
  Result<std::string> config_dump(const ConfigDumpQuery& query) const override {
    if (query.resource == "nonsense") return invalid("resource nonsense is not known");
    return cat("{\"resource\":\"", query.resource, "\",\"name\":\"", query.name, "\"}\n");
  }
  Task<MetricsPage> metrics() override {
    co_await sleep_for(loop_, 5ms);  // Workers answer later.
    MetricsPage page;
    page.counter("a_total", {{"cluster", "reco"}}, 7);
    page.gauge("b_active", {}, 1);
    co_return page;
  }
  Task<std::vector<EndpointRow>> endpoints() override {
    co_return std::vector<EndpointRow>{
        {.cluster = "a", .address = "10.0.0.1:80", .health = "healthy", .weight = 3, .rq_total = 9},
        {.cluster = "a", .address = "10.0.0.2:80", .health = "unhealthy", .weight = 1},
        {.cluster = "b", .address = "not.resolved:80", .health = "draining", .weight = 1},
        {.cluster = "llm",
         .address = "10.0.0.3:80",
         .health = "healthy",
         .rq_active = 2,
         .why = "load 7 (2 ours)",
         .load = 7,
         .score = 8.25,
         .confidence = 0.5,
         .report_age_ms = 120,
         .picked = 12}};
  }
  Task<std::vector<std::string>> exchanges() override {
    co_return std::vector<std::string>{"GET /\"x\""};
  }
  void drain_listeners(Drain how, Which which) override {
    done += cat("drain ", how == Drain::kGraceful ? "graceful " : "at once ",
                which == Which::kInbound ? "inbound;" : "all;");
  }
  Task<std::vector<std::string>> reopen_logs() override {
    done += "reopen;";
    co_return log_problems;
  }
  void quit() override { done += "quit;"; }

  ServerFacts said;
  std::string done;
  std::vector<std::string> log_problems;

 private:
  EventLoop& loop_;
};

struct Answer {
  int status = 0;
  std::string head, body;
};

class AdminTest : public testing::Test {
 protected:
  void listen(const std::string& ip) {
    server_.emplace(world_.loop(), world_.host(ip), pages_,
                    SmallServer::Options{.idle_time = AdminService::kIdleTime});
    ASSERT_TRUE(server_->listen(*Address::ip(ip, 15000)));
  }
  void SetUp() override { listen("127.0.0.1"); }
  ~AdminTest() override { set_log_level(LogLevel::info); }

  // Sends one request, as it stands, and takes everything until the connection ends.
  Answer send(std::string_view method, std::string_view target, std::string_view fields = {},
              std::string_view host = "127.0.0.1:15000", const std::string& from = "127.0.0.1") {
    Party client(world_.host(from).connect(server_->address()));
    client.send(cat(method, ' ', target, " HTTP/1.1\r\nhost: ", host, "\r\nconnection: close\r\n",
                    fields, "\r\n"));
    EXPECT_TRUE(world_.run_until([&] { return client.ended || client.broken; }, 30s));
    Answer answer;
    const std::size_t end = std::min(client.received.find("\r\n\r\n"), client.received.size());
    answer.head = client.received.substr(0, end);
    answer.body = client.received.substr(std::min(end + 4, client.received.size()));
    if (answer.head.starts_with("HTTP/1.1 ")) answer.status = std::stoi(answer.head.substr(9, 3));
    return answer;
  }
  Answer get(std::string_view target) { return send("GET", target); }
  Answer post(std::string_view target, std::string_view fields = {}) {
    return send("POST", target, cat("content-length: 0\r\n", fields));
  }

  SimWorld world_{7};
  MadeUpProxy proxy_{world_.loop()};
  AdminService pages_{proxy_};
  std::optional<SmallServer> server_;
};

TEST_F(AdminTest, SaysWhetherItIsReady) {
  EXPECT_EQ(get("/ready").status, 200);
  EXPECT_EQ(get("/ready").body, "LIVE\n");
  proxy_.said.state = ServerState::kDraining;
  EXPECT_EQ(get("/ready").status, 503);
  EXPECT_EQ(get("/ready").body, "DRAINING\n");
  proxy_.said.state = ServerState::kInitializing;
  proxy_.said.waiting_for = "waiting for listeners from 127.0.0.1:15012";
  EXPECT_EQ(get("/ready").status, 503);
  EXPECT_EQ(get("/ready").body, "INITIALIZING\nwaiting for listeners from 127.0.0.1:15012\n");
}

TEST_F(AdminTest, PrintsCounts) {
  EXPECT_EQ(get("/stats").body, "a_total{cluster=\"reco\"}: 7\nb_active: 1\n");
  EXPECT_EQ(get("/stats?filter=reco").body, "a_total{cluster=\"reco\"}: 7\n");
  EXPECT_EQ(get("/stats?filter=%72eco&x").body, "a_total{cluster=\"reco\"}: 7\n");
  const Answer prometheus = get("/stats/prometheus?usedonly");
  EXPECT_EQ(prometheus.body,
            "# TYPE a_total counter\na_total{cluster=\"reco\"} 7\n"
            "# TYPE b_active gauge\nb_active 1\n");
  EXPECT_NE(prometheus.head.find("text/plain; version=0.0.4"), std::string::npos);
  EXPECT_EQ(get("/stats?format=prometheus").body, prometheus.body);
  EXPECT_EQ(Json::parse(get("/stats?format=json").body)["stats"].size(), 2u);
  EXPECT_EQ(get("/stats?format=xml").status, 400);
}

TEST_F(AdminTest, PrintsClustersAsEnvoyDoes) {
  const std::string text = get("/clusters").body;
  EXPECT_TRUE(
      text.starts_with("a::10.0.0.1:80::cx_active::0\na::10.0.0.1:80::cx_connect_fail::0\n"));
  EXPECT_NE(text.find("a::10.0.0.1:80::rq_total::9\na::10.0.0.1:80::health_flags::healthy\n"
                      "a::10.0.0.1:80::weight::3\n"),
            text.npos);
  EXPECT_NE(text.find("a::10.0.0.2:80::health_flags::/failed_eds_health\n"), text.npos);
  const Json json = Json::parse(get("/clusters?format=json").body)["cluster_statuses"];
  ASSERT_EQ(json.size(), 3u);
  EXPECT_EQ(json[0]["host_statuses"].size(), 2u);
  EXPECT_EQ(json[0]["host_statuses"][0]["address"]["socket_address"]["port_value"], 80);
  EXPECT_EQ(json[0]["host_statuses"][0]["stats"][6],
            Json::parse(R"({"name":"rq_total","value":"9"})"));
  EXPECT_EQ(json[1]["host_statuses"][0]["address"], "not.resolved:80");
  EXPECT_EQ(json[1]["host_statuses"][0]["health_status"]["eds_health_status"], "DRAINING");
}

TEST_F(AdminTest, PrintsWhatIsBelievedOfEndpointsThatReportTheirLoad) {
  EXPECT_EQ(get("/endpoints").body,
            "llm\n    load   score  picked  endpoint: why\n"
            "       7     8.3      12  10.0.0.3:80: load 7 (2 ours)\n");
  const Json json = Json::parse(get("/endpoints?format=json&cluster=ll").body)["endpoints"];
  ASSERT_EQ(json.size(), 1u);
  EXPECT_EQ(json[0]["address"], "10.0.0.3:80");
  EXPECT_EQ(json[0]["score"], 8.25);
  EXPECT_EQ(json[0]["confidence"], 0.5);
  EXPECT_EQ(json[0]["report_age_ms"], 120);
  EXPECT_EQ(json[0]["picked"], 12);
  EXPECT_EQ(get("/endpoints?cluster=x").body, "no cluster here chooses by load reports\n");
}

TEST_F(AdminTest, PrintsListeners) {
  EXPECT_EQ(get("/listeners").body,
            "inbound:rest::127.0.1.3:8080\noutbound::[::1]:15001\nlocal::unix:/run/app.sock\n");
  const Json json = Json::parse(get("/listeners?format=json").body)["listener_statuses"];
  EXPECT_EQ(json[1]["local_address"]["socket_address"]["address"], "::1");
  EXPECT_EQ(json[2]["local_address"]["pipe"]["path"], "/run/app.sock");
}

TEST_F(AdminTest, PrintsCertificatesWithTheTimeThatIsLeft) {
  const Json json = Json::parse(get("/certs").body)["certificates"];
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0]["used_by"], "listener inbound:rest");
  const Json& own = json[0]["cert_chain"][0];
  EXPECT_EQ(own["days_until_expiration"], "2");
  EXPECT_EQ(own["serial_number"], "01ab");
  EXPECT_EQ(own["subject_alt_names"][0]["uri"], "spiffe://demo.mesh/ns/default/sa/front");
  EXPECT_EQ(json[0]["ca_cert"][0]["days_until_expiration"], "0");  // It is over.
  EXPECT_TRUE(json[1]["ca_cert"].empty());
}

TEST_F(AdminTest, PrintsServerInfoConfigurationAndExchanges) {
  const Json info = Json::parse(get("/server_info").body);
  EXPECT_EQ(info["version"], "1.2.3");
  EXPECT_EQ(info["state"], "LIVE");
  EXPECT_EQ(info["uptime_current_epoch"], "90s");
  EXPECT_EQ(info["node"]["cluster"], "front");
  EXPECT_EQ(info["command_line_options"]["concurrency"], "2");
  EXPECT_EQ(Json::parse(get("/config_dump?resource=r%201&name=n").body),
            Json::parse(R"({"resource":"r 1","name":"n"})"));
  EXPECT_EQ(get("/config_dump?resource=nonsense").status, 400);
  EXPECT_EQ(get("/exchanges").body, "GET /\"x\"\n");
  EXPECT_EQ(Json::parse(get("/exchanges?format=json").body)["exchanges"][0], "GET /\"x\"");
}

TEST_F(AdminTest, ListsItsPages) {
  const Answer front = get("/");
  EXPECT_NE(front.head.find("text/html"), std::string::npos);
  EXPECT_EQ(front.body.find("<script>"), std::string::npos);  // The node's name is only text.
  EXPECT_EQ(front.body.find("http"), std::string::npos);      // Nothing from elsewhere.
  const Answer missing = get("/nothing");
  EXPECT_EQ(missing.status, 404);
  EXPECT_TRUE(missing.body.starts_with("there is no admin page /nothing; admin pages are:\n"));
  EXPECT_NE(get("/help").body.find("  /quitquitquit (POST): drain, then end the process\n"),
            std::string::npos);
}

TEST_F(AdminTest, ChangesTheLogLevel) {
  EXPECT_EQ(get("/logging").body, "level: info\n");
  EXPECT_EQ(get("/logging?level=debug").body, "level: info\n");  // A GET changes nothing.
  EXPECT_EQ(post("/logging?level=debug").body, "level: debug\n");
  EXPECT_EQ(post("/logging?level=warn").body, "level: warning\n");
  const Answer wrong = post("/logging?level=loud");
  EXPECT_EQ(wrong.status, 400);
  EXPECT_EQ(wrong.body,
            "level=loud is not known; use /logging?level= with trace, debug, info, "
            "warning, error or off\n");
  EXPECT_EQ(post("/logging").status, 400);
  EXPECT_EQ(log_level(), LogLevel::warning);
}

TEST_F(AdminTest, ChangesOnlyByPost) {
  for (const std::string_view path : {"/quitquitquit", "/drain_listeners", "/reopen_logs"}) {
    for (const std::string_view method : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}) {
      const Answer answer = send(method, path);
      EXPECT_EQ(answer.status, 405) << method << ' ' << path;
      EXPECT_NE(answer.head.find("allow: POST"), std::string::npos) << answer.head;
    }
  }
  EXPECT_EQ(get("/quitquitquit").body, "/quitquitquit is asked with POST, not GET\n");
  EXPECT_EQ(post("/stats").status, 405);
  EXPECT_EQ(proxy_.done, "");
  EXPECT_EQ(post("/drain_listeners").body, "OK\n");
  EXPECT_EQ(post("/drain_listeners?graceful&inboundonly").body, "OK\n");
  EXPECT_EQ(post("/reopen_logs").body, "OK\n");
  EXPECT_EQ(post("/quitquitquit").body, "OK\n");
  EXPECT_EQ(proxy_.done, "drain at once all;drain graceful inbound;reopen;quit;");
}

TEST_F(AdminTest, SaysWhichLogCouldNotBeOpened) {
  proxy_.log_problems = {"access log /x cannot be opened: Permission denied"};
  const Answer answer = post("/reopen_logs");
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(answer.body, "access log /x cannot be opened: Permission denied\n");
}

TEST_F(AdminTest, AnswersHeadWithoutABody) {
  const Answer answer = send("HEAD", "/ready");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "");
}

// Checklist G17: DNS rebinding.
TEST_F(AdminTest, RefusesAHostThatIsNotItsOwn) {
  for (const std::string_view host :
       {"evil.example", "evil.example:15000", "127.0.0.1.evil.example", "localhost.evil.example",
        "192.168.1.1:15000", "0.0.0.0:15000"}) {
    const Answer answer = send("POST", "/quitquitquit", "content-length: 0\r\n", host);
    EXPECT_EQ(answer.status, 403) << host;
    EXPECT_EQ(answer.body, cat("Host ", host,
                               " is not an address of this proxy; ask for "
                               "127.0.0.1:15000 or localhost\n"));
    EXPECT_EQ(send("GET", "/config_dump", {}, host).status, 403) << host;
  }
  for (const std::string_view host :
       {"localhost", "LocalHost:15000", "127.0.0.1", "127.0.1.9:15000", "[::1]:15000"}) {
    EXPECT_EQ(send("GET", "/ready", {}, host).status, 200) << host;
  }
  EXPECT_EQ(proxy_.done, "");
}

// Checklist G17: another page in the same browser.
TEST_F(AdminTest, RefusesChangesThatAForeignPageAsksFor) {
  for (const std::string_view origin : {"http://evil.example", "null", "http://127.0.0.1:3000",
                                        "http://localhost:15000", "https://127.0.0.1:15000"}) {
    const Answer answer = post("/quitquitquit", cat("origin: ", origin, "\r\n"));
    EXPECT_EQ(answer.status, 403) << origin;
    EXPECT_EQ(answer.body, cat("a page of ", origin,
                               " may not change this proxy; send the request "
                               "without Origin\n"));
  }
  EXPECT_EQ(proxy_.done, "");
  EXPECT_EQ(post("/quitquitquit", "origin: http://127.0.0.1:15000\r\n").status, 200);
  EXPECT_EQ(proxy_.done, "quit;");
}

TEST_F(AdminTest, ShowsOtherMachinesOnlyReadinessAndCounts) {
  listen("10.0.0.1");
  const auto from_afar = [&](std::string_view method, std::string_view target) {
    return send(method, target, {}, "10.0.0.1:15000", "10.0.0.2");
  };
  EXPECT_EQ(from_afar("GET", "/ready").status, 200);
  EXPECT_EQ(from_afar("GET", "/stats/prometheus").status, 200);
  for (const std::string_view path : {"/", "/config_dump", "/certs", "/nothing", "/quitquitquit"}) {
    EXPECT_EQ(from_afar("GET", path).status, 403) << path;
    EXPECT_EQ(from_afar("POST", path).status, 403) << path;
  }
  EXPECT_EQ(from_afar("GET", "/certs").body,
            "callers from other machines (10.0.0.2) may see only /ready and /stats; ask on the "
            "machine itself\n");
  EXPECT_EQ(proxy_.done, "");
}

TEST_F(AdminTest, ForgetsACallerWhoLeavesWhileItAsksTheWorkers) {
  {
    Party client(world_.host("127.0.0.1").connect(server_->address()));
    client.send("GET /stats HTTP/1.1\r\nhost: localhost\r\n\r\n");
    ASSERT_TRUE(world_.run_until([&] { return server_->stats().requests == 1; }, 1s));
  }
  world_.run_for(1s);
  EXPECT_EQ(server_->stats().connections_active, 0u);
  EXPECT_EQ(get("/ready").status, 200);
}

TEST_F(AdminTest, LimitsItsConnections) {
  std::vector<std::unique_ptr<Party>> clients;
  for (std::size_t i = 0; i < SmallServer::kMostConnections + 5; ++i) {
    clients.push_back(
        std::make_unique<Party>(world_.host("127.0.0.1").connect(server_->address())));
    clients.back()->send("GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n");
  }
  world_.run_for(2s);
  std::size_t answered = 0;
  for (const auto& client : clients) answered += client->received.empty() ? 0 : 1;
  EXPECT_EQ(answered, SmallServer::kMostConnections);
  clients.clear();
  world_.run_for(2s);
  EXPECT_EQ(get("/ready").status, 200);  // There is room again.
}

}  // namespace
}  // namespace glia
