// C15: the requests that HTTP/1.1 refuses, said again in HTTP/2, through the whole proxy to an origin that
// speaks HTTP/1.1. Whatever the proxy makes of one, the origin must see at most one request, and nothing
// that its strict parser refuses.
#include <gtest/gtest.h>

#include "proxy/base/text.h"
#include "proxy/http/h1_hostile_test_support.h"
#include "proxy/http/h2_raw_test_support.h"
#include "test/harness/mesh_world.h"

namespace glia {
namespace {

constexpr std::size_t kOneFrame = 16'000;  // bytes; longer heads are h2_attack_test's.

struct Said {
  FieldList fields;
  FieldList trailers;
  std::string body;
};

// What a careless gateway would make of a request's bytes: every line is a field, every field keeps
// its bytes. Names are in lower case, or HTTP/2 refuses all of them for that alone.
Said in_http2(std::string_view bytes) {
  Said said;
  const std::size_t head = std::min(bytes.find("\r\n\r\n"), bytes.size());
  std::string_view lines = bytes.substr(0, head);
  said.body = bytes.substr(std::min(head + 4, bytes.size()));
  bool first = true;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find("\r\n"), lines.size());
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 2, lines.size()));
    if (first) {
      const std::size_t space = std::min(line.find(' '), line.size());
      const std::size_t last = line.rfind(" HTTP/");
      const std::size_t from = std::min(space + 1, line.size());
      said.fields.emplace_back(":method", line.substr(0, space));
      said.fields.emplace_back(":scheme", "http");
      said.fields.emplace_back(":authority", "a.test");
      said.fields.emplace_back(":path", line.substr(from, last > from ? last - from : line.npos));
      first = false;
      continue;
    }
    const std::size_t colon = std::min(line.find(':'), line.size());
    std::string_view value = line.substr(std::min(colon + 1, line.size()));
    if (value.starts_with(' ')) value.remove_prefix(1);
    std::string name = to_lower(line.substr(0, colon));
    if (name == "host" && value == "a.test") continue;
    said.trailers.emplace_back(name, value);
    said.fields.emplace_back(std::move(name), value);
  }
  return said;
}

class Downgrade : public ::testing::Test {
 protected:
  Downgrade() {
    origin_ = &t_.upstream("10.0.1.1");
    origin_->replies(200, "ok");
    t_.start();
  }
  // Sends one request on a connection of its own; the origin's view of it is checked.
  void send(const std::string& name, const std::string& frames) {
    SCOPED_TRACE(name);
    const std::size_t before = origin_->seen().size();
    {
      RawWire client(world_.host("10.9.9.9").connect(t_.address()));
      client.send(RawWire::hello(true) + frames);
      world_.run_for(2s);
      const std::size_t seen = origin_->seen().size() - before;
      EXPECT_LE(seen, 1u);
      if (client.saw("HEADERS 1 :status=200")) EXPECT_EQ(seen, 1u);
      forwarded += seen;
    }
    EXPECT_EQ(origin_->stats().protocol_errors, 0u);
    world_.run_for(1s);
    EXPECT_EQ(origin_->active(), 0u);
  }
  void expect_it_works() { EXPECT_EQ(t_.get("/after").status, 200); }

  std::size_t forwarded = 0;

 private:
  SimWorld world_{4};
  MeshWorld t_{world_, Codec::kHttp2, Codec::kHttp1};
  SimUpstream* origin_ = nullptr;
};

TEST_F(Downgrade, C15NothingInAHeadChangesHowManyRequestsTheOriginSees) {
  std::size_t cases = 0;
  for (const Hostile& hostile : hostile_requests()) {
    const Said said = in_http2(hostile.bytes);
    if (said.fields.empty() || block(said.fields).size() > kOneFrame) continue;
    ++cases;
    const std::string head = headers(1, said.fields, kEndHead);
    send(hostile.id, head + data(1, said.body.substr(0, kOneFrame), kEnd));
    if (HasFailure()) return;
  }
  EXPECT_GT(cases, 700u);
  EXPECT_GT(forwarded, 10u);  // Some say nothing wrong in HTTP/2: chunks are just bytes.
  expect_it_works();
}

TEST_F(Downgrade, C15NothingInTrailersChangesHowManyRequestsTheOriginSees) {
  const FieldList good = {
      {":method", "POST"}, {":scheme", "http"}, {":authority", "a.test"}, {":path", "/"}};
  for (const Hostile& hostile : hostile_requests()) {
    if (hostile.id.starts_with("A7 ")) continue;  // 252 of one kind, seen above.
    const Said said = in_http2(hostile.bytes);
    if (said.trailers.empty() || block(said.trailers).size() > kOneFrame) continue;
    send(hostile.id, headers(1, good, kEndHead) + data(1, "body") + headers(1, said.trailers));
    if (HasFailure()) return;
  }
  EXPECT_GT(forwarded, 20u);
  expect_it_works();
}

TEST_F(Downgrade, C15BodiesThatLookLikeRequestsAreBodies) {
  const FieldList good = {
      {":method", "POST"}, {":scheme", "http"}, {":authority", "a.test"}, {":path", "/"}};
  for (const Hostile& hostile : hostile_requests()) {
    if (hostile.id.starts_with("A7 ")) continue;
    const std::string body = hostile.bytes.substr(0, kOneFrame);
    send(hostile.id, headers(1, good, kEndHead) + data(1, body, kEnd));
    FieldList sized = good;
    sized.emplace_back("content-length", cat(body.size()));
    send(hostile.id + ", sized", headers(1, sized, kEndHead) + data(1, body, kEnd));
    if (HasFailure()) return;
  }
  EXPECT_GT(forwarded, 100u);
  expect_it_works();
}

}  // namespace
}  // namespace glia
