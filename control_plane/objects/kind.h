// Kind: one kind of object, whole: its name, its fields, what the reference page says, how it is
// read.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "control_plane/objects/object_set.h"
#include "control_plane/objects/rules.h"
#include "control_plane/objects/schema.h"

namespace glia {

// What was read so far, in the order of the files.
inline namespace mesh_objects {
struct Draft {
  ObjectSet objects;
  std::vector<Mesh> meshes;
};
}  // namespace mesh_objects

struct Kind {
  std::string name, api_version;
  std::string documentation;  // A paragraph of Markdown.
  std::string example;        // YAML of one object; a test reads it.
  std::shared_ptr<const Shape> shape;
  // Reads an object of this kind; adds it to the draft if nothing is wrong with it.
  std::function<void(const YamlNode&, Reader&, Draft&)> read;
};

// In the order of the reference page.
const std::vector<Kind>& kinds();

Kind mesh_kind();
Kind workload_kind();
Kind service_kind();
Kind inference_pool_kind();
Kind http_route_kind();
Kind grpc_route_kind();
Kind endpoint_slice_kind();
Kind reference_grant_kind();
Kind traffic_policy_kind();
Kind model_policy_kind();
Kind authorization_policy_kind();
Kind canary_kind();

// Workload.spec.modelServer, and what it needs of the rest of the spec.
Type<Workload::ModelServer> model_server();
void check_model_server(Workload::Spec& spec, Reader& reader);

// Workload.spec.health, and what it needs of the rest of the spec.
Type<Workload::Health> health();
void check_health(Workload::Spec& spec, Reader& reader);
Type<std::string> port_name();

// Workload.spec.admission.
Type<Workload::Admission> admission();
// Workload.spec.tokenBudgets.
Type<std::vector<Workload::TokenBudget>> token_budgets();
Type<Workload::SharedBudgets> shared_budgets();

// Leaves that several kinds use.
Type<std::string> label_name(std::string what);
Type<std::string> header_name();
Type<uint16_t> port_number();
Type<TextMap> labels();

// The shape of most kinds: apiVersion, kind, metadata, spec. `spec` is required unless
// kOptional; `store` fills in defaults that depend on other fields and keeps the object.
enum class SpecNeed : uint8_t { kRequired, kOptional };

ObjectType<Metadata> metadata(TextCheck name_check);

// The fields that every object has; `older` are versions that are read as well.
template <class T>
ObjectType<T> object_head(const std::string& api_version, TextCheck name_check,
                          const std::vector<std::string>& older = {}) {
  ObjectType<T> object(T::kKind);
  std::vector<std::string> versions = {api_version};
  versions.insert(versions.end(), older.begin(), older.end());
  object.fixed("apiVersion", FieldShape::Support::kRequired, one_of(std::move(versions)), "");
  object.fixed("kind", FieldShape::Support::kRequired, one_of({T::kKind}), "");
  object.required("metadata", &T::metadata, Type<Metadata>(metadata(std::move(name_check))), "");
  return object;
}

template <class T>
Kind kind_of(std::string api_version, const ObjectType<T>& object,
             std::function<void(T&&, Draft&)> store) {
  const Type<T> type = object;
  Kind kind;
  kind.name = T::kKind;
  kind.api_version = std::move(api_version);
  kind.shape = type.shape;
  kind.read = [type, store](const YamlNode& node, Reader& reader, Draft& draft) {
    T value;
    type.read(node, reader, value);
    if (reader.errors() > 0) return;
    value.metadata.file = reader.file();
    store(std::move(value), draft);
  };
  return kind;
}

template <class T, class Spec>
Kind make_kind(std::string api_version, TextCheck name_check, const Type<Spec>& spec, SpecNeed need,
               std::function<void(T&&, Draft&)> store, const std::vector<std::string>& older = {}) {
  ObjectType<T> object = object_head<T>(api_version, std::move(name_check), older);
  if (need == SpecNeed::kRequired)
    object.required("spec", &T::spec, spec, "");
  else
    object.optional("spec", &T::spec, spec, "");
  object.not_yet({"status"}, "is written by Kubernetes and not read here; remove it");
  return kind_of<T>(std::move(api_version), object, std::move(store));
}

}  // namespace glia
