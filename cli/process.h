// Process: a child of `glia run`, in a process group of its own so that the terminal's Ctrl-C
// reaches only us, with its output in a file. It ends with us, whatever happens to us.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "proxy/base/result.h"

namespace glia {

struct ProcessPlan {
  std::string name;                                // For people.
  std::vector<std::string> command;                // The program is looked for on PATH.
  std::map<std::string, std::string> environment;  // Beside ours.
  std::string directory;                           // "": ours.
  std::string log;                                 // File for standard error; appended to.
  std::string output = "";                         // File for standard output; "": `log` as well.
};

class Process {
 public:
  static Result<Process> start(const ProcessPlan& plan);
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();  // Kills what is left.

  // How it ended: "exited with status 1", "killed by signal 9"; nothing while it runs.
  std::optional<std::string> poll();
  void send(int signal) const;
  pid_t pid() const { return pid_; }

 private:
  explicit Process(pid_t pid) : pid_(pid) {}
  pid_t pid_ = -1;  // -1: nothing to end.
  std::optional<std::string> end_;
};

// The last lines of a log, for a message.
std::string tail_of(const std::string& path, std::size_t lines);

}  // namespace glia
