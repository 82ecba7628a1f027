#include "proxy/xds/decode_accesslog.h"

#include "proxy/base/text.h"
#include "proxy/telemetry/log_format.h"

namespace glia {

namespace {

using JsonFormat = std::vector<std::pair<std::string, std::string>>;

// google.protobuf.Struct with texts as values; logs are flat.
JsonFormat decode_json_format(const Reader& format) {
  JsonFormat fields;
  format.each_in_map("fields", [&](const std::string& key, const Reader& value) {
    if (!value.has("string_value")) {
      value.accept_all();
      value.fail("only text is supported by glia-proxy as the format of a field");
    }
    fields.emplace_back(key, value.text("string_value"));
    const auto checked = LogFormat::check(fields.back().second);
    if (!checked) value.fail(checked.error().message());
  });
  return fields;
}

JsonFormat decode_log_format(const Reader& format) {
  if (!format.present()) return {};
  if (!format.has("json_format")) {
    format.accept_all();
    format.fail("only json_format is supported by glia-proxy");
    return {};
  }
  return decode_json_format(format.message("json_format"));
}

}  // namespace

std::optional<AccessLogConfig> decode_access_log(const Reader& log) {
  log.accept("name");
  const Reader config = log.message("typed_config").content();
  const std::string_view type = config.type();
  AccessLogConfig decoded;
  if (type == "envoy.extensions.access_loggers.file.v3.FileAccessLog") {
    decoded.path = config.text("path");
    if (decoded.path.empty()) config.fail("has no path");
    if (config.has("json_format"))
      decoded.json_format = decode_json_format(config.message("json_format"));
  } else if (type == "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog") {
    decoded.path = "/dev/stdout";
  } else if (type == "envoy.extensions.access_loggers.stream.v3.StderrAccessLog") {
    decoded.path = "/dev/stderr";
  } else {
    if (config.present())
      config.fail(cat("the type ", type, " is not supported by glia-proxy here"));
    else if (!log.has("typed_config"))
      log.fail("has no typed_config");
    config.accept_all();
    return {};
  }
  if (config.has("log_format"))
    decoded.json_format = decode_log_format(config.message("log_format"));
  return decoded;
}

}  // namespace glia
