// WebhookBundle: keeps the authority that has signed the webhook's certificate in the cluster's configuration of it
// (caBundle of MutatingWebhookConfiguration), whoever applies that and whatever he puts there. Belongs to one loop.
#pragma once

#include <memory>
#include <string>

#include "control_plane/kubernetes/api_questions.h"
#include "control_plane/kubernetes/resource_watch.h"

namespace glia {

class WebhookBundle final : private ResourceWatch::Owner {
 public:
  static constexpr char kName[] = "glia-inject";
  // After each write: one that failed is tried again, and two who differ do not fight without a pause.
  static constexpr Duration kPause = 10s;

  // `server` outlives it. `authority`: PEM.
  WebhookBundle(ApiServer& server, const std::string& authority, uint64_t seed);

  // The JSON patch that puts `bundle` (base64) where it is not; "" if it is everywhere.
  static std::string patch_of(const Json& configuration, const std::string& bundle);

 private:
  void on_object(const Resource& resource, const Json& object) override;
  void on_gone(const Resource&, const std::string&, const std::string&) override { due_.clear(); }
  void write();

  std::string bundle_;
  std::string due_;  // The patch that the newest version of it needs; "": none.
  std::string trouble_;
  ApiQuestions questions_;
  CallbackTimer pause_;
  std::unique_ptr<ResourceWatch> watch_;
};

}  // namespace glia
