// ObjectStore: mesh objects that people hand to the control plane, and every version of them.
//
// One SQLite file of its own, so that what is wrong with it costs no identities. Each write is one
// transaction that makes one version: after a crash there is all of it or nothing. Of each version
// the file keeps who made it, when, and what every object it touched said before and after, so any
// version that is still kept can be had back. Everything belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control_plane/store/database.h"
#include "proxy/base/result.h"
#include "proxy/base/time.h"

namespace glia {

class ObjectStore {
 public:
  static constexpr int kSchemaVersion = 1;
  // Older versions are forgotten: what they made stays, but the way back to them is gone.
  static constexpr int64_t kMostVersions = 1000;
  static constexpr int64_t kMostHistoryBytes = 64 << 20;

  // Makes the file (0600) if there is none.
  static Result<std::unique_ptr<ObjectStore>> open(const std::string& path);

  struct Object {
    std::string kind, name;  // "HTTPRoute", "namespace/name"
    std::string text;        // One YAML document.
    std::string source;      // "shop.yaml:12": where it was applied from.
    int64_t version = 0;     // The one that it came with.
  };
  // In order of kind and name.
  Result<std::vector<Object>> objects() const;

  struct Change {
    std::string kind, name;
    std::optional<std::string> text;  // Nothing: it is deleted.
    std::string source;
  };
  struct Author {
    std::string who, what;  // "anna@build-3", "applied shop.yaml"
    WallTime at;
  };
  // All of them or, with an error, none. The number of the new version. `most_bytes`: of the
  // history.
  Result<int64_t> write(const std::vector<Change>& changes, const Author& author,
                        int64_t most_bytes = kMostHistoryBytes);
  Result<int64_t> newest() const;  // 0: none yet.

  struct Touched {
    std::string kind, name;
    bool before = false, after = false;  // Was it there?
  };
  struct Version {
    int64_t number = 0;
    Author author;
    std::vector<Touched> touched;
  };
  // The newest first.
  Result<std::vector<Version>> history(int64_t most) const;
  // What makes of the objects those of `version` again; an error if that is not kept any more.
  Result<std::vector<Change>> back_to(int64_t version) const;

 private:
  ObjectStore() = default;
  Result<void> write_one(const Change& change, int64_t version);
  Result<void> forget_old(int64_t newest, int64_t most_bytes);

  mutable Database database_;
};

}  // namespace glia
