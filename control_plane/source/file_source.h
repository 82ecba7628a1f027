// FileSource: the mesh's YAML files, read again whenever somebody saves them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control_plane/objects/object_set.h"
#include "proxy/base/result.h"
#include "proxy/net/file_watch.h"

namespace glia {

class FileSource {
 public:
  // From now on: whenever the content of `paths` (files or directories, as load() takes them) may
  // have changed, reads them and calls `changed` with what was found, good or bad. Start it before
  // the first load(), so that nothing falls between the two.
  static Result<std::unique_ptr<FileSource>> start(EventLoop& loop, LibeventBackend& backend,
                                                   std::vector<std::string> paths,
                                                   std::function<void(LoadReport)> changed) {
    TRY(auto watch, FileWatch::start(loop, backend, paths, [paths, changed = std::move(changed)] {
          changed(load(paths));
        }));
    return std::unique_ptr<FileSource>(new FileSource(std::move(watch)));
  }

 private:
  explicit FileSource(std::unique_ptr<FileWatch> watch) : watch_(std::move(watch)) {}
  const std::unique_ptr<FileWatch> watch_;
};

}  // namespace glia
