// AdminService: the admin pages over HTTP, on the main loop.
//
// Whoever can reach the pages can end the proxy, so the service guards them beyond the address that
// it listens on (checklist G17): a browser on this machine must not be talked into it by a foreign
// page (Host and Origin are checked, changes need POST), and callers from other machines, if the
// address lets them in at all, see only /ready and /stats.
#pragma once

#include "proxy/http/server.h"
#include "proxy/server/admin_pages.h"

namespace glia {

class AdminService final : public Service {
 public:
  static constexpr Duration kIdleTime = 60s;  // Of a connection.

  // `view` outlives the service.
  explicit AdminService(AdminView& view) : view_(view) {}
  Task<void> serve(ServerStream& stream) override;

 private:
  AdminView& view_;
};

}  // namespace glia
