// AuthorizationPolicy: who may call the workloads that it selects.
#include "control_plane/objects/kind.h"

namespace glia {

Kind authorization_policy_kind() {
  using Policy = AuthorizationPolicy;
  constexpr std::size_t kMaxRules = 64, kMaxValues = 128;

  ObjectType<Policy::From> from("callers");
  from.required("identities", &Policy::From::identities,
                list(text("an identity", "", check_identity), 1, kMaxValues),
                "`NAME` (same namespace), `NAMESPACE/NAME`, a whole `spiffe://` id, or `\"*\"` for "
                "any caller with a certificate of this mesh.");

  ObjectType<Policy::To> to("requests; all given fields must match");
  to.optional("methods", &Policy::To::methods,
              list(one_of({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE",
                           "PATCH"}),
                   0, kMaxValues),
              "gRPC calls are POST.", "any")
      .optional("paths", &Policy::To::paths,
                list(text("a path, or a prefix with a final *", "^(/.*|\\*)$", check_path_pattern),
                     0, kMaxValues),
                "Without query. A gRPC method is `/package.Service/Method`.", "any")
      .optional("ports", &Policy::To::ports,
                list(text("name of a Workload port", "", check_port_name), 0, kMaxValues),
                "Names of ports of the selected workloads.", "any");

  ObjectType<Policy::Rule> rule("a rule");
  rule.optional("from", &Policy::Rule::from, list(Type<Policy::From>(from), 0, kMaxValues),
                "One of them must match; without, any caller.")
      .optional("to", &Policy::Rule::to, list(Type<Policy::To>(to), 0, kMaxValues),
                "One of them must match; without, any request.");

  ObjectType<Policy::Spec> spec("spec of an AuthorizationPolicy");
  spec.optional("selector", &Policy::Spec::selector, labels(),
                "Workloads of the same namespace that have all of these labels; without, every "
                "workload of the namespace.")
      .optional("action", &Policy::Spec::action,
                enumeration<Policy::Action>(
                    {{"Allow", Policy::Action::kAllow}, {"Deny", Policy::Action::kDeny}},
                    {"Audit", "Custom"}),
                "", "Allow")
      .optional("rules", &Policy::Spec::rules, list(Type<Policy::Rule>(rule), 0, kMaxRules),
                "A request matches the policy if it matches one of them; without, none does.");

  Kind kind = make_kind<Policy, Policy::Spec>(
      "glia.dev/v1", check_subdomain_name, spec, SpecNeed::kRequired,
      [](Policy&& policy, Draft& draft) { draft.objects.policies.push_back(std::move(policy)); });
  kind.documentation =
      "Who may call the workloads that it selects. Policies with `action: Deny` are looked at "
      "first: "
      "what one of them matches is refused. A workload that a policy with `action: Allow` selects "
      "refuses what none of them matches. Refusals are 403 and name the policy.";
  kind.example = R"(apiVersion: glia.dev/v1
kind: AuthorizationPolicy
metadata: {name: classify-callers}
spec:
  selector: {app: classify}
  action: Allow
  rules:
  - from: [{identities: [front]}]
    to: [{methods: [POST], paths: [/v2/*], ports: [rest]}]
)";
  return kind;
}

}  // namespace glia
