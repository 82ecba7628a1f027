#include "control_plane/kubernetes/webhook_bundle.h"

#include "proxy/base/base64.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {

WebhookBundle::WebhookBundle(ApiServer& server, const std::string& authority, uint64_t seed)
    : questions_(server) {
  append_base64(bundle_, authority);
  ResourceWatch::Owner& self = *this;
  // By name, so that a role can name it.
  watch_ = std::make_unique<ResourceWatch>(
      server,
      Resource{"admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations",
               "MutatingWebhookConfiguration", cat("fieldSelector=metadata.name%3D", kName)},
      seed, self);
  watch_->start();
}

std::string WebhookBundle::patch_of(const Json& configuration, const std::string& bundle) {
  Json patch = Json::array();
  const Json& webhooks = list_at(configuration, "webhooks");
  for (std::size_t i = 0; i < webhooks.size(); ++i) {
    const Json& client = object_at(webhooks[i], "clientConfig");
    if (text_at(client, "caBundle") == bundle) continue;
    const std::string at = cat("/webhooks/", i);
    // Of the webhook that we have seen there, not of one that stands there since.
    patch.push_back(
        {{"op", "test"}, {"path", at + "/name"}, {"value", text_at(webhooks[i], "name")}});
    patch.push_back({{"op", "add"}, {"path", at + "/clientConfig/caBundle"}, {"value", bundle}});
  }
  return patch.empty() ? "" : patch.dump();
}

void WebhookBundle::on_object(const Resource& resource, const Json& object) {
  const std::string patch = patch_of(object, bundle_);
  if (patch.empty()) return;
  questions_.ask(
      {.method = "PATCH",
       .path = cat(resource.path(), "/", kName),
       .body = patch,
       .content_type = "application/json-patch+json"},
      [](const Result<ApiAnswer>& said) {
        if (said && said->status == 200) {
          LOG(info, "put our authority into MutatingWebhookConfiguration ", kName);
        } else {
          // The next version of it, or the next list, is another chance.
          LOG(error, "cannot put our authority into MutatingWebhookConfiguration ", kName,
              ", so pods may be refused: ", said ? refusal_of(*said) : said.error().message(),
              "; the service account needs the verb patch on it");
        }
      });
}

}  // namespace glia
