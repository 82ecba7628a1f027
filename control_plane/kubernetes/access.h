// ApiAccess: where the API server of a cluster is, how it is recognised, and who we are to it: as a pod of
// the cluster, or as a kubeconfig file says.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "proxy/base/result.h"

namespace glia {

struct ApiAccess {
  std::string host;  // A name or an address, without brackets.
  uint16_t port = 443;
  bool tls = true;
  std::string server_name;  // In its certificate, if that is not `host`.
  std::string path;         // Before the path of every request: "" or "/k8s/clusters/c-1".
  // PEM. What the server's certificate must end in; of a pod, in a file that may change.
  std::string authority, authority_file;
  std::string certificate, private_key;  // PEM of ours; "": none.
  std::string token, token_file;         // At most one; the file is read before each request.
  std::string name_space = "default";    // Our own.

  // "https://10.96.0.1:443"
  std::string text() const;
};

inline constexpr char kServiceAccountDirectory[] = "/var/run/secrets/kubernetes.io/serviceaccount";

// What kubelet tells every pod. `environment`: "" for a variable that is not set.
Result<ApiAccess> access_in_cluster(const std::function<std::string(const char*)>& environment,
                                    const std::string& directory = kServiceAccountDirectory);

// The current context of a kubeconfig file. What it asks for and we cannot do is an error that says what to do
// instead: nobody shall be another one than he thinks.
Result<ApiAccess> access_by_kubeconfig(const std::string& path);

// A file of at most 1 MiB.
Result<std::string> read_small_file(const std::string& path);

}  // namespace glia
