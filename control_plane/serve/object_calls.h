// ObjectCalls: the desk for mesh objects (object_desk.h) as a gRPC service on the administration
// socket.
//
// gRPC rather than HTTP of our own beside it: the socket, its server and its client in `glia` are
// there for StatusService, a second server on the same socket would only say the same in other
// words.
#pragma once

#include <grpcpp/grpcpp.h>

#include "control_plane/serve/object_desk.h"
#include "glia/v1/objects.grpc.pb.h"

namespace glia {

class ObjectCalls final : public v1::ObjectService::CallbackService {
 public:
  // Both outlive the service.
  ObjectCalls(EventLoop& loop, ObjectDesk& desk) : loop_(loop), desk_(desk) {}

  grpc::ServerUnaryReactor* Apply(grpc::CallbackServerContext* context,
                                  const v1::ApplyRequest* request,
                                  v1::ApplyResponse* response) override;
  grpc::ServerUnaryReactor* GetObjects(grpc::CallbackServerContext* context,
                                       const v1::GetObjectsRequest* request,
                                       v1::GetObjectsResponse* response) override;
  grpc::ServerUnaryReactor* GetHistory(grpc::CallbackServerContext* context,
                                       const v1::GetHistoryRequest* request,
                                       v1::GetHistoryResponse* response) override;
  grpc::ServerUnaryReactor* Rollback(grpc::CallbackServerContext* context,
                                     const v1::RollbackRequest* request,
                                     v1::ApplyResponse* response) override;

 private:
  EventLoop& loop_;
  ObjectDesk& desk_;
};

}  // namespace glia
