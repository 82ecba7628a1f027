#include "control_plane/translate/access_log.h"

#include "control_plane/translate/pack.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb.h"

namespace glia {

namespace {

template <class Message>
void add(const Mesh& mesh, Message& message) {
  const Mesh::AccessLog& wanted = mesh.spec.access_log;
  if (wanted.path == Mesh::AccessLog::kNone) return;
  envoy::extensions::access_loggers::file::v3::FileAccessLog file;
  file.set_path(wanted.path);
  for (const auto& [key, format] : wanted.format) {
    auto& fields = *file.mutable_log_format()->mutable_json_format()->mutable_fields();
    fields[key].set_string_value(format);
  }
  auto* log = message.add_access_log();
  log->set_name("envoy.access_loggers.file");
  pack(file, *log->mutable_typed_config());
}

}  // namespace

void add_access_log(
    const Mesh& mesh,
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager&
        manager) {
  add(mesh, manager);
}

void add_access_log(const Mesh& mesh,
                    envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy& proxy) {
  add(mesh, proxy);
}

}  // namespace glia
