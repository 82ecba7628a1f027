#include "control_plane/serve/front_door.h"

#include "proxy/base/log.h"
#include "proxy/server/server.h"

namespace glia {
namespace {

class ListeningDoor final : public FrontDoor {
 public:
  ListeningDoor(EventLoop& main, const CertificateAuthority& authority, FrontDoorOptions options)
      : main_(main),
        authority_(authority),
        options_(std::move(options)),
        server_(main, kWorkers),
        renewal_(main, [this] { renew(); }) {}

  Result<void> open() {
    TRY(SnapshotRef snapshot, front_door_snapshot(authority_, options_, main_.clock().wall_now()));
    TRY_VOID(server_.publish(std::move(snapshot)));
    renewal_.start(kCertificateLifetime / 2);
    return {};
  }
  // Turns the loop until the worker listens: who is told the address may come at once.
  void wait_until_open() {
    constexpr Duration kLook = 10ms;
    while (!server_.up_to_date()) main_.turn(kLook);
  }
  Address address() const override { return server_.addresses().begin()->second; }
  void drain() override { server_.drain(kDrainLimit); }

 private:
  void renew() {
    Result<void> opened = open();
    if (opened) return;
    LOG(error, "cannot renew the control plane's own certificate: ", opened.error().message());
    renewal_.start(kRetry);
  }

  static constexpr Duration kRetry = 1min;
  EventLoop& main_;
  const CertificateAuthority& authority_;
  const FrontDoorOptions options_;
  Server server_;
  CallbackTimer renewal_;
};

}  // namespace

Result<std::unique_ptr<FrontDoor>> FrontDoor::start(EventLoop& main,
                                                    const CertificateAuthority& authority,
                                                    FrontDoorOptions options) {
  auto door = std::make_unique<ListeningDoor>(main, authority, std::move(options));
  TRY_VOID(door->open());
  door->wait_until_open();
  return std::unique_ptr<FrontDoor>(std::move(door));
}

}  // namespace glia
