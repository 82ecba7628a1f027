#include "control_plane/kubernetes/webhook_bundle.h"

#include <utility>

#include "proxy/base/base64.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {

WebhookBundle::WebhookBundle(ApiServer& server, const std::string& authority, uint64_t seed)
    : questions_(server), pause_(server.loop(), [this] { write(); }) {
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

void WebhookBundle::on_object(const Resource&, const Json& object) {
  due_ = patch_of(object, bundle_);
  write();
}

void WebhookBundle::write() {
  if (due_.empty() || pause_.running()) return;
  pause_.start(kPause);
  questions_.ask({.method = "PATCH",
                  .path = watch_->resource().path_of("", kName),
                  .body = due_,
                  .content_type = "application/json-patch+json"},
                 [this](const Result<ApiAnswer>& said) {
                   if (said && said->status == 200) {
                     LOG(info, "put our authority into MutatingWebhookConfiguration ", kName);
                     trouble_.clear();
                     return;
                   }
                   const std::string why = said ? refusal_of(*said) : said.error().message();
                   if (why == std::exchange(trouble_, why)) return;
                   LOG(error, "cannot put our authority into MutatingWebhookConfiguration ", kName,
                       ", so pods may be refused: ", why,
                       "; the service account needs the verb patch on it; trying again each ",
                       kPause / 1s, " s");
                 });
}

}  // namespace glia
