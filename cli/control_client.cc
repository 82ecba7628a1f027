#include "cli/control_client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <filesystem>

#include "envoy/config/route/v3/route.pb.h"
#include "envoy/service/status/v3/csds.grpc.pb.h"
#include "glia/v1/canary.grpc.pb.h"
#include "glia/v1/objects.grpc.pb.h"
#include "glia/v1/status.grpc.pb.h"
#include "proxy/base/text.h"
#include "proxy/base/time.h"

namespace glia {
namespace {

constexpr std::chrono::seconds kPatience(5);

std::string socket_of(const std::string& directory) {
  return std::filesystem::absolute(directory).string() + "/control.sock";
}

std::shared_ptr<grpc::Channel> channel(const std::string& directory) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // Of a program of ours, on this machine.
  return grpc::CreateCustomChannel("unix:" + socket_of(directory),
                                   grpc::InsecureChannelCredentials(), arguments);
}

Error failure(const grpc::Status& status, const std::string& directory) {
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE) {
    return Error(ErrorKind::kInternal, Fault::kSelf, status.error_message());
  }
  return Error(ErrorKind::kConnectFailed, Fault::kSelf,
               cat("no control plane answers on ", socket_of(directory),
                   ": start one with glia run, or name its --state-dir"));
}

template <class Answer, class Service = v1::StatusService, class Call>
Result<Answer> ask(const std::string& directory, Call call) {
  grpc::ClientContext context;
  context.set_deadline(
      std::chrono::time_point_cast<std::chrono::system_clock::duration>(SystemClock().wall_now()) +
      kPatience);
  Answer answer;
  const grpc::Status status = call(*Service::NewStub(channel(directory)), context, answer);
  if (!status.ok()) return failure(status, directory);
  return answer;
}

}  // namespace

std::string control_directory(const std::string& run_directory) {
  return run_directory + "/control";
}

Result<v1::Status> ask_status(const std::string& directory) {
  return ask<v1::Status>(directory, [](auto& service, auto& context, auto& answer) {
    return service.GetStatus(&context, v1::GetStatusRequest(), &answer);
  });
}

namespace {

namespace csds = envoy::service::status::v3;

// The hosts of a table stand alone: of a sidecar's table they come and go.
void add_held(const csds::ClientConfig::GenericXdsConfig& config, std::set<std::string>& held) {
  if (!config.has_xds_config()) return;
  const std::string kind = config.type_url().substr(config.type_url().rfind('.') + 1);
  envoy::config::route::v3::RouteConfiguration table;
  if (config.xds_config().UnpackTo(&table)) {
    for (const auto& host : table.virtual_hosts()) held.insert(cat("host ", host.name()));
  } else if (kind == "Cluster" || kind == "Listener") {
    held.insert(cat(kind == "Cluster" ? "cluster " : "listener ", config.name()));
  }
}

}  // namespace

Result<std::set<std::string>> ask_held(const std::string& directory, const std::string& workload) {
  csds::ClientStatusRequest request;
  request.add_node_matchers()->mutable_node_id()->set_exact(workload);
  TRY(const auto answer, (ask<csds::ClientStatusResponse, csds::ClientStatusDiscoveryService>(
                             directory, [&](auto& service, auto& context, auto& answer) {
                               return service.FetchClientStatus(&context, request, &answer);
                             })));
  if (answer.config().empty()) {
    return invalid(cat("the sidecar of ", workload, " is not connected to the control plane"));
  }
  std::set<std::string> held;
  for (const auto& config : answer.config(0).generic_xds_configs()) add_held(config, held);
  return held;
}

Result<v1::CreateTokenResponse> ask_token(const std::string& directory, const std::string& workload,
                                          int lifetime_seconds) {
  v1::CreateTokenRequest request;
  request.set_workload(workload.find('/') == workload.npos ? "default/" + workload : workload);
  request.set_lifetime_s(lifetime_seconds);
  return ask<v1::CreateTokenResponse>(directory, [&](auto& service, auto& context, auto& answer) {
    return service.CreateToken(&context, request, &answer);
  });
}

Result<v1::ListCanariesResponse> ask_canaries(const std::string& directory,
                                              const std::string& name) {
  v1::ListCanariesRequest request;
  request.set_name(name);
  return ask<v1::ListCanariesResponse, v1::CanaryService>(
      directory, [&](auto& service, auto& context, auto& answer) {
        return service.ListCanaries(&context, request, &answer);
      });
}

Result<v1::CanaryStatus> change_canary(const std::string& directory, const std::string& name,
                                       const std::string& command) {
  v1::ChangeCanaryRequest request;
  request.set_name(name);
  request.set_command(command);
  return ask<v1::CanaryStatus, v1::CanaryService>(
      directory, [&](auto& service, auto& context, auto& answer) {
        return service.ChangeCanary(&context, request, &answer);
      });
}

Result<v1::ApplyResponse> ask_apply(const std::string& directory, const v1::ApplyRequest& request) {
  return ask<v1::ApplyResponse, v1::ObjectService>(
      directory, [&](auto& service, auto& context, auto& answer) {
        return service.Apply(&context, request, &answer);
      });
}

Result<v1::ApplyResponse> ask_rollback(const std::string& directory,
                                       const v1::RollbackRequest& request) {
  return ask<v1::ApplyResponse, v1::ObjectService>(
      directory, [&](auto& service, auto& context, auto& answer) {
        return service.Rollback(&context, request, &answer);
      });
}

Result<v1::GetObjectsResponse> ask_objects(const std::string& directory,
                                           const v1::GetObjectsRequest& request) {
  return ask<v1::GetObjectsResponse, v1::ObjectService>(
      directory, [&](auto& service, auto& context, auto& answer) {
        return service.GetObjects(&context, request, &answer);
      });
}

Result<v1::GetHistoryResponse> ask_history(const std::string& directory, int most) {
  v1::GetHistoryRequest request;
  request.set_most(most);
  return ask<v1::GetHistoryResponse, v1::ObjectService>(
      directory, [&](auto& service, auto& context, auto& answer) {
        return service.GetHistory(&context, request, &answer);
      });
}

}  // namespace glia
