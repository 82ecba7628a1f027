#include "control_plane/serve/grpc_server.h"

#include <grpcpp/grpcpp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <thread>

#include "control_plane/serve/ads_reactor.h"
#include "control_plane/serve/grpc_answer.h"
#include "envoy/service/status/v3/csds.grpc.pb.h"
#include "glia/v1/identity.grpc.pb.h"
#include "glia/v1/status.grpc.pb.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

class IdentityCalls final : public v1::IdentityService::CallbackService {
 public:
  IdentityCalls(EventLoop& loop, ControlPlane& control_plane)
      : loop_(loop), control_plane_(control_plane) {}

  grpc::ServerUnaryReactor* SignCertificate(grpc::CallbackServerContext* context,
                                            const v1::SignCertificateRequest* request,
                                            v1::SignCertificateResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    // Joining needs no certificate; a header that is there must still be right.
    Result<SpiffeId> caller = caller_of(*context);
    const bool anonymous = !caller && !request->token().empty();
    if (!caller && !anonymous) {
      reactor->Finish(to_status(caller.error()));
      return reactor;
    }
    std::optional<SpiffeId> known;
    if (caller) known = *std::move(caller);
    loop_.post([this, reactor, request, response, known] {
      control_plane_.sign(*request, known,
                          [reactor, response](Result<v1::SignCertificateResponse> result) {
                            answer(*reactor, std::move(result), *response);
                          });
    });
    return reactor;
  }

 private:
  EventLoop& loop_;
  ControlPlane& control_plane_;
};

class StatusCalls final : public v1::StatusService::CallbackService {
 public:
  StatusCalls(EventLoop& loop, ControlPlane& control_plane)
      : loop_(loop), control_plane_(control_plane) {}

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const v1::GetStatusRequest*, v1::Status* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    loop_.post([this, reactor, response] {
      *response = control_plane_.status();
      reactor->Finish(grpc::Status::OK);
    });
    return reactor;
  }
  grpc::ServerUnaryReactor* CreateToken(grpc::CallbackServerContext* context,
                                        const v1::CreateTokenRequest* request,
                                        v1::CreateTokenResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    loop_.post([this, reactor, request, response] {
      answer(*reactor, control_plane_.create_token(*request), *response);
    });
    return reactor;
  }

 private:
  EventLoop& loop_;
  ControlPlane& control_plane_;
};

// What a control plane knows of each of its clients. For operators only: it speaks of all of them.
class ClientStatusCalls final
    : public envoy::service::status::v3::ClientStatusDiscoveryService::CallbackService {
 public:
  using Request = envoy::service::status::v3::ClientStatusRequest;
  using Response = envoy::service::status::v3::ClientStatusResponse;

  ClientStatusCalls(EventLoop& loop, ControlPlane& control_plane)
      : loop_(loop), control_plane_(control_plane) {}

  grpc::ServerUnaryReactor* FetchClientStatus(grpc::CallbackServerContext* context,
                                              const Request* request, Response* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    loop_.post([this, reactor, request, response] {
      answer(*reactor, control_plane_.client_status(*request), *response);
    });
    return reactor;
  }
  grpc::ServerBidiReactor<Request, Response>* StreamClientStatus(
      grpc::CallbackServerContext*) override {
    return new Stream(loop_, control_plane_);
  }

 private:
  // One answer a request, one after the other. Deletes itself when the call is over.
  class Stream final : public grpc::ServerBidiReactor<Request, Response> {
   public:
    Stream(EventLoop& loop, ControlPlane& control_plane)
        : loop_(loop), control_plane_(control_plane) {
      StartRead(&request_);
    }
    void OnReadDone(bool ok) override {
      if (!ok) {
        Finish(grpc::Status::OK);
        return;
      }
      loop_.post([this] {
        Result<Response> response = control_plane_.client_status(request_);
        if (!response) {
          Finish(to_status(response.error()));
          return;
        }
        response_ = *std::move(response);
        StartWrite(&response_);
      });
    }
    void OnWriteDone(bool ok) override {
      if (ok) {
        StartRead(&request_);
      } else {
        Finish(grpc::Status::OK);
      }
    }
    void OnDone() override { delete this; }

   private:
    EventLoop& loop_;
    ControlPlane& control_plane_;
    Request request_;
    Response response_;
  };

  EventLoop& loop_;
  ControlPlane& control_plane_;
};

