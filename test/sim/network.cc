#include "test/sim/network.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "test/sim/sim_stream.h"

namespace glia {

// The door of one machine.
class SimHost final : public Network {
 public:
  SimHost(SimFabric& fabric, const std::string& ip) : fabric_(fabric), ip_(*Address::ip(ip, 0)) {}

  using Network::connect;
  std::unique_ptr<Stream> connect(const Address& to, const Address&) override {
    auto stream = std::make_unique<SimStream>(fabric_, to.is_unix() ? to : free_port(), to,
                                              /*outgoing=*/true);
    stream->connect();
    return stream;
  }

  // A wildcard address is this machine's.
  Result<std::unique_ptr<Acceptor>> listen(const Address& at, const ListenOptions& options,
                                           AcceptHandler& handler) override {
    Address address = at.is_unix() ? at : ip_.with_port(at.port());
    if (!at.is_unix() && at.port() == 0) address = free_port();
    const SimAcceptor* other = fabric_.acceptor_at(address);
    if (other != nullptr && !(options.reuse_port && other->shared())) {
      return Error(ErrorKind::kInternal, Fault::kSelf,
                   cat("listen on ", address.text(), ": bind: address already in use"));
    }
    return std::unique_ptr<Acceptor>(std::make_unique<SimAcceptor>(
        fabric_, address, options.reuse_port && !address.is_unix(), handler));
  }

  Task<Result<std::vector<Address>>> resolve(std::string host, uint16_t port) override {
    if (Result<Address> ip = Address::ip(host, port); ip.ok()) co_return std::vector{*ip};
    co_await sleep_for(fabric_.loop_, fabric_.latency());
    const auto found = fabric_.names_.find(host);
    if (found == fabric_.names_.end()) {
      co_return Error(ErrorKind::kConnectFailed, Fault::kUpstream,
                      cat("resolve \"", host, "\": name or service not known"));
    }
    std::vector<Address> addresses;
    for (const std::string& ip : found->second) addresses.push_back(*Address::ip(ip, port));
    co_return addresses;
  }

 private:
  Address free_port() { return ip_.with_port(++fabric_.last_port_); }

  SimFabric& fabric_;
  const Address ip_;
};

SimFabric::SimFabric(EventLoop& loop, uint64_t seed, const SimFaults& faults)
    : loop_(loop), random_(seed), faults_(faults) {}

SimFabric::~SimFabric() = default;

Network& SimFabric::host(const std::string& ip) {
  std::unique_ptr<SimHost>& host = hosts_[ip];
  if (host == nullptr) host = std::make_unique<SimHost>(*this, ip);
  return *host;
}

void SimFabric::kill(const std::string& ip) {
  dead_.insert(ip);
  for (auto& [number, stream] : streams_) {
    if (stream->info_.local.ip_text() == ip || stream->info_.remote.ip_text() == ip) {
      stream->break_now("connection reset, the host died");
    }
  }
}

void SimFabric::revive(const std::string& ip) { dead_.erase(ip); }

void SimFabric::partition(const std::string& a, const std::string& b) {
  partitions_.insert(std::minmax(a, b));
}

void SimFabric::heal(const std::string& a, const std::string& b) {
  partitions_.erase(std::minmax(a, b));
}

void SimFabric::reset_all(const Address& to) {
  for (auto& [number, stream] : streams_) {
    if (stream->info_.remote == to || stream->info_.local == to) {
      stream->break_now("connection reset by the test");
    }
  }
}

void SimFabric::name(const std::string& host, std::vector<std::string> ips) {
  names_[host] = std::move(ips);
}

SimAcceptor* SimFabric::acceptor_at(const Address& address) {
  auto [first, last] = acceptors_.equal_range(address);
  const auto count = std::distance(first, last);
  if (count == 0) return nullptr;
  if (count > 1) std::advance(first, random_.below(static_cast<uint64_t>(count)));
  return first->second;
}

Duration SimFabric::latency() {
  const Duration range = std::max(faults_.most_latency - faults_.least_latency, Duration(0));
  return faults_.least_latency + Duration(random_.below(static_cast<uint64_t>(range.count()) + 1));
}

bool SimFabric::parted(const Address& a, const Address& b) const {
  return !partitions_.empty() && partitions_.contains(std::minmax(a.ip_text(), b.ip_text()));
}

void SimFabric::note(std::string_view what, const SimStream& stream, std::size_t bytes) {
  if (!transcript_) return;
  const ConnectionInfo& info = stream.info();
  *transcript_ += cat(loop_.now().time_since_epoch().count(), " #", stream.number(), " ",
                      info.local.text(), " ", info.remote.text(), " ", what, " ", bytes, "\n");
}

}  // namespace glia
