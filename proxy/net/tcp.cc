#include "proxy/net/tcp.h"

#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/net/original_destination.h"
#include "proxy/net/resolver.h"
#include "proxy/net/tcp_stream.h"

namespace glia {
namespace {

bool out_of_resources(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == ENOBUFS ||
         error_number == ENOMEM;
}

bool is_wildcard(const Address& address) {
  const std::string ip = address.ip_text();
  return ip == "0.0.0.0" || ip == "::";
}

class SocketAcceptor final : public Acceptor, private FdWatch {
 public:
  SocketAcceptor(EventLoop& loop, LibeventBackend& backend, int fd, const Address& address,
                 bool captured, AcceptHandler& handler)
      : FdWatch(backend, fd),
        backend_(backend),
        address_(address),
        local_(is_wildcard(address) ? Address() : address),
        captured_(captured),
        handler_(handler),
        retry_(loop, [this] { want(!paused_, false); }) {
    if (address.is_unix()) remember_file();
    want(true, false);
  }
  ~SocketAcceptor() override {
    unwatch();
    close(fd_);
    if (!address_.is_unix()) return;
    // A successor may have put its own socket at the same path.
    struct stat now;
    const char* path = address_.unix_path_text();
    if (stat(path, &now) == 0 && now.st_ino == file_ && now.st_dev == device_) unlink(path);
  }
  const Address& address() const override { return address_; }
  void pause(bool paused) override {
    paused_ = paused;
    if (!retry_.running()) want(!paused, false);
  }

 private:
  void remember_file() {
    struct stat made;
    if (stat(address_.unix_path_text(), &made) != 0) return;
    file_ = made.st_ino;
    device_ = made.st_dev;
  }
  void on_event(uint8_t what) override {
    if ((what & kUnwatched) != 0) return wait_for_resources(ENOMEM);
    for (int i = 0; i < SocketNetwork::kAcceptsPerTurn && wants_reading(); ++i) {
      sockaddr_storage peer;
      socklen_t size = sizeof peer;
      const int fd =
          accept4(fd_, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0 && errno == EAGAIN) return;
      if (fd < 0 && out_of_resources(errno)) return wait_for_resources(errno);
      if (fd < 0) continue;  // That connection broke while it waited; the next may be well.
      starved_ = false;
      if (!address_.is_unix()) send_without_delay(fd);
      const Address remote = Address::from(reinterpret_cast<sockaddr*>(&peer), size);
      handler_.on_accept(captured_ ? TcpStream::captured(backend_, fd, remote)
                                   : TcpStream::accepted(backend_, fd, local_, remote));
    }
  }
  // The waiting connections stay in the backlog; asking again at once would only burn the CPU.
  void wait_for_resources(int error_number) {
    if (!std::exchange(starved_, true)) {
      LOG(warning, "accept on ", address_.text(), ": ", system_error_text(error_number),
          "; trying again every ", to_ms(SocketNetwork::kAcceptPause),
          " ms; raise the limit of open files (ulimit -n)");
    }
    want(false, false);
    retry_.start(SocketNetwork::kAcceptPause);
  }

  LibeventBackend& backend_;
  const Address address_;
  const Address local_;  // Of accepted streams; without address if only the kernel knows.
  const bool captured_;
  AcceptHandler& handler_;
  CallbackTimer retry_;
  ino_t file_ = 0;
  dev_t device_ = 0;
  bool paused_ = false;
  bool starved_ = false;
};

Error listen_failed(const Address& at, std::string_view step, int error_number) {
  std::string fix;
  if (error_number == EADDRINUSE) fix = "; another process listens there";
  if (error_number == EACCES && at.port() > 0 && at.port() < 1024) {
    fix = "; ports below 1024 need CAP_NET_BIND_SERVICE";
  }
  if (step == "IP_TRANSPARENT") fix = "; a transparent listener (TPROXY) needs CAP_NET_ADMIN";
  return Error(
      ErrorKind::kInternal, Fault::kSelf,
      cat("listen on ", at.text(), ": ", step, ": ", system_error_text(error_number), fix));
}

// Removes the file that a process which is gone left at a UNIX socket's path.
void remove_stale(const Address& at) {
  struct stat found;
  if (stat(at.unix_path_text(), &found) != 0 || !S_ISSOCK(found.st_mode)) return;
  const int probe = make_socket(AF_UNIX);
  if (probe < 0) return;
  const bool refused = connect(probe, at.raw(), at.raw_size()) != 0 && errno == ECONNREFUSED;
  close(probe);
  if (refused) unlink(at.unix_path_text());
}

}  // namespace

std::string system_error_text(int error_number) {
  std::string text = std::strerror(error_number);
  if (!text.empty()) text[0] = to_lower(text[0]);
  return text;
}

SocketNetwork::SocketNetwork(EventLoop& loop)
    : loop_(loop), backend_(dynamic_cast<LibeventBackend&>(loop.backend())) {}

SocketNetwork::~SocketNetwork() = default;

std::unique_ptr<Stream> SocketNetwork::connect(const Address& to, const Address& from) {
  return TcpStream::connecting(backend_, to, from);
}

Result<std::unique_ptr<Acceptor>> SocketNetwork::listen(const Address& at,
                                                        const ListenOptions& options,
                                                        AcceptHandler& handler) {
  if (at.is_unix()) remove_stale(at);
  const int fd = make_socket(at.family());
  if (fd < 0) return listen_failed(at, "socket", errno);
  const auto fail = [&](std::string_view step) {
    const int error_number = errno;
    close(fd);
    return listen_failed(at, step, error_number);
  };
  const int on = 1;
  if (!at.is_unix()) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (options.reuse_port && !at.is_unix() &&
      setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
    return fail("SO_REUSEPORT");
  }
  if (!keep_families_apart(fd, at)) return fail("IPV6_V6ONLY");
  if (options.transparent && !make_transparent(fd, at)) return fail("IP_TRANSPARENT");
  if (bind(fd, at.raw(), at.raw_size()) != 0) return fail("bind");
  if (::listen(fd, options.backlog) != 0) return fail("listen");
  sockaddr_storage bound;
  socklen_t size = sizeof bound;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return fail("getsockname");
  const Address address =
      at.is_unix() ? at : Address::from(reinterpret_cast<sockaddr*>(&bound), size);
  return std::unique_ptr<Acceptor>(
      std::make_unique<SocketAcceptor>(loop_, backend_, fd, address, options.captured, handler));
}

Task<Result<std::vector<Address>>> SocketNetwork::resolve(std::string host, uint16_t port) {
  if (Result<Address> ip = Address::ip(host, port); ip.ok()) co_return std::vector{*ip};
  if (resolver_ == nullptr) resolver_ = std::make_unique<Resolver>(loop_);
  Resolver::Lookup lookup(*resolver_, host);
  co_await wait_in(lookup.done());
  Result<std::vector<Address>> found = lookup.take();
  if (found.ok()) {
    for (Address& address : *found) address = address.with_port(port);
  }
  co_return found;
}

}  // namespace glia