Result<void> check_path(const std::string& path) {
  constexpr std::size_t kLongest = sizeof(sockaddr_un::sun_path) - 1;
  if (path.size() <= kLongest) return {};
  return invalid(cat("the socket path ", path, " has ", path.size(),
                     " bytes; a UNIX socket takes at "
                     "most ",
                     kLongest, ", so choose a shorter --state-dir"));
}

Result<std::unique_ptr<grpc::Server>> listen(const std::string& path,
                                             const std::vector<grpc::Service*>& services) {
  TRY_VOID(check_path(path));
  grpc::ServerBuilder builder;
  builder.AddListeningPort(cat("unix:", path), grpc::InsecureServerCredentials());
  builder.SetMaxReceiveMessageSize(GrpcServer::kLargestRequest);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, GrpcServer::kLargestMetadata);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, GrpcServer::kMostCallsOfConnection);
  for (grpc::Service* service : services) builder.RegisterService(service);
  // The socket must not be open to others even for a moment.
  const mode_t before = ::umask(0177);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ::umask(before);
  if (server != nullptr) return server;
  return Error(ErrorKind::kInternal, Fault::kSelf,
               cat("cannot listen on the UNIX socket ", path,
                   "; is its directory writable, and is "
                   "there something else of that name?"));
}

class TwoSockets final : public GrpcServer {
 public:
  TwoSockets(EventLoop& loop, ControlPlane& control_plane)
      : loop_(loop),
        ads_(make_ads_services(loop, control_plane, reactors_)),
        identity_(loop, control_plane),
        status_(loop, control_plane),
        client_status_(loop, control_plane) {}
  ~TwoSockets() override { CHECK(stopped_ || mesh_ == nullptr); }

  Result<void> start(const Sockets& sockets, std::vector<grpc::Service*> admin,
                     const MoreServices& more) {
    if (more) more_ = more(reactors_);
    admin.push_back(&status_);
    admin.push_back(&client_status_);
    TRY(admin_, listen(sockets.admin, admin));
    std::vector<grpc::Service*> services = {&identity_};
    for (const auto& service : ads_) services.push_back(service.get());
    for (const auto& service : more_) services.push_back(&service->service());
    Result<std::unique_ptr<grpc::Server>> mesh = listen(sockets.mesh, services);
    if (!mesh) {
      admin_->Shutdown();
      return std::move(mesh).error();
    }
    mesh_ = *std::move(mesh);
    return {};
  }

  void stop() override {
    reactors_.stop();
    bool done = false;
    // Shutdown() waits for calls, and calls end on the loop.
    std::thread closer([this, &done] {
      const auto deadline = loop_.clock().wall_now() + kStopWait;
      mesh_->Shutdown(deadline);
      admin_->Shutdown(deadline);
      loop_.post([&done] { done = true; });
    });
    while (!done) loop_.turn(-1ns);
    closer.join();
    while (!reactors_.empty()) loop_.turn(-1ns);
    stopped_ = true;
  }

 private:
  EventLoop& loop_;
  AdsReactors reactors_;
  std::vector<std::unique_ptr<grpc::Service>> ads_;
  std::vector<std::unique_ptr<GrpcService>> more_;
  IdentityCalls identity_;
  StatusCalls status_;
  ClientStatusCalls client_status_;
  std::unique_ptr<grpc::Server> mesh_, admin_;
  bool stopped_ = false;
};

}  // namespace

Result<std::unique_ptr<GrpcServer>> GrpcServer::start(EventLoop& loop, ControlPlane& control_plane,
                                                      Sockets sockets,
                                                      std::vector<grpc::Service*> admin,
                                                      const MoreServices& more) {
  auto server = std::make_unique<TwoSockets>(loop, control_plane);
  TRY_VOID(server->start(sockets, std::move(admin), more));
  return std::unique_ptr<GrpcServer>(std::move(server));
}

}  // namespace glia
