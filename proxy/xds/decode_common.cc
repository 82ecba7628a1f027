#include "proxy/xds/decode_common.h"

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "proxy/base/text.h"
#include "proxy/http/syntax.h"

namespace glia {

namespace {

constexpr std::size_t kDataFileMax = 1 << 20;  // bytes of a certificate or body file

bool is_host_name(std::string_view host) {
  if (host.empty() || host.size() > 253) return false;
  return host.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == host.npos;
}

std::optional<Address> unix_address(const Reader& pipe) {
  const std::string path = pipe.text("path");
  Result<Address> address = Address::unix_path(path);
  if (!address.ok()) return pipe.fail("path", address.error().message()), std::nullopt;
  return *std::move(address);
}

struct HostAndPort {
  std::string host;
  uint16_t port;
};

HostAndPort decode_socket_address(const Reader& socket) {
  socket.only("protocol", std::string_view("TCP"));
  return {socket.text("address"), static_cast<uint16_t>(socket.number("port_value", 0, 65535))};
}

std::optional<TextMatcher> make_matcher(const Reader& where, std::string_view field,
                                        TextMatcher::Kind kind, std::string pattern,
                                        bool ignore_case) {
  Result<TextMatcher> matcher = TextMatcher::create(kind, std::move(pattern), ignore_case);
  if (!matcher.ok()) return where.fail(field, matcher.error().message()), std::nullopt;
  return *std::move(matcher);
}

}  // namespace

std::optional<Address> decode_address(const Reader& address) {
  if (address.has("pipe")) return unix_address(address.message("pipe"));
  const Reader socket = address.message("socket_address");
  if (!socket.present()) {
    address.fail("has neither socket_address nor pipe");
    return {};
  }
  const auto [host, port] = decode_socket_address(socket);
  Result<Address> ip = Address::ip(host, port);
  if (!ip.ok()) return socket.fail("address", cat("\"", host, "\" is no IP address")), std::nullopt;
  return *std::move(ip);
}

void decode_target(const Reader& address, bool names_allowed, EndpointConfig& endpoint) {
  const Reader socket = address.message("socket_address");
  if (!names_allowed || !socket.present()) {
    if (auto decoded = decode_address(address)) endpoint.address = *decoded;
    return;
  }
  const auto [host, port] = decode_socket_address(socket);
  if (Result<Address> ip = Address::ip(host, port); ip.ok()) {
    endpoint.address = *std::move(ip);
  } else if (is_host_name(host)) {
    endpoint.host = host;
    endpoint.port = port;
  } else {
    socket.fail("address", cat("\"", host, "\" is neither an IP address nor a host name"));
  }
}

std::optional<TextMatcher> decode_regex(const Reader& matcher) {
  matcher.accept("google_re2");  // Names the engine that we use.
  return make_matcher(matcher, "regex", TextMatcher::Kind::kRegex, matcher.text("regex"), false);
}

std::optional<TextMatcher> decode_text_matcher(const Reader& matcher) {
  using Kind = TextMatcher::Kind;
  const bool ignore_case = matcher.flag("ignore_case");
  if (matcher.has("safe_regex")) return decode_regex(matcher.message("safe_regex"));
  constexpr std::pair<std::string_view, Kind> kKinds[] = {{"exact", Kind::kExact},
                                                          {"prefix", Kind::kPrefix},
                                                          {"suffix", Kind::kSuffix},
                                                          {"contains", Kind::kContains}};
  for (const auto& [field, kind] : kKinds) {
    if (!matcher.has(field)) continue;
    const std::string pattern = matcher.text(field);
    if (pattern.empty() && kind != Kind::kExact)
      return matcher.fail(field, "is empty"), std::nullopt;
    return make_matcher(matcher, field, kind, pattern, ignore_case);
  }
  matcher.accept_all();
  matcher.fail("needs exact, prefix, suffix, contains or safe_regex");
  return {};
}

HeaderMatcher decode_header_matcher(const Reader& matcher) {
  using Kind = TextMatcher::Kind;
  // The spellings that Envoy had before string_match.
  constexpr std::pair<std::string_view, Kind> kOlder[] = {{"exact_match", Kind::kExact},
                                                          {"prefix_match", Kind::kPrefix},
                                                          {"suffix_match", Kind::kSuffix},
                                                          {"contains_match", Kind::kContains}};
  HeaderMatcher decoded;
  decoded.name = decode_field_name(matcher, "name");
  decoded.invert = matcher.flag("invert_match");
  decoded.missing_is_empty = matcher.flag("treat_missing_header_as_empty");
  if (matcher.has("present_match")) decoded.present = matcher.flag("present_match");
  if (matcher.has("string_match"))
    decoded.value = decode_text_matcher(matcher.message("string_match"));
  if (matcher.has("safe_regex_match"))
    decoded.value = decode_regex(matcher.message("safe_regex_match"));
  for (const auto& [field, kind] : kOlder) {
    if (matcher.has(field))
      decoded.value = make_matcher(matcher, field, kind, matcher.text(field), false);
  }
  if (matcher.has("range_match")) {
    const Reader range = matcher.message("range_match");
    decoded.range = HeaderMatcher::Range{range.signed_number("start"), range.signed_number("end")};
  }
  return decoded;
}

std::optional<CidrRange> decode_cidr(const Reader& range) {
  Result<CidrRange> decoded = CidrRange::create(
      range.text("address_prefix"), static_cast<uint32_t>(range.number("prefix_len", 0, 128)));
  if (!decoded.ok()) return range.fail(decoded.error().message()), std::nullopt;
  return *std::move(decoded);
}

std::optional<std::string> read_file(const std::string& path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "rbe"), &std::fclose);
  if (!file) return {};
  std::string content(kDataFileMax + 1, '\0');
  content.resize(std::fread(content.data(), 1, content.size(), file.get()));
  if (std::ferror(file.get()) != 0 || content.size() > kDataFileMax) return {};
  return content;
}

