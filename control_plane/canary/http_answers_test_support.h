// HTTP servers of one answer, on real sockets.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace glia {

// A socket that listens; whoever connects waits for somebody who accepts.
class Listening {
 public:
  Listening() {
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(::listen(socket_, 1), 0);
    EXPECT_EQ(::getsockname(socket_, reinterpret_cast<sockaddr*>(&at), &size), 0);
    port_ = ntohs(at.sin_port);
  }
  ~Listening() { ::close(socket_); }
  uint16_t port() const { return port_; }
  int socket() const { return socket_; }

 private:
  int socket_ = -1;
  uint16_t port_ = 0;
};

// Takes one connection, reads to the end of the request, and answers with fixed bytes.
class OneAnswer {
 public:
  // `until`: how the request ends.
  explicit OneAnswer(std::string answer, std::string until = "}")
      : answer_(std::move(answer)), until_(std::move(until)), thread_([this] { serve(); }) {}
  ~OneAnswer() {
    if (thread_.joinable()) thread_.join();
  }
  uint16_t port() const { return listening_.port(); }
  // Of the request, once it is answered.
  const std::string& request() {
    thread_.join();
    return request_;
  }

 private:
  void serve() {
    const int peer = ::accept(listening_.socket(), nullptr, nullptr);
    char bytes[4096];
    while (!request_.ends_with(until_)) {
      const ssize_t count = ::read(peer, bytes, sizeof bytes);
      if (count <= 0) break;
      request_.append(bytes, static_cast<std::size_t>(count));
    }
    // The other end may have had enough.
    [[maybe_unused]] const ssize_t sent =
        ::send(peer, answer_.data(), answer_.size(), MSG_NOSIGNAL);
    ::close(peer);
  }
  const std::string answer_, until_;
  Listening listening_;
  std::string request_;
  std::thread thread_;
};

}  // namespace glia
