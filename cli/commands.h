// The commands of `glia`. Each takes its options and returns the exit code: 0 done, 1 the answer is no
// or something failed, 2 the command line was wrong.
#pragma once

#include <string>
#include <vector>

#include "capture/capture.h"
#include "vm/machine.h"

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

struct ExplainOptions {
  std::vector<std::string> mesh;
  std::string from, to;  // A workload; a URL, "" for what makes the workload's resources.
  std::string method;    // "": GET, or POST for gRPC.
  std::vector<std::string> headers;  // "NAME:VALUE"
  std::string state_directory;  // Of a running mesh, to say what the sidecar holds now; "": none.
};
// Where a request would go and why, or which objects make the resources of a sidecar.
int explain_command(const ExplainOptions& options, Output output);

// What a change would send to which sidecars. Exit code 0: nothing, 1: something, 2: errors.
int diff_command(const std::string& before, const std::string& after);

// The JSON schema of a kind, or of all.
int schema_command(const std::string& kind);

// Which host names lead where, with weights, as one workload (or any) would be routed.
int routes_command(const std::vector<std::string>& paths, const std::string& service,
                   Output output);

// What sidecars (or that of one workload) believe of the load of a service's endpoints.
int endpoints_command(const std::string& state_directory, const std::string& service,
                      const std::string& from, Output output);

// The canaries of the running mesh, one a line.
int canary_list_command(const std::string& state_directory, Output output);
// One canary with the metrics of both versions and the verdict; `watch` shows it again every second,
// until it is promoted or rolled back, or Ctrl-C. Exit code 1 if it is rolled back or has failed.
enum class Watch { kNo, kYes };
int canary_show_command(const std::string& state_directory, const std::string& name, Watch watch,
                        Output output);
// "promote", "abort", "pause" or "resume".
int canary_change_command(const std::string& state_directory, const std::string& name,
                          const std::string& command);
// The mesh objects that the control plane keeps itself. `paths`: files, directories, "-".
int apply_command(const std::string& state_directory, const std::vector<std::string>& paths,
                  bool dry_run);
int delete_command(const std::string& state_directory, const std::string& kind,
                   const std::string& name);
enum class ObjectOutput { kText, kJson, kYaml };
// All objects in force, of a kind, of a name ("": all).
int get_command(const std::string& state_directory, const std::string& kind,
                const std::string& name, ObjectOutput output);
int history_command(const std::string& state_directory, int most, Output output);
// 0: to the version before the newest.
int rollback_command(const std::string& state_directory, int version);

// The rules that lead a network namespace's traffic to the sidecar (docs/capture.md).
int capture_install_command(const WrittenCapture& written);
// Exit code 1 if a connection is not captured.
int capture_check_command(const WrittenCapture& written);
int capture_print_command(const WrittenCapture& written);
int capture_remove_command();

// Virtual machines (docs/virtual-machines.md). A token for one more, on standard output; on the machine,
// `token` ("-": standard input) makes it join, and it can leave again.
int vm_token_command(const std::string& state_directory, const std::string& workload,
                     int lifetime_seconds);
int vm_join_command(VmPlan plan, const std::string& token);
int vm_leave_command(const std::string& root);
// Names of Services in the hosts file, as the machine's sidecar knows them.
struct NamesOptions {
  std::string admin = "127.0.0.1:15000";  // Of the sidecar.
  std::string hosts = "/etc/hosts";
  bool print = false, remove = false, follow = false;  // At most one; none: once.
};
int vm_names_command(const NamesOptions& options);

struct InjectOptions {
  std::vector<std::string> paths;  // "-": standard input.
  bool uninject = false, classic = false;
  std::string capture = "init", image, control, name_space = "default";
};
// Manifests of Kubernetes with sidecars, or without, on standard output; what became of each pod on
// standard error. Exit code 1, and no manifest, if one cannot have what it asks for.
int inject_command(const InjectOptions& options);

struct InstallOptions {
  std::string name_space = "glia-system", image, mesh_name = "mesh", trust_domain = "mesh.local";
  std::string ca_directory = "glia-ca";  // Made if it is not there.
  int replicas = 2;
  bool only_crds = false;
};
// What runs the control plane in Kubernetes, on standard output (docs/install.md).
int install_command(const InstallOptions& options);

// A join file for one more sidecar, on standard output.
int token_command(const std::string& state_directory, const std::string& workload,
                  int lifetime_seconds);

}  // namespace glia
