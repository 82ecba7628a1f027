// TcpStream: a connected, or connecting, stream socket. Private to net/tcp.
#pragma once

#include "proxy/net/libevent_backend.h"
#include "proxy/net/stream.h"

namespace glia {

class TcpStream final : public Stream, private FdWatch {
 public:
  // An accepted socket; opens in this turn or the next. `local` may be without address if it is not
  // known; the kernel is then asked when somebody wants to know.
  static std::unique_ptr<Stream> accepted(LibeventBackend& backend, int fd, const Address& local,
                                          const Address& remote);
  // The same, of a connection that was meant for another address.
  static std::unique_ptr<Stream> captured(LibeventBackend& backend, int fd, const Address& remote);
  // A socket on its way to `to`, from the address `from` if it is one. Never null: what fails at once
  // is told with on_broken().
  static std::unique_ptr<Stream> connecting(LibeventBackend& backend, const Address& to,
                                            const Address& from);
  ~TcpStream() override;

  void watch(Watcher& watcher) override { watcher_ = &watcher; }
  IoResult read(std::span<char> into) override;
  IoResult write(std::span<const std::string_view> pieces) override;
  bool takes_pipe() const override { return true; }
  IoResult read_into(KernelPipe& pipe, std::size_t most) override;
  IoResult write_from(KernelPipe& pipe) override;
  void finish_writing() override;
  void abort() override;
  void pause_reading(bool paused) override;
  const ConnectionInfo& info() const override;
  Error error() const override;

 private:
  enum class State : uint8_t { kConnecting, kOpening, kOpen, kBroken };
  // One system call takes so many pieces.
  static constexpr std::size_t kPiecesPerCall = 64;

  TcpStream(LibeventBackend& backend, int fd, State state, bool outgoing, const Address& remote);
  void on_event(uint8_t what) override;
  void finish_connecting();
  void open();
  bool may_not_read() const { return state_ != State::kOpen || ended_ || drained_; }
  IoResult not_read() const;
  IoResult nothing_read(ssize_t count);
  IoResult fail(const char* doing, int error_number);
  IoResult fail_writing(int error_number);
  void break_now(const char* doing, int error_number);

  Watcher* watcher_ = nullptr;
  mutable ConnectionInfo info_;
  const char* doing_ = "";  // What failed: "connect", "read from", "write to".
  int error_number_ = 0;
  State state_;
  const bool outgoing_;
  bool drained_ = true;   // The socket was empty when we last looked; wait for an event.
  bool blocked_ = false;  // The socket was full when we last wrote.
  bool paused_ = false;
  bool ended_ = false;         // The peer will send no more.
  bool write_failed_ = false;  // What has arrived may still be read.
};

// A non-blocking socket for `family`, with Nagle's algorithm off; -1 and errno on failure.
int make_socket(int family);
void send_without_delay(int fd);

}  // namespace glia
