// Small conversions to protobuf: google.protobuf.Any with one serialization for one content, times.
#pragma once

#include <string>

#include "google/protobuf/any.pb.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/message.h"
#include "proxy/base/time.h"

namespace glia {

// Maps in order of keys, which plain serialization does not promise.
std::string serialize(const google::protobuf::Message& message);
void set_duration(Duration from, google::protobuf::Duration& to);
void pack(const google::protobuf::Message& message, google::protobuf::Any& any);

}  // namespace glia
