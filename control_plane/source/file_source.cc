#include "control_plane/source/file_source.h"

#include <set>
#include <utility>

namespace glia {

namespace {

Duration since_epoch(const timespec& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

bool same(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

}  // namespace

// By what the file system says of it: the same file, not written to since.
bool FileReader::is_as_held(const std::string& name, const Held& held) const {
  struct stat now = {};
  if (!held.settled || ::stat(name.c_str(), &now) != 0) return false;
  const struct stat& then = held.stamp;
  return now.st_dev == then.st_dev && now.st_ino == then.st_ino && now.st_size == then.st_size &&
         same(now.st_mtim, then.st_mtim) && same(now.st_ctim, then.st_ctim);
}

SourceEdit FileReader::read(WallTime now) {
  SourceEdit edit;
  std::vector<Problem>& unreadable = edit.unreadable.emplace();
  std::set<std::string> there;
  for (const std::string& name : list_files(paths_, unreadable)) {
    there.insert(name);
    Held& held = files_[name];
    if (held.reading != nullptr && is_as_held(name, held)) continue;
    // Looked at before it is read: whoever writes meanwhile makes it look different.
    struct stat stamp = {};
    const bool seen = ::stat(name.c_str(), &stamp) == 0;
    const auto source = read_file(name, unreadable);
    held.settled =
        seen && source && since_epoch(stamp.st_ctim) + kTickOfFiles < now.time_since_epoch();
    held.stamp = stamp;
    if (!source) continue;
    if (held.reading != nullptr && held.reading->digest == source_digest(*source)) continue;
    held.reading = read_source(*source);
    edit.read.push_back(held.reading);
  }
  for (auto file = files_.begin(); file != files_.end();) {
    if (there.contains(file->first)) {
      ++file;
      continue;
    }
    edit.gone.push_back(file->first);
    file = files_.erase(file);
  }
  return edit;
}

Result<std::unique_ptr<FileSource>> FileSource::start(EventLoop& loop, LibeventBackend& backend,
                                                      const std::vector<std::string>& paths,
                                                      std::function<void(SourceEdit)> changed) {
  std::unique_ptr<FileSource> source(new FileSource(loop, paths, std::move(changed)));
  FileSource* const self = source.get();
  TRY(source->watch_,
      FileWatch::start(loop, backend, paths, [self] { self->changed_(*self->read()); }));
  return source;
}

}  // namespace glia
