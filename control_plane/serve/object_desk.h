// ObjectDesk: takes the objects that people hand in, if the mesh is right with them, keeps them,
// and puts them in force.
//
// In this order: everything is checked together with what is in force; then it is written down, as
// one version; then it is tried out (trial.h), and is in force. So a mistake takes nothing, a disk that
// is full takes nothing, and after a crash what was written down is in force. What sidecars refuse is
// taken back by one more version. Everything belongs to the control plane's loop.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control_plane/objects/documents.h"
#include "control_plane/serve/control_plane.h"
#include "control_plane/source/source.h"
#include "control_plane/store/object_store.h"
#include "glia/v1/objects.pb.h"

namespace glia {

// What the store holds, as a source of the mesh.
class StoredObjects final : public Source {
 public:
  explicit StoredObjects(ObjectStore& store) : store_(store) {}
  Result<SourceEdit> read() override;

  // Of a source: "store:HTTPRoute/default/classify".
  static std::string source_name(const std::string& kind, const std::string& name);

 private:
  ObjectStore& store_;
};

class ObjectDesk {
 public:
  static constexpr std::size_t kMostDocuments = 10'000;  // Of one request.
  static constexpr int kUsualHistory = 20;
  static constexpr std::size_t kLongestWho = 200;  // bytes

  // Both outlive the desk.
  ObjectDesk(ControlPlane& control_plane, ObjectStore& store)
      : control_plane_(control_plane), store_(store) {}

  // Called once, perhaps at once: what became of it.
  using Done = std::function<void(Result<v1::ApplyResponse>)>;
  void apply(const v1::ApplyRequest& request, WallTime now, Done done);
  Result<v1::GetObjectsResponse> get(const v1::GetObjectsRequest& request) const;
  Result<v1::GetHistoryResponse> history(const v1::GetHistoryRequest& request) const;
  void rollback(const v1::RollbackRequest& request, WallTime now, Done done);

 private:
  using Key = std::pair<std::string, std::string>;  // Kind, "namespace/name"
  struct Wanted {
    ObjectStore::Change change;
    std::optional<int64_t> edited;  // The version that its author saw.
    ReadingRef reading;             // Null: it shall not be there.
  };
  struct Order {
    std::vector<Wanted> wanted;
    std::vector<ReadingRef> unreadable;  // Documents that are no objects.
    std::vector<std::string> mistakes, conflicts;
    ObjectStore::Author author;
    bool dry_run = false;
  };
  using Kept = std::map<Key, ObjectStore::Object>;

  Result<Kept> kept() const;
  void read_file(const v1::ObjectFile& file, Order& order) const;
  void compare(const Kept& kept, Order& order, v1::ApplyResponse& response) const;
  void check(const Order& order, v1::ApplyResponse& response) const;
  Result<Order> order_of(const v1::ApplyRequest& request, WallTime now) const;
  Result<Order> order_of(const v1::RollbackRequest& request, WallTime now) const;
  // `make` says what is wanted, when its turn has come.
  void in_turn(std::function<Result<Order>()> make, Done done);
  void carry_out(Order order, const Done& done);
  // Writes it down; what is to be in force then, if anything is to be done.
  Result<std::optional<SourceEdit>> write(Order& order, v1::ApplyResponse& response);
  Result<void> take_back(const std::vector<std::string>& refusals, WallTime now,
                         v1::ApplyResponse& response);

  ControlPlane& control_plane_;
  ObjectStore& store_;
};

}  // namespace glia
