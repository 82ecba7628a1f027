// The commands of `glia`. Each takes its options and returns the exit code: 0 done, 1 the answer is no
// or something failed, 2 the command line was wrong.
#pragma once

#include <string>
#include <vector>

namespace glia {

enum class Output { kText, kJson };

// Where `glia run` keeps what belongs to one running mesh: --state-dir, $GLIA_STATE or .glia/run.
struct StateChoice {
  std::string directory;
};

struct RunOptions {
  std::string mesh;
  std::string state_directory;
  int drain_seconds = 5;
};
// Starts control plane, sidecars and workloads; ends with Ctrl-C, in order.
int run_command(const RunOptions& options);

// What the control plane holds and what each sidecar accepted. Exit code 1 while an edit is refused
// or a sidecar refused something.
int status_command(const std::string& state_directory, Output output);

// Every mistake of the files, a line each.
int validate_command(const std::vector<std::string>& paths, Output output);

// Which host names lead where, with weights, as one workload (or any) would be routed.
int routes_command(const std::vector<std::string>& paths, const std::string& service,
                   Output output);

// What sidecars (or that of one workload) believe of the load of a service's endpoints.
int endpoints_command(const std::string& state_directory, const std::string& service,
                      const std::string& from, Output output);

// A join file for one more sidecar, on standard output.
int token_command(const std::string& state_directory, const std::string& workload,
                  int lifetime_seconds);

}  // namespace glia
