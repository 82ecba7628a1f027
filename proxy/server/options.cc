#include "proxy/server/options.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>

#include "proxy/base/text.h"
#include "proxy/base/version.h"
#include "proxy/server/cpus.h"

namespace glia {
namespace {

constexpr uint64_t kMostWorkers = 256;
constexpr uint64_t kMostSeconds = 86400;

// Flags as they were written, before they are understood.
struct Written {
  std::string mode = "serve", concurrency, drain_time = "30", log_level = "info";
  bool version = false;
  std::vector<std::string> ignored = {};  // Of kIgnored, those that were given.
};

// Envoy's flags that have nothing to do here, and why.
struct IgnoredFlag {
  const char* names;
  bool has_value;
  std::string_view why;
};
constexpr std::string_view kNoHotRestart =
    "Glia starts a new process beside the old one (SO_REUSEPORT)";
constexpr std::string_view kStderr = "logs go to standard error, one line each";
constexpr std::string_view kStrict = "an unknown field is always an error";
constexpr IgnoredFlag kIgnored[] = {
    {"--restart-epoch", true, kNoHotRestart},
    {"--hot-restart-version", false, kNoHotRestart},
    {"--disable-hot-restart", false, kNoHotRestart},
    {"--skip-hot-restart-on-no-parent", false, kNoHotRestart},
    {"--skip-hot-restart-parent-stats", false, kNoHotRestart},
    {"--parent-shutdown-time-s", true, kNoHotRestart},
    {"--base-id", true, kNoHotRestart},
    {"--base-id-path", true, kNoHotRestart},
    {"--use-dynamic-base-id", false, kNoHotRestart},
    {"--socket-path", true, kNoHotRestart},
    {"--socket-mode", true, kNoHotRestart},
    {"--drain-strategy", true, "connections are drained at once"},
    {"--local-address-ip-version", true, "listeners say which addresses they use"},
    {"--log-path", true, kStderr},
    {"--log-format", true, kStderr},
    {"--log-format-escaped", false, kStderr},
    {"--component-log-level", true, "all parts have one level, --log-level"},
    {"--enable-fine-grain-logging", false, "all parts have one level, --log-level"},
    {"--file-flush-interval-msec", true, "access logs are written every 200 ms"},
    {"--file-flush-min-size-kb", true, "access logs are written at 64 KiB"},
    {"--cpuset-threads", false, "the default of --concurrency follows the CPU set anyway"},
    {"--disable-extensions", true, "there are no extensions to load"},
    {"--enable-mutex-tracing", false, "workers share no locks"},
    {"--reject-unknown-dynamic-fields", false, kStrict},
    {"--ignore-unknown-dynamic-fields", false, kStrict},
    {"--allow-unknown-static-fields", false, kStrict},
    {"--allow-unknown-fields", false, kStrict},
    {"--service-zone", true, "the bootstrap's node.locality says it"},
};

// What CLI11 knows of a flag; its texts are read by --help.
void declare(CLI::App& app, Options& options, Written& written) {
  const auto add = [&](const char* group, const char* names, std::string& value, const char* help) {
    app.add_option(names, value, help)->group(group)->type_name("");
  };
  add("Configuration from an Envoy v3 bootstrap", "-c,--config-path", options.config_path,
      "FILE, YAML or JSON");
  add("Configuration from an Envoy v3 bootstrap", "--config-yaml", options.config_yaml,
      "TEXT of the bootstrap, instead of a file");
  add("Configuration from an Envoy v3 bootstrap", "--service-node", options.service_node,
      "ID, overrides node.id");
  add("Configuration from an Envoy v3 bootstrap", "--service-cluster", options.service_cluster,
      "NAME, overrides node.cluster");
  add("Configuration from a mesh", "--control", options.control,
      "HOST:PORT of the control plane; needs --workload");
  add("Configuration from a mesh", "--workload", options.workload,
      "NAMESPACE/NAME of this workload");
  add("Configuration from a mesh", "--token-file", options.token_file,
      "FILE with the one-time token for --control, or with that of a pod's service account");
  app.add_option("--trust-bundle", options.trust_bundle,
                 "PEM of the mesh's authority, for a --token-file that is only a token")
      ->envname("GLIA_TRUST_BUNDLE")
      ->group("Configuration from a mesh");
  add("Configuration from a mesh", "--join", options.join_file,
      "FILE with control plane, workload and token in one");
  add("Configuration from a mesh", "--state-dir", options.state_dir,
      "DIR to keep key, certificate and what the control plane has sent in, so that a restart "
      "needs no new token and no control plane; also with -c");
  add("Configuration from a mesh", "--mesh", options.mesh,
      "FILE or DIR of mesh objects: standalone, no control plane; needs --workload");
  add("Configuration from a mesh", "--ca-dir", options.ca_dir,
      "DIR of the mesh's authority, for --mesh; without it traffic is in clear text");
  app.add_flag("--capture", options.capture,
               "with --mesh: listen for what `glia capture install` sends here, as spec.capture of "
               "the Workload says or by default")
      ->group("Configuration from a mesh");
  add("Process", "--mode", written.mode,
      "serve (default) or validate: check, say what is wrong, end");
  app.add_flag("--print", options.print,
               "with --mode validate: print the configuration as understood")
      ->group("Process");
  add("Process", "--concurrency", written.concurrency,
      "N worker threads; default: the processors that this process may use");
  add("Process", "--drain-time-s", written.drain_time,
      "SECONDS that requests may take to end after SIGTERM (default 30)");
  add("Process", "-l,--log-level", written.log_level,
      "trace, debug, info (default), warning, error or off");
  add("Process", "--admin-address", options.admin_address,
      "HOST:PORT of the admin pages, instead of the bootstrap's");
  add("Process", "--admin-address-path", options.admin_address_path,
      "FILE to write the address of the admin listener to");
  app.add_option(
         "--app-probe", options.app_probes,
         "NAME=http://:PORT/PATH or NAME=tcp://:PORT: asked at /app-probe/NAME, and passed on "
         "to the application on loopback; may be repeated")
      ->group("Process")
      ->type_name("");
  add("Process", "--app-probes-address", options.app_probes_address,
      "HOST:PORT where that can be asked (default: port 15020 of all addresses)");
  app.add_flag("--enable-core-dump", options.core_dumps,
               "a core dump may be written, and debuggers of the same user may look; it holds the "
               "private key")
      ->group("Process");
  app.add_flag("--version", written.version, "print the version")->group("Process");
  for (const IgnoredFlag& flag : kIgnored) {
    const auto note = [&written, name = flag.names] { written.ignored.emplace_back(name); };
    if (flag.has_value) {
      const auto note_value = [note](const std::string&) { note(); };
      app.add_option_function<std::string>(flag.names, note_value)->group("");
    } else {
      app.add_flag_callback(flag.names, note)->group("");
    }
  }
}

Error bad_value(std::string_view flag, std::string_view value, std::string_view fix) {
  return invalid(cat(flag, " ", value, ": ", fix));
}

// CLI11 says "--mode: At Most 1 required but received 2" or "--mode: 1 required  missing".
Error misuse_of_flag(const CLI::ParseError& error) {
  const std::string_view what = error.what();
  const std::string_view flag = what.substr(0, what.find(':'));
  if (what.find("but received") != what.npos) {
    return invalid(cat(flag, " is given more than once; give it once"));
  }
  if (what.find("missing") != what.npos) {
    return invalid(cat(flag, " is given without a value; write ", flag, " VALUE"));
  }
  return invalid(cat(what, "; glia-proxy --help shows how each flag is written"));
}

// What is left over was no flag of ours.
Error unknown_argument(const std::string& argument, const CLI::App& app) {
  if (!argument.starts_with('-')) {
    return invalid(cat("argument \"", argument,
                       "\" belongs to no flag; a configuration file is given "
                       "with -c FILE"));
  }
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  const std::string flag = argument.substr(0, argument.find('='));
  const auto meant = closest_of(flag, names);
  return invalid(
      cat("unknown flag ", flag, "; ",
          meant ? cat("did you mean ", *meant, "?") : "glia-proxy --help lists the flags"));
}

Result<void> read_process(const Written& written, Options& options) {
  if (written.mode == "validate") {
    options.mode = Options::Mode::kValidate;
  } else if (written.mode != "serve") {
    return bad_value("--mode", written.mode, "not a mode; use serve or validate");
  }
  if (options.print && options.mode != Options::Mode::kValidate) {
    return invalid("--print shows a configuration that was only checked; add --mode validate");
  }
  const auto workers = parse_decimal(written.concurrency);
  if (!written.concurrency.empty() && (!workers || *workers < 1 || *workers > kMostWorkers)) {
    return bad_value("--concurrency", written.concurrency,
                     cat("not a number of workers; use 1 to ", kMostWorkers));
  }
  options.concurrency = workers ? static_cast<uint32_t>(*workers) : usable_cpus();
  const auto seconds = parse_decimal(written.drain_time);
  if (!seconds || *seconds > kMostSeconds) {
    return bad_value("--drain-time-s", written.drain_time,
                     cat("not a number of seconds; use 0 to ", kMostSeconds));
  }
  options.drain_time = std::chrono::seconds(*seconds);
  const auto parsed = parse_log_level(written.log_level);
  if (!parsed) {
    return bad_value("--log-level", written.log_level,
                     "not a level; use trace, debug, info, warning, error or off");
  }
  options.log_level = *parsed;
  return {};
}

struct Given {
  std::string_view flag;
  Options::Source source;
};

// Exactly one flag says where the configuration comes from.
Result<Options::Source> read_source(const Options& options) {
  using enum Options::Source;
  std::vector<Given> given;
  if (!options.config_path.empty()) given.push_back({"-c", kBootstrap});
  if (!options.config_yaml.empty()) given.push_back({"--config-yaml", kBootstrap});
  if (!options.control.empty()) given.push_back({"--control", kControl});
  if (!options.join_file.empty()) given.push_back({"--join", kJoin});
  if (!options.mesh.empty()) given.push_back({"--mesh", kMesh});
  if (given.empty()) {
    return invalid(
        "no configuration; give -c FILE (an Envoy bootstrap), --mesh FILE --workload NAME "
        "(standalone), or --join FILE (a mesh's control plane)");
  }
  if (given.size() > 1) {
    return invalid(cat(given[0].flag, " and ", given[1].flag,
                       " are two sources of configuration; "
                       "give one of them"));
  }
  return given[0].source;
}

// A flag that the source of the configuration has no use for is a misunderstanding.
Result<void> check_flags_of_source(const Options& options) {
  using enum Options::Source;
  const struct {
    std::string_view flag;
    const std::string& value;
    std::vector<Options::Source> sources;
    std::string_view goes_with;
  } flags[] = {
      {"--workload", options.workload, {kControl, kMesh}, "--control or --mesh"},
      {"--token-file", options.token_file, {kControl}, "--control"},
      {"--state-dir",
       options.state_dir,
       {kBootstrap, kControl, kJoin},
       "-c, --config-yaml, --control or --join"},
      {"--ca-dir", options.ca_dir, {kMesh}, "--mesh"},
      {"--service-node", options.service_node, {kBootstrap}, "-c or --config-yaml"},
      {"--service-cluster", options.service_cluster, {kBootstrap}, "-c or --config-yaml"},
  };
  for (const auto& flag : flags) {
    if (flag.value.empty() || std::ranges::count(flag.sources, options.source) > 0) continue;
    return bad_value(flag.flag, flag.value,
                     cat("has a meaning only with ", flag.goes_with, "; leave it out"));
  }
  return {};
}

Result<void> check_host_and_port(std::string_view flag, std::string_view value) {
  const std::size_t colon = value.rfind(':');
  const bool split = colon != value.npos && colon > 0;
  const auto port = split ? parse_decimal(value.substr(colon + 1)) : std::nullopt;
  if (port && *port >= 1 && *port <= 65535) return {};
  return bad_value(flag, value, "not HOST:PORT, as in 127.0.0.1:15012");
}

Result<void> read_mesh_flags(Options& options) {
  using enum Options::Source;
  TRY_VOID(check_flags_of_source(options));
  if (options.capture && options.source != kMesh) {
    return invalid(
        "--capture has a meaning only with --mesh; with a control plane, spec.capture of the "
        "Workload "
        "says it");
  }
  if (options.source != kControl && options.source != kMesh) return {};
  if (options.source == kControl) TRY_VOID(check_host_and_port("--control", options.control));
  if (options.workload.empty()) {
    return invalid(
        cat(options.source == kMesh ? "--mesh" : "--control",
            " needs --workload NAMESPACE/NAME, the workload that this proxy stands beside"));
  }
  const auto slashes = std::ranges::count(options.workload, '/');
  if (slashes > 1 || options.workload.starts_with('/') || options.workload.ends_with('/')) {
    return bad_value("--workload", options.workload,
                     "not NAME or NAMESPACE/NAME, as in default/front");
  }
  if (slashes == 0) options.workload.insert(0, "default/");
  if (options.source == kControl && options.token_file.empty() && options.state_dir.empty()) {
    return invalid(
        "--control needs --token-file FILE to prove who this is, or --state-dir DIR with the "
        "identity of an earlier run");
  }
  return {};
}

void warn_of_ignored(const Written& written, Options& options) {
  for (const IgnoredFlag& flag : kIgnored) {
    if (std::ranges::count(written.ignored, flag.names) == 0) continue;
    options.warnings.push_back(
        cat(flag.names, " is taken for Envoy's sake and does nothing: ", flag.why));
  }
}

}  // namespace

Result<Options> parse_options(std::span<const char* const> arguments) {
  Options options;
  Written written;
  CLI::App app("glia-proxy: the sidecar of the Glia service mesh", "glia-proxy");
  declare(app, options, written);
  app.allow_extras();
  // CLI11 takes arguments from the back.
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    options.only_say = app.help();
    return options;
  } catch (const CLI::ParseError& error) {
    return misuse_of_flag(error);
  }
  if (written.version) {
    options.only_say = cat("glia-proxy ", kGliaVersion, "\n");
    return options;
  }
  if (!app.remaining().empty()) return unknown_argument(app.remaining().front(), app);
  TRY_VOID(read_process(written, options));
  TRY(options.source, read_source(options));
  TRY_VOID(read_mesh_flags(options));
  warn_of_ignored(written, options);
  return options;
}

}  // namespace glia
