#include "proxy/telemetry/log_writer.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

struct OpenFile {
  int file;
  bool pipe;
};

std::string why(int error_number) { return std::generic_category().message(error_number); }

// A standard stream is opened anew where that gives us a description of our own, so that making it
// non-blocking does not surprise the shell. Not for a regular file: its other writers do not append,
// and would write over our lines; the shared description has the shared position.
int open_standard(const std::string& path, int standard) {
  struct stat about;
  const bool shared = fstat(standard, &about) == 0 && S_ISREG(about.st_mode);
  const int own = shared ? -1 : open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return own >= 0 ? own : fcntl(standard, F_DUPFD_CLOEXEC, 3);
}

Result<OpenFile> open_file(const std::string& path) {
  int file;
  if (path == "/dev/stdout") {
    file = open_standard(path, STDOUT_FILENO);
  } else if (path == "/dev/stderr") {
    file = open_standard(path, STDERR_FILENO);
  } else {
    file =
        open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);
  }
  if (file < 0) {
    const int error_number = errno;
    const std::string_view fix = error_number == ENOENT ? "; make its directory first"
                                 : error_number == EACCES
                                     ? "; choose a path that this user may write"
                                 : error_number == ENXIO ? "; start the reader of the pipe first"
                                                         : "";
    return Error(ErrorKind::kInternal, Fault::kSelf,
                 cat("access log ", path, " cannot be opened: ", why(error_number), fix));
  }
  struct stat about;
  const bool pipe = fstat(file, &about) == 0 && S_ISFIFO(about.st_mode);
  return OpenFile{file, pipe};
}

}  // namespace

Result<std::unique_ptr<LogWriter>> LogWriter::open(std::string path) {
  TRY(const auto opened, open_file(path));
  return std::unique_ptr<LogWriter>(new LogWriter(std::move(path), opened.file, opened.pipe));
}

LogWriter::~LogWriter() {
  flush();
  close(file_);
}

void LogWriter::write(const LogFormat& format, const AccessRecord& record) {
  if (buffer_.size() - begin_ >= kLogBufferMost) {
    ++dropped_;
    return;
  }
  format.append(buffer_, record);
  ++lines_;
  if (buffer_.size() - begin_ >= kLogFlushAt && !stalled_) flush();
}

// What may be given to one write(2). Whole lines only, unless one line is longer than a pipe keeps
// whole.
std::string_view LogWriter::next_piece() const {
  const std::string_view rest = std::string_view(buffer_).substr(begin_);
  if (!pipe_ || rest.size() <= PIPE_BUF) return rest;
  const std::size_t last = rest.rfind('\n', PIPE_BUF - 1);
  return rest.substr(0, last == rest.npos ? rest.find('\n') + 1 : last + 1);
}

void LogWriter::flush() {
  while (pending()) {
    const std::string_view piece = next_piece();
    const ssize_t written = ::write(file_, piece.data(), piece.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return stall(written < 0 ? errno : ENOSPC);
    ++writes_;
    begin_ += static_cast<std::size_t>(written);
  }
  buffer_.clear();
  begin_ = 0;
  if (stalled_) recover();
}

void LogWriter::stall(int error_number) {
  if (!stalled_) dropped_at_stall_ = dropped_;
  stalled_ = true;
  // What was written makes room for new lines.
  buffer_.erase(0, begin_);
  begin_ = 0;
  const bool slow = error_number == EAGAIN || error_number == EWOULDBLOCK;
  if (!slow) ++failures_;
  // A reader that is slow for a moment is nobody's news until lines are lost.
  if (complained_ || (slow && buffer_.size() < kLogBufferMost)) return;
  complained_ = true;
  LOG(error, "access log ", path_,
      " cannot be written: ", slow ? "its reader is too slow" : why(error_number),
      "; lines wait up to ", kLogBufferMost, " bytes, then they are dropped and counted");
}

void LogWriter::recover() {
  stalled_ = false;
  if (!complained_) return;
  complained_ = false;
  LOG(warning, "access log ", path_, " is written again; ", dropped_ - dropped_at_stall_,
      " lines were dropped");
}

Result<void> LogWriter::reopen() {
  flush();
  TRY(const auto opened, open_file(path_));
  close(file_);
  file_ = opened.file;
  pipe_ = opened.pipe;
  return {};
}

void LogWriter::collect(MetricsPage& page) const {
  page.counter("envoy_filesystem_write_completed", {}, writes_);
  page.counter("envoy_filesystem_write_failed", {}, failures_);
  page.counter("glia_access_log_lines_total", {}, lines_);
  page.counter("glia_access_log_lines_dropped_total", {}, dropped_);
}

}  // namespace glia
