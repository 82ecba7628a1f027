#include "proxy/server/file_writer.h"

#include <utility>

#include "proxy/xds/private_file.h"

namespace glia {

FileWriter::FileWriter(EventLoop& loop, std::string directory, std::string name)
    : loop_(loop), directory_(std::move(directory)), name_(std::move(name)) {}

FileWriter::~FileWriter() {
  if (thread_.joinable()) thread_.join();
}

void FileWriter::write(std::string content, Done done) {
  if (thread_.joinable()) thread_.join();  // It has posted its last word already.
  thread_ = std::thread([this, alive = std::weak_ptr(alive_), content = std::move(content),
                         done = std::move(done)]() mutable {
    Result<void> result = write_private_file(directory_, name_, content);
    loop_.post([alive, done = std::move(done), result = std::move(result)] {
      if (!alive.expired()) done(result);
    });
  });
}

Result<void> FileWriter::write_now(const std::string& content) {
  if (thread_.joinable()) thread_.join();
  return write_private_file(directory_, name_, content);
}

}  // namespace glia
