// load: origin and load generator of `./dev bench` in one thread.
//
// In one thread because two processes on one CPU disturb each other by whole scheduler slices, which
// then look like the proxy's latency. Told what to do by lines on standard input, so that run.py can
// write the proxies' configuration once the origin's ports are known, and read a proxy's CPU time
// between warm-up and measurement. Each line is answered by one line of JSON:
//
//   connect ADDRESS http1|http2 clear|tls|mutual CONNECTIONS STREAMS ERRAND AMOUNT
//   send COUNT                 COUNT errands, as fast as answers come (errands: see errand.h)
//   open COUNT RATE            COUNT errands, due at RATE a second in the mean
//   touch                      one errand on each stream of each connection
//   storm ADDRESS none|full|resumed COUNT    connections with one request each (see storm.h)
//   close                      closes what `connect` opened
//
// The first line, unasked, says where the origin listens. What cannot be done is {"error":"..."}.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "proxy/base/text.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/tcp.h"
#include "proxy/net/x509.h"
#include "test/bench/errand.h"
#include "test/bench/fleet.h"
#include "test/bench/origin.h"
#include "test/bench/storm.h"

namespace glia {
namespace {

constexpr std::string_view kUsage =
    "usage: load DIRECTORY\n"
    "  Writes certificate.pem, key.pem, both.pem (the proxies') and ca.pem there, then obeys "
    "standard "
    "input.\n";
constexpr rlim_t kDescriptors = 65536;  // Wanted; 10,000 idle connections need 10,000.

Result<void> write_file(const std::string& path, std::string_view text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written =
      fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (fd >= 0) ::close(fd);
  if (!written) return invalid(cat("cannot write ", path));
  return {};
}

// ECDSA P-256, for every proxy the same. Returns the client's identity.
Result<Identity> write_certificates(const std::string& directory) {
  const WallTime now = SystemClock().wall_now();
  TRY(const CertificateAuthority authority,
      CertificateAuthority::create("bench.example", now, 24h));
  LeafOptions leaf;
  leaf.uri_san = "spiffe://bench.example/proxy";
  leaf.dns_sans = {"bench.example"};
  leaf.now = now;
  TRY(const Identity proxy, issue(authority, leaf));
  TRY_VOID(write_file(cat(directory, "/certificate.pem"), proxy.certificate));
  TRY_VOID(write_file(cat(directory, "/key.pem"), proxy.private_key));
  TRY_VOID(
      write_file(cat(directory, "/both.pem"), cat(proxy.certificate, "\n", proxy.private_key)));
  TRY_VOID(write_file(cat(directory, "/ca.pem"), authority.certificate()));
  leaf.uri_san = "spiffe://bench.example/client";
  return issue(authority, leaf);
}

void raise_descriptor_limit() {
  rlimit limit = {kDescriptors, kDescriptors};
  if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) return;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

double own_cpu_seconds() {
  rusage usage;
  CHECK(::getrusage(RUSAGE_THREAD, &usage) == 0);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void answer(const std::string& json) {
  std::fputs(cat(json, "\n").c_str(), stdout);
  std::fflush(stdout);
}

void answer_error(std::string_view sentence) {
  std::string json = "{\"error\":\"";
  append_json_escaped(json, sentence);
  answer(json + "\"}");
}

// The words of a line.
std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> words;
  while (!(line = trim(line)).empty()) {
    const std::size_t end = line.find(' ');
    words.push_back(line.substr(0, end));
    line.remove_prefix(words.back().size());
  }
  return words;
}

Result<uint64_t> number(std::string_view word) {
  const auto value = parse_decimal(word);
  if (!value) return invalid(cat(word, ": not a number"));
  return *value;
}

// What clients use towards the proxies.
class ClientTls {
 public:
  Result<void> create(const Identity& identity) {
    for (const bool mutual : {false, true}) {
      for (const bool http2 : {false, true}) {
        TlsOptions options;
        options.alpn = {http2 ? "h2" : "http/1.1"};
        options.minimum_version = 0x0304;
        options.groups = {"X25519"};  // What all the peers speak.
        options.server_name = "bench.example";
        if (mutual) options.certificate_chain = identity.certificate;
        if (mutual) options.private_key = identity.private_key;
        TRY(contexts_[mutual][http2], TlsContext::create(TlsContext::Side::kClient, options));
      }
    }
    TRY(storm_, Storm::make_context(identity));
    return {};
  }
  // Null for "clear".
  Result<std::shared_ptr<const TlsContext>> find(std::string_view transport, Codec codec) const {
    if (transport == "clear") return std::shared_ptr<const TlsContext>();
    if (transport != "tls" && transport != "mutual") {
      return invalid(cat(transport, ": not a transport"));
    }
    return contexts_[transport == "mutual"][codec == Codec::kHttp2];
  }
  const std::shared_ptr<SSL_CTX>& storm() const { return storm_; }

 private:
  std::shared_ptr<const TlsContext> contexts_[2][2];
  std::shared_ptr<SSL_CTX> storm_;
};

// Reads commands and obeys them.
class Commander final : private FdWatch, private Fleet::Owner, private Storm::Owner {
 public:
  Commander(LibeventBackend& backend, EventLoop& loop, Network& network, const ClientTls& tls)
      : FdWatch(backend, STDIN_FILENO),
        loop_(loop),
        network_(network),
        tls_(tls),
        http1_(loop, network, Codec::kHttp1),
        http2_(loop, network, Codec::kHttp2) {}
  ~Commander() override { unwatch(); }

