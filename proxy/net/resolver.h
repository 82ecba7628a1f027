// Resolver: host names to addresses by the system's getaddrinfo, off the loop's thread. Private to
// net/tcp.
//
// getaddrinfo honours the hosts file, nsswitch and search domains as every other program of the
// machine does, but blocks; so one thread does nothing else. A lookup may be abandoned at any
// moment: the answer then finds nobody and is dropped. Destroying the resolver does not wait for an
// answer: the thread, if it is inside getaddrinfo, is left to end by itself.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

class Resolver {
 public:
  explicit Resolver(EventLoop& loop);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // One question, asked when it is made; destroying it abandons the question.
  class Lookup {
   public:
    Lookup(Resolver& resolver, const std::string& host);
    ~Lookup();
    Lookup(const Lookup&) = delete;
    Lookup& operator=(const Lookup&) = delete;
    // Woken when take() has an answer.
    WaitSlot& done() { return done_; }
    Result<std::vector<Address>> take() { return std::move(answer_); }

   private:
    friend class Resolver;
    Resolver* resolver_;  // Null once answered, or when the resolver is gone.
    uint64_t id_;
    Result<std::vector<Address>> answer_;
    WaitSlot done_;
  };

 private:
  class Worker;
  struct Alive {};
  void answered(uint64_t id, Result<std::vector<Address>> answer);

  EventLoop& loop_;
  uint64_t last_id_ = 0;
  std::map<uint64_t, Lookup*> lookups_;
  Worker* worker_;  // Owns itself once abandoned.
  std::shared_ptr<const Alive> alive_ = std::make_shared<const Alive>();
};

}  // namespace glia
