// EndpointSlice: endpoints of a Service that no labels select (discovery.k8s.io/v1).
#include "control_plane/objects/kind.h"

namespace glia {

namespace {

using Slice = EndpointSlice;

Type<Slice::Endpoint> endpoint() {
  constexpr std::size_t kMostAddresses = 100;
  ObjectType<Slice::Conditions> conditions("whether it is there");
  conditions.optional("ready", &Slice::Conditions::ready, boolean(), "Gets requests.", "true")
      .optional("serving", &Slice::Conditions::serving, boolean(), "Answers, ready or not.",
                "that of ready")
      .optional("terminating", &Slice::Conditions::terminating, boolean(),
                "Is about to end: what serves and is terminating gets requests only where nobody "
                "else is left.",
                "false");
  ObjectType<Slice::Endpoint> type("an endpoint");
  type.required("addresses", &Slice::Endpoint::addresses,
                list(text("an IP address", "", check_reachable_ip), 1, kMostAddresses),
                "The first is used; the others are the same endpoint.")
      .optional("conditions", &Slice::Endpoint::conditions, Type<Slice::Conditions>(conditions), "")
      .optional("zone", &Slice::Endpoint::zone, text("a zone"), "Where it is.")
      .fixed("hostname", FieldShape::Support::kOptional, text("a name"), "Not looked at.")
      .fixed("nodeName", FieldShape::Support::kOptional, text("a name"), "Not looked at.")
      .not_yet({"targetRef", "hints", "deprecatedTopology"});
  return type;
}

void check_slice(Slice& slice, const YamlNode&, Reader& reader) {
  const bool v6 = slice.address_type == Slice::AddressType::kIpv6;
  for (std::size_t i = 0; i < slice.endpoints.size(); ++i) {
    const std::string& address = slice.endpoints[i].addresses[0];
    if ((address.find(':') != address.npos) == v6) continue;
    reader.error_in(cat("endpoints[", i, "].addresses[0]"), slice.endpoints[i].at,
                    cat("is ", address, ", which is not ", v6 ? "IPv6" : "IPv4",
                        ", the addressType of the slice"));
  }
  if (!slice.metadata.labels.contains(Slice::kServiceLabel)) {
    reader.error_in("metadata.labels", slice.metadata.at,
                    cat("must have ", Slice::kServiceLabel,
                        ", the name of the Service that the endpoints are of"));
  }
}

}  // namespace

Kind endpoint_slice_kind() {
  constexpr char kVersion[] = "discovery.k8s.io/v1";
  constexpr std::size_t kMostEndpoints = 1000, kMostPorts = 100;
  ObjectType<Slice::Port> port("a port");
  port.optional("name", &Slice::Port::name, label_name("a name in lower case"),
                "That of a port of the Service; left out if that has none.")
      .required("port", &Slice::Port::port, port_number(), "Where the endpoints listen.")
      .fixed("protocol", FieldShape::Support::kOptional, one_of({"TCP"}, {"UDP", "SCTP"}),
             "Only TCP.")
      .fixed("appProtocol", FieldShape::Support::kOptional, text("a protocol"),
             "Not looked at: that of the Service counts.");
  ObjectType<Slice> object = object_head<Slice>(kVersion, check_subdomain_name);
  object
      .required(
          "addressType", &Slice::address_type,
          enumeration<Slice::AddressType>(
              {{"IPv4", Slice::AddressType::kIpv4}, {"IPv6", Slice::AddressType::kIpv6}}, {"FQDN"}),
          "")
      .required("endpoints", &Slice::endpoints, list(endpoint(), 0, kMostEndpoints), "")
      .required("ports", &Slice::ports, list(Type<Slice::Port>(port), 1, kMostPorts), "")
      .check(check_slice);
  Kind kind = kind_of<Slice>(kVersion, object, [](Slice&& slice, Draft& draft) {
    draft.objects.slices.push_back(std::move(slice));
  });
  kind.documentation =
      "Endpoints of a Service that has no `selector`: what is outside of the mesh, or is not found "
      "by labels. Its label `kubernetes.io/service-name` names the Service. The endpoints of a "
      "port "
      "are either all Workloads (by address and port; then mutual TLS protects them) or all "
      "others: these are called in clear text, with the protocol that `appProtocol` of the "
      "Service's port says, HTTP/1.1 unless it is `http2`, `grpc` or `kubernetes.io/h2c`.";
  kind.example = R"(apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: legacy-1
  labels: {kubernetes.io/service-name: legacy}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.0.0.7]}
- {addresses: [10.0.0.8], conditions: {ready: false, serving: true, terminating: true}}
)";
  return kind;
}

}  // namespace glia
