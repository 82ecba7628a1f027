// FileWatch: tells when somebody has saved one of the mesh's YAML files.
//
// It watches with inotify every directory on the way to the files, and every directory that holds a
// symbolic link on that way, by the names that matter there. So it sees what editors do (write a
// new file and rename it over the old one), what Kubernetes does (swap a link to a directory),
// deletion and coming back. A file that is being written is not read before its writer closes it:
// half of a file may be valid YAML with half of the services. Everything belongs to the loop's
// thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "proxy/base/result.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/loop.h"

namespace glia {

class FileWatch {
 public:
  // A save is many events; the files are read when nothing happened for so long.
  static constexpr Duration kQuiet = 20ms;
  // But not later than this after the first event, however busy the directory is.
  static constexpr Duration kLongestWait = 100ms;
  // A writer that neither closes its file nor writes any more is not waited for any longer.
  static constexpr Duration kWriterWait = 2s;
  // And one that goes on and on is read as it is by then.
  static constexpr Duration kLongestWriter = 10s;
  // Network file systems tell nothing to inotify, so we look by ourselves now and then.
  static constexpr Duration kLookAnyway = 5s;
  static constexpr int kMostLinks = 40;  // Symbolic links on the way to one file.

  // From now on: whenever the content of `paths` (files, or directories with *.yaml and *.yml) may
  // have changed, calls `changed`. Start it before reading them for the first time, so that nothing
  // falls between the two.
  static Result<std::unique_ptr<FileWatch>> start(EventLoop& loop, LibeventBackend& backend,
                                                  std::vector<std::string> paths,
                                                  std::function<void()> changed);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

 private:
  class Inotify;
  // What matters in a directory that is watched.
  struct Directory {
    std::string path;
    std::set<std::string, std::less<>> names;
    bool yaml_files = false;   // Every *.yaml and *.yml as well.
    bool holds_files = false;  // Not only directories and links on the way.
    bool matters(std::string_view name) const;
  };
  using Directories = std::map<std::string, Directory>;

  FileWatch(EventLoop& loop, std::vector<std::string> paths, std::function<void()> changed);
  void on_events(std::string_view events);
  void happened();
  void look();
  void watch_again();
  void follow(const std::string& path, Directories& found) const;
  std::string fingerprint() const;

  EventLoop& loop_;
  const std::vector<std::string> paths_;
  const std::function<void()> changed_;
  std::unique_ptr<Inotify> inotify_;
  std::map<int, Directory> watched_;     // By watch descriptor.
  std::set<std::string> being_written_;  // Written to and not closed yet.
  std::string fingerprint_;              // Of what was read last.
  TimePoint first_event_;                // Of the save that is under way, while waiting_.
  bool waiting_ = false;
  bool told_ = false;  // That the kernel has no more watches.
  CallbackTimer timer_;
};

}  // namespace glia
