// Messages inside messages: google.protobuf.Any with one serialization for one content.
#pragma once

#include <string>

#include "google/protobuf/any.pb.h"
#include "google/protobuf/message.h"

namespace glia {

// Maps in order of keys, which plain serialization does not promise.
std::string serialize(const google::protobuf::Message& message);
void pack(const google::protobuf::Message& message, google::protobuf::Any& any);

}  // namespace glia
