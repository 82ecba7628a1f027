#include "capture/command.h"

#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

#include "proxy/base/text.h"

namespace glia {
namespace {

// A file in memory, so that neither side can wait for the other.
class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("glia", MFD_CLOEXEC)) {}
  MemoryFile(const MemoryFile&) = delete;
  ~MemoryFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }
  bool fill(const std::string& text) {
    std::size_t done = 0;
    while (done < text.size()) {
      const ssize_t count = ::write(fd_, text.data() + done, text.size() - done);
      if (count <= 0) return false;
      done += static_cast<std::size_t>(count);
    }
    return ::lseek(fd_, 0, SEEK_SET) == 0;
  }
  std::string text() const {
    std::string all;
    char piece[4096];
    ssize_t count;
    for (off_t at = 0; (count = ::pread(fd_, piece, sizeof piece, at)) > 0; at += count) {
      all.append(piece, static_cast<std::size_t>(count));
    }
    return all;
  }

 private:
  int fd_;
};

// PATH of a user often lacks the directories of system programs.
std::string path_of(const std::string& name) {
  if (name.find('/') != name.npos) return name;
  const char* const path = std::getenv("PATH");
  std::string rest = cat(path == nullptr ? "" : path, ":/usr/sbin:/sbin:/usr/bin:/bin");
  for (std::size_t begin = 0; begin < rest.size();) {
    const std::size_t end = std::min(rest.find(':', begin), rest.size());
    const std::string file = cat(rest.substr(begin, end - begin), "/", name);
    if (end > begin && ::access(file.c_str(), X_OK) == 0) return file;
    begin = end + 1;
  }
  return "";
}

Error cannot_run(const std::string& name, int why) {
  return Error(ErrorKind::kInternal, Fault::kSelf,
               cat("cannot run ", name, ": ", std::strerror(why)));
}

Result<int> wait_for(pid_t pid, const std::string& name) {
  const int watch = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (watch < 0) return cannot_run(name, errno);
  pollfd ready{.fd = watch, .events = POLLIN, .revents = 0};
  int seen;
  do {
    seen = ::poll(&ready, 1, static_cast<int>(to_ms(kLongestCommand)));
  } while (seen < 0 && errno == EINTR);
  ::close(watch);
  if (seen == 0) ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (seen == 0) {
    return Error(ErrorKind::kInternal, Fault::kSelf,
                 cat(name, " did not end within ", to_ms(kLongestCommand) / 1000, " s"));
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

bool has_command(const std::string& name) { return !path_of(name).empty(); }

Result<CommandResult> run_command(const std::vector<std::string>& words, const std::string& input) {
  const std::string& name = words.front();
  const std::string path = path_of(name);
  if (path.empty()) return cannot_run(name, ENOENT);
  MemoryFile in, out, errors;
  if (in.fd() < 0 || out.fd() < 0 || errors.fd() < 0 || !in.fill(input)) {
    return cannot_run(name, errno);
  }
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  // Sentences of the programs are read by us and by people who search for them.
  std::string path_variable = cat("PATH=/usr/sbin:/usr/bin:/sbin:/bin"), locale = "LC_ALL=C";
  char* environment[] = {path_variable.data(), locale.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.fd(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.fd(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.fd(), STDERR_FILENO);
  pid_t pid = -1;
  const int why =
      ::posix_spawn(&pid, path.c_str(), &actions, nullptr, arguments.data(), environment);
  posix_spawn_file_actions_destroy(&actions);
  if (why != 0) return cannot_run(name, why);
  TRY(const int status, wait_for(pid, name));
  return CommandResult{.status = status, .output = out.text(), .errors = errors.text()};
}

}  // namespace glia
