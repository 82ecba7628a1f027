#include <google/protobuf/util/json_util.h>

#include <cstdio>
#include <string>

#include "cli/commands.h"
#include "cli/control_client.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

std::string short_type(std::string_view type_url) {
  return std::string(type_url.substr(type_url.rfind('.') + 1));
}

// One word for a sidecar's state, and in `why` what it refused.
std::string state_of(const v1::Proxy& proxy, std::string& why) {
  bool waiting = proxy.types().empty();
  for (const v1::ResourceType& type : proxy.types()) {
    if (!type.nack_error().empty()) {
      why += cat("    refused ", short_type(type.type_url()), " ", type.sent_version(), ": ",
                 type.nack_error(), "\n");
    }
    waiting = waiting || type.sent_version() != type.acked_version();
  }
  if (!why.empty()) return "refused";
  if (proxy.connected_unix_s() == 0) return "away";
  return waiting ? "waiting" : "ok";
}

// The Gateway API's conditions, a line each; what does not hold says why.
void print_routes(const v1::Status& status) {
  if (status.routes().empty()) return;
  std::printf("\n%-40s %-28s %s\n", "ROUTE", "PARENT", "CONDITIONS");
  for (const v1::Route& route : status.routes()) {
    std::string words, why;
    for (const v1::Condition& condition : route.conditions()) {
      words += cat(words.empty() ? "" : ", ", condition.holds() ? "" : "not ", condition.type(),
                   condition.holds() ? "" : cat(" (", condition.reason(), ")"));
      if (!condition.holds()) why += cat("    ", condition.message(), "\n");
    }
    std::printf("%-40s %-28s %s\n%s", cat(route.kind(), " ", route.name()).c_str(),
                route.parent().c_str(), words.c_str(), why.c_str());
  }
}

void print_text(const v1::Status& status) {
  std::printf("mesh %s, trust domain %s, glia-control %s\n", status.mesh().c_str(),
              status.trust_domain().c_str(), status.version().c_str());
  std::string counts;
  for (const v1::ObjectCount& count : status.objects()) {
    if (count.count() == 0) continue;
    counts += cat(counts.empty() ? "" : ", ", count.count(), " ", count.kind());
  }
  std::printf("configuration %s: %s\n", status.config_version().c_str(), counts.c_str());
  for (const std::string& error : status.config_errors()) {
    std::printf("NOT IN FORCE  %s\n", error.c_str());
  }
  print_routes(status);
  std::printf("\n%-28s %-9s %s\n", "SIDECAR", "STATE", "IDENTITY");
  for (const v1::Proxy& proxy : status.proxies()) {
    std::string why;
    const std::string state = state_of(proxy, why);
    if (!proxy.away().empty()) why += cat("    no endpoint: ", proxy.away(), "\n");
    std::printf("%-28s %-9s %s\n%s", proxy.workload().c_str(), state.c_str(),
                proxy.spiffe_id().c_str(), why.c_str());
  }
}

}  // namespace

int status_command(const std::string& state_directory, Output output) {
  const Result<v1::Status> status = ask_status(control_directory(state_directory));
  if (!status) {
    std::fprintf(stderr, "glia status: %s\n", status.error().message().c_str());
    return 1;
  }
  if (output == Output::kJson) {
    google::protobuf::util::JsonPrintOptions options;
    options.add_whitespace = true;
    options.always_print_primitive_fields = true;
    std::string json;
    (void)google::protobuf::util::MessageToJsonString(*status, &json, options);
    std::printf("%s\n", json.c_str());
    return 0;
  }
  print_text(*status);
  bool refused = status->config_errors_size() > 0;
  for (const v1::Proxy& proxy : status->proxies()) {
    std::string why;
    refused = refused || state_of(proxy, why) == "refused";
  }
  return refused ? 1 : 0;
}

int token_command(const std::string& state_directory, const std::string& workload,
                  int lifetime_seconds) {
  const auto token = ask_token(control_directory(state_directory), workload, lifetime_seconds);
  if (!token) {
    std::fprintf(stderr, "glia token: %s\n", token.error().message().c_str());
    return 1;
  }
  std::fputs(token->join_file().c_str(), stdout);
  return 0;
}

}  // namespace glia
