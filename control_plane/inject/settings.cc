#include "control_plane/inject/settings.h"

#include <cctype>
#include <optional>
#include <vector>

#include "proxy/base/text.h"

namespace glia {
namespace {

// A rule on a value: nothing if it holds, else what it should be.
using Rule = const char* (*)(std::string_view);

bool only(std::string_view text, std::string_view allowed) {
  return text.find_first_not_of(allowed) == text.npos;
}

// As the API server reads quantities, without the rarest forms.
const char* quantity(std::string_view text) {
  const std::size_t digits = std::min(text.size(), text.find_first_not_of("0123456789."));
  constexpr std::string_view kUnits[] = {"",  "m",  "k",  "M",  "G",  "T",
                                         "P", "Ki", "Mi", "Gi", "Ti", "Pi"};
  bool known = false;
  for (const std::string_view unit : kUnits) known = known || text.substr(digits) == unit;
  const bool number = digits > 0 && digits <= 18 && text[0] != '.' && text[digits - 1] != '.' &&
                      text.substr(0, digits).find('.') == text.substr(0, digits).rfind('.');
  return known && number ? nullptr : "a quantity such as 100m, 2, 128Mi or 1Gi";
}
const char* image(std::string_view text) {
  const bool good = !text.empty() && text.size() <= 512 &&
                    std::isalnum(static_cast<unsigned char>(text[0])) != 0 &&
                    only(text,
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                         "._-/:@+");
  return good ? nullptr : "the name of an image, without spaces";
}
const char* log_level(std::string_view text) {
  for (const std::string_view level : {"trace", "debug", "info", "warning", "error", "off"}) {
    if (text == level) return nullptr;
  }
  return "trace, debug, info, warning, error or off";
}
const char* small_number(std::string_view text) {
  const auto number = parse_decimal(text);
  return number && *number >= 1 && *number <= 1024 ? nullptr : "a number from 1 to 1024";
}
const char* seconds(std::string_view text) {
  const auto number = parse_decimal(text);
  return number && *number <= 86'400 ? nullptr : "a number of seconds, at most 86400";
}
const char* flag(std::string_view text) {
  return text == "true" || text == "false" ? nullptr : "true or false";
}
const char* capture(std::string_view text) {
  return text == "init" || text == "cni" || text == "none" ? nullptr : "init, cni or none";
}
const char* ports(std::string_view text) {
  constexpr const char* kWant = "ports and ranges such as 80,9000-9010";
  if (text.size() > 4096 || !only(text, "0123456789,- ")) return kWant;
  while (!text.empty()) {
    const std::string_view one = trim(text.substr(0, text.find(',')));
    const std::size_t dash = one.find('-');
    const auto first = parse_decimal(one.substr(0, dash));
    const auto last = dash == one.npos ? first : parse_decimal(one.substr(dash + 1));
    if (!first || !last || *first < 1 || *last < *first || *last > 65535) return kWant;
    text.remove_prefix(std::min(text.size(), text.find(',')));
    if (text == ",") return kWant;
    if (!text.empty()) text.remove_prefix(1);
  }
  return nullptr;
}
const char* networks(std::string_view text) {
  const bool good = text.size() <= 16'384 && only(text, "0123456789abcdefABCDEF.:/, ");
  return good ? nullptr : "networks such as 10.0.0.0/8,fd00::/8";
}
const char* interfaces(std::string_view text) {
  const bool good =
      text.size() <= 1024 &&
      only(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-, @");
  return good ? nullptr : "names of interfaces such as docker0,veth1";
}

struct Annotation {
  const char* name;                // Ours, behind "glia.dev/".
  std::vector<const char*> twins;  // That mean the same.
  Rule rule;
  std::string InjectSettings::* into = nullptr;  // Null: read below.
  const char* capture_flag = nullptr;
  bool star_is_all = false;  // "*" of a twin means what no flag means.
};

const std::vector<Annotation>& annotations() {
  static const std::vector<Annotation> kAll = {
      {"image", {}, image, &InjectSettings::image},
      {"log-level",
       {"sidecar.istio.io/logLevel", "config.linkerd.io/proxy-log-level"},
       log_level,
       &InjectSettings::log_level},
      {"concurrency", {}, small_number, &InjectSettings::concurrency},
      {"drain-time-s", {}, seconds, &InjectSettings::drain_seconds},
      {"cpu",
       {"sidecar.istio.io/proxyCPU", "config.linkerd.io/proxy-cpu-request"},
       quantity,
       &InjectSettings::cpu},
      {"memory",
       {"sidecar.istio.io/proxyMemory", "config.linkerd.io/proxy-memory-request"},
       quantity,
       &InjectSettings::memory},
      {"cpu-limit",
       {"sidecar.istio.io/proxyCPULimit", "config.linkerd.io/proxy-cpu-limit"},
       quantity,
       &InjectSettings::cpu_limit},
      {"memory-limit",
       {"sidecar.istio.io/proxyMemoryLimit", "config.linkerd.io/proxy-memory-limit"},
       quantity,
       &InjectSettings::memory_limit},
      {"native-sidecar",
       {"sidecar.istio.io/nativeSidecar", "config.linkerd.io/proxy-enable-native-sidecar",
        "config.alpha.linkerd.io/proxy-enable-native-sidecar"},
       flag},
      {"capture", {}, capture},
      {"rewrite-probes", {"sidecar.istio.io/rewriteAppHTTPProbers"}, flag},
      {"include-inbound-ports",
       {"traffic.sidecar.istio.io/includeInboundPorts"},
       ports,
       nullptr,
       "--include-inbound-ports",
       true},
      {"exclude-inbound-ports",
       {"traffic.sidecar.istio.io/excludeInboundPorts", "config.linkerd.io/skip-inbound-ports"},
       ports,
       nullptr,
       "--exclude-inbound-ports"},
      {"include-outbound-ports",
       {"traffic.sidecar.istio.io/includeOutboundPorts"},
       ports,
       nullptr,
       "--include-outbound-ports",
       true},
      {"exclude-outbound-ports",
       {"traffic.sidecar.istio.io/excludeOutboundPorts", "config.linkerd.io/skip-outbound-ports"},
       ports,
       nullptr,
       "--exclude-outbound-ports"},
      {"include-outbound-networks",
       {"traffic.sidecar.istio.io/includeOutboundIPRanges"},
       networks,
       nullptr,
       "--include-outbound-networks",
       true},
      {"exclude-outbound-networks",
       {"traffic.sidecar.istio.io/excludeOutboundIPRanges", "config.linkerd.io/skip-subnets"},
       networks,
       nullptr,
       "--exclude-outbound-networks"},
      {"exclude-interfaces",
       {"traffic.sidecar.istio.io/excludeInterfaces"},
       interfaces,
       nullptr,
       "--exclude-interfaces"},
  };
  return kAll;
}

// Not settings: who is injected, and what was.
constexpr std::string_view kOthers[] = {"glia.dev/inject", "glia.dev/injected", "glia.dev/probes"};

std::string without_spaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ') out += c;
  }
  return out;
}

Error wrong(std::string_view name, std::string_view value, std::string_view want) {
  std::string shown;
  append_json_escaped(shown, value.substr(0, 60));
  return invalid(cat("the annotation ", name, " is \"", shown, value.size() > 60 ? "..." : "",
                     "\", not ", want));
}

void take(const Annotation& annotation, const std::string& value, InjectSettings& settings) {
  if (annotation.into != nullptr) {
    settings.*annotation.into = value;
  } else if (annotation.capture_flag != nullptr) {
    settings.capture_flags[annotation.capture_flag] = without_spaces(value);
  } else if (std::string_view(annotation.name) == "capture") {
    using enum InjectSettings::Capture;
    settings.capture = value == "cni" ? kCni : value == "none" ? kNone : kInit;
  } else if (std::string_view(annotation.name) == "rewrite-probes") {
    settings.rewrite_probes = value == "true";
  } else {
    settings.native = value == "true";
  }
}

Result<void> refuse_unknown(const Json& written) {
  for (const auto& [key, value] : written.items()) {
    if (!key.starts_with("glia.dev/")) continue;
    bool known = false;
    std::vector<std::string_view> names;
    for (const Annotation& annotation : annotations()) {
      known = known || key.substr(9) == annotation.name;
      names.emplace_back(annotation.name);
    }
    for (const std::string_view other : kOthers) known = known || key == other;
    if (known) continue;
    const auto meant = closest_of(std::string_view(key).substr(9), names);
    std::string shown;
    append_json_escaped(shown, std::string_view(key).substr(0, 60));
    return invalid(cat("the annotation ", shown, " is not known",
                       meant ? cat("; did you mean glia.dev/", *meant, "?") : std::string()));
  }
  return {};
}

}  // namespace

Result<InjectSettings> settings_of(InjectSettings settings, const Json& pod) {
  const Json& written = object_at(object_at(pod, "metadata"), "annotations");
  TRY_VOID(refuse_unknown(written));
  if (text_at(written, "sidecar.istio.io/interceptionMode") == "TPROXY") {
    return wrong("sidecar.istio.io/interceptionMode", "TPROXY",
                 "REDIRECT: an injected sidecar is not root, which TPROXY takes");
  }
  for (const Annotation& annotation : annotations()) {
    const std::string own = cat("glia.dev/", annotation.name);
    const std::string value = text_at(written, own.c_str());
    if (!value.empty()) {
      if (const char* want = annotation.rule(value)) return wrong(own, value, want);
      take(annotation, value, settings);
      continue;
    }
    for (const char* const twin : annotation.twins) {
      const std::string theirs = text_at(written, twin);
      if (theirs.empty() || (annotation.star_is_all && theirs == "*")) continue;
      // A twin with a form of its own (Linkerd's "warn,linkerd=info") does not mean the same.
      if (annotation.rule(theirs) != nullptr) continue;
      take(annotation, theirs, settings);
      break;
    }
  }
  return settings;
}

}  // namespace glia
