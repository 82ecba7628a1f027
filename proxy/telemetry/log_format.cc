#include "proxy/telemetry/log_format.h"

#include <algorithm>
#include <array>

#include "proxy/base/text.h"
#include "proxy/telemetry/log_line.h"

namespace glia {
namespace {

// What an operator found.
struct Found {
  enum class Kind { kNothing, kText, kNumber };
  Kind kind = Kind::kNothing;
  std::string_view text;
  int64_t number = 0;
};

Found text_of(std::string_view text) {
  return text.empty() ? Found{} : Found{Found::Kind::kText, text, 0};
}
Found number_of(int64_t number) { return {Found::Kind::kNumber, {}, number}; }

// "127.0.0.1:80" -> "127.0.0.1", "[::1]:80" -> "::1"; a UNIX socket stays as it is.
std::string_view without_port(std::string_view address) {
  if (address.starts_with("unix:")) return address;
  if (address.starts_with('[')) return address.substr(1, address.rfind(']') - 1);
  return address.substr(0, address.rfind(':'));
}

Found port_of(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  if (colon == address.npos || address.starts_with("unix:")) return {};
  const auto port = parse_decimal(address.substr(colon + 1));
  return port ? number_of(static_cast<int64_t>(*port)) : Found{};
}

Found upstream_time(const AccessRecord& record) {
  if (record.upstream_duration <= Duration::zero()) return {};
  return number_of(to_ms(record.upstream_duration));
}

// The names of gRPC's status codes as Envoy writes them.
Found grpc_name(std::string_view status) {
  static constexpr std::array<std::string_view, 17> kNames = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  const auto code = parse_decimal(status);
  return text_of(code && *code < kNames.size() ? kNames[*code] : status);
}

Found grpc_number(std::string_view status) {
  const auto code = parse_decimal(status);
  return code ? number_of(static_cast<int64_t>(*code)) : Found{};
}

std::string_view request_field(const AccessRecord& record, std::string_view name) {
  if (name == ":method") return record.method;
  if (name == ":path") return record.path;
  if (name == ":authority" || name == "host") return record.authority;
  if (name == ":scheme") return record.scheme;
  if (name == "user-agent") return record.user_agent;
  if (name == "x-request-id") return record.request_id;
  if (name == "x-forwarded-for") return record.forwarded_for;
  if (name == "referer") return record.referer;
  if (record.request_fields == nullptr) return {};
  return record.request_fields->field(name).value_or(std::string_view());
}

}  // namespace

struct LogFormat::Operator {
  enum class Arguments { kNone, kOptional, kField };
  std::string_view name;
  Arguments arguments;
  Found (*find)(const AccessRecord& record, const Piece& piece);
};

namespace {

using Piece = LogFormat::Piece;
using enum LogFormat::Operator::Arguments;

#define GLIA_LOG_VALUE(expression) \
  [](const AccessRecord& record, const Piece& piece) -> Found { return expression; }

std::string_view direct_address(const AccessRecord& record) {
  return record.direct_address.empty() ? record.downstream_address : record.direct_address;
}

Found find_request_field(const AccessRecord& record, const Piece& piece) {
  const std::string_view value = request_field(record, piece.text);
  return text_of(value.empty() && !piece.other.empty() ? request_field(record, piece.other)
                                                       : value);
}

Found find_response_field(const AccessRecord& record, const Piece& piece) {
  return piece.text == "grpc-status" ? text_of(record.grpc_status) : upstream_time(record);
}

Found find_model_streaming(const AccessRecord& record, const Piece&) {
  if (record.model_dialect.empty()) return {};
  return text_of(record.model_streaming ? "true" : "false");
}

Found count_of(const std::optional<uint64_t>& count) {
  return count ? number_of(static_cast<int64_t>(*count)) : Found();
}

Found find_first_output(const AccessRecord& record, const Piece&) {
  return record.model_first_output ? number_of(to_ms(*record.model_first_output)) : Found();
}

constexpr LogFormat::Operator kOperators[] = {
    {"START_TIME", kNone, GLIA_LOG_VALUE(text_of(start_time_text(record.start)))},
    {"REQ", kField, find_request_field},
    {"RESP", kField, find_response_field},
    {"TRAILER", kField, find_response_field},
    {"PROTOCOL", kNone, GLIA_LOG_VALUE(text_of(record.protocol))},
    {"RESPONSE_CODE", kNone, GLIA_LOG_VALUE(number_of(record.status))},
    {"RESPONSE_CODE_DETAILS", kNone, GLIA_LOG_VALUE(text_of(record.response_details))},
    {"RESPONSE_FLAGS", kNone, GLIA_LOG_VALUE(text_of(record.response_flags))},
    {"BYTES_RECEIVED", kNone,
     GLIA_LOG_VALUE(number_of(static_cast<int64_t>(record.bytes_received)))},
    {"BYTES_SENT", kNone, GLIA_LOG_VALUE(number_of(static_cast<int64_t>(record.bytes_sent)))},
    {"DURATION", kNone, GLIA_LOG_VALUE(number_of(to_ms(record.duration)))},
    {"GRPC_STATUS", kOptional,
     GLIA_LOG_VALUE(piece.text == "number" ? grpc_number(record.grpc_status)
                                           : grpc_name(record.grpc_status))},
    {"GRPC_STATUS_NUMBER", kNone, GLIA_LOG_VALUE(grpc_number(record.grpc_status))},
    {"ROUTE_NAME", kNone, GLIA_LOG_VALUE(text_of(record.route))},
    {"UPSTREAM_CLUSTER", kNone, GLIA_LOG_VALUE(text_of(record.cluster))},
    {"UPSTREAM_CLUSTER_RAW", kNone, GLIA_LOG_VALUE(text_of(record.cluster))},
    {"UPSTREAM_HOST", kNone, GLIA_LOG_VALUE(text_of(record.upstream_address))},
    {"UPSTREAM_REMOTE_ADDRESS", kNone, GLIA_LOG_VALUE(text_of(record.upstream_address))},
    {"UPSTREAM_PEER_URI_SAN", kNone, GLIA_LOG_VALUE(text_of(record.upstream_identity))},
    {"UPSTREAM_REQUEST_ATTEMPT_COUNT", kNone, GLIA_LOG_VALUE(number_of(record.attempts))},
    {"DOWNSTREAM_REMOTE_ADDRESS", kNone, GLIA_LOG_VALUE(text_of(record.downstream_address))},
    {"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", kNone,
     GLIA_LOG_VALUE(text_of(without_port(record.downstream_address)))},
    {"DOWNSTREAM_REMOTE_PORT", kNone, GLIA_LOG_VALUE(port_of(record.downstream_address))},
    {"DOWNSTREAM_DIRECT_REMOTE_ADDRESS", kNone, GLIA_LOG_VALUE(text_of(direct_address(record)))},
    {"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", kNone,
     GLIA_LOG_VALUE(text_of(without_port(direct_address(record))))},
    {"DOWNSTREAM_LOCAL_ADDRESS", kNone, GLIA_LOG_VALUE(text_of(record.listener_address))},
    {"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", kNone,
     GLIA_LOG_VALUE(text_of(without_port(record.listener_address)))},
    {"DOWNSTREAM_LOCAL_PORT", kNone, GLIA_LOG_VALUE(port_of(record.listener_address))},
    {"DOWNSTREAM_PEER_URI_SAN", kNone, GLIA_LOG_VALUE(text_of(record.peer_identity))},
    {"DOWNSTREAM_LOCAL_URI_SAN", kNone, GLIA_LOG_VALUE(text_of(record.local_identity))},
    {"DOWNSTREAM_TLS_VERSION", kNone, GLIA_LOG_VALUE(text_of(record.tls_version))},
    {"REQUESTED_SERVER_NAME", kNone, GLIA_LOG_VALUE(text_of(record.requested_server_name))},
    {"MODEL", kNone, GLIA_LOG_VALUE(text_of(record.model))},
    {"MODEL_VERSION", kNone, GLIA_LOG_VALUE(text_of(record.model_version))},
    {"MODEL_DIALECT", kNone, GLIA_LOG_VALUE(text_of(record.model_dialect))},
    {"MODEL_STREAMING", kNone, find_model_streaming},
    {"MODEL_INPUT_TOKENS", kNone, GLIA_LOG_VALUE(count_of(record.model_input_tokens))},
    {"MODEL_OUTPUT_TOKENS", kNone, GLIA_LOG_VALUE(count_of(record.model_output_tokens))},
    {"MODEL_FIRST_OUTPUT", kNone, find_first_output},
    {"MODEL_FINISH_REASON", kNone, GLIA_LOG_VALUE(text_of(record.model_finish_reason))},
    {"MODEL_ERROR", kNone, GLIA_LOG_VALUE(text_of(record.model_error))},
    {"POLICY", kNone, GLIA_LOG_VALUE(text_of(record.policy))},
    {"CONFIG_VERSION", kNone, GLIA_LOG_VALUE(text_of(record.config_version))},
    {"NODE_ID", kNone, GLIA_LOG_VALUE(text_of(record.node_id))},
};
#undef GLIA_LOG_VALUE

// Envoy knows more names; of these we can tell why they are not here.
Result<void> check_field(const LogFormat::Operator& operation, const Piece& piece) {
  if (operation.name == "RESP" && piece.text != "x-envoy-upstream-service-time" &&
      piece.text != "grpc-status") {
    return invalid(cat("%RESP(", piece.text,
                       ")% is not supported: the log keeps no response fields "
                       "but x-envoy-upstream-service-time and grpc-status"));
  }
  if (operation.name == "TRAILER" && piece.text != "grpc-status") {
    return invalid(cat("%TRAILER(", piece.text,
                       ")% is not supported: the log keeps no trailers but grpc-status"));
  }
  if (operation.name == "GRPC_STATUS" && !piece.text.empty() && piece.text != "number" &&
      piece.text != "camel_string") {
    return invalid(cat("%GRPC_STATUS(", piece.text,
                       ")% is not supported; write NUMBER or CAMEL_STRING in the parentheses"));
  }
  return {};
}

Result<const LogFormat::Operator*> operator_named(std::string_view name) {
  const auto found = std::ranges::find(kOperators, name, &LogFormat::Operator::name);
  if (found != std::end(kOperators)) return found;
  std::vector<std::string_view> names;
  for (const auto& operation : kOperators) names.push_back(operation.name);
  std::string hint = "docs/access-log.md lists those that are";
  if (const auto meant = closest_of(name, names)) hint = cat("did you mean %", *meant, "%?");
  return invalid(cat("operator %", name, "% is not supported; ", hint));
}

// Takes "(X?Y)" off the front of `rest`, if it is there.
Result<std::optional<std::string_view>> take_arguments(std::string_view& rest) {
  if (!rest.starts_with('(')) return std::optional<std::string_view>();
  const std::size_t end = rest.find(')');
  if (end == rest.npos) return invalid("a '(' without ')'; write %NAME(arguments)%");
  const std::string_view inside = rest.substr(1, end - 1);
  rest.remove_prefix(end + 1);
  return std::optional(inside);
}

Result<void> read_arguments(const LogFormat::Operator& operation, std::string_view& rest,
                            Piece& piece) {
  TRY(const auto arguments, take_arguments(rest));
  if (operation.arguments == kField && (!arguments || arguments->empty())) {
    return invalid(
        cat("%", operation.name, "% needs the name of a field: %", operation.name, "(NAME)%"));
  }
  if (operation.arguments == kNone && arguments) {
    return invalid(cat("%", operation.name, "(", *arguments, ")% is not supported; write %",
                       operation.name, "%"));
  }
  if (arguments) {
    const std::size_t mark = arguments->find('?');
    piece.text = to_lower(arguments->substr(0, mark));
    if (mark != arguments->npos) piece.other = to_lower(arguments->substr(mark + 1));
  }
  return check_field(operation, piece);
}

// `rest` begins after the '%'; takes the operator and its closing '%'.
Result<Piece> take_operator(std::string_view& rest) {
  const std::size_t name_end =
      std::min(rest.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"), rest.size());
  const std::string_view name = rest.substr(0, name_end);
  if (name.empty()) return invalid("a '%' without an operator; write %% for a percent sign");
  Piece piece;
  TRY(piece.operation, operator_named(name));
  rest.remove_prefix(name_end);
  TRY_VOID(read_arguments(*piece.operation, rest, piece));
  if (rest.starts_with(':')) {
    const std::size_t end = std::min(rest.find('%'), rest.size());
    const auto length = parse_decimal(rest.substr(1, end - 1));
    if (!length || *length == 0) {
      return invalid(cat("%", name, "% has the length \"", rest.substr(1, end - 1),
                         "\", which is not a number of bytes above 0"));
    }
    piece.longest = static_cast<std::size_t>(*length);
    rest.remove_prefix(end);
  }
  if (!rest.starts_with('%')) return invalid(cat("%", name, " has no closing '%'"));
  rest.remove_prefix(1);
  return piece;
}

Result<std::vector<Piece>> compile_value(std::string_view rest) {
  std::vector<Piece> pieces;
  std::string literal;
  const auto end_literal = [&] {
    if (literal.empty()) return;
    Piece piece;
    append_json_escaped(piece.text, std::exchange(literal, {}));
    pieces.push_back(std::move(piece));
  };
  while (!rest.empty()) {
    const std::size_t percent = std::min(rest.find('%'), rest.size());
    literal += rest.substr(0, percent);
    rest.remove_prefix(percent);
    if (rest.empty()) break;
    rest.remove_prefix(1);
    if (rest.starts_with('%')) {
      literal += '%';
      rest.remove_prefix(1);
      continue;
    }
    end_literal();
    TRY(auto piece, take_operator(rest));
    pieces.push_back(std::move(piece));
  }
  end_literal();
  return pieces;
}

void put_cut(LogLine& line, std::string_view text, const Piece& piece) {
  line.put_escaped(piece.longest ? text.substr(0, *piece.longest) : text);
}

// A value that is one operator keeps its type.
void put_typed(LogLine& line, const Piece& piece, const AccessRecord& record) {
  const Found found = piece.operation->find(record, piece);
  if (found.kind == Found::Kind::kNothing) {
    line.put("null");
  } else if (found.kind == Found::Kind::kNumber) {
    line.put(found.number);
  } else {
    line.put("\"");
    put_cut(line, found.text, piece);
    line.put("\"");
  }
}

void put_text(LogLine& line, const std::vector<Piece>& pieces, const AccessRecord& record) {
  line.put("\"");
  for (const Piece& piece : pieces) {
    if (piece.operation == nullptr) {
      line.put(piece.text);
      continue;
    }
    const Found found = piece.operation->find(record, piece);
    if (found.kind == Found::Kind::kNothing) {
      line.put("-");
    } else if (found.kind == Found::Kind::kNumber) {
      line.put(found.number);
    } else {
      put_cut(line, found.text, piece);
    }
  }
  line.put("\"");
}

}  // namespace

Result<LogFormat> LogFormat::compile(
    const std::vector<std::pair<std::string, std::string>>& fields) {
  LogFormat format;
  for (const auto& [key, value] : fields) {
    auto pieces = compile_value(value);
    if (!pieces) return std::move(pieces).error().in(cat('"', key, '"'));
    Field field{.key = format.fields_.empty() ? "{\"" : ",\"", .pieces = *std::move(pieces)};
    append_json_escaped(field.key, key);
    field.key += "\":";
    format.fields_.push_back(std::move(field));
  }
  return format;
}

Result<void> LogFormat::check(std::string_view value) {
  TRY_VOID(compile_value(value));
  return {};
}

void LogFormat::append(std::string& out, const AccessRecord& record) const {
  if (fields_.empty()) return append_json_line(out, record);
  LogLine line(out);
  for (const Field& field : fields_) {
    line.put(field.key);
    if (field.pieces.size() == 1 && field.pieces.front().operation != nullptr) {
      put_typed(line, field.pieces.front(), record);
    } else {
      put_text(line, field.pieces, record);
    }
  }
  line.put("}\n");
}

}  // namespace glia
