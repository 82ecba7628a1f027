// LogFormat: a log line that somebody configured, with Envoy's operators, compiled once.
//
//   {"code": "%RESPONSE_CODE%", "what": "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"}
//
// A value that is exactly one operator keeps its type (a number stays a number, nothing becomes
// null); in longer text nothing is "-". Both as in Envoy. Operator grammar: %NAME(arguments):length%,
// "%%" is a percent sign. docs/access-log.md lists the operators.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/telemetry/access_log.h"

namespace glia {

class LogFormat {
 public:
  // The default line.
  LogFormat() = default;
  // Key and format of each field, in order; none: the default line. Errors name key, operator and
  // what may stand there.
  static Result<LogFormat> compile(const std::vector<std::pair<std::string, std::string>>& fields);

  // Whether one value can be compiled; the error does not name its key.
  static Result<void> check(std::string_view value);

  // Appends the line of `record` with its line feed. Any number of threads.
  void append(std::string& out, const AccessRecord& record) const;

  struct Operator;  // A row of the table in log_format.cc.
  struct Piece {
    const Operator* operation = nullptr;  // Null: `text` stands there as it is, escaped.
    std::string text;                     // Or the field that the operator is about, lower case,
    std::string other;                    // and the one to take if that is absent.
    std::optional<std::size_t> longest;   // bytes
  };

 private:
  struct Field {
    std::string key;  // `{"name":` or `,"name":`, escaped.
    std::vector<Piece> pieces;
  };
  std::vector<Field> fields_;
};

}  // namespace glia
