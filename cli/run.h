// Run: one mesh on one machine: a control plane, a sidecar for each workload, and the workloads
// that have a command. Started in that order, ended in the reverse.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/process.h"
#include "control_plane/objects/object_set.h"
#include "proxy/base/task.h"
#include "proxy/net/loop.h"
#include "proxy/net/stream.h"

namespace glia {

class Run {
 public:
  // `loop` and `network` outlive the run.
  Run(const RunOptions& options, EventLoop& loop, Network& network);

  // Starts everything, then watches it until stop(); then ends everything and stops the loop.
  void begin();
  // Ctrl-C. A second one kills what has not ended yet.
  void stop();
  int exit_code() const { return exit_code_; }

 private:
  // A workload and what runs for it.
  struct Member {
    const Workload* workload;
    std::optional<Process> sidecar, application;
    std::string said;  // The state that was printed last.
    int doubts = 0;    // Looks in a row that found another state.
  };

  Task<void> main();
  Task<Result<void>> start_all();
  Task<Result<void>> start_control();
  Task<Result<void>> restart_control(const std::string& ended);
  void remember_control_address(std::string_view join_file);
  Result<void> start_sidecar(Member& member);
  Result<void> start_application(Member& member);
  Task<void> watch();
  Task<std::string> state_of(Member& member);
  Task<void> end(std::vector<std::optional<Process>*> processes, Duration patience);
  Task<void> end_all();
  std::string log_of(const std::string& name) const;

  const RunOptions& options_;
  EventLoop& loop_;
  Network& network_;
  std::string directory_;  // Absolute.
  LoadReport report_;
  std::optional<Process> control_;
  std::string control_address_ = "127.0.0.1:0";
  int control_starts_ = 0;
  std::vector<Member> members_;
  bool stopping_ = false, hurry_ = false;
  bool all_ready_said_ = false;
  int exit_code_ = 0;
  Task<void> task_;
};

}  // namespace glia
