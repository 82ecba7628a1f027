#include "proxy/http/h1_client.h"

#include <gtest/gtest.h>

#include "proxy/http/h1_test_support.h"

namespace glia {
namespace {

constexpr Duration kSoon = 100ms;

// A call, what it sends and what came of it.
struct Asked {
  explicit Asked(std::string_view method, std::string_view path = "/x")
      : request(ArenaRef::create()) {
    request.method = method;
    request.scheme = "http";
    request.authority = "a.test";
    request.path = path;
  }
  void start(ClientConnection& connection) {
    call = connection.start(request);
    reader = read();
    reader.start();
  }
  Task<void> read() {
    Result<Response> head = co_await head_of(*call);
    if (!head) {
      error = head.error();
      co_return;
    }
    status = head->status;
    for (const Field& field : head->headers.fields())
      fields += cat(field.name, '=', field.value, ';');
    auto all = co_await read_all(*call, 1024 * 1024);
    if (!all) {
      error = all.error();
      co_return;
    }
    body = *all;
    if (call->trailers() != nullptr) {
      for (const Field& field : call->trailers()->fields()) trailers += cat(field.name, ';');
    }
    complete = true;
  }

  Request request;
  std::unique_ptr<Call> call;
  std::optional<Error> error;
  int status = 0;
  std::string fields, body, trailers;
  bool complete = false;
  Task<void> reader;  // Last: destroyed before the call.
};

struct H1ClientTest : testing::Test {
  H1ClientTest() { world.run_for(kSoon); }
  RawPeer& peer() { return *server.peers.at(0); }
  // Starts the call, has the upstream answer once it has the head, and lets time pass.
  void exchange(Asked& asked, std::string_view answer) {
    ASSERT_EQ(client->capacity(), 1u);
    asked.start(*client);
    world.run_for(kSoon);
    sent = peer().take();
    peer().send(answer);
    world.run_for(kSoon);
  }

