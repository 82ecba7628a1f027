#include "cli/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <fstream>
#include <utility>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr int kCannotRun = 127;  // As a shell says it.

// In the child, after fork: only what is safe there.
[[noreturn]] void become(const ProcessPlan& plan, char* const* arguments, int output, int log,
                         int report) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  if (plan.directory.empty() || ::chdir(plan.directory.c_str()) == 0) {
    for (const auto& [name, value] : plan.environment) ::setenv(name.c_str(), value.c_str(), 1);
    ::execvp(arguments[0], arguments);
  }
  const int why = errno;
  (void)!::write(report, &why, sizeof why);
  ::_exit(kCannotRun);
}

int open_to_append(const std::string& path) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

}  // namespace

Result<Process> Process::start(const ProcessPlan& plan) {
  const int log = open_to_append(plan.log);
  const int output = open_to_append(plan.output.empty() ? plan.log : plan.output);
  int report[2];  // Tells why the program could not be run; closed by a successful exec.
  if (log < 0 || output < 0 || ::pipe2(report, O_CLOEXEC) != 0) {
    return Error(ErrorKind::kInternal, Fault::kSelf,
                 cat(plan.name, ": log ", log < 0 || plan.output.empty() ? plan.log : plan.output,
                     ": ", std::strerror(errno)));
  }
  std::vector<char*> arguments;
  arguments.reserve(plan.command.size() + 1);
  for (const std::string& word : plan.command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) become(plan, arguments.data(), output, log, report[1]);
  ::close(output);
  ::close(log);
  ::close(report[1]);
  int why = pid < 0 ? errno : 0;
  if (pid > 0 && ::read(report[0], &why, sizeof why) <= 0) why = 0;
  ::close(report[0]);
  if (why == 0) return Process(pid);
  if (pid > 0) ::waitpid(pid, nullptr, 0);
  return Error(
      ErrorKind::kInternal, Fault::kSelf,
      cat(plan.name, ": cannot run ", plan.command.front(),
          plan.directory.empty() ? "" : cat(" in ", plan.directory), ": ", std::strerror(why)));
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), end_(std::move(other.end_)) {}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(end_, other.end_);
  return *this;
}

Process::~Process() {
  if (pid_ <= 0 || poll()) return;
  send(SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::optional<std::string> Process::poll() {
  if (end_ || pid_ <= 0) return end_;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return {};
  end_ = WIFEXITED(status) ? cat("exited with status ", WEXITSTATUS(status))
                           : cat("was ended by signal ", WTERMSIG(status));
  ::kill(-pid_, SIGKILL);  // What it started itself and left behind.
  return end_;
}

void Process::send(int signal) const {
  if (pid_ > 0 && !end_) ::kill(-pid_, signal);
}

std::string tail_of(const std::string& path, std::size_t lines) {
  std::ifstream file(path);
  std::deque<std::string> last;
  for (std::string line; std::getline(file, line);) {
    last.push_back(line);
    if (last.size() > lines) last.pop_front();
  }
  std::string text;
  for (const std::string& line : last) text += cat("    ", line, "\n");
  return text;
}

}  // namespace glia
