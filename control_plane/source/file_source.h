// FileSource: the mesh's YAML files, those that changed read again whenever somebody saves them.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "control_plane/source/source.h"
#include "proxy/base/result.h"
#include "proxy/net/file_watch.h"

namespace glia {

// What files and directories (as load() takes them) hold, and what has changed since one last looked.
class FileReader {
 public:
  // A file that was saved so shortly before it was read may be saved again without looking different.
  static constexpr Duration kTickOfFiles = 2s;

  explicit FileReader(std::vector<std::string> paths) : paths_(std::move(paths)) {}
  // The first time, all. `now`: the wall clock's time, which is that of files.
  SourceEdit read(WallTime now);

 private:
  struct Held {
    struct stat stamp = {};
    bool settled = false;  // Whoever changes the file now changes its stamp.
    ReadingRef reading;
  };
  bool is_as_held(const std::string& name, const Held& held) const;

  const std::vector<std::string> paths_;
  std::map<std::string, Held> files_;
};

class FileSource final : public Source {
 public:
  // From now on: whenever the content of `paths` may have changed, reads what did and calls `changed`
  // with it, good or bad.
  static Result<std::unique_ptr<FileSource>> start(EventLoop& loop, LibeventBackend& backend,
                                                   const std::vector<std::string>& paths,
                                                   std::function<void(SourceEdit)> changed);
  // What is there now. Watching has begun before, so that no edit falls between the two.
  Result<SourceEdit> read() override { return reader_.read(loop_.clock().wall_now()); }

 private:
  FileSource(EventLoop& loop, const std::vector<std::string>& paths,
             std::function<void(SourceEdit)> changed)
      : loop_(loop), reader_(paths), changed_(std::move(changed)) {}

  EventLoop& loop_;
  FileReader reader_;
  const std::function<void(SourceEdit)> changed_;
  std::unique_ptr<FileWatch> watch_;
};

}  // namespace glia
