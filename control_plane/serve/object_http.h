// ObjectHttp: the desk for mesh objects (object_desk.h) over HTTP, on a UNIX socket: for scripts and
// whoever has curl and no `glia`. The same checks, versions and sentences as ObjectCalls has over gRPC.
//
//   GET    /v1[/KIND[/NAMESPACE[/NAME]]]   objects in force
//   PUT    /v1/KIND/NAMESPACE/NAME         one document, YAML or JSON
//   DELETE /v1/KIND/NAMESPACE/NAME
//   POST   /v1/apply                       any number of documents
//   GET    /v1/history, POST /v1/rollback
//
// Answers are JSON. A socket and not a port: whoever may open the file may do all of this, and a port
// on loopback would be open to every user of the machine and to pages in his browser.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "control_plane/serve/object_desk.h"
#include "proxy/http/small_server.h"
#include "proxy/net/stream.h"

namespace glia {

class ObjectHttp final : private Service {
 public:
  static constexpr std::size_t kLargestBody = 2 << 20;  // bytes; as much as over gRPC
  static constexpr Duration kIdleTime = 60s;            // Of a connection without requests.
  static constexpr Duration kLongestTime = 30s;         // Of a request, its body and its trial.

  // All outlive it, and so it outlives the decisions of the desk: it is destroyed when the loop does not
  // turn any more.
  ObjectHttp(EventLoop& loop, Network& network, ObjectDesk& desk);
  // Open to this user only.
  Result<void> listen(const std::string& path);

 private:
  struct Answer {
    int status = 200;
    std::string json;
  };
  // What is asked for, in parts.
  struct Asked {
    std::string_view method;
    std::string kind, ns, name;         // "" each: not said.
    std::optional<int64_t> at_version;  // Resource version that an object must be at.
    std::optional<int64_t> back_to;     // Version of the history.
    bool dry_run = false;
    bool is_rollback() const { return method == "POST" && kind == "rollback" && ns.empty(); }
  };
  // Somebody waits for what sidecars say.
  struct Waiting {
    WaitSlot slot;
    std::optional<Result<v1::ApplyResponse>> outcome;
  };
  class Place;

  Task<void> serve(ServerStream& stream) override;
  Task<Answer> answer_to(const Request& request);
  Task<Answer> change(const Request& request, Asked asked);
  Result<Answer> look(const Asked& asked) const;
  static Result<Asked> read(const Request& request);

  EventLoop& loop_;
  ObjectDesk& desk_;
  SmallServer server_;
  std::map<uint64_t, Waiting*> waiting_;
  uint64_t last_ = 0;
};

}  // namespace glia
