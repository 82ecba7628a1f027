// Real sockets on loopback, port 0.
#include "proxy/net/tcp.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "proxy/base/log.h"
#include "test/sim/party.h"

namespace glia {
namespace {

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + i / 251);
  return text;
}

class Tcp : public testing::Test, protected AcceptHandler {
 protected:
  void listen(const Address& at, ListenOptions options = {}) {
    Result<std::unique_ptr<Acceptor>> made = network_.listen(at, options, *this);
    ASSERT_TRUE(made.ok()) << made.error().message();
    acceptor_ = std::move(*made);
  }
  void on_accept(std::unique_ptr<Stream> stream) override {
    accepted_.push_back(std::make_unique<Party>(std::move(stream)));
    accepted_.back()->echo = echo_;
  }
  template <class Condition>
  void until(Condition condition) {
    const TimePoint limit = loop_.clock().now() + 20s;
    while (!condition() && loop_.clock().now() < limit) loop_.turn(100ms);
    ASSERT_TRUE(condition()) << "not within 20 s";
  }
  std::string directory() {
    // Not the test's own directory: its name may be longer than a socket's path can be.
    std::string name = std::filesystem::temp_directory_path() / "glia-tcp-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    return name;
  }
  Address any_port() const { return *Address::parse("127.0.0.1:0"); }

  EventLoop loop_{std::make_unique<LibeventBackend>()};
  SocketNetwork network_{loop_};
  std::unique_ptr<Acceptor> acceptor_;
  std::vector<std::unique_ptr<Party>> accepted_;
  bool echo_ = false;
};

TEST_F(Tcp, EchoesAMebibyteUnchanged) {
  echo_ = true;
  listen(any_port());
  Party client(network_.connect(acceptor_->address()));
  const std::string body = pattern(1 << 20);
  client.send(body);
  until([&] { return client.received.size() == body.size(); });
  EXPECT_TRUE(client.received == body);
  EXPECT_EQ(client.opened, 1);
  EXPECT_EQ(accepted_[0]->opened, 1);
  EXPECT_EQ(client.stream->info().remote, acceptor_->address());
  EXPECT_EQ(client.stream->info().local, accepted_[0]->stream->info().remote);
  EXPECT_EQ(accepted_[0]->stream->info().local, acceptor_->address());
}

TEST_F(Tcp, EchoesOverAUnixSocketAndRemovesItsPath) {
  const Address path = *Address::unix_path(directory() + "/echo.sock");
  echo_ = true;
  listen(path);
  Party client(network_.connect(path));
  const std::string body = pattern(1 << 20);
  client.send(body);
  until([&] { return client.received.size() == body.size(); });
  EXPECT_TRUE(client.received == body);
  acceptor_.reset();
  struct stat found;
  EXPECT_NE(stat(path.unix_path_text(), &found), 0);
}

TEST_F(Tcp, ListensOnceMoreAtTheUnixPathOfAProcessThatIsGone) {
  const Address path = *Address::unix_path(directory() + "/stale.sock");
  const int left = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(left, path.raw(), path.raw_size()), 0);
  close(left);
  listen(path);
  const Result<std::unique_ptr<Acceptor>> second = network_.listen(path, {}, *this);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message().find("another process listens there"), std::string::npos);
}

TEST_F(Tcp, AHalfClosedStreamStillReceives) {
  listen(any_port());
  Party client(network_.connect(acceptor_->address()));
  client.send("question", /*then_finish=*/true);
  until([&] { return !accepted_.empty() && accepted_[0]->ended; });
  EXPECT_EQ(accepted_[0]->received, "question");
  accepted_[0]->send("answer", /*then_finish=*/true);
  until([&] { return client.ended; });
  EXPECT_EQ(client.received, "answer");
  EXPECT_FALSE(client.broken);
}

TEST_F(Tcp, ARefusedConnectIsASentence) {
  listen(any_port());
  const Address nobody = acceptor_->address();
  acceptor_.reset();
  Party client(network_.connect(nobody));
  until([&] { return client.broken; });
  EXPECT_EQ(client.opened, 0);
  EXPECT_EQ(client.stream->error().message(), "connect " + nobody.text() + ": connection refused");
  EXPECT_EQ(client.stream->error().kind(), ErrorKind::kConnectFailed);
  EXPECT_EQ(client.stream->error().fault(), Fault::kUpstream);
  EXPECT_EQ(client.stream->error().retry(), Retry::kSafe);
}

TEST_F(Tcp, AConnectThatFailsAtOnceIsToldFromTheLoop) {
  Party client(network_.connect(*Address::unix_path("/nowhere/at/all.sock")));
  EXPECT_FALSE(client.broken);
  until([&] { return client.broken; });
  EXPECT_EQ(client.stream->error().message(),
            "connect unix:/nowhere/at/all.sock: no such file or directory");
}

// Closing with zero linger sends a reset.
void reset(Stream& stream) {
  const uint16_t port = stream.info().local.port();
  for (int fd = 3; fd < 256; ++fd) {
    sockaddr_in local = {}, peer = {};
    socklen_t size = sizeof local;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) != 0) continue;
    size = sizeof peer;
    if (ntohs(local.sin_port) != port ||
        getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) {
      continue;
    }
    const linger at_once = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
}

TEST_F(Tcp, AResetIsAnErrorOfTheReader) {
  listen(any_port());
  Party client(network_.connect(acceptor_->address()));
  until([&] { return client.opened && !accepted_.empty() && accepted_[0]->opened; });
  reset(*client.stream);
  client.stream.reset();
  until([&] { return accepted_[0]->broken; });
  EXPECT_FALSE(accepted_[0]->ended);
  const Error error = accepted_[0]->stream->error();
  EXPECT_EQ(error.kind(), ErrorKind::kReset);
  EXPECT_EQ(error.fault(), Fault::kDownstream);
  EXPECT_NE(error.message().find("connection reset by peer"), std::string::npos) << error.message();
}

