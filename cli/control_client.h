// Asks the control plane of a running mesh on its local socket (api/glia/v1/status.proto,
// canary.proto).
#pragma once

#include <set>
#include <string>

#include "glia/v1/canary.pb.h"
#include "glia/v1/objects.pb.h"
#include "glia/v1/status.pb.h"
#include "proxy/base/result.h"

namespace glia {

// `directory` is the state directory of glia-control. The error says what to do if nobody answers.
Result<v1::Status> ask_status(const std::string& directory);
// What the sidecar of that workload ("namespace/name") has accepted and holds now: "cluster
// outbound:80:a.default", "host a.default:80", "listener outbound".
Result<std::set<std::string>> ask_held(const std::string& directory, const std::string& workload);
Result<v1::CreateTokenResponse> ask_token(const std::string& directory, const std::string& workload,
                                          int lifetime_seconds);

// `name` "": all canaries.
Result<v1::ListCanariesResponse> ask_canaries(const std::string& directory,
                                              const std::string& name);
Result<v1::CanaryStatus> change_canary(const std::string& directory, const std::string& name,
                                       const std::string& command);
Result<v1::ApplyResponse> ask_apply(const std::string& directory, const v1::ApplyRequest& request);
Result<v1::ApplyResponse> ask_rollback(const std::string& directory,
                                       const v1::RollbackRequest& request);
Result<v1::GetObjectsResponse> ask_objects(const std::string& directory,
                                           const v1::GetObjectsRequest& request);
Result<v1::GetHistoryResponse> ask_history(const std::string& directory, int most);

// Where in a run's state directory the control plane keeps its own.
std::string control_directory(const std::string& run_directory);

}  // namespace glia
