// SimControl: a control plane in a simulated world. It is the real ControlPlane with the real
// streams; only the way there is ours: our own HTTP/2 server over mutual TLS instead of the front
// door and the gRPC library.
//
// The control plane and the sidecar have types of the same name, so nothing of control_plane/ stands
// in this header.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>

#include "proxy/http/server.h"
#include "proxy/net/tls.h"
#include "proxy/net/x509.h"
#include "test/sim/sim.h"

namespace glia {

// What outlives a control plane: its authority, and its database in a directory of its own.
class SimOffice {
 public:
  explicit SimOffice(const std::string& trust_domain);
  ~SimOffice();
  const CertificateAuthority& authority() const;

 private:
  friend class SimControl;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

class SimControl final : public Service, public AcceptHandler, private ServerConnection::Owner {
 public:
  SimControl(SimWorld& world, const Address& address, SimOffice& office, std::string mesh);
  ~SimControl() override;

  // Somebody saves the mesh's file. A control plane that is dead reads it when it starts again.
  void edit(std::string mesh);
  // The process dies with all that it held, and starts again. Call them between turns only.
  void die();
  void start();
  bool alive() const { return plane_ != nullptr; }
  // What the sidecar of that workload shall have: bytes by "type name".
  std::map<std::string, std::string> resources_for(const std::string& workload) const;

 private:
  struct Plane;

  void on_accept(std::unique_ptr<Stream> stream) override;
  void on_finished(ServerConnection& connection) override;
  Task<void> serve(ServerStream& stream) override;

  SimWorld& world_;
  const Address address_;
  SimOffice& office_;
  std::shared_ptr<const TlsContext> tls_;
  std::string mesh_;
  ServerOptions options_;
  HttpServerStats stats_;
  std::unique_ptr<Plane> plane_;
  std::unique_ptr<Acceptor> acceptor_;
  std::list<std::unique_ptr<ServerConnection>> connections_;
};

}  // namespace glia
