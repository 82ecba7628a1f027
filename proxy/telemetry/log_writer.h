// LogWriter: carries the lines of one worker to one file, in large pieces.
//
// The request path pays for formatting into a buffer. The buffer leaves in one write(2) when it is
// large, or when its worker's timer says that it is old (flush() every kLogFlushEvery). Several
// workers append to the same file, so pieces end where lines end and the file is opened with
// O_APPEND; into a pipe they go in pieces that the kernel keeps whole (PIPE_BUF).
//
// A file that cannot be written must not stop traffic: lines wait in the buffer up to
// kLogBufferMost, then new ones are dropped and counted; the trouble is logged once, not once a line.
// One thread. The process must ignore SIGPIPE.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "proxy/base/result.h"
#include "proxy/telemetry/log_format.h"
#include "proxy/telemetry/metrics.h"

namespace glia {

inline constexpr std::size_t kLogFlushAt = 64 * 1024;       // bytes
inline constexpr std::size_t kLogBufferMost = 1024 * 1024;  // bytes, reached only while stalled
inline constexpr Duration kLogFlushEvery = 200ms;

class LogWriter {
 public:
  // A file (made with mode 0640 if it is not there), a pipe, "/dev/stdout" or "/dev/stderr".
  static Result<std::unique_ptr<LogWriter>> open(std::string path);
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;
  ~LogWriter();  // Flushes.

  void write(const LogFormat& format, const AccessRecord& record);
  // Whether there is something for flush() to do.
  bool pending() const { return begin_ < buffer_.size(); }
  // Writes what is buffered, as far as the file takes it without waiting.
  void flush();
  // Opens the path again, after somebody renamed the file. If that fails, the old file stays.
  Result<void> reopen();

  const std::string& path() const { return path_; }
  uint64_t lines_dropped() const { return dropped_; }
  void collect(MetricsPage& page) const;

 private:
  LogWriter(std::string path, int file, bool pipe)
      : path_(std::move(path)), file_(file), pipe_(pipe) {}
  std::string_view next_piece() const;
  void stall(int error_number);
  void recover();

  std::string path_;
  int file_;   // Owned.
  bool pipe_;  // Pieces of at most PIPE_BUF.
  std::string buffer_;
  std::size_t begin_ = 0;    // Where the bytes that are not written yet begin.
  bool stalled_ = false;     // The last write did not take all; only flush() tries again.
  bool complained_ = false;  // About this stall.
  uint64_t dropped_at_stall_ = 0;
  uint64_t lines_ = 0, dropped_ = 0, writes_ = 0, failures_ = 0;
};

}  // namespace glia
