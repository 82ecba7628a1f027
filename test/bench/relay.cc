// relay PORT UPSTREAM_PORT: the floor of every comparison. Two connections, bytes copied from one to
// the other and nothing else: no parsing, no pool, no limits, no log; one thread, one epoll.
//
// Not written with the proxy's own library, so that a cost of that library shows up in the ratio.
// When a side cannot take all bytes, its peer is not read until it can. Loopback only.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unordered_set>
#include <utility>

namespace {

constexpr std::size_t kReadBytes = 256 * 1024;
constexpr int kBacklog = 1024;
constexpr int kEventsAtOnce = 256;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

// One end of a pair.
struct End {
  int fd = -1;
  End* other = nullptr;
  bool ended = false;     // It has sent its FIN.
  uint32_t wanted = 0;    // What epoll watches.
  std::string unwritten;  // Bytes from `other` that it could not take yet.
};

sockaddr_in loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int make_socket() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  return fd;
}

void no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

class Relay {
 public:
  Relay(int port, int upstream_port) : upstream_(loopback(upstream_port)) {
    listener_.fd = make_socket();
    const int on = 1;
    ::setsockopt(listener_.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in here = loopback(port);
    if (::bind(listener_.fd, reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0)
      die("bind");
    if (::listen(listener_.fd, kBacklog) != 0) die("listen");
    epoll_event event = {.events = EPOLLIN, .data = {.ptr = &listener_}};
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_.fd, &event);
  }

  [[noreturn]] void run() {
    epoll_event events[kEventsAtOnce];
    for (;;) {
      const int count = ::epoll_wait(epoll_, events, kEventsAtOnce, -1);
      closed_.clear();
      for (int i = 0; i < count; ++i) {
        End* const end = static_cast<End*>(events[i].data.ptr);
        if (end == &listener_) {
          accept();
        } else if (!closed_.contains(end)) {
          serve(*end, events[i].events);
        }
      }
      for (End* end : closed_) delete end;
    }
  }

 private:
  void accept() {
    const int fd = ::accept4(listener_.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    End* const client = new End;
    End* const server = new End;
    client->fd = fd;
    server->fd = make_socket();
    client->other = server;
    server->other = client;
    no_delay(client->fd);
    no_delay(server->fd);
    const auto* const to = reinterpret_cast<const sockaddr*>(&upstream_);
    if (::connect(server->fd, to, sizeof upstream_) != 0 && errno != EINPROGRESS) {
      return close_pair(*client);
    }
    for (End* end : {client, server}) {
      end->wanted = EPOLLIN;
      epoll_event event = {.events = end->wanted, .data = {.ptr = end}};
      ::epoll_ctl(epoll_, EPOLL_CTL_ADD, end->fd, &event);
    }
  }

  void serve(End& end, uint32_t what) {
    if ((what & EPOLLOUT) != 0 && !write_rest(end)) return close_pair(end);
    if ((what & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0 && !end.ended && !copy(end)) {
      return close_pair(end);
    }
    if (end.ended && end.other->ended && end.unwritten.empty() && end.other->unwritten.empty()) {
      return close_pair(end);
    }
    watch(end);
    watch(*end.other);
  }

  // Reads once from `end` and writes to its other end; false if one of them broke.
  bool copy(End& end) {
    End& to = *end.other;
    if (!to.unwritten.empty()) return true;
    const ssize_t got = ::recv(end.fd, buffer_, sizeof buffer_, 0);
    if (got < 0) return errno == EAGAIN;
    if (got == 0) {
      end.ended = true;
      ::shutdown(to.fd, SHUT_WR);
      return true;
    }
    ssize_t sent = ::send(to.fd, buffer_, static_cast<std::size_t>(got), MSG_NOSIGNAL);
    // ENOTCONN: the connection to the upstream is still being made.
    if (sent < 0 && errno != EAGAIN && errno != ENOTCONN) return false;
    if (sent < 0) sent = 0;
    to.unwritten.assign(buffer_ + sent, static_cast<std::size_t>(got - sent));
    return true;
  }

  bool write_rest(End& end) {
    if (end.unwritten.empty()) return true;
    const ssize_t sent = ::send(end.fd, end.unwritten.data(), end.unwritten.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN;
    end.unwritten.erase(0, static_cast<std::size_t>(sent));
    return true;
  }

  void watch(End& end) {
    uint32_t wanted = end.unwritten.empty() ? 0 : EPOLLOUT;
    if (!end.ended && end.other->unwritten.empty()) wanted |= EPOLLIN;
    if (wanted == end.wanted) return;
    end.wanted = wanted;
    epoll_event event = {.events = wanted, .data = {.ptr = &end}};
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, end.fd, &event);
  }

  void close_pair(End& end) {
    for (End* each : {&end, end.other}) {
      ::close(each->fd);
      closed_.insert(each);
    }
  }

  const sockaddr_in upstream_;
  const int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  End listener_;
  std::unordered_set<End*> closed_;  // In this turn; other events of it may still name them.
  char buffer_[kReadBytes];
};

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  if (argc != 3) {
    std::fputs("usage: relay PORT UPSTREAM_PORT\n", stderr);
    return 2;
  }
  static Relay relay(std::atoi(argv[1]), std::atoi(argv[2]));
  relay.run();
}
