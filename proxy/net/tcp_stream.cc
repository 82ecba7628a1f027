#include "proxy/net/tcp_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "proxy/base/text.h"
#include "proxy/net/kernel_pipe.h"
#include "proxy/net/original_destination.h"
#include "proxy/net/tcp.h"

namespace glia {

int make_socket(int family) {
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0 && family != AF_UNIX) send_without_delay(fd);
  return fd;
}

void send_without_delay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

TcpStream::TcpStream(LibeventBackend& backend, int fd, State state, bool outgoing,
                     const Address& remote)
    : FdWatch(backend, fd), state_(state), outgoing_(outgoing) {
  info_.remote = remote;
}

std::unique_ptr<Stream> TcpStream::accepted(LibeventBackend& backend, int fd, const Address& local,
                                            const Address& remote) {
  std::unique_ptr<TcpStream> stream(
      new TcpStream(backend, fd, State::kOpening, /*outgoing=*/false, remote));
  stream->info_.local = local;
  stream->activate();
  return stream;
}

std::unique_ptr<Stream> TcpStream::captured(LibeventBackend& backend, int fd,
                                            const Address& remote) {
  std::unique_ptr<TcpStream> stream(
      new TcpStream(backend, fd, State::kOpening, /*outgoing=*/false, remote));
  stream->info_.local = original_destination(fd, remote.family());
  stream->info_.captured = true;
  stream->activate();
  return stream;
}

namespace {

// The port is chosen when it connects, so that one address has as many as the system has.
bool come_from(int fd, const Address& from) {
  if (from.raw_size() == 0) return true;
  const int on = 1;
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  return bind(fd, from.raw(), from.raw_size()) == 0;
}

}  // namespace

std::unique_ptr<Stream> TcpStream::connecting(LibeventBackend& backend, const Address& to,
                                              const Address& from) {
  const int fd = make_socket(to.family());
  std::unique_ptr<TcpStream> stream(
      new TcpStream(backend, fd, State::kConnecting, /*outgoing=*/true, to));
  if (fd < 0) {
    stream->fail("connect", errno);
    stream->activate();
  } else if (!come_from(fd, from)) {
    stream->fail("bind before connecting to", errno);
    stream->activate();
  } else if (connect(fd, to.raw(), to.raw_size()) == 0) {
    stream->state_ = State::kOpening;
    stream->activate();
  } else if (errno == EINPROGRESS) {
    stream->want(/*reading=*/false, /*writing=*/true);
  } else {
    stream->fail("connect", errno);
    stream->activate();
  }
  return stream;
}

TcpStream::~TcpStream() {
  if (fd_ < 0) return;
  unwatch();
  close(fd_);
}

void TcpStream::on_event(uint8_t what) {
  if ((what & kUnwatched) != 0 && state_ != State::kBroken) return break_now("watch", ENOMEM);
  if (state_ == State::kConnecting) return finish_connecting();
  if (state_ == State::kOpening) return open();
  if (state_ == State::kBroken) {
    // Only a connect that failed at once is told from here.
    if ((what & kActivated) != 0) watcher_->on_broken();
    return;
  }
  if ((what & kHungUp) != 0) {
    int error_number = 0;
    socklen_t size = sizeof error_number;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error_number, &size);
    if (error_number != 0) return break_now("wait for", error_number);
  }
  if ((what & kWritable) != 0) {
    blocked_ = false;
    want(wants_reading(), false);
  }
  if ((what & kReadable) != 0) {
    drained_ = false;
    // Reading is switched off only now, not when it was paused or ended: most pauses end before
    // more arrives, and most streams are closed soon after their end.
    if (paused_ || ended_) want(false, blocked_);
    if (!paused_ && !ended_) watcher_->on_readable();
  }
  if ((what & kWritable) != 0 && state_ == State::kOpen) watcher_->on_writable();
}

void TcpStream::finish_connecting() {
  int error_number = 0;
  socklen_t size = sizeof error_number;
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error_number, &size);
  if (error_number != 0) return break_now("connect", error_number);
  open();
}

void TcpStream::open() {
  state_ = State::kOpen;
  want(/*reading=*/true, /*writing=*/false);
  watcher_->on_open();
}

IoResult TcpStream::read(std::span<char> into) {
  if (may_not_read() || into.empty()) return not_read();
  ssize_t count;
  do {
    count = recv(fd_, into.data(), into.size(), 0);
  } while (count < 0 && errno == EINTR);
  if (count <= 0) return nothing_read(count);
  drained_ = static_cast<std::size_t>(count) < into.size() && !write_failed_;
  return {IoResult::State::kDone, static_cast<std::size_t>(count)};
}

IoResult TcpStream::read_into(KernelPipe& pipe, std::size_t most) {
  if (may_not_read()) return not_read();
  const long count = pipe.fill(fd_, most);
  if (count <= 0) return nothing_read(count);
  // A pipe may be full before the socket is empty; if so, the next event says it.
  drained_ = static_cast<std::size_t>(count) < most && !write_failed_;
  return {IoResult::State::kDone, static_cast<std::size_t>(count)};
}

