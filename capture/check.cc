#include "capture/check.h"

#include <arpa/inet.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "capture/kernel.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

// A port that no list leaves out unless it was asked for.
constexpr uint16_t kProbePort = 15002;
constexpr const char* kFarV4 = "192.0.2.1";    // RFC 5737
constexpr const char* kFarV6 = "2001:db8::1";  // RFC 3849
constexpr int kIp6OriginalDestination = 80;    // IP6T_SO_ORIGINAL_DST

Error broken(std::string sentence) {
  return Error(ErrorKind::kInternal, Fault::kSelf, std::move(sentence));
}

class Socket {
 public:
  explicit Socket(int family)
      : fd_(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {}
  explicit Socket(std::in_place_t, int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }
  bool ready(short events) const {
    pollfd waiting{.fd = fd_, .events = events, .revents = 0};
    return ::poll(&waiting, 1, kProbeMs) == 1;
  }

 private:
  int fd_;
};

struct Place {
  sockaddr_storage address = {};
  socklen_t size = 0;
  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&address); }
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&address); }
};

Place place_of(bool v6, const char* ip, uint16_t port) {
  Place place;
  if (v6) {
    auto& in6 = reinterpret_cast<sockaddr_in6&>(place.address);
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(port);
    ::inet_pton(AF_INET6, ip, &in6.sin6_addr);
    place.size = sizeof in6;
  } else {
    auto& in = reinterpret_cast<sockaddr_in&>(place.address);
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    ::inet_pton(AF_INET, ip, &in.sin_addr);
    place.size = sizeof in;
  }
  return place;
}

// One that is captured.
uint16_t probe_port(const std::vector<PortRange>& wanted) {
  return wanted.empty() ? kProbePort : wanted.front().first;
}

// An address that is captured; nothing where none of this family is.
std::optional<std::string> far_address(const Capture& capture, bool v6) {
  if (capture.include_outbound_networks.empty()) return v6 ? kFarV6 : kFarV4;
  for (IpNetwork network : capture.include_outbound_networks) {
    if (network.v6 != v6) continue;
    network.bytes[v6 ? 15 : 3] |= 1;
    return network.address();
  }
  return {};
}

std::string ip_of(const Place& place) {
  char text[INET6_ADDRSTRLEN] = "";
  if (place.address.ss_family == AF_INET6) {
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(place.address).sin6_addr, text,
                sizeof text);
  } else {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(place.address).sin_addr, text,
                sizeof text);
  }
  return text;
}

uint16_t port_of(const Place& place) {
  return ntohs(reinterpret_cast<const sockaddr_in&>(place.address).sin_port);
}

// The address that this machine would send from to there; nothing where no route leads there.
std::optional<std::string> own_address(const Place& to) {
  Socket probe(std::in_place, ::socket(to.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (probe.fd() < 0 || ::connect(probe.fd(), to.raw(), to.size) != 0) return {};
  Place own;
  own.size = sizeof own.address;
  if (::getsockname(probe.fd(), own.raw(), &own.size) != 0) return {};
  return ip_of(own);
}

// Listens where the proxy would; nothing if somebody does already.
Result<std::optional<Socket>> stand_in(bool v6, uint16_t port) {
  Socket socket(v6 ? AF_INET6 : AF_INET);
  const int on = 1;
  if (v6) ::setsockopt(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const Place at = place_of(v6, v6 ? "::" : "0.0.0.0", port);
  if (socket.fd() >= 0 && ::bind(socket.fd(), at.raw(), at.size) == 0 &&
      ::listen(socket.fd(), 4) == 0) {
    return std::optional<Socket>(std::move(socket));
  }
  if (errno == EADDRINUSE) return std::optional<Socket>();
  return broken(cat("cannot listen on port ", port, " for the probe: ", std::strerror(errno)));
}

// Where the accepted connection was going to.
std::string original_destination(int fd, bool v6) {
  Place place;
  place.size = sizeof place.address;
  if (::getsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
                   v6 ? kIp6OriginalDestination : SO_ORIGINAL_DST, place.raw(), &place.size) != 0) {
    place.size = sizeof place.address;
    ::getsockname(fd, place.raw(), &place.size);
  }
  return cat(ip_of(place), " port ", port_of(place));
}

std::string_view name_of_family(bool v6) { return v6 ? "IPv6" : "IPv4"; }

// The connection to `to` that `by` began must have come to `listener`, or, without one, to somebody.
Result<void> taken(const Socket& by, const std::optional<Socket>& listener, const Place& to,
                   bool v6, std::string_view what) {
  const std::string wanted = cat(ip_of(to), " port ", port_of(to));
  int error_number = 0;
  socklen_t size = sizeof error_number;
  const bool answered =
      by.ready(POLLOUT) && ::getsockopt(by.fd(), SOL_SOCKET, SO_ERROR, &error_number, &size) == 0;
  if (!answered || error_number != 0) {
    return broken(cat(name_of_family(v6), " ", what, " is not captured: a connection to ", wanted,
                      answered ? cat(" failed (", std::strerror(error_number), ")")
                               : cat(" had no answer within ", kProbeMs, " ms"),
                      "; run `glia capture install` in this network namespace, and see that "
                      "nothing bypasses netfilter (socket load balancing of a CNI)"));
  }
  if (!listener) return {};
  if (!listener->ready(POLLIN)) {
    return broken(cat(name_of_family(v6), " ", what,
                      " is not captured: somebody else than the "
                      "proxy's port answered the connection to ",
                      wanted));
  }
  const Socket accepted(std::in_place, ::accept4(listener->fd(), nullptr, nullptr, SOCK_CLOEXEC));
  const std::string seen = original_destination(accepted.fd(), v6);
  if (seen == wanted) return {};
  return broken(cat(name_of_family(v6), " ", what, " is captured, but its destination ", wanted,
                    " is lost: the system says ", seen, "; the kernel needs nf_conntrack"));
}

Result<void> probe_outbound(const Capture& capture, bool v6, const Place& far) {
  TRY(const std::optional<Socket> listener, stand_in(v6, capture.outbound_port));
  const Socket probe(v6 ? AF_INET6 : AF_INET);
  if (::connect(probe.fd(), far.raw(), far.size) != 0 && errno != EINPROGRESS) {
    return broken(cat(name_of_family(v6), " outbound: a connection to ", ip_of(far),
                      " cannot begin: ", std::strerror(errno)));
  }
  return taken(probe, listener, far, v6, "outbound traffic");
}

// A connection of the proxy's own user. The owner of a socket is who made it, so a child does that.
Result<void> connect_as_proxy(const Capture& capture, bool v6, const Place& to) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresgid(capture.proxy_gid, capture.proxy_gid, capture.proxy_gid) != 0 ||
        ::setresuid(capture.proxy_uid, capture.proxy_uid, capture.proxy_uid) != 0) {
      ::_exit(2);
    }
    const Socket own(v6 ? AF_INET6 : AF_INET);
    const bool begun = ::connect(own.fd(), to.raw(), to.size) == 0 || errno == EINPROGRESS;
    ::_exit(begun && own.ready(POLLOUT) ? 0 : 1);
  }
  if (child < 0) return broken(cat("cannot begin a process: ", std::strerror(errno)));
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 2) return {};
  return broken(cat("cannot become user ", capture.proxy_uid,
                    " for the probe; run as root with the "
                    "capabilities SETUID and SETGID"));
}