TEST_F(Tcp, AResetIsNoticedWhileReadingIsPausedWithBytesWaiting) {
  listen(any_port());
  Party client(network_.connect(acceptor_->address()));
  until([&] { return client.opened && !accepted_.empty() && accepted_[0]->opened; });
  accepted_[0]->stream->pause_reading(true);
  client.send("never read");
  for (int i = 0; i < 5; ++i) loop_.turn(1ms);
  EXPECT_EQ(accepted_[0]->received, "");
  EXPECT_FALSE(accepted_[0]->broken);
  reset(*client.stream);
  client.stream.reset();
  until([&] { return accepted_[0]->broken; });
}

TEST_F(Tcp, APausedReaderSlowsTheWriterAndLosesNothing) {
  listen(any_port());
  Party client(network_.connect(acceptor_->address()));
  until([&] { return !accepted_.empty() && accepted_[0]->opened; });
  accepted_[0]->stream->pause_reading(true);
  const std::string body = pattern(32 << 20);
  client.send(body);
  for (int i = 0; i < 20; ++i) loop_.turn(1ms);
  EXPECT_LT(client.sent, body.size());
  EXPECT_EQ(accepted_[0]->received.size(), 0u);
  accepted_[0]->stream->pause_reading(false);
  until([&] { return accepted_[0]->received.size() == body.size(); });
  EXPECT_TRUE(accepted_[0]->received == body);
  EXPECT_GT(client.writable, 0);
}

TEST_F(Tcp, ManyConnectionsAtOnceAreAllAccepted) {
  listen(any_port());
  std::vector<std::unique_ptr<Party>> clients;
  for (int i = 0; i < 3 * SocketNetwork::kAcceptsPerTurn; ++i) {
    clients.push_back(std::make_unique<Party>(network_.connect(acceptor_->address())));
    clients.back()->send("x");
  }
  until([&] {
    std::size_t received = 0;
    for (const auto& party : accepted_) received += party->received.size();
    return received == clients.size();
  });
}

TEST_F(Tcp, AnAcceptorWithoutDescriptorsLeftTriesAgainLater) {
  listen(any_port());
  Party client(network_.connect(acceptor_->address()));
  // UndefinedBehaviorSanitizer needs two descriptors to look at an object of a type that it has not
  // seen before: it sees those that the acceptor will need, a logger's and a timer's, while it can.
  LOG(warning, "no descriptors will be left");
  CallbackTimer seen(loop_, [] {});
  seen.start(1h);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {3, before.rlim_max};  // Open ones stay; a new one would be the fourth.
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  int turns = 0;
  for (const TimePoint end = loop_.clock().now() + 20ms; loop_.clock().now() < end; ++turns) {
    loop_.turn(20ms);
  }
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(accepted_.empty());
  EXPECT_LT(turns, 10) << "the loop spins on a socket that it cannot accept from";
  until([&] { return accepted_.size() == 1 && accepted_[0]->opened; });
}

TEST_F(Tcp, TwoAcceptorsShareAPortWhenAskedTo) {
  listen(any_port(), {.reuse_port = true});
  EXPECT_TRUE(network_.listen(acceptor_->address(), {.reuse_port = true}, *this).ok());
  EXPECT_FALSE(network_.listen(acceptor_->address(), {}, *this).ok());
}

TEST_F(Tcp, AStreamMayBeDestroyedWhileItsEventsWait) {
  // Both streams become readable in the same batch; whoever is told first destroys the other.
  struct Murderer : Party {
    using Party::Party;
    void on_readable() override {
      if (victim != nullptr) victim->stream.reset();
      told = true;
    }
    Party* victim = nullptr;
    bool told = false;
  };
  echo_ = true;
  listen(any_port());
  Murderer a(network_.connect(acceptor_->address()));
  Murderer b(network_.connect(acceptor_->address()));
  a.victim = &b;
  b.victim = &a;
  a.send("1");
  b.send("2");
  until([&] { return accepted_.size() == 2 && accepted_[0]->sent + accepted_[1]->sent == 2; });
  until([&] { return a.told || b.told; });
  loop_.turn(1ms);
  EXPECT_NE(a.told, b.told);
}

Task<void> resolve_into(Network& network, std::string host, Result<std::vector<Address>>& out,
                        bool& done) {
  out = co_await network.resolve(std::move(host), 80);
  done = true;
}

TEST_F(Tcp, ResolvesAddressesAndTheNameOfThisMachine) {
  for (const char* host : {"127.0.0.1", "localhost"}) {
    Result<std::vector<Address>> found = invalid("not asked");
    bool done = false;
    Task<void> task = resolve_into(network_, host, found, done);
    task.start();
    until([&] { return done; });
    ASSERT_TRUE(found.ok()) << found.error().message();
    EXPECT_TRUE((*found)[0].is_loopback());
    EXPECT_EQ((*found)[0].port(), 80);
  }
}

TEST_F(Tcp, ALookupMayBeAbandonedAndTheNetworkDestroyed) {
  auto network = std::make_unique<SocketNetwork>(loop_);
  Result<std::vector<Address>> found = invalid("not asked");
  bool done = false;
  Task<void> task = resolve_into(*network, "localhost", found, done);
  task.start();
  task.cancel();
  network.reset();
  for (int i = 0; i < 5; ++i) loop_.turn(1ms);
  EXPECT_FALSE(done);
}

}  // namespace
}  // namespace glia
