// MeshSource: a proxy without a control plane (`glia-proxy --mesh`): its configuration is translated
// from the mesh's own files, again with each edit, and its certificates are signed with the authority
// in --ca-dir.
//
// The translator is a program of its own, glia-translate (control_plane/standalone/answer.h says
// why). An edit is in force as a whole or not at all; what is wrong with it is logged with file and
// line, and the proxy goes on with what it had.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control_plane/standalone/answer.h"
#include "proxy/net/file_watch.h"
#include "proxy/net/program.h"
#include "proxy/server/own_certificate.h"
#include "proxy/server/sources.h"
#include "proxy/xds/file.h"

namespace glia {

class MeshSource final : public Source {
 public:
  MeshSource(const Options& options, EventLoop& loop, LibeventBackend& backend);
  Result<void> start(Proxy& proxy) override;

 private:
  void edited();
  Result<void> translate();
  void translated(const Program::Ending& ending);
  Result<void> apply(std::string_view bytes);
  Result<void> begin(const StandaloneAnswer& answer, const std::vector<SecretResource>& secrets);
  void refuse(const Error& error);

  const Options& options_;
  EventLoop& loop_;
  LibeventBackend& backend_;
  Proxy* proxy_ = nullptr;
  std::unique_ptr<FileWatch> files_;
  std::unique_ptr<Program> translator_;  // The last one; it may have ended.
  bool begun_ = false;                   // The proxy serves.
  bool translating_ = false;
  bool edited_meanwhile_ = false;
  std::string admin_address_;  // As the mesh said when the proxy started.
  CallbackTimer again_;
  OwnCertificate certificate_;
};

// --mode validate with --mesh: as far as it goes without certificates and without listening. Problems
// are printed; nothing is returned then.
std::optional<Bootstrap> read_mesh(const Options& options);

}  // namespace glia