// As an application that calls its own Service: the proxy comes back to its own machine.
Result<void> probe_inbound(const Capture& capture, bool v6, const std::string& own) {
  TRY(const std::optional<Socket> listener, stand_in(v6, capture.inbound_port));
  // A proxy that runs answers nobody who is not allowed; what the rules say was compared already.
  if (!listener) return {};
  const uint16_t port = probe_port(capture.include_inbound_ports);
  const Place to = place_of(v6, own.c_str(), port);
  TRY_VOID(connect_as_proxy(capture, v6, to));
  if (!listener->ready(POLLIN)) {
    return broken(cat(name_of_family(v6), " inbound traffic is not captured: a connection of user ",
                      capture.proxy_uid, " to ", own, " port ", port, " did not come to port ",
                      capture.inbound_port,
                      "; run `glia capture install` in this network namespace"));
  }
  const Socket accepted(std::in_place, ::accept4(listener->fd(), nullptr, nullptr, SOCK_CLOEXEC));
  const std::string seen = original_destination(accepted.fd(), v6);
  const std::string wanted = cat(own, " port ", port);
  if (seen == wanted) return {};
  return broken(cat(name_of_family(v6), " inbound traffic is captured, but its destination ",
                    wanted, " is lost: the system says ", seen, "; the kernel needs nf_conntrack"));
}

}  // namespace

Result<std::vector<std::string>> check_capture(const Capture& capture) {
  std::vector<std::string> seen;
  if (::getuid() == capture.proxy_uid || ::getgid() == capture.proxy_gid) {
    return broken(cat("the check runs as user ", ::getuid(), " and group ", ::getgid(),
                      ", one of which is the proxy's, whose connections are never captured; run it "
                      "as another user"));
  }
  if (::geteuid() == 0) {
    TRY(const Installed now, installed(capture));
    // Versions of iptables may write the same rules in another way; then the probes decide.
    const bool doubtful = now == Installed::kOther && capture.backend != CaptureBackend::kNft;
    if (now != Installed::kAsWanted && !doubtful) {
      return broken(cat("the rules of this network namespace are ",
                        now == Installed::kNothing ? "not there" : "not those that were asked for",
                        "; run `glia capture install` with the same flags"));
    }
    seen.push_back(cat(name_of(capture.backend), doubtful
                                                     ? ": the rules are not written as expected"
                                                     : ": the rules are as they should be"));
  }
  int probed = 0;
  for (const bool v6 : {false, true}) {
    const auto far = far_address(capture, v6);
    if (!far || (v6 ? !capture.v6() : !capture.v4())) continue;
    const Place to = place_of(v6, far->c_str(), probe_port(capture.include_outbound_ports));
    const auto own = own_address(to);
    if (!own) {
      seen.push_back(cat(name_of_family(v6), ": no route leads to ", *far,
                         ", so nothing leaves "
                         "that could be captured"));
      continue;
    }
    ++probed;
    TRY_VOID(probe_outbound(capture, v6, to));
    seen.push_back(
        cat(name_of_family(v6), ": outbound connections come to port ", capture.outbound_port));
    if (::geteuid() != 0) continue;
    TRY_VOID(probe_inbound(capture, v6, *own));
    seen.push_back(
        cat(name_of_family(v6), ": inbound connections come to port ", capture.inbound_port));
  }
  if (probed > 0) return seen;
  return broken(
      "this network namespace has no route out, so capture cannot be seen to work; bring up "
      "its interface and a default route first");
}

}  // namespace glia
