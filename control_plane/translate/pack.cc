#include "control_plane/translate/pack.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

namespace glia {

std::string serialize(const google::protobuf::Message& message) {
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return out;
}

void set_duration(Duration from, google::protobuf::Duration& to) {
  to.set_seconds(std::chrono::duration_cast<std::chrono::seconds>(from).count());
  to.set_nanos(static_cast<int32_t>((from % 1s).count()));
}

void pack(const google::protobuf::Message& message, google::protobuf::Any& any) {
  any.set_type_url("type.googleapis.com/" + message.GetDescriptor()->full_name());
  any.set_value(serialize(message));
}

}  // namespace glia
