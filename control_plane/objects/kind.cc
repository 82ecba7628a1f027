#include "control_plane/objects/kind.h"

#include "control_plane/objects/kinds.h"

namespace glia {

Type<std::string> label_name(std::string what) {
  return text(std::move(what), "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", check_label_name);
}

Type<std::string> header_name() {
  return text("a header name", "^[A-Za-z0-9!#$%&'*+\\-.^_`|~]{1,256}$", check_header_name);
}

Type<uint16_t> port_number() { return integer<uint16_t>("a port", 1, kMaxPort); }

Type<TextMap> labels() { return text_map("labels", check_label_key, check_label_value); }

ObjectType<Metadata> metadata(TextCheck name_check) {
  ObjectType<Metadata> type("what every object has");
  type.required("name", &Metadata::name,
                text("a name in lower case", "^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
                     std::move(name_check)),
                "Unique among the objects of its kind in its namespace.")
      .optional("namespace", &Metadata::ns, label_name("a name in lower case"),
                "Names of other objects are looked for in the same namespace.", "default")
      .optional("labels", &Metadata::labels, labels(), "What selectors look at.")
      .optional("annotations", &Metadata::annotations,
                text_map("any text", check_label_key, nullptr), "Notes; not looked at.")
      .not_yet({"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields",
                "ownerReferences", "finalizers", "generateName", "selfLink", "deletionTimestamp"},
               "is written by Kubernetes and not read here; remove it");
  return type;
}

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      mesh_kind(),           workload_kind(),        service_kind(),
      http_route_kind(),     grpc_route_kind(),      inference_pool_kind(),
      traffic_policy_kind(), model_policy_kind(),    authorization_policy_kind(),
      endpoint_slice_kind(), reference_grant_kind(), canary_kind()};
  return all;
}

std::vector<std::string_view> kind_names() {
  std::vector<std::string_view> names;
  for (const Kind& kind : kinds()) names.push_back(kind.name);
  return names;
}

}  // namespace glia