IoResult TcpStream::not_read() const {
  if (state_ == State::kBroken) return {IoResult::State::kError};
  return {ended_ ? IoResult::State::kEnd : IoResult::State::kWait};
}

IoResult TcpStream::nothing_read(ssize_t count) {
  // The end after a reset is not an orderly one: writing took the error from the socket.
  if (write_failed_) return fail(doing_, error_number_);
  if (count == 0) {
    ended_ = true;
    return {IoResult::State::kEnd};
  }
  if (errno != EAGAIN) return fail("read from", errno);
  drained_ = true;
  return {IoResult::State::kWait};
}

namespace {

// One piece, which is the rule, goes by send(): the kernel has no message header to copy and check.
ssize_t send_pieces(int fd, std::span<iovec> pieces) {
  if (pieces.size() == 1) return ::send(fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL);
  msghdr message = {};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  return ::sendmsg(fd, &message, MSG_NOSIGNAL);
}

}  // namespace

IoResult TcpStream::write(std::span<const std::string_view> pieces) {
  if (state_ == State::kBroken || write_failed_) return {IoResult::State::kError};
  if (state_ != State::kOpen || blocked_) return {IoResult::State::kWait};
  std::size_t moved = 0;
  while (!pieces.empty() && !blocked_) {
    std::array<iovec, kPiecesPerCall> vectors;
    const std::size_t count = std::min(pieces.size(), vectors.size());
    std::size_t size = 0;
    for (std::size_t i = 0; i < count; ++i) {
      vectors[i] = {const_cast<char*>(pieces[i].data()), pieces[i].size()};
      size += pieces[i].size();
    }
    const ssize_t sent = size == 0 ? 0 : send_pieces(fd_, {vectors.data(), count});
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) return fail_writing(errno);
    moved += sent > 0 ? static_cast<std::size_t>(sent) : 0;
    blocked_ = sent < static_cast<ssize_t>(size);
    pieces = pieces.subspan(count);
  }
  if (blocked_) want(wants_reading(), true);
  if (moved == 0) return {IoResult::State::kWait};
  return {IoResult::State::kDone, moved};
}

IoResult TcpStream::write_from(KernelPipe& pipe) {
  if (state_ == State::kBroken || write_failed_) return {IoResult::State::kError};
  if (state_ != State::kOpen || blocked_) return {IoResult::State::kWait};
  const long moved = pipe.drain(fd_);
  if (moved < 0 && errno != EAGAIN) return fail_writing(errno);
  blocked_ = pipe.held() > 0;
  if (blocked_) want(wants_reading(), true);
  if (moved <= 0) return {IoResult::State::kWait};
  return {IoResult::State::kDone, static_cast<std::size_t>(moved)};
}

void TcpStream::finish_writing() {
  if (state_ == State::kOpen) shutdown(fd_, SHUT_WR);
}

// Closing without lingering drops what is unsent and sends RST.
void TcpStream::abort() {
  const linger now = {.l_onoff = 1, .l_linger = 0};
  if (fd_ >= 0) setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void TcpStream::pause_reading(bool paused) {
  paused_ = paused;
  if (state_ == State::kOpen && !paused && !ended_ && !wants_reading()) want(true, blocked_);
}

const ConnectionInfo& TcpStream::info() const {
  if (info_.local.raw_size() == 0 && fd_ >= 0) {
    sockaddr_storage local;
    socklen_t size = sizeof local;
    if (getsockname(fd_, reinterpret_cast<sockaddr*>(&local), &size) == 0) {
      info_.local = Address::from(reinterpret_cast<sockaddr*>(&local), size);
    }
  }
  return info_;
}

IoResult TcpStream::fail(const char* doing, int error_number) {
  if (fd_ >= 0) unwatch();
  state_ = State::kBroken;
  doing_ = doing;
  error_number_ = error_number;
  return {IoResult::State::kError};
}

IoResult TcpStream::fail_writing(int error_number) {
  write_failed_ = true;
  drained_ = false;
  doing_ = "write to";
  error_number_ = error_number;
  return {IoResult::State::kError};
}

void TcpStream::break_now(const char* doing, int error_number) {
  fail(doing, error_number);
  watcher_->on_broken();
}

Error TcpStream::error() const {
  const Fault fault = outgoing_ ? Fault::kUpstream : Fault::kDownstream;
  const bool connecting = std::string_view(doing_) == "connect";
  const bool ours = error_number_ == EMFILE || error_number_ == ENFILE || error_number_ == ENOMEM ||
                    error_number_ == ENOBUFS || error_number_ == EADDRNOTAVAIL;
  return Error(connecting ? ErrorKind::kConnectFailed : ErrorKind::kReset,
               ours ? Fault::kSelf : fault,
               cat(doing_, " ", info_.remote.text(), ": ", system_error_text(error_number_)),
               connecting ? Retry::kSafe : Retry::kNo);
}

}  // namespace glia
