#include "control_plane/serve/object_calls.h"

#include "control_plane/serve/grpc_answer.h"

namespace glia {
namespace {

// On the loop; request and response are gRPC's until the call is answered.
template <class Response, class Do>
grpc::ServerUnaryReactor* later(EventLoop& loop, grpc::CallbackServerContext& context,
                                Response& response, Do work) {
  grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
  loop.post([reactor, &response, work] { answer<Response>(*reactor, work(), response); });
  return reactor;
}

// The same, of what is answered when sidecars have tried it out.
template <class Begin>
grpc::ServerUnaryReactor* decided(EventLoop& loop, grpc::CallbackServerContext& context,
                                  v1::ApplyResponse& response, Begin begin) {
  grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
  loop.post([reactor, &response, begin] {
    begin([reactor, &response](Result<v1::ApplyResponse> outcome) {
      answer(*reactor, std::move(outcome), response);
    });
  });
  return reactor;
}

}  // namespace

grpc::ServerUnaryReactor* ObjectCalls::Apply(grpc::CallbackServerContext* context,
                                             const v1::ApplyRequest* request,
                                             v1::ApplyResponse* response) {
  return decided(loop_, *context, *response, [this, request](ObjectDesk::Done done) {
    desk_.apply(*request, loop_.clock().wall_now(), std::move(done));
  });
}

grpc::ServerUnaryReactor* ObjectCalls::GetObjects(grpc::CallbackServerContext* context,
                                                  const v1::GetObjectsRequest* request,
                                                  v1::GetObjectsResponse* response) {
  return later(loop_, *context, *response, [this, request] { return desk_.get(*request); });
}

grpc::ServerUnaryReactor* ObjectCalls::GetHistory(grpc::CallbackServerContext* context,
                                                  const v1::GetHistoryRequest* request,
                                                  v1::GetHistoryResponse* response) {
  return later(loop_, *context, *response, [this, request] { return desk_.history(*request); });
}

grpc::ServerUnaryReactor* ObjectCalls::Rollback(grpc::CallbackServerContext* context,
                                                const v1::RollbackRequest* request,
                                                v1::ApplyResponse* response) {
  return decided(loop_, *context, *response, [this, request](ObjectDesk::Done done) {
    desk_.rollback(*request, loop_.clock().wall_now(), std::move(done));
  });
}

}  // namespace glia
