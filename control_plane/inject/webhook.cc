#include "control_plane/inject/webhook.h"

#include <optional>

#include "proxy/base/base64.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::string_view kByNamespace = "/inject/namespace", kByPod = "/inject/pod";

// One entry for namespaces that ask, and one for pods that ask in namespaces that say nothing: no pod meets
// both. Those of which a cluster is made are never asked about: it must be able to start without us.
constexpr std::string_view kConfiguration =
    R"(# Tells the API server to ask glia-control about new pods: kubectl apply -f THIS
# failurePolicy Fail: no pod comes into the mesh without its sidecar (docs/inject.md).
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: glia-inject
webhooks:
- name: namespace.inject.glia.dev
  clientConfig:
    service: {name: NAME, namespace: NAMESPACE, path: /inject/namespace, port: 443}
    caBundle: BUNDLE
  rules:
  - {apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE], scope: Namespaced}
  namespaceSelector:
    matchExpressions:
    - {key: glia.dev/injection, operator: In, values: [enabled]}
    - {key: kubernetes.io/metadata.name, operator: NotIn, values: NEVER}
  objectSelector:
    matchExpressions:
    - {key: glia.dev/inject, operator: NotIn, values: ["false", disabled]}
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  timeoutSeconds: 5
- name: pod.inject.glia.dev
  clientConfig:
    service: {name: NAME, namespace: NAMESPACE, path: /inject/pod, port: 443}
    caBundle: BUNDLE
  rules:
  - {apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE], scope: Namespaced}
  namespaceSelector:
    matchExpressions:
    - {key: glia.dev/injection, operator: DoesNotExist}
    - {key: kubernetes.io/metadata.name, operator: NotIn, values: NEVER}
  objectSelector:
    matchExpressions:
    - {key: glia.dev/inject, operator: Exists}
    - {key: glia.dev/inject, operator: NotIn, values: ["false", disabled]}
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  timeoutSeconds: 5
)";

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; at += with.size()) {
    text.replace(at, what.size(), with);
  }
}

std::optional<AskedBy> asker_of(std::string_view path) {
  path = path.substr(0, path.find('?'));  // The API server adds its timeout.
  if (path == kByNamespace) return AskedBy::kNamespace;
  if (path == kByPod) return AskedBy::kPod;
  return {};
}

}  // namespace

std::string webhook_configuration(const std::string& authority, const std::string& service) {
  std::string text(kConfiguration), bundle;
  append_base64(bundle, authority);
  const std::size_t dot = service.find('.');
  const std::string_view rest =
      dot == service.npos ? "default" : std::string_view(service).substr(dot + 1);
  replace_all(text, "NAMESPACE", rest.substr(0, rest.find('.')));
  replace_all(text, "NAME", std::string_view(service).substr(0, dot));
  replace_all(text, "NEVER", "[kube-system, kube-public, kube-node-lease, glia-system]");
  replace_all(text, "BUNDLE", bundle);  // The last: nobody knows what letters are in it.
  return text;
}

InjectWebhook::InjectWebhook(EventLoop& loop, Network& network,
                             const CertificateAuthority& authority, InjectWebhookOptions options)
    : loop_(loop),
      authority_(authority),
      options_(std::move(options)),
      renewal_(loop, [this] { renew(); }),
      server_(loop, network, *this,
              {.idle_time = 120s, .wrap = [this](std::unique_ptr<Stream> stream) {
                 return tls_->wrap(loop_, std::move(stream), kHandshakeTime);
               }}) {}

Result<void> InjectWebhook::listen() {
  TRY_VOID(make_certificate());
  return server_.listen(options_.listen);
}

Result<void> InjectWebhook::make_certificate() {
  TRY(const Identity identity,
      issue(authority_, {.uri_san = cat("spiffe://", authority_.trust_domain(), "/glia-control"),
                         .dns_sans = {options_.service},
                         .now = loop_.clock().wall_now(),
                         .lifetime = kCertificateLifetime}));
  TlsOptions options;
  options.certificate_chain = identity.certificate;
  options.private_key = identity.private_key;
  options.alpn = {"h2", "http/1.1"};
  TRY(tls_, TlsContext::create(TlsContext::Side::kServer, options));
  renewal_.start(kCertificateLifetime / 2);
  return {};
}

void InjectWebhook::renew() {
  constexpr Duration kRetry = 1min;
  const Result<void> made = make_certificate();
  if (made) return;
  LOG(error, "cannot renew the certificate of the webhook: ", made.error().message());
  renewal_.start(kRetry);
}

Task<void> InjectWebhook::serve(ServerStream& stream) {
  CallbackTimer late(loop_, [&stream] { stream.abort(); });
  late.start(kLongestReviewTime);
  const Request& request = stream.request();
  const auto asked = asker_of(request.path);
  ReviewAnswer answer;
  if (!asked) {
    answer = {404, cat("pods are asked about at ", kByNamespace, " and ", kByPod, "\n")};
  } else if (request.method != "POST" || request.body == nullptr) {
    answer = {405, "an admission review comes by POST\n"};
  } else {
    const Result<std::string> body = co_await read_all(*request.body, kLargestReview);
    if (body) {
      answer = answer_review(*body, options_.settings, *asked);
    } else if (body.error().kind() == ErrorKind::kTooLarge) {
      answer = {413, cat("the admission review is larger than ", kLargestReview, " bytes\n")};
    } else {
      co_return stream.abort();
    }
  }
  if (answer.status != 200)
    LOG(warning, "webhook: answered ", answer.status, ": ", trim(answer.body, "\n"));
  const char* const type = answer.status == 200 ? "application/json" : "text/plain";
  co_await stream.respond(text_response(stream, answer.status, type, answer.body));
}

}  // namespace glia
