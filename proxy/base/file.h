// Files that are replaced whole: a reader, or a machine that loses power, finds the old content or the new.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

namespace glia {

struct FileOwner {
  uid_t user;
  gid_t group;
};

// Makes `path` hold `content`, with exactly these rights whatever the umask says; nothing for `owner`: this
// process. By a file beside it, PATH.glia-new. 0, or the errno of what failed: then `path` is
// as it was, unless it was only its directory that could not be brought to the disk.
int replace_file(const std::string& path, std::string_view content, mode_t mode,
                 std::optional<FileOwner> owner = {});

// All of it, and on the disk; else errno says why.
bool write_whole(int file, std::string_view content);

}  // namespace glia
