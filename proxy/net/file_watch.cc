#include "proxy/net/file_watch.h"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <filesystem>

#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

namespace fs = std::filesystem;

// A directory on the way: only names that come, go or are replaced.
constexpr uint32_t kNames =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR | IN_EXCL_UNLINK;
// A directory with the files themselves.
constexpr uint32_t kContents = kNames | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB;

bool is_yaml(std::string_view name) { return name.ends_with(".yaml") || name.ends_with(".yml"); }

std::string joined(const std::string& directory, std::string_view name) {
  return directory == "/" ? cat("/", name) : cat(directory, "/", name);
}

void put_components(std::deque<std::string>& components, std::string_view path) {
  std::deque<std::string> own;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    if (end > at) own.emplace_back(path.substr(at, end - at));
    at = end + 1;
  }
  components.insert(components.begin(), own.begin(), own.end());
}

std::vector<std::string> yaml_files_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (fs::directory_iterator at(directory, ignored), end; !ignored && at != end;
       at.increment(ignored)) {
    std::string name = at->path().filename().string();
    if (is_yaml(name)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Changes whenever the file's content may have.
std::string mark_of(const std::string& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) return cat(path, " missing;");
  return cat(path, " ", status.st_dev, " ", status.st_ino, " ", status.st_size, " ",
             status.st_mtim.tv_sec, ".", status.st_mtim.tv_nsec, " ", status.st_ctim.tv_sec, ".",
             status.st_ctim.tv_nsec, ";");
}

// Has a name appeared whose content is there already: a symbolic or a hard link?
bool is_link(const std::string& path) {
  struct stat status = {};
  return ::lstat(path.c_str(), &status) == 0 && (S_ISLNK(status.st_mode) || status.st_nlink > 1);
}

}  // namespace

// The descriptor. Events are read from the top of the loop.
class FileWatch::Inotify final : public FdWatch {
 public:
  Inotify(LibeventBackend& backend, int fd, FileWatch& files)
      : FdWatch(backend, fd), files_(files) {
    want(true, false);
  }
  ~Inotify() override {
    unwatch();
    ::close(fd_);
  }
  int add(const std::string& directory, uint32_t mask) {
    return ::inotify_add_watch(fd_, directory.c_str(), mask);
  }
  void remove(int watch) { ::inotify_rm_watch(fd_, watch); }

 private:
  void on_event(uint8_t) override {
    alignas(inotify_event) char buffer[16 * 1024];
    const ssize_t got = ::read(fd_, buffer, sizeof buffer);
    if (got > 0) files_.on_events({buffer, static_cast<std::size_t>(got)});
  }
  FileWatch& files_;
};

bool FileWatch::Directory::matters(std::string_view name) const {
  return names.contains(name) || (yaml_files && is_yaml(name));
}

FileWatch::FileWatch(EventLoop& loop, std::vector<std::string> paths, std::function<void()> changed)
    : loop_(loop),
      paths_(std::move(paths)),
      changed_(std::move(changed)),
      timer_(loop, [this] { look(); }) {}

FileWatch::~FileWatch() = default;

Result<std::unique_ptr<FileWatch>> FileWatch::start(EventLoop& loop, LibeventBackend& backend,
                                                    std::vector<std::string> paths,
                                                    std::function<void()> changed) {
  const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0) {
    return Error(ErrorKind::kInternal, Fault::kSelf,
                 cat("cannot watch files: ", std::strerror(errno),
                     "; raise fs.inotify.max_user_instances, or stop what watches so many files"));
  }
  std::unique_ptr<FileWatch> files(new FileWatch(loop, std::move(paths), std::move(changed)));
  files->inotify_ = std::make_unique<Inotify>(backend, fd, *files);
  files->watch_again();
  files->fingerprint_ = files->fingerprint();
  files->timer_.start(kLookAnyway);
  return files;
}

