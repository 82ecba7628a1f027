// Runs a program of the system and waits for it, without a shell: arguments are words, input and
// output go through memory.
#pragma once

#include <string>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/base/time.h"

namespace glia {

// A program that takes longer is killed; iptables waits for others' locks, so not at once.
inline constexpr Duration kLongestCommand = 30s;

struct CommandResult {
  int status = 0;              // 0: well; 128 + signal if one ended it.
  std::string output, errors;  // What it wrote.
};

// `words`: the program, looked for on PATH and in the directories of system programs, and its
// arguments. An error: it could not be run, or did not end in time.
Result<CommandResult> run_command(const std::vector<std::string>& words,
                                  const std::string& input = "");

// Whether there is such a program.
bool has_command(const std::string& name);

}  // namespace glia
