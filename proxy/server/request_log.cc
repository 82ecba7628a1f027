#include "proxy/server/request_log.h"

#include <utility>

#include "proxy/base/log.h"
#include "proxy/telemetry/log_format.h"
#include "proxy/telemetry/log_writer.h"

namespace glia {
namespace {

// Writes each record to every file of the configuration; a timer runs only while lines wait.
class FileLog final : public RequestLog {
 public:
  explicit FileLog(EventLoop& loop) : timer_(loop, [this] { flush(); }) {}

  void add(const AccessLogConfig& config) {
    // Formats were compiled once already, when the configuration was accepted.
    Result<LogFormat> format = LogFormat::compile(config.json_format);
    if (!format) {
      LOG(error, "access log ", config.path, ": ", format.error().message());
      return;
    }
    files_.push_back({config.path, std::move(*format), nullptr});
    if (const auto opened = open(files_.back()); !opened) LOG(error, opened.error().message());
  }

  void write(const AccessRecord& record) override {
    for (File& file : files_) {
      if (file.writer != nullptr) file.writer->write(file.format, record);
    }
    if (!timer_.running()) timer_.start(kLogFlushEvery);
  }
  void reopen(std::vector<std::string>& problems) override {
    for (File& file : files_) {
      const auto opened = file.writer != nullptr ? file.writer->reopen() : open(file);
      if (opened) continue;
      LOG(error, opened.error().message());
      problems.push_back(opened.error().message());
    }
  }
  void collect(MetricsPage& page) const override {
    for (const File& file : files_) {
      if (file.writer != nullptr) file.writer->collect(page);
    }
  }

 private:
  struct File {
    std::string path;
    LogFormat format;
    std::unique_ptr<LogWriter> writer;  // Null while it could not be opened.
  };

  static Result<void> open(File& file) {
    TRY(file.writer, LogWriter::open(file.path));
    return {};
  }
  void flush() {
    bool waiting = false;
    for (File& file : files_) {
      if (file.writer == nullptr) continue;
      file.writer->flush();
      waiting = waiting || file.writer->pending();
    }
    if (waiting) timer_.start(kLogFlushEvery);
  }

  std::vector<File> files_;
  CallbackTimer timer_;
};

}  // namespace

std::unique_ptr<RequestLog> make_request_log(const std::vector<AccessLogConfig>& configs,
                                             EventLoop& loop) {
  if (configs.empty()) return nullptr;
  auto log = std::make_unique<FileLog>(loop);
  for (const AccessLogConfig& config : configs) log->add(config);
  return log;
}

}  // namespace glia