  SimWorld world{1};
  RawServer server{world};
  ClientRig client{world};
  std::string sent;
};

TEST_F(H1ClientTest, SendsRequestsAndUsesTheConnectionAgain) {
  EXPECT_TRUE(client.connected);
  for (int i = 1; i <= 3; ++i) {
    Asked get("GET", "/a?b");
    get.request.headers.add("x-a", "b");
    exchange(get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-B: c\r\n\r\nhello");
    EXPECT_EQ(sent, "GET /a?b HTTP/1.1\r\nhost: a.test\r\nx-a: b\r\n\r\n");
    EXPECT_TRUE(get.complete);
    EXPECT_EQ(get.status, 200);
    EXPECT_EQ(get.fields, "x-b=c;");
    EXPECT_EQ(get.body, "hello");
    EXPECT_EQ(client.capacities, i);
  }
  EXPECT_EQ(server.peers.size(), 1u);
  EXPECT_EQ(client.stats.requests, 3u);
  EXPECT_EQ(client.stats.requests_active, 0u);
}

TEST_F(H1ClientTest, SaysWhereARequestEnds) {
  Asked empty("POST");
  exchange(empty, "HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_EQ(sent, "POST /x HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0\r\n\r\n");
  Asked known("PUT");
  known.request.body = std::make_unique<TextBody>(Slice::copy("hello"));
  exchange(known, "HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_EQ(sent, "PUT /x HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\n\r\nhello");
  EXPECT_TRUE(known.complete);
}

// A body of unknown length that is fed by the test.
class FedBody final : public Body {
 public:
  explicit FedBody(EventLoop& loop) : loop_(loop) {}
  void feed(std::string_view text, bool last = false) {
    fed_.append(Slice::copy(text));
    last_ = last;
    slot_.wake(loop_.ready());
  }
  Piece poll() override {
    if (!fed_.empty()) return {State::kData, fed_.pop()};
    return {last_ ? State::kEnd : State::kPending, {}};
  }
  void wait(Waiter& waiter) override { slot_.put(waiter); }

 private:
  EventLoop& loop_;
  GatherQueue fed_;
  WaitSlot slot_;
  bool last_ = false;
};

TEST_F(H1ClientTest, SendsChunksAsTheyComeAndReadsChunksAndTrailers) {
  Asked post("POST");
  post.request.trailers_accepted = true;
  auto body = std::make_unique<FedBody>(world.loop());
  FedBody& feed = *body;
  post.request.body = std::move(body);
  exchange(post, "");
  EXPECT_EQ(sent,
            "POST /x HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\nte: trailers\r\n"
            "connection: te\r\n\r\n");
  feed.feed("hello");
  world.run_for(kSoon);
  EXPECT_EQ(peer().take(), "5\r\nhello\r\n");
  feed.feed("world", true);
  world.run_for(kSoon);
  EXPECT_EQ(peer().take(), "5\r\nworld\r\n0\r\n\r\n");
  peer().send(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
      "X-Sum: 1\r\nContent-Length: 3\r\n\r\n");
  world.run_for(kSoon);
  EXPECT_TRUE(post.complete);
  EXPECT_EQ(post.body, "abc");
  EXPECT_EQ(post.trailers, "x-sum;");
  EXPECT_EQ(client.capacities, 1);
}

// Checklist A40, A41: the rest is never seen, and the connection is not used again.
TEST(H1Client, RefusesAnswersThatAreInDoubt) {
  const std::string interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  std::string many;
  for (int i = 0; i < 9; ++i) many += interim;
  const std::string table[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: "
      "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 101 Switching Protocols\r\n\r\n",
      "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX",
      many + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  };
  for (const std::string& bytes : table) {
    SimWorld world(2);
    RawServer server(world);
    ClientRig client(world);
    world.run_for(kSoon);
    Asked get("GET");
    get.start(*client);
    world.run_for(kSoon);
    server.peers.at(0)->send(bytes);
    world.run_for(kSoon);
    EXPECT_FALSE(get.complete) << bytes;
    ASSERT_TRUE(get.error) << bytes;
    EXPECT_EQ(get.error->kind(), ErrorKind::kProtocol) << bytes;
    EXPECT_EQ(get.error->fault(), Fault::kUpstream);
    EXPECT_TRUE(client.finished);
    EXPECT_EQ(client.stats.protocol_errors, 1u);
    EXPECT_TRUE(server.peers.at(0)->over());
  }
}

TEST_F(H1ClientTest, SkipsInterimResponses) {
  Asked get("GET");
  exchange(get,
           "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
           "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_TRUE(get.complete);
  EXPECT_EQ(get.fields, "");
  EXPECT_EQ(get.body, "hi");
}

TEST_F(H1ClientTest, DoesNotUseAConnectionAgainThatSaidMoreThanItsAnswer) {
  Asked get("GET");
  exchange(get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\nevil");
  EXPECT_TRUE(get.complete);
  EXPECT_EQ(get.body, "hi");
  EXPECT_TRUE(client.finished);
}

TEST_F(H1ClientTest, EndsOnBytesThatNobodyAskedFor) {
  peer().send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  world.run_for(kSoon);
  EXPECT_TRUE(client.finished);
  EXPECT_EQ(client.stats.protocol_errors, 1u);
}

TEST_F(H1ClientTest, EndsWhenTheIdlePeerEnds) {
  peer().finish();
  world.run_for(kSoon);
  EXPECT_TRUE(client.finished);
  EXPECT_EQ(client.stats.protocol_errors, 0u);
}

TEST_F(H1ClientTest, ReadsUntilTheEndOfTheConnectionWhenNothingElseIsSaid) {
  Asked get("GET");
  exchange(get, "HTTP/1.1 200 OK\r\n\r\nhello");
  EXPECT_FALSE(get.complete);
  peer().finish();
  world.run_for(kSoon);
  EXPECT_TRUE(get.complete);
  EXPECT_EQ(get.body, "hello");
  EXPECT_TRUE(client.finished);
  EXPECT_EQ(client.capacities, 0);
}

TEST_F(H1ClientTest, TellsACutBodyFromACompleteOne) {
  for (const char* answer :
       {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}) {
    SimWorld world(3);
    RawServer server(world);
    ClientRig client(world);
    world.run_for(kSoon);
    Asked get("GET");
    get.start(*client);
    world.run_for(kSoon);
    server.peers.at(0)->send(answer);
    server.peers.at(0)->finish();
    world.run_for(kSoon);
    ASSERT_TRUE(get.error);
    EXPECT_EQ(get.error->kind(), ErrorKind::kReset);
    EXPECT_EQ(get.status, 200);
  }
}

TEST_F(H1ClientTest, KnowsThatHeadHasNoBody) {
  Asked head("HEAD");
  exchange(head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
  EXPECT_TRUE(head.complete);
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(head.call->length(), 5u);
  EXPECT_EQ(client->capacity(), 1u);
  Asked unsaid("HEAD");
  exchange(unsaid, "HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(unsaid.call->length(), std::nullopt) << "not a length of 0";
}

TEST_F(H1ClientTest, StopsSendingWhenTheAnswerIsEarly) {
  Asked post("POST");
  auto body = std::make_unique<FedBody>(world.loop());
  FedBody& feed = *body;
  post.request.body = std::move(body);
  exchange(post, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
  EXPECT_TRUE(post.complete);
  EXPECT_EQ(post.status, 413);
  EXPECT_TRUE(client.finished);
  feed.feed("more");
  world.run_for(kSoon);
  EXPECT_EQ(peer().take(), "");
}

TEST_F(H1ClientTest, ClosesTheConnectionOfACallThatIsDropped) {
  {
    Asked get("GET");
    exchange(get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
    EXPECT_EQ(client->capacity(), 0u);
  }
  world.run_for(kSoon);
  EXPECT_TRUE(client.finished);
  EXPECT_TRUE(peer().over());
  EXPECT_EQ(client.stats.resets_sent, 1u);
}

TEST_F(H1ClientTest, ClosesTheConnectionWhenTheRequestBodyBreaksOff) {
  class Broken final : public Body {
   public:
    Piece poll() override { return {State::kError, {}}; }
    void wait(Waiter&) override {}
  };
  Asked post("POST");
  post.request.body = std::make_unique<Broken>();
  post.start(*client);
  world.run_for(kSoon);
  EXPECT_TRUE(post.error);
  EXPECT_TRUE(client.finished);
  EXPECT_TRUE(peer().over());
  EXPECT_EQ(peer().received().find("0\r\n\r\n"), std::string::npos);
}

TEST_F(H1ClientTest, MayTryAgainOnlyWhatAReusedConnectionDidNotAnswerAndHasNoEffect) {
  struct Row {
    bool reused;
    const char* method;
    const char* begun;
    Retry retry;
  };
  const Row table[] = {{true, "GET", "", Retry::kSafe},
                       {true, "POST", "", Retry::kNo},
                       {false, "GET", "", Retry::kNo},
                       {true, "GET", "HTTP", Retry::kNo}};
  for (const Row& row : table) {
    SimWorld world(4);
    RawServer server(world);
    ClientRig client(world);
    world.run_for(kSoon);
    Asked first("GET");
    if (row.reused) {
      first.start(*client);
      world.run_for(kSoon);
      server.peers.at(0)->send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      world.run_for(kSoon);
    }
    Asked second(row.method);
    second.start(*client);
    world.run_for(kSoon);
    server.peers.at(0)->send(row.begun);
    server.peers.at(0)->finish();
    world.run_for(kSoon);
    ASSERT_TRUE(second.error);
    EXPECT_EQ(second.error->retry(), row.retry) << row.method << row.begun << row.reused;
  }
}

TEST_F(H1ClientTest, DrainsAfterTheCallInProgress) {
  Asked get("GET");
  exchange(get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh");
  client->drain();
  EXPECT_EQ(client->capacity(), 0u);
  world.run_for(kSoon);
  EXPECT_FALSE(client.finished);
  peer().send("i");
  world.run_for(kSoon);
  EXPECT_TRUE(get.complete);
  EXPECT_TRUE(client.finished);
  EXPECT_EQ(client.capacities, 0);
}

TEST_F(H1ClientTest, SaysWhyItCouldNotConnect) {
  SimWorld world(5);
  ClientRig client(world);
  world.run_for(kSoon);
  EXPECT_TRUE(client.finished);
  EXPECT_FALSE(client.connected);
  EXPECT_NE(client.error.find("10.0.0.1:80"), std::string::npos) << client.error;
  EXPECT_EQ(client.stats.connect_failed, 1u);
  EXPECT_EQ(client.stats.connections_active, 0u);
}

TEST_F(H1ClientTest, TakesHttp1WhenNoProtocolWasNegotiated) {
  SimWorld world(6);
  RawServer server(world);
  ClientRig client(world, Codec::kAuto);
  world.run_for(kSoon);
  EXPECT_TRUE(client.connected);
  EXPECT_EQ(client->protocol(), Protocol::kHttp1);
  Asked get("GET");
  get.start(*client);
  world.run_for(kSoon);
  server.peers.at(0)->send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
  world.run_for(kSoon);
  EXPECT_TRUE(get.complete);
  EXPECT_EQ(client.capacities, 1);
}

TEST_F(H1ClientTest, StopsReadingAnAnswerThatNobodyPulls) {
  Request request(ArenaRef::create());
  request.method = "GET";
  request.authority = "a";
  request.path = "/";
  const auto call = client->start(request);
  world.run_for(kSoon);
  peer().send(
      cat("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n", std::string(10'000'000, 'x')));
  world.run_for(10s);
  EXPECT_LT(client.stats.bytes_received, H1Client::kUndelivered + 256 * 1024u + 1024);
}

}  // namespace
}  // namespace glia
