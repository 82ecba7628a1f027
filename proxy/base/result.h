// Result: a value, or an Error that says what went wrong, whose fault it is and whether another
// try may help. Network and configuration trouble travels this way; there are no exceptions above
// the libraries that throw them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "proxy/base/check.h"

namespace glia {

// What went wrong. flow/rescue.cc holds the one table from kind to HTTP status, gRPC code, response
// flag and counter.
enum class ErrorKind : uint8_t {
  kInvalid,        // A message or a configuration that breaks a rule.
  kTooLarge,       // A named limit on size was reached.
  kNoRoute,        // No route matches the request.
  kNoCluster,      // The route names a cluster that is not held.
  kNoEndpoint,     // The cluster has no endpoint that may be used.
  kDenied,         // A policy refused the request.
  kOverflow,       // A named limit on count (connections, pending requests) was reached.
  kOverload,       // This process has no memory left for more work.
  kConnectFailed,  // No connection could be made, TLS handshake included.
  kReset,          // The peer broke the connection or the stream before the message ended.
  kTimeout,        // A named time ran out.
  kProtocol,       // The peer broke HTTP.
  kClosed,         // The peer ended in an orderly way, or we are shutting down.
  kInternal,       // Trouble of this process or its machine: out of descriptors, disk full.
};

// Whose fault it is. Downstream faults never count against an upstream.
enum class Fault : uint8_t { kDownstream, kUpstream, kSelf };

// May the same request be sent again without the upstream having acted on it?
enum class Retry : uint8_t { kNo, kSafe };

class [[nodiscard]] Error {
 public:
  Error(ErrorKind kind, Fault fault, std::string message, Retry retry = Retry::kNo)
      : message_(std::move(message)), kind_(kind), fault_(fault), retry_(retry) {}

  ErrorKind kind() const { return kind_; }
  Fault fault() const { return fault_; }
  Retry retry() const { return retry_; }
  // One sentence for a person, without a full stop; names the thing and the value.
  const std::string& message() const { return message_; }

  // The same error with where it happened put before its sentence: "listener[web]: <message>".
  Error in(std::string_view place) && {
    message_.insert(0, std::string(place) + ": ");
    return std::move(*this);
  }

 private:
  std::string message_;
  ErrorKind kind_;
  Fault fault_;
  Retry retry_;
};

// The common case in decoders: a rule of ours broken by what somebody wrote.
inline Error invalid(std::string message) {
  return Error(ErrorKind::kInvalid, Fault::kSelf, std::move(message));
}

template <class T>
class [[nodiscard]] Result {
 public:
  using Value = T;
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& operator*() & {
    CHECK(ok());
    return *std::get_if<0>(&state_);
  }
  const T& operator*() const& {
    CHECK(ok());
    return *std::get_if<0>(&state_);
  }
  T&& operator*() && {
    CHECK(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  T* operator->() { return &**this; }
  const T* operator->() const { return &**this; }
  Error& error() & {
    CHECK(!ok());
    return *std::get_if<1>(&state_);
  }
  const Error& error() const& {
    CHECK(!ok());
    return *std::get_if<1>(&state_);
  }
  Error&& error() && {
    CHECK(!ok());
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using Value = void;
  Result() = default;
  Result(Error error) : state_(std::move(error)) {}  // NOLINT: implicit by design

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  Error& error() & {
    CHECK(!ok());
    return *std::get_if<1>(&state_);
  }
  const Error& error() const& {
    CHECK(!ok());
    return *std::get_if<1>(&state_);
  }
  Error&& error() && {
    CHECK(!ok());
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  std::variant<std::monostate, Error> state_;
};

}  // namespace glia

#define GLIA_JOIN_(a, b) a##b
#define GLIA_JOIN(a, b) GLIA_JOIN_(a, b)

// TRY(const auto port, parse_port(text)); declares `port` from the value, or returns the error.
// TRY_VOID(check(x)); the same for Result<void>. In a coroutine: CO_TRY, CO_TRY_VOID.
#define GLIA_TRY(declaration, expression, leave, name) \
  auto&& name = (expression);                          \
  if (!name.ok()) leave std::move(name).error();       \
  declaration = *std::move(name)
#define TRY(declaration, expression) \
  GLIA_TRY(declaration, expression, return, GLIA_JOIN(try_, __LINE__))
#define CO_TRY(declaration, expression) \
  GLIA_TRY(declaration, expression, co_return, GLIA_JOIN(try_, __LINE__))
#define TRY_VOID(expression)                                \
  do {                                                      \
    auto&& try_void = (expression);                         \
    if (!try_void.ok()) return std::move(try_void).error(); \
  } while (false)
#define CO_TRY_VOID(expression)                                \
  do {                                                         \
    auto&& try_void = (expression);                            \
    if (!try_void.ok()) co_return std::move(try_void).error(); \
  } while (false)
