#include "proxy/xds/kept_configuration.h"

#include <openssl/sha.h>

#include <algorithm>
#include <utility>

#include "proxy/base/hex.h"
#include "proxy/base/text.h"
#include "proxy/xds/wire.h"

namespace glia {
namespace {

constexpr std::string_view kFirstLine = "glia-proxy configuration ";
constexpr uint64_t kFormat = 1;
constexpr std::size_t kSizeBytes = 4;  // Before each message: its size, the high byte first.
constexpr std::string_view kPush = "envoy.service.discovery.v3.DeltaDiscoveryResponse";

// Secrets after what wants them: the draft keeps nothing that nobody wants.
constexpr ResourceKind kOrder[] = {ResourceKind::kCluster, ResourceKind::kEndpoints,
                                   ResourceKind::kListener, ResourceKind::kSecret,
                                   ResourceKind::kRoutes};

std::string hex_sha256(std::string_view head, std::string_view body) {
  SHA256_CTX context;
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256_Init(&context);
  SHA256_Update(&context, head.data(), head.size());
  SHA256_Update(&context, body.data(), body.size());
  SHA256_Final(digest, &context);
  return lower_hex(digest);
}

bool is_kept(ResourceKind kind, const Resource& resource) {
  if (resource.is_static) return false;
  return kind != ResourceKind::kSecret ||
         std::get<SecretResource>(resource.value).private_key.empty();
}

void add_duration(Duration duration, Message& message) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
  message.add_bits("seconds", static_cast<uint64_t>(seconds.count()));
  message.add_bits("nanos", static_cast<uint64_t>((duration - seconds).count()));
}

std::string encode_kind(const Draft& draft, ResourceKind kind, const TimeLeft& left) {
  Message push(*MessageSchema::find(kPush));
  push.add_text("system_version_info", draft.version(kind));
  push.add_text("type_url", type_url_of(kind));
  for (const auto& [name, held] : draft.of(kind)) {
    if (!is_kept(kind, *held)) continue;
    Message& resource = push.add_message("resources");
    resource.add_text("name", name);
    resource.add_text("version", held->version);
    if (const auto ttl = left(kind, name)) add_duration(*ttl, resource.add_message("ttl"));
    Message& any = resource.add_message("resource");
    any.add_text("type_url", type_url_of(kind));
    any.add_text("value", held->bytes);
  }
  return encode_wire(push);
}

std::string head_of(std::string_view owner, WallTime now, std::size_t size) {
  std::string head = cat(kFirstLine, kFormat, "\nowner ");
  append_json_escaped(head, owner);
  const auto saved = std::chrono::floor<std::chrono::seconds>(now.time_since_epoch());
  return head + cat("\nsaved ", saved.count(), "\nbytes ", size, "\n");
}

// Takes "WORD value\n" from the front; nothing if it is not there.
std::optional<std::string_view> take_line(std::string_view word, std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == text.npos || !text.starts_with(word)) return {};
  const std::string_view value = text.substr(word.size(), end - word.size());
  text.remove_prefix(end + 1);
  return value;
}

Error damaged(std::string_view how) {
  return invalid(cat("it is damaged (", how, "), so nothing of it is used"));
}

// A piece of a file that may be anything.
std::string shown(std::string_view text) {
  constexpr std::size_t kMost = 200;  // bytes
  std::string out;
  append_json_escaped(out, text.substr(0, kMost));
  return out;
}

struct Opened {
  std::string_view owner;
  WallTime saved;
  std::string_view body;
};

Result<Opened> open_file(std::string_view file) {
  std::string_view rest = file;
  const auto format = take_line(kFirstLine, rest);
  if (!format) return invalid("it is no configuration that glia-proxy has kept");
  if (parse_decimal(*format) != kFormat) {
    return invalid(cat("it has the format ", shown(*format), ", and this glia-proxy reads format ",
                       kFormat, " only"));
  }
  const auto owner = take_line("owner ", rest);
  const auto saved = owner ? take_line("saved ", rest) : std::nullopt;
  const auto size = saved ? take_line("bytes ", rest) : std::nullopt;
  const std::string_view head = file.substr(0, file.size() - rest.size());
  const auto checksum = size ? take_line("sha256 ", rest) : std::nullopt;
  if (!checksum) return damaged("its first lines are not whole");
  if (parse_decimal(*size) != rest.size()) {
    return damaged(cat("it ends after ", rest.size(), " bytes of ", shown(*size)));
  }
  if (hex_sha256(head, rest) != *checksum) return damaged("its checksum is another one");
  const auto seconds = parse_decimal(*saved);
  constexpr uint64_t kLatest = 8'000'000'000;  // In the year 2223; a clock counts nanoseconds.
  if (!seconds || *seconds > kLatest) return damaged("it is of no time");
  return Opened{*owner, WallTime(std::chrono::seconds(*seconds)), rest};
}

Result<std::string_view> take_message(std::string_view& body) {
  std::size_t size = 0;
  for (std::size_t i = 0; i < kSizeBytes; ++i) {
    if (i >= body.size()) return damaged("a message has no size");
    size = size << 8 | static_cast<uint8_t>(body[i]);
  }
  body.remove_prefix(kSizeBytes);
  if (size > body.size()) return damaged("a message is not whole");
  const std::string_view message = body.substr(0, size);
  body.remove_prefix(size);
  return message;
}

// Does that resource live still? Then with what is left of its time.
bool outlives(Duration passed, PushedResource& resource) {
  if (!resource.ttl) return true;
  *resource.ttl -= passed;
  return *resource.ttl > Duration::zero();
}

}  // namespace

std::string encode_kept(const Draft& draft, const TimeLeft& left, std::string_view owner,
                        WallTime now) {
  std::string body;
  for (const ResourceKind kind : kOrder) {
    const std::string push = encode_kind(draft, kind, left);
    for (std::size_t i = kSizeBytes; i > 0; --i) {
      body += static_cast<char>(push.size() >> (8 * (i - 1)));
    }
    body += push;
  }
  const std::string head = head_of(owner, now, body.size());
  return cat(head, "sha256 ", hex_sha256(head, body), "\n", body);
}

Result<KeptConfiguration> decode_kept(std::string_view file, std::string_view owner, WallTime now) {
  TRY(Opened opened, open_file(file));
  std::string ours;
  append_json_escaped(ours, owner);
  if (opened.owner != ours) {
    return invalid(cat("it belongs to ", shown(opened.owner), " and this is ", shown(ours)));
  }
  KeptConfiguration kept{.saved = opened.saved, .pushes = {}};
  // A clock that was set back since: as if no time had passed.
  const Duration passed = std::max<Duration>(now - opened.saved, Duration::zero());
  while (!opened.body.empty()) {
    TRY(const std::string_view message, take_message(opened.body));
    TRY(PushedResources push, decode_delta_push(message));
    if (!push.trouble.empty()) return invalid(std::move(push.trouble));
    if (!kind_of(push.type_url))
      return invalid(cat("it has resources of the type ", push.type_url));
    std::erase_if(push.resources,
                  [passed](PushedResource& resource) { return !outlives(passed, resource); });
    kept.pushes.push_back(std::move(push));
  }
  return kept;
}

}  // namespace glia
