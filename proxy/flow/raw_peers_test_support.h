// A whole worker between a client and an upstream that are both raw bytes in the hands of a test.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "proxy/base/text.h"
#include "proxy/http/h1_hostile_test_support.h"
#include "test/harness/mesh_world.h"
#include "test/sim/party.h"

namespace glia {

inline constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

inline int count_of(std::string_view text, std::string_view what) {
  int count = 0;
  for (std::size_t at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++count;
  return count;
}

// An upstream that records what it gets and says 200 to the first heads of each connection without
// looking at a body.
class RawOrigin final : private AcceptHandler {
 public:
  struct Connection : Party {
    Connection(std::unique_ptr<Stream> stream, const int& answers)
        : Party(std::move(stream)), answered_heads(answers) {}
    void on_readable() override {
      Party::on_readable();
      const int due = std::min(answered_heads, count_of(received, "\r\n\r\n"));
      for (; heads < due; ++heads) send(std::string(kOk));
    }
    const int& answered_heads;
    int heads = 0;
  };

  RawOrigin(SimWorld& world, const Address& at)
      : acceptor_(*world.host(at.ip_text()).listen(at, {}, *this)) {}
  // All that came, of all connections.
  std::string received() const {
    std::string all;
    for (const auto& connection : connections) all += connection->received;
    return all;
  }
  static constexpr int kAll = 1 << 30;
  int answered_heads = kAll;
  std::vector<std::unique_ptr<Connection>> connections;

 private:
  void on_accept(std::unique_ptr<Stream> stream) override {
    connections.push_back(std::make_unique<Connection>(std::move(stream), answered_heads));
  }
  std::unique_ptr<Acceptor> acceptor_;
};

struct RawWorld {
  const Address kOriginAddress = *Address::ip("10.0.1.1", 8080);
  explicit RawWorld(uint64_t seed) : world(seed), t(world), origin(world, kOriginAddress) {
    t.add_endpoint(kOriginAddress);
  }

  std::unique_ptr<Party> connect() {
    return std::make_unique<Party>(world.host("10.0.0.7").connect(*Address::ip("10.0.0.1", 80)));
  }
  // Each piece in a packet of its own.
  void send(Party& to, const std::vector<std::string>& pieces) {
    for (const std::string& piece : pieces) {
      to.send(piece);
      if (pieces.size() > 1) world.run_for(1ms);
    }
  }
  // Sends `bytes` on a new connection and lets a moment pass.
  std::string ask(std::string bytes) {
    client = connect();
    client->send(std::move(bytes));
    world.run_for(1s);
    return client->received;
  }
  uint64_t metric(std::string_view name) {
    const std::string page = t.metrics();
    const std::size_t at = page.find(cat("\n", name));
    if (at == page.npos) return 0;
    const std::size_t space = page.find(' ', at);
    return parse_decimal(
               std::string_view(page).substr(space + 1, page.find('\n', space) - space - 1))
        .value_or(0);
  }
  uint64_t protocol_errors() { return metric("envoy_http_downstream_cx_protocol_error{"); }
  uint64_t upstream_requests() { return metric("envoy_cluster_upstream_rq_total{"); }

  SimWorld world;
  MeshWorld t;
  RawOrigin origin;
  std::unique_ptr<Party> client;  // Of the last ask().
};

// What holds for every open tunnel, however it was asked for, between `client` and `upstream`, which
// have received nothing of it yet.
inline void expect_sender_slowed(RawWorld& raw, Party& client, Party& upstream) {
  client.stream->pause_reading(true);
  upstream.send(std::string(10'000'000, 'd'));
  raw.world.run_for(1s);
  EXPECT_LT(upstream.sent, 2'000'000u);
  client.send(std::string(3'000'000, 'u'));
  raw.world.run_for(1s);
  EXPECT_EQ(upstream.received.size(), 3'000'000u) << "the other way is open";
  client.stream->pause_reading(false);
  raw.world.run_until([&] { return client.received.size() == 10'000'000u; }, 100s);
  EXPECT_EQ(client.received.size(), 10'000'000u);
}

// With an idle time of 30 s, and a time of the route that is shorter than the tunnel lives.
inline void expect_end_when_idle(RawWorld& raw, Party& client, Party& upstream) {
  for (int i = 0; i < 10; ++i) {
    raw.world.run_for(20s);
    client.send("ping");
  }
  raw.world.run_for(100ms);
  EXPECT_EQ(upstream.received.size(), 40u);
  EXPECT_FALSE(client.ended);
  raw.world.run_for(65s);
  EXPECT_TRUE(client.ended || client.broken);
  EXPECT_TRUE(upstream.ended || upstream.broken);
}

// Signed as every answer of the proxy's own is.
inline void expect_signed(const std::string& answer, std::string_view reason) {
  EXPECT_EQ(count_of(answer, cat("\r\nx-glia-reason: ", reason, "\r\n")), 1) << answer;
  EXPECT_EQ(count_of(answer, "\r\nx-glia-hop: node-1\r\n"), 1) << answer;
  EXPECT_EQ(count_of(answer, "\r\nx-glia-listener: in\r\n"), 1) << answer;
  EXPECT_EQ(count_of(answer, "\r\nx-glia-config: v1\r\n"), 1) << answer;
  EXPECT_EQ(count_of(answer, "\nhop: node-1\n"), 1) << answer;
  EXPECT_EQ(count_of(answer, "\nlistener: in\n"), 1) << answer;
  EXPECT_EQ(count_of(answer, "\nconfiguration: v1\n"), 1) << answer;
}

}  // namespace glia
