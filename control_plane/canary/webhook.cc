#include "control_plane/canary/webhook.h"

#include <utility>

#include "proxy/base/text.h"

namespace glia {
namespace {

Confirmation read(const Result<HttpSaid>& said) {
  using Answer = Confirmation::Answer;
  if (!said) return {Answer::kNone, said.error().message()};
  const Answer answer = said->status / 100 == 2 ? Answer::kYes
                        : said->status == 403   ? Answer::kNo
                                                : Answer::kNone;
  const std::string_view text = trim(said->body, " \r\n\t");
  std::string shown;
  append_json_escaped(shown, text.substr(0, Webhook::kShownOfAnswer));
  return {answer, cat("status ", said->status, shown.empty() ? "" : ": ", shown)};
}

}  // namespace

void Webhook::ask(const Canary::Confirm& whom, std::string body, Answered answered) {
  questions_.ask(
      {.host = whom.host,
       .port = whom.port,
       .path = whom.path,
       .content_type = "application/json",
       .body = std::move(body),
       .timeout = whom.timeout},
      [answered = std::move(answered)](const Result<HttpSaid>& said) { answered(read(said)); });
}

}  // namespace glia
