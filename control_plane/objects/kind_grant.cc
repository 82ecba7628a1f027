// ReferenceGrant: which namespaces may name Services and InferencePools of this one as backends (Gateway API).
#include "control_plane/objects/kind.h"
#include "control_plane/objects/route_filter.h"

namespace glia {

Kind reference_grant_kind() {
  using Grant = ReferenceGrant;
  constexpr std::size_t kMaxItems = 16;
  constexpr char kGroup[] = "gateway.networking.k8s.io";

  ObjectType<Grant::From> from("routes");
  from.required("group", &Grant::From::group, one_of({kGroup}), "")
      .required("kind", &Grant::From::kind,
                one_of({"HTTPRoute", "GRPCRoute"}, {"Gateway", "TCPRoute", "TLSRoute", "UDPRoute"}),
                "")
      .required("namespace", &Grant::From::ns, label_name("a name in lower case"),
                "Where the routes are.");
  ObjectType<Grant::To> to("Services or InferencePools");
  to.required("group", &Grant::To::group, backend_group(),
              "\"\", the group of Service, or that of InferencePool.")
      .required("kind", &Grant::To::kind,
                one_of({MeshService::kKind, InferencePool::kKind}, {"Secret", "ConfigMap"}), "")
      .optional("name", &Grant::To::name, backend_name(),
                "Without, every one of that kind in the namespace.", "any")
      .check([](Grant::To& value, const YamlNode&, Reader& reader) {
        check_backend_kind(value.group, value.kind, value.name, value.at, reader);
      });
  ObjectType<Grant::Spec> spec("spec of a ReferenceGrant");
  spec.required("from", &Grant::Spec::from, list(Type<Grant::From>(from), 1, kMaxItems),
                "Who may refer.")
      .required("to", &Grant::Spec::to, list(Type<Grant::To>(to), 1, kMaxItems), "To what.");

  Kind kind = make_kind<Grant, Grant::Spec>(
      "gateway.networking.k8s.io/v1", check_subdomain_name, spec, SpecNeed::kRequired,
      [](Grant&& grant, Draft& draft) { draft.objects.grants.push_back(std::move(grant)); },
      {"gateway.networking.k8s.io/v1beta1"});
  kind.documentation =
      "Allows routes of other namespaces to name Services of its own namespace as backends or "
      "mirrors, or its InferencePools as backends. A route that does so without one is refused. "
      "`apiVersion: "
      "gateway.networking.k8s.io/v1beta1` is read as well.";
  kind.example = R"(apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: from-shop, namespace: models}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}]
  to: [{group: "", kind: Service, name: classify}]
)";
  return kind;
}

}  // namespace glia
