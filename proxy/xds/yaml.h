// YAML (and so JSON) to Message, by the rules of protobuf's JSON mapping, strictly: what the schema
// does not have is an error that names path, file, line and column, and what was probably meant.
#pragma once

#include <string_view>

#include "proxy/xds/errors.h"
#include "proxy/xds/message.h"

namespace glia {

struct YamlLimits {
  std::size_t bytes = 16 << 20;
  std::size_t nodes =
      500'000;  // Visited, aliases counted each time: a few lines can mean billions.
  int depth = 64;
};

// Reads one document into `into`. All errors are collected; what could be read is there in any
// case.
void read_yaml(std::string_view text, Message& into, Errors& errors, const YamlLimits& limits = {});

// "1.5s" as seconds and nanoseconds; false if it is no duration.
bool parse_duration(std::string_view text, int64_t& seconds, int32_t& nanos);

}  // namespace glia
