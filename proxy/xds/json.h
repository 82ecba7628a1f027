// Message to JSON, for the admin's /config_dump: protobuf's JSON mapping with the fields' original
// names, as Envoy prints it.
#pragma once

#include <string>

#include "proxy/xds/message.h"

namespace glia {

// Appends `message` on one line. Private keys and passwords are written as "[redacted]".
void append_json(std::string& out, const Message& message);

}  // namespace glia
