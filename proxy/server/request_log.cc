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
    Result<std::unique_ptr<LogWriter>> writer = LogWriter::open(config.path);
    const Error* const trouble = !format ? &format.error() : !writer ? &writer.error() : nullptr;
    if (trouble != nullptr) {
      LOG(error, "access log ", config.path, ": ", trouble->message());
      return;
    }
    files_.push_back({std::move(*format), std::move(*writer)});
  }

  void write(const AccessRecord& record) override {
    for (File& file : files_) file.writer->write(file.format, record);
    if (!timer_.running()) timer_.start(kLogFlushEvery);
  }
  void reopen() override {
    for (File& file : files_) {
      if (const auto opened = file.writer->reopen(); !opened) LOG(error, opened.error().message());
    }
  }
  void collect(MetricsPage& page) const override {
    for (const File& file : files_) file.writer->collect(page);
  }

 private:
  void flush() {
    bool waiting = false;
    for (File& file : files_) {
      file.writer->flush();
      waiting = waiting || file.writer->pending();
    }
    if (waiting) timer_.start(kLogFlushEvery);
  }

  struct File {
    LogFormat format;
    std::unique_ptr<LogWriter> writer;
  };
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