std::string decode_data_source(const Reader& source) {
  if (source.has("inline_string")) return source.text("inline_string");
  if (source.has("inline_bytes")) return source.text("inline_bytes");
  if (source.has("filename")) {
    const std::string path = source.text("filename");
    if (auto content = read_file(path)) return *std::move(content);
    source.fail("filename", cat("the file ", path, " cannot be read or is above 1 MiB"));
    return "";
  }
  if (source.has("environment_variable")) {
    const std::string name = source.text("environment_variable");
    if (const char* value = std::getenv(name.c_str())) return value;
    source.fail("environment_variable", cat("the variable ", name, " is not set"));
    return "";
  }
  if (source.present())
    source.fail("needs inline_string, inline_bytes, filename or environment_variable");
  return "";
}

bool is_field_name(std::string_view name) {
  return !name.empty() &&
         name.find_first_not_of("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz",
                                name[0] == ':' ? 1 : 0) == name.npos;
}

std::string decode_field_name(const Reader& owner, std::string_view field) {
  std::string name = to_lower(owner.text(field));
  if (!is_field_name(name)) owner.fail(field, cat("\"", name, "\" is no name of a header field"));
  return name;
}

namespace {

// "%%" is a percent sign; operators such as %DOWNSTREAM_REMOTE_ADDRESS% are not supported.
std::string literal_value(const Reader& header, const std::string& format) {
  std::string literal;
  for (std::size_t i = 0; i < format.size(); ++i) {
    const auto c = static_cast<unsigned char>(format[i]);
    if ((c < 0x20 && c != '\t') || c == 0x7F) {
      header.fail("value", "has a control character");
      return "";
    }
    if (format[i] == '%') {
      if (i + 1 >= format.size() || format[i + 1] != '%') {
        header.fail("value",
                    cat("\"", format, "\": format operators are not supported by glia-proxy; ",
                        "write %% for a percent sign"));
        return "";
      }
      ++i;
    }
    literal += format[i];
  }
  return literal;
}

HeaderAddition::Action decode_append_action(const Reader& option) {
  using Action = HeaderAddition::Action;
  if (option.has("append")) return option.flag("append") ? Action::kAppend : Action::kOverwrite;
  const std::string action = option.choice("append_action");
  if (action == "ADD_IF_ABSENT") return Action::kAddIfAbsent;
  if (action == "OVERWRITE_IF_EXISTS_OR_ADD") return Action::kOverwrite;
  if (action == "OVERWRITE_IF_EXISTS") return Action::kOverwriteIfPresent;
  return Action::kAppend;
}

// A route must not change how a message is framed, nor its pseudo-fields.
bool protected_field(std::string_view name) {
  return name.starts_with(':') || name == "host" || name == "content-length" ||
         name == "transfer-encoding" || name == "connection";
}

}  // namespace

HeaderMutation decode_header_mutation(const Reader& owner, std::string_view direction) {
  HeaderMutation mutation;
  owner.each(cat(direction, "_headers_to_add"), [&](const Reader& option, std::size_t) {
    const Reader header = option.message("header");
    if (!header.present()) return option.fail("has no header");
    HeaderAddition addition{.name = decode_field_name(header, "key"),
                            .value = literal_value(header, header.text("value")),
                            .action = decode_append_action(option)};
    if (protected_field(addition.name))
      header.fail("key", cat(addition.name, " cannot be changed by a route"));
    // As in Envoy, a field without a value is not sent unless that is asked for.
    if (addition.value.empty() && !option.flag("keep_empty_value")) return;
    option.accept("keep_empty_value");
    mutation.add.push_back(std::move(addition));
  });
  const std::string remove = cat(direction, "_headers_to_remove");
  for (const std::string& name : owner.texts(remove)) {
    mutation.remove.push_back(to_lower(name));
    if (!is_field_name(mutation.remove.back()) || protected_field(mutation.remove.back())) {
      owner.fail(remove, cat("\"", name, "\" cannot be removed by a route"));
    }
  }
  return mutation;
}

