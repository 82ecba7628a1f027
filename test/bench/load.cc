// load: origin and load generator of `./dev bench` in one thread.
//
// In one thread because two processes on one CPU disturb each other by whole scheduler slices, which
// then look like the proxy's latency. Told what to do by lines on standard input, so that run.py can
// write the proxies' configuration once the origin's ports are known, and read a proxy's CPU time
// between warm-up and measurement. Each line is answered by one line of JSON:
//
//   connect ADDRESS http1|http2 clear|tls CONNECTIONS STREAMS    {"connected":true}
//   send COUNT                                                   {"asked":50000,"answered":50000,...}
//   close                                                        {"closed":true}
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
#include "test/bench/fleet.h"
#include "test/bench/origin.h"

namespace glia {
namespace {

constexpr std::string_view kUsage =
    "usage: load [--body=BYTES] [--certificate=DIRECTORY]\n"
    "  --body=BYTES             of every answer; 1024 if not given\n"
    "  --certificate=DIRECTORY  writes certificate.pem, key.pem and both.pem for the proxies "
    "first\n";
constexpr uint64_t kMostBody = 64 * 1024 * 1024;  // bytes

struct LoadOptions {
  uint64_t body = 1024;  // bytes
  std::string certificate_directory;
};

Result<LoadOptions> parse_load_options(int argc, char** argv) {
  LoadOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word.starts_with("--certificate=")) {
      options.certificate_directory = word.substr(14);
    } else if (word.starts_with("--body=")) {
      const auto bytes = parse_decimal(word.substr(7));
      if (!bytes || *bytes > kMostBody) return invalid(cat(word, ": not a size up to 64 MiB"));
      options.body = *bytes;
    } else {
      return invalid(cat(word, ": unknown\n", kUsage));
    }
  }
  return options;
}

Result<void> write_file(const std::string& path, std::string_view text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written =
      fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (fd >= 0) ::close(fd);
  if (!written) return invalid(cat("cannot write ", path));
  return {};
}

// ECDSA P-256, for every proxy the same.
Result<void> write_certificate(const std::string& directory) {
  const WallTime now = SystemClock().wall_now();
  TRY(const CertificateAuthority authority,
      CertificateAuthority::create("bench.example", now, 24h));
  LeafOptions leaf;
  leaf.uri_san = "spiffe://bench.example/proxy";
  leaf.dns_sans = {"bench.example"};
  leaf.now = now;
  TRY(const Identity identity, issue(authority, leaf));
  TRY_VOID(write_file(cat(directory, "/certificate.pem"), identity.certificate));
  TRY_VOID(write_file(cat(directory, "/key.pem"), identity.private_key));
  return write_file(cat(directory, "/both.pem"),
                    cat(identity.certificate, "\n", identity.private_key));
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

// Reads commands and obeys them.
class Commander final : private FdWatch, private Fleet::Owner {
 public:
  Commander(LibeventBackend& backend, EventLoop& loop, Network& network, const LoadOptions& options)
      : FdWatch(backend, STDIN_FILENO),
        loop_(loop),
        network_(network),
        body_(options.body, 'x'),
        http1_(loop, network, Codec::kHttp1, body_),
        http2_(loop, network, Codec::kHttp2, body_) {}
  ~Commander() override { unwatch(); }

  Result<void> begin() {
    TlsOptions http1, http2;
    http1.alpn = {"http/1.1"};
    http2.alpn = {"h2"};
    http1.minimum_version = http2.minimum_version = 0x0304;
    http1.groups = http2.groups = {"X25519"};  // What all the peers speak.
    http1.server_name = http2.server_name = "bench.example";
    TRY(tls_http1_, TlsContext::create(TlsContext::Side::kClient, http1));
    TRY(tls_http2_, TlsContext::create(TlsContext::Side::kClient, http2));
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
    if (words[0] == "connect") return connect(words);
    if (words[0] == "send") return send(words);
    if (words[0] != "close") return invalid(cat(words[0], ": no such command"));
    fleet_.reset();
    answer("{\"closed\":true}");
    return {};
  }

  Result<void> connect(const std::vector<std::string_view>& words) {
    if (words.size() != 6) return invalid("connect takes 5 words");
    if (fleet_ != nullptr) return invalid("connect: close the last fleet first");
    FleetPlan plan;
    TRY(plan.address, Address::parse(words[1]));
    plan.codec = words[2] == "http2" ? Codec::kHttp2 : Codec::kHttp1;
    if (words[3] == "tls") plan.tls = plan.codec == Codec::kHttp2 ? tls_http2_ : tls_http1_;
    const auto connections = parse_decimal(words[4]);
    const auto streams = parse_decimal(words[5]);
    if (!connections || !streams) return invalid("connect: not a number");
    plan.connections = *connections;
    plan.streams = *streams;
    plan.body_bytes = body_.size();
    Fleet::Owner& self = *this;
    fleet_ = std::make_unique<Fleet>(loop_, network_, std::move(plan), self);
    return {};
  }

  Result<void> send(const std::vector<std::string_view>& words) {
    const auto count = words.size() == 2 ? parse_decimal(words[1]) : std::nullopt;
    if (!count || *count == 0) return invalid("send takes a number above 0");
    if (fleet_ == nullptr || fleet_->busy())
      return invalid("send: connect first, then one at a time");
    cpu_before_ = own_cpu_seconds();
    origin_before_ = http1_.requests() + http2_.requests();
    fleet_->send(*count);
    return {};
  }

  void on_connected(const Result<void>& outcome) override {
    if (!outcome) return answer_error(outcome.error().message());
    answer("{\"connected\":true}");
  }

  void on_sent(const FleetReport& report) override {
    const uint64_t reached = http1_.requests() + http2_.requests() - origin_before_;
    std::string first_error;
    append_json_escaped(first_error, report.first_error);
    answer(cat("{\"asked\":", report.asked, ",\"answered\":", report.answered,
               ",\"errors\":", report.errors, ",\"first_error\":\"", first_error,
               "\",\"reached_origin\":", reached, ",\"seconds\":", report.seconds,
               ",\"p50_us\":", report.p50_us, ",\"p99_us\":", report.p99_us,
               ",\"own_cpu_seconds\":", own_cpu_seconds() - cpu_before_, "}"));
  }

  EventLoop& loop_;
  Network& network_;
  const std::string body_;
  Origin http1_, http2_;
  std::shared_ptr<const TlsContext> tls_http1_, tls_http2_;
  std::unique_ptr<Fleet> fleet_;
  std::string typed_;
  double cpu_before_ = 0;
  uint64_t origin_before_ = 0;
};

Result<void> run(int argc, char** argv) {
  TRY(const LoadOptions options, parse_load_options(argc, argv));
  if (!options.certificate_directory.empty()) {
    TRY_VOID(write_certificate(options.certificate_directory));
  }
  auto backend = std::make_unique<LibeventBackend>();
  LibeventBackend& events = *backend;
  EventLoop loop(std::move(backend));
  SocketNetwork network(loop);
  Commander commander(events, loop, network, options);
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