void FileWatch::on_events(std::string_view events) {
  bool any = false;
  while (events.size() >= sizeof(inotify_event)) {
    inotify_event event;
    std::memcpy(&event, events.data(), sizeof event);
    // Padded with zeros. An event of the directory itself, or of the queue, has none.
    const std::string name(event.len == 0 ? "" : events.data() + sizeof event);
    events.remove_prefix(sizeof event + event.len);
    if ((event.mask & IN_Q_OVERFLOW) != 0) any = true;
    const auto found = watched_.find(event.wd);
    if (found == watched_.end() || !found->second.matters(name)) continue;
    any = true;
    const std::string path = joined(found->second.path, name);
    const bool opened = (event.mask & IN_CREATE) != 0 && (event.mask & IN_ISDIR) == 0 &&
                        found->second.holds_files && !is_link(path);
    if (opened || (event.mask & IN_MODIFY) != 0) {
      being_written_.insert(path);
    } else if ((event.mask & (IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)) != 0) {
      // Quiet counts from here; how long the writer took does not matter.
      if (being_written_.erase(path) != 0 && being_written_.empty()) waiting_ = false;
    }
  }
  if (any) happened();
}

void FileWatch::happened() {
  const TimePoint now = loop_.now();
  if (!waiting_) first_event_ = now;
  waiting_ = true;
  const bool written = being_written_.empty();
  const Duration left = first_event_ + (written ? kLongestWait : kLongestWriter) - now;
  timer_.start(std::clamp<Duration>(left, 0ns, written ? kQuiet : kWriterWait));
}

void FileWatch::look() {
  waiting_ = false;
  being_written_.clear();
  timer_.start(kLookAnyway);
  watch_again();  // Before reading: what changes from here on is an event.
  std::string now = fingerprint();
  if (now == fingerprint_) return;
  fingerprint_ = std::move(now);
  changed_();
}

// Watches what is on the way today. The kernel gives a directory that is watched already its old
// number, so doing it again is cheap and catches directories that were replaced.
void FileWatch::watch_again() {
  Directories wanted;
  for (const std::string& path : paths_) follow(path, wanted);
  std::map<int, Directory> watched;
  for (auto& [path, directory] : wanted) {
    const int watch = inotify_->add(path, directory.holds_files ? kContents : kNames);
    if (watch < 0) {
      if (errno == ENOSPC && !told_) {
        told_ = true;
        LOG(warning, "cannot watch ", path, ": too many watches on this machine; looking every ",
            to_seconds(kLookAnyway), " s instead; raise fs.inotify.max_user_watches");
      }
      continue;
    }
    Directory& known = watched.try_emplace(watch, Directory{path, {}, false, false}).first->second;
    known.names.merge(directory.names);
    known.yaml_files = known.yaml_files || directory.yaml_files;
    known.holds_files = known.holds_files || directory.holds_files;
  }
  for (const auto& [watch, directory] : watched_) {
    if (!watched.contains(watch)) inotify_->remove(watch);
  }
  watched_ = std::move(watched);
}

// Collects the directories in which a change can change what `path` leads to.
void FileWatch::follow(const std::string& path, Directories& found) const {
  std::deque<std::string> components;
  put_components(components, fs::absolute(path).string());
  std::string current = "/";
  int links = 0;
  while (!components.empty()) {
    const std::string name = std::move(components.front());
    components.pop_front();
    if (name == ".") continue;
    if (name == "..") {
      current = fs::path(current).parent_path().string();
      continue;
    }
    Directory& here =
        found.try_emplace(current, Directory{current, {}, false, false}).first->second;
    here.names.insert(name);
    const std::string next = joined(current, name);
    std::error_code error;
    const fs::file_status status = fs::symlink_status(next, error);
    if (fs::is_symlink(status)) {
      const std::string target = fs::read_symlink(next, error).string();
      if (error || ++links > kMostLinks) return;
      if (target.starts_with('/')) current = "/";
      put_components(components, target);
    } else if (fs::is_directory(status)) {
      current = next;
    } else {  // The file itself, or nothing yet.
      here.holds_files = true;
      return;
    }
  }
  Directory& here = found.try_emplace(current, Directory{current, {}, false, false}).first->second;
  if (std::exchange(here.yaml_files, true)) return;
  here.holds_files = true;
  for (const std::string& name : yaml_files_in(current)) {
    const std::string file = joined(current, name);
    if (fs::is_symlink(fs::path(file))) follow(file, found);
  }
}

std::string FileWatch::fingerprint() const {
  std::string all;
  for (const std::string& path : paths_) {
    std::error_code ignored;
    if (!fs::is_directory(path, ignored)) {
      all += mark_of(path);
      continue;
    }
    all += cat(path, ":");
    for (const std::string& name : yaml_files_in(path)) all += mark_of(joined(path, name));
  }
  return all;
}

}  // namespace glia