std::string decode_field_text(const Reader& owner, std::string_view field) {
  std::string text = owner.text(field);
  if (!is_value(text)) owner.fail(field, "holds a control byte, which no header field may hold");
  return text;
}

std::string decode_authority(const Reader& owner, std::string_view field) {
  std::string text = owner.text(field);
  if (!text.empty() && !is_authority(text)) {
    owner.fail(field, "is not a host name or address with or without a port");
  }
  return text;
}

std::string decode_path_text(const Reader& owner, std::string_view field) {
  std::string text = owner.text(field);
  if (!text.empty() && !is_path(text[0] == '/' ? text : cat('/', text))) {
    owner.fail(field, "holds a byte that may not stand in a path");
  }
  return text;
}

uint32_t decode_share(const Reader& fraction) {
  fraction.accept("runtime_key");
  const Reader percent = fraction.message("default_value");
  const std::string denominator = percent.choice("denominator");
  const uint64_t of = denominator == "MILLION"        ? kWholeShare
                      : denominator == "TEN_THOUSAND" ? 10'000
                                                      : 100;
  return static_cast<uint32_t>(percent.number("numerator", 0, of) * (kWholeShare / of));
}

Duration decode_limit(const Reader& owner, std::string_view field, Duration otherwise) {
  constexpr Duration kNever = std::chrono::hours(24 * 365);
  const Duration limit = owner.duration(field, otherwise);
  return limit == Duration::zero() ? kNever : limit;
}

void expect_ads(const Reader& config_source) {
  if (!config_source.present()) return;
  config_source.accept("resource_api_version");
  config_source.accept("ads");
  if (!config_source.has("ads")) config_source.fail("only {ads: {}} is supported by glia-proxy");
}

void decode_http2_options(const Reader& options, HttpLimits& limits) {
  constexpr uint64_t kWindowLeast = 65535, kWindowMost = 0x7FFFFFFF;
  limits.streams = static_cast<uint32_t>(
      options.number("max_concurrent_streams", limits.streams, kWindowMost, 1));
  limits.stream_window = static_cast<uint32_t>(options.number(
      "initial_stream_window_size", limits.stream_window, kWindowMost, kWindowLeast));
  limits.connection_window = static_cast<uint32_t>(options.number(
      "initial_connection_window_size", limits.connection_window, kWindowMost, kWindowLeast));
  const auto limit = [&](std::string_view field, uint32_t& value, uint64_t least) {
    value = static_cast<uint32_t>(options.number(field, value, kWindowMost, least));
  };
  limit("max_outbound_frames", limits.outbound_frames, 1);
  limit("max_outbound_control_frames", limits.outbound_control_frames, 1);
  limit("max_consecutive_inbound_frames_with_empty_payload", limits.empty_frames, 0);
  limit("max_inbound_priority_frames_per_stream", limits.priority_frames_per_stream, 0);
  limit("max_inbound_window_update_frames_per_data_frame_sent",
        limits.window_updates_per_data_frame, 1);
  limits.allow_connect = options.flag("allow_connect");
  const Reader keepalive = options.message("connection_keepalive");
  if (!keepalive.present()) return;
  limits.keepalive_interval = decode_limit(keepalive, "interval", limits.keepalive_interval);
  limits.keepalive_timeout = keepalive.duration("timeout", limits.keepalive_timeout);
  keepalive.accept("interval_jitter");  // Connections open at different times anyway.
  if (limits.keepalive_timeout < 1ms) keepalive.fail("timeout", "must be at least 1ms");
}

void decode_common_http_options(const Reader& options, HttpLimits& limits) {
  limits.idle_time = decode_limit(options, "idle_timeout", limits.idle_time);
  limits.header_fields =
      static_cast<uint32_t>(options.number("max_headers_count", limits.header_fields, 100'000, 1));
  limits.requests_per_connection = static_cast<uint32_t>(
      options.number("max_requests_per_connection", limits.requests_per_connection, 0xFFFFFFFF));
  limits.connection_age = options.duration("max_connection_duration", limits.connection_age);
  if (limits.connection_age <= Duration::zero()) {
    options.fail("max_connection_duration", "must be above 0s; leave it out for no limit");
  }
  options.only("headers_with_underscores_action", std::string_view("ALLOW"));
}

}  // namespace glia