  Result<void> begin() {
    TRY_VOID(http1_.listen());
    TRY_VOID(http2_.listen());
    want(/*reading=*/true, /*writing=*/false);
    answer(cat("{\"http1\":\"", http1_.address().text(), "\",\"http2\":\"", http2_.address().text(),
               "\"}"));
    return {};
  }

 private:
  void on_event(uint8_t) override {
    char buffer[4096];
    const ssize_t got = ::read(fd_, buffer, sizeof buffer);
    if (got <= 0) return loop_.stop();
    typed_.append(buffer, static_cast<std::size_t>(got));
    std::size_t end;
    while ((end = typed_.find('\n')) != std::string::npos) {
      const std::string line = typed_.substr(0, end);
      typed_.erase(0, end + 1);
      const Result<void> outcome = obey(split(line));
      if (!outcome) answer_error(outcome.error().message());
    }
  }

  Result<void> obey(const std::vector<std::string_view>& words) {
    if (words.empty()) return {};
    if (words[0] == "connect" && words.size() == 8) return connect(words);
    if (words[0] == "storm" && words.size() == 4) return storm(words);
    if (words[0] == "close" && words.size() == 1) {
      fleet_.reset();
      answer("{\"closed\":true}");
      return {};
    }
    const bool batch = (words[0] == "send" && words.size() == 2) ||
                       (words[0] == "open" && words.size() == 3) ||
                       (words[0] == "touch" && words.size() == 1);
    if (!batch) return invalid(cat(words[0], ": no such command, or not its number of words"));
    return send(words);
  }

  Result<void> connect(const std::vector<std::string_view>& words) {
    if (fleet_ != nullptr) return invalid("connect: close the last fleet first");
    FleetPlan plan;
    TRY(plan.address, Address::parse(words[1]));
    plan.codec = words[2] == "http2" ? Codec::kHttp2 : Codec::kHttp1;
    TRY(plan.tls, tls_.find(words[3], plan.codec));
    TRY(plan.connections, number(words[4]));
    TRY(plan.streams, number(words[5]));
    TRY(const uint64_t amount, number(words[7]));
    TRY(plan.errand, Errand::parse(words[6], amount));
    Fleet::Owner& self = *this;
    fleet_ = std::make_unique<Fleet>(loop_, network_, std::move(plan), self);
    return {};
  }

  Result<void> send(const std::vector<std::string_view>& words) {
    if (fleet_ == nullptr || fleet_->busy()) return invalid("connect first, then one at a time");
    begin_counting();
    if (words[0] == "touch") {
      fleet_->touch();
      return {};
    }
    TRY(const uint64_t count, number(words[1]));
    if (count == 0) return invalid("a number above 0 is needed");
    if (words[0] == "send") {
      fleet_->send(count);
      return {};
    }
    TRY(const uint64_t rate, number(words[2]));
    if (rate == 0) return invalid("a rate above 0 is needed");
    fleet_->send_open(count, static_cast<double>(rate));
    return {};
  }

  Result<void> storm(const std::vector<std::string_view>& words) {
    TRY(const Address address, Address::parse(words[1]));
    TRY(const uint64_t count, number(words[3]));
    const Handshake handshake = words[2] == "full"      ? Handshake::kFull
                                : words[2] == "resumed" ? Handshake::kResumed
                                                        : Handshake::kNone;
    begin_counting();
    Storm::Owner& self = *this;
    storm_ = std::make_unique<Storm>(loop_, network_, address, handshake, count,
                                     handshake == Handshake::kNone ? nullptr : tls_.storm(), self);
    return {};
  }

  void begin_counting() {
    cpu_before_ = own_cpu_seconds();
    origin_before_ = http1_.requests() + http2_.requests();
  }

  void on_connected(const Result<void>& outcome) override {
    if (!outcome) return answer_error(outcome.error().message());
    answer("{\"connected\":true}");
  }

  // The figures that every batch has; without the closing brace.
  template <class Report>
  std::string common(const Report& report) {
    const uint64_t reached = http1_.requests() + http2_.requests() - origin_before_;
    std::string first_error;
    append_json_escaped(first_error, report.first_error);
    return cat("{\"asked\":", report.asked, ",\"answered\":", report.answered,
               ",\"errors\":", report.errors, ",\"first_error\":\"", first_error,
               "\",\"reached_origin\":", reached, ",\"seconds\":", report.seconds,
               ",\"own_cpu_seconds\":", own_cpu_seconds() - cpu_before_);
  }

  void on_sent(const FleetReport& report) override {
    answer(cat(common(report), ",\"samples\":", report.samples, ",\"p50_us\":", report.p50_us,
               ",\"p99_us\":", report.p99_us, "}"));
  }

  void on_storm_over(const StormReport& report) override { answer(cat(common(report), "}")); }

  EventLoop& loop_;
  Network& network_;
  const ClientTls& tls_;
  Origin http1_, http2_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<Storm> storm_;
  std::string typed_;
  double cpu_before_ = 0;
  uint64_t origin_before_ = 0;
};

Result<void> run(int argc, char** argv) {
  if (argc != 2) return invalid(cat(kUsage));
  raise_descriptor_limit();
  TRY(const Identity client, write_certificates(argv[1]));
  ClientTls tls;
  TRY_VOID(tls.create(client));
  auto backend = std::make_unique<LibeventBackend>();
  LibeventBackend& events = *backend;
  EventLoop loop(std::move(backend));
  SocketNetwork network(loop);
  Commander commander(events, loop, network, tls);
  TRY_VOID(commander.begin());
  loop.run();
  return {};
}

}  // namespace
}  // namespace glia

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  const auto outcome = glia::run(argc, argv);
  if (outcome) return 0;
  std::fprintf(stderr, "load: %s\n", outcome.error().message().c_str());
  return 1;
}
