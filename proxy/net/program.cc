#include "proxy/net/program.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "proxy/base/text.h"

namespace glia {
namespace {

Error trouble(std::string_view command, std::string_view what, int why) {
  return Error(ErrorKind::kInternal, Fault::kSelf,
               cat("cannot ", what, " ", command, ": ", std::strerror(why)));
}

class OwnedFd {
 public:
  ~OwnedFd() {
    if (fd >= 0) ::close(fd);
  }
  int release() { return std::exchange(fd, -1); }
  int fd = -1;
};

// Both ends; the one that we read does not block.
bool open_pipe(OwnedFd& reading, OwnedFd& writing) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  reading.fd = ends[0];
  writing.fd = ends[1];
  return ::fcntl(reading.fd, F_SETFL, O_NONBLOCK) == 0;
}

// 0, or errno.
int spawn(const std::vector<std::string>& command, int output, int errors, pid_t& pid) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  sigset_t none, pipe;
  sigemptyset(&none);
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &pipe);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  const int why =
      ::posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return why;
}

std::string words_of(int status) {
  if (WIFSIGNALED(status)) return cat("was ended by signal ", WTERMSIG(status));
  return WEXITSTATUS(status) == 0 ? "" : cat("ended with status ", WEXITSTATUS(status));
}

}  // namespace

// What it writes, gathered.
class Program::Pipe final : public FdWatch {
 public:
  Pipe(LibeventBackend& backend, int fd, Program& program)
      : FdWatch(backend, fd), program_(program) {
    want(true, false);
  }
  ~Pipe() override {
    unwatch();
    ::close(fd_);
  }
  // All that is there now.
  void drain() {
    char piece[64 * 1024];
    while (true) {
      const ssize_t got = ::read(fd_, piece, sizeof piece);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) return unwatch();
      if (text_.size() + static_cast<std::size_t>(got) > kMostOutput) {
        program_.kill(cat("wrote more than ", kMostOutput, " bytes"));
        return unwatch();
      }
      text_.append(piece, static_cast<std::size_t>(got));
    }
  }
  std::string take() { return std::move(text_); }

 private:
  void on_event(uint8_t) override { drain(); }
  Program& program_;
  std::string text_;
};

// A descriptor that is readable once the process has ended.
class Program::Exit final : public FdWatch {
 public:
  Exit(LibeventBackend& backend, int fd, Program& program)
      : FdWatch(backend, fd), program_(program) {
    want(true, false);
  }
  ~Exit() override {
    unwatch();
    ::close(fd_);
  }

 private:
  void on_event(uint8_t) override {
    unwatch();
    program_.on_exit();
  }
  Program& program_;
};

Result<std::unique_ptr<Program>> Program::start(EventLoop& loop, LibeventBackend& backend,
                                                const std::vector<std::string>& command,
                                                std::function<void(Ending)> ended) {
  const std::string& name = command.front();
  OwnedFd output, output_end, errors, errors_end;
  if (!open_pipe(output, output_end) || !open_pipe(errors, errors_end)) {
    return trouble(name, "make a pipe for", errno);
  }
  pid_t pid = -1;
  if (const int why = spawn(command, output_end.fd, errors_end.fd, pid); why != 0) {
    return trouble(name, "run", why);
  }
  std::unique_ptr<Program> program(new Program(loop, pid, std::move(ended)));
  // Debian 12's <sys/pidfd.h> forgets extern "C".
  const int exit = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (exit < 0) return trouble(name, "watch", errno);
  program->watch(backend, output.release(), errors.release(), exit);
  return program;
}

Program::Program(EventLoop& loop, pid_t pid, std::function<void(Ending)> ended)
    : pid_(pid),
      ended_(std::move(ended)),
      late_(loop, [this] { kill(cat("did not end within ", to_seconds(kLongestRun), " s")); }) {
  late_.start(kLongestRun);
}

void Program::watch(LibeventBackend& backend, int output, int errors, int exit) {
  output_ = std::make_unique<Pipe>(backend, output, *this);
  errors_ = std::make_unique<Pipe>(backend, errors, *this);
  exit_ = std::make_unique<Exit>(backend, exit, *this);
}

Program::~Program() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Program::kill(std::string why) {
  if (pid_ < 0 || !killed_.empty()) return;
  killed_ = std::move(why);
  ::kill(pid_, SIGKILL);
}

void Program::on_exit() {
  int status = 0;
  ::waitpid(std::exchange(pid_, -1), &status, 0);
  late_.stop();
  output_->drain();
  errors_->drain();
  ended_({.output = output_->take(),
          .errors = errors_->take(),
          .trouble = killed_.empty() ? words_of(status) : killed_});
}

}  // namespace glia
