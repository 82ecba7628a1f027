// glia: the command that people type.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "cli/commands.h"
#include "cli/completion.h"
#include "proxy/base/log.h"
#include "proxy/base/version.h"

namespace glia {
namespace {

std::string default_state() {
  const char* chosen = std::getenv("GLIA_STATE");
  return chosen != nullptr && *chosen != '\0' ? chosen : ".glia/run";
}

struct Arguments {
  std::string state = default_state();
  std::string output = "text";
  std::vector<std::string> paths;
  std::string service, workload, from;
  int lifetime_seconds = 3600;
  std::string before, after, kind;
  std::string canary;
  bool watch = false;
  bool dry_run = false;
  int most = 20, version = 0;
  RunOptions run;
  ExplainOptions explain;
  WrittenCapture capture;
  VmPlan vm;
  std::string token;
  InjectOptions inject;
  InstallOptions install;
  NamesOptions names;

  Output format() const { return output == "json" ? Output::kJson : Output::kText; }
};

void add_output(CLI::App& command, Arguments& arguments) {
  command.add_option("-o,--output", arguments.output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

void add_state(CLI::App& command, Arguments& arguments) {
  command
      .add_option("--state-dir", arguments.state,
                  "Directory of the running mesh (also $GLIA_STATE)")
      ->capture_default_str();
}

// Those about mesh objects that nobody runs.
void add_questions(CLI::App& config, Arguments& arguments, int& code) {
  CLI::App* explain = config.add_subcommand(
      "explain",
      "Where a request goes and why; without --to, which objects make what a sidecar has");
  explain->add_option("mesh", arguments.explain.mesh, "Files or directories")->required();
  explain->add_option("--from", arguments.explain.from, "Workload: NAME or NAMESPACE/NAME")
      ->required();
  explain->add_option("--to", arguments.explain.to,
                      "http://SERVICE/PATH, or grpc://SERVICE/METHOD");
  explain->add_option("-X,--method", arguments.explain.method, "Method of the request [GET]");
  explain->add_option("-H,--header", arguments.explain.headers, "NAME:VALUE; may be repeated");
  explain->add_option("--state-dir", arguments.explain.state_directory,
                      "Directory of the running mesh, to say what the sidecar holds now");
  add_output(*explain, arguments);
  explain->callback([&] { code = explain_command(arguments.explain, arguments.format()); });

  CLI::App* diff = config.add_subcommand("diff", "What a change would send to which sidecars");
  diff->add_option("old", arguments.before, "File or directory")->required();
  diff->add_option("new", arguments.after, "File or directory")->required();
  diff->callback([&] { code = diff_command(arguments.before, arguments.after); });

  CLI::App* schema = config.add_subcommand("schema", "JSON schema of mesh objects, for editors");
  schema->add_option("kind", arguments.kind, "Only this kind [all]");
  schema->callback([&] { code = schema_command(arguments.kind); });
}

void add_endpoints(CLI::App& app, Arguments& arguments, int& code) {
  CLI::App* endpoints =
      app.add_subcommand("endpoints", "What is believed of the load of a service's endpoints");
  endpoints->add_option("service", arguments.service, "NAME or NAME.NAMESPACE")->required();
  endpoints->add_option("--from", arguments.from,
                        "Only what the sidecar of this workload believes [all are asked]");
  add_state(*endpoints, arguments);
  add_output(*endpoints, arguments);
  endpoints->callback([&] {
    code =
        endpoints_command(arguments.state, arguments.service, arguments.from, arguments.format());
  });
}

void add_canary(CLI::App& app, Arguments& arguments, int& code) {
  CLI::App* canary = app.add_subcommand("canary", "New versions on their way to all requests");
  canary->require_subcommand(1);
  CLI::App* list = canary->add_subcommand("list", "All canaries, one a line");
  add_state(*list, arguments);
  add_output(*list, arguments);
  list->callback([&] { code = canary_list_command(arguments.state, arguments.format()); });

  const auto add_name = [&](CLI::App& command) {
    command.add_option("name", arguments.canary, "NAME or NAMESPACE/NAME")->required();
    add_state(command, arguments);
  };
  CLI::App* show = canary->add_subcommand("show", "One canary: both versions and the verdict");
  add_name(*show);
  show->add_flag("--watch", arguments.watch, "Again every second until it ends");
  add_output(*show, arguments);
  show->callback([&] {
    code = canary_show_command(arguments.state, arguments.canary,
                               arguments.watch ? Watch::kYes : Watch::kNo, arguments.format());
  });
  constexpr std::pair<const char*, const char*> kChanges[] = {
      {"promote", "Send all requests to the candidate, now"},
      {"abort", "Send no request to the candidate any more, now"},
      {"pause", "Stay at this step until it is resumed"},
      {"resume", "Go on; after it was taken back: begin anew"}};
  for (const auto& [name, what] : kChanges) {
    CLI::App* change = canary->add_subcommand(name, what);
    add_name(*change);
    change->callback([&, name = std::string(name)] {
      code = canary_change_command(arguments.state, arguments.canary, name);
    });
  }
}

ObjectOutput object_output(const std::string& word) {
  if (word == "json") return ObjectOutput::kJson;
  return word == "yaml" ? ObjectOutput::kYaml : ObjectOutput::kText;
}

// Those about objects that the control plane keeps itself.
void add_objects(CLI::App& app, Arguments& arguments, int& code) {
  CLI::App* apply = app.add_subcommand("apply", "Hand mesh objects to the running control plane");
  apply->add_option("-f,--filename", arguments.paths, "Files, directories, or - for standard input")
      ->required();
  apply->add_flag("--dry-run", arguments.dry_run, "Only say what would change");
  add_state(*apply, arguments);
  apply->callback(
      [&] { code = apply_command(arguments.state, arguments.paths, arguments.dry_run); });

  CLI::App* get = app.add_subcommand("get", "The mesh objects in force, and where they are");
  get->add_option("kind", arguments.kind, "Only this kind [all]");
  get->add_option("name", arguments.service, "Only NAME or NAMESPACE/NAME [all]");
  get->add_option("-o,--output", arguments.output, "text, json, or yaml to edit and apply again")
      ->check(CLI::IsMember({"text", "json", "yaml"}))
      ->capture_default_str();
  add_state(*get, arguments);
  get->callback([&] {
    code = get_command(arguments.state, arguments.kind, arguments.service,
                       object_output(arguments.output));
  });

  CLI::App* remove = app.add_subcommand("delete", "Take an object away that was applied");
  remove->add_option("kind", arguments.kind, "Its kind")->required();
  remove->add_option("name", arguments.service, "NAME or NAMESPACE/NAME")->required();
  add_state(*remove, arguments);
  remove->callback(
      [&] { code = delete_command(arguments.state, arguments.kind, arguments.service); });

  CLI::App* history = app.add_subcommand("history", "Who applied what, and when");
  history->add_option("-n,--number", arguments.most, "How many versions, the newest first")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  add_state(*history, arguments);
  add_output(*history, arguments);
  history->callback(
      [&] { code = history_command(arguments.state, arguments.most, arguments.format()); });

  CLI::App* rollback = app.add_subcommand("rollback", "Applied objects as they were at a version");
  rollback->add_option("version", arguments.version, "A version [the one before the newest]")
      ->check(CLI::NonNegativeNumber);
  add_state(*rollback, arguments);
  rollback->callback([&] { code = rollback_command(arguments.state, arguments.version); });
}

struct CaptureFlag {
  const char* name;
  std::string WrittenCapture::* value;
  const char* help;
};
constexpr CaptureFlag kCaptureFlags[] = {
    {"--backend", &WrittenCapture::backend, "nft, iptables-nft or iptables-legacy [what is here]"},
    {"--mode", &WrittenCapture::mode, "Of inbound connections: redirect or tproxy [redirect]"},
    {"--families", &WrittenCapture::families, "both, v4 or v6 [both]"},
    {"--outbound-port", &WrittenCapture::outbound_port, "Where the proxy takes them [15001]"},
    {"--inbound-port", &WrittenCapture::inbound_port, "Where the proxy takes them [15006]"},
    {"--proxy-uid", &WrittenCapture::proxy_uid, "User of the proxy, never captured [1337]"},
    {"--proxy-gid", &WrittenCapture::proxy_gid, "Group of the proxy, never captured [1337]"},
    {"--include-inbound-ports", &WrittenCapture::include_inbound_ports, "Only these [all]"},
    {"--exclude-inbound-ports", &WrittenCapture::exclude_inbound_ports,
     "Besides 22, 15020, 15021 and 15090"},
    {"--include-outbound-ports", &WrittenCapture::include_outbound_ports, "Only these [all]"},
    {"--exclude-outbound-ports", &WrittenCapture::exclude_outbound_ports, "Besides 53"},
    {"--include-outbound-networks", &WrittenCapture::include_outbound_networks,
     "Only what goes there, as 10.0.0.0/8,fd00::/8 [all]"},
    {"--exclude-outbound-networks", &WrittenCapture::exclude_outbound_networks,
     "Not what goes there"},
    {"--include-interfaces", &WrittenCapture::include_interfaces,
     "Only what comes or goes by these, as eth0 [all]"},
    {"--exclude-interfaces", &WrittenCapture::exclude_interfaces,
     "Neither in nor out by these, as docker0"},
    {"--exclude-uids", &WrittenCapture::exclude_uids, "Users whose connections are not captured"},
    {"--exclude-gids", &WrittenCapture::exclude_gids, "Groups whose connections are not captured"},
};

// The rules of the kernel that lead traffic to the sidecar.
void add_capture(CLI::App& app, Arguments& arguments, int& code) {
  CLI::App* capture =
      app.add_subcommand("capture", "Lead this network namespace's traffic to the sidecar");
  capture->require_subcommand(1);
  const auto add = [&](const char* name, const char* what, int (*command)(const WrittenCapture&)) {
    CLI::App* added = capture->add_subcommand(name, what);
    for (const CaptureFlag& flag : kCaptureFlags) {
      added->add_option(flag.name, arguments.capture.*flag.value, flag.help)->type_name("");
    }
    added->callback([&code, &arguments, command] { code = command(arguments.capture); });
  };
  add("install", "Install the rules; twice is the same as once", capture_install_command);
  add("check", "Does capture work? Probes it by connecting", capture_check_command);
  add("print", "The rules, without installing them", capture_print_command);
  CLI::App* remove = capture->add_subcommand("remove", "Take the rules away again");
  remove->callback([&code] { code = capture_remove_command(); });
}

void add_vm(CLI::App& app, Arguments& arguments, int& code) {
  CLI::App* vm = app.add_subcommand("vm", "Virtual machines as workloads of the mesh");
  vm->require_subcommand(1);
  CLI::App* token =
      vm->add_subcommand("token", "Make a token with which one machine may join, once");
  token->add_option("workload", arguments.workload, "NAMESPACE/NAME, or NAME in default")
      ->required();
  token->add_option("--lifetime-s", arguments.lifetime_seconds, "How long it can be used")
      ->check(CLI::Range(1, 7 * 24 * 3600))
      ->capture_default_str();
  add_state(*token, arguments);
  token->callback([&] {
    code = vm_token_command(arguments.state, arguments.workload, arguments.lifetime_seconds);
  });

  CLI::App* join = vm->add_subcommand("join", "Make this machine a workload: sidecar and capture");
  join->add_option("token", arguments.token, "From `glia vm token`; - reads standard input")
      ->required();
  join->add_option("--root", arguments.vm.root, "Write below this directory, and start nothing")
      ->capture_default_str();
  join->add_option("--programs", arguments.vm.programs, "Where glia and glia-proxy are")
      ->capture_default_str();
  for (const CaptureFlag& flag : kCaptureFlags) {
    join->add_option(flag.name, arguments.vm.capture.*flag.value, flag.help)->type_name("");
  }
  join->add_flag("!--no-names", arguments.vm.names, "Leave /etc/hosts alone");
  join->callback([&] { code = vm_join_command(arguments.vm, arguments.token); });

  CLI::App* names =
      vm->add_subcommand("names", "Names of the mesh's Services in this machine's hosts file");
  names->add_option("--admin", arguments.names.admin, "HOST:PORT of the sidecar's admin pages")
      ->capture_default_str();
  names->add_option("--hosts", arguments.names.hosts, "The file")->capture_default_str();
  CLI::Option* print = names->add_flag("--print", arguments.names.print, "Only show them");
  CLI::Option* remove =
      names->add_flag("--remove", arguments.names.remove, "Take them out again")->excludes(print);
  names->add_flag("--follow", arguments.names.follow, "Keep them right until it is ended")
      ->excludes(print)
      ->excludes(remove);
  names->callback([&] { code = vm_names_command(arguments.names); });

  CLI::App* leave = vm->add_subcommand("leave", "Undo it");
  leave->add_option("--root", arguments.vm.root, "Where it was written")->capture_default_str();
  leave->callback([&] { code = vm_leave_command(arguments.vm.root); });
}

// Manifests of Kubernetes (docs/inject.md).
void add_inject(CLI::App& app, Arguments& arguments, int& code) {
  CLI::App* inject =
      app.add_subcommand("inject", "Give the pods of Kubernetes manifests a sidecar");
  InjectOptions& options = arguments.inject;
  inject->add_option("-f,--filename", options.paths, "Files, or - for standard input")->required();
  inject->add_flag("--uninject", options.uninject, "Take the sidecars out again");
  inject->add_flag("--classic", options.classic,
                   "A sidecar beside the application, for Kubernetes before 1.29");
  inject->add_option("--capture", options.capture, "Who installs the rules: init, cni or none")
      ->check(CLI::IsMember({"init", "cni", "none"}))
      ->capture_default_str();
  inject->add_option("--image", options.image, "Of the sidecar [that of this version]");
  inject->add_option("--control", options.control,
                     "HOST:PORT of the control plane [glia-control.glia-system.svc:15012]");
  inject->add_option("-n,--namespace", options.name_space, "Of objects that name none")
      ->capture_default_str();
  inject->callback([&] { code = inject_command(options); });
}

void add_install(CLI::App& app, Arguments& arguments, int& code) {
  CLI::App* install = app.add_subcommand(
      "install", "Manifests that run the control plane in Kubernetes: | kubectl apply -f -");
  InstallOptions& options = arguments.install;
  install->add_option("-n,--namespace", options.name_space, "Where it lives")
      ->capture_default_str();
  install->add_option("--image", options.image,
                      "Of control plane and sidecars [that of this version]");
  install->add_option("--mesh-name", options.mesh_name, "Name of the Mesh")->capture_default_str();
  install->add_option("--trust-domain", options.trust_domain, "First part of every identity")
      ->capture_default_str();
  install->add_option("--replicas", options.replicas, "How many control planes")
      ->check(CLI::Range(1, 9))
      ->capture_default_str();
  install
      ->add_option("--ca-dir", options.ca_directory,
                   "Directory of the mesh's authority; made if it is not there")
      ->capture_default_str();
  install->add_flag("--crds-only", options.only_crds, "Only the kinds of objects");
  install->callback([&] { code = install_command(options); });
}

void add_commands(CLI::App& app, Arguments& arguments, int& code) {
  CLI::App* run = app.add_subcommand("run", "Run a mesh on this machine until Ctrl-C");
  run->add_option("mesh", arguments.run.mesh, "File or directory with the mesh objects")
      ->required();
  run->add_option("--drain-time-s", arguments.run.drain_seconds,
                  "How long sidecars wait for requests in progress when they end")
      ->check(CLI::Range(0, 3600))
      ->capture_default_str();
  add_state(*run, arguments);
  run->callback([&] {
    arguments.run.state_directory = arguments.state;
    code = run_command(arguments.run);
  });

  CLI::App* status = app.add_subcommand("status", "What is in force, and who accepted it");
  add_state(*status, arguments);
  add_output(*status, arguments);
  status->callback([&] { code = status_command(arguments.state, arguments.format()); });

  CLI::App* routes = app.add_subcommand("routes", "Which host names lead where");
  routes->add_option("mesh", arguments.paths, "Files or directories [those of the running mesh]");
  routes->add_option("--service", arguments.service, "Only this service");
  add_state(*routes, arguments);
  add_output(*routes, arguments);
  routes->callback([&] {
    if (arguments.paths.empty()) arguments.paths = {arguments.state + "/mesh"};
    code = routes_command(arguments.paths, arguments.service, arguments.format());
  });

  CLI::App* config = app.add_subcommand("config", "Look at mesh objects without running them");
  config->require_subcommand(1);
  CLI::App* validate = config->add_subcommand("validate", "Every mistake, with file and line");
  validate->add_option("mesh", arguments.paths, "Files or directories")->required();
  add_output(*validate, arguments);
  validate->callback([&] { code = validate_command(arguments.paths, arguments.format()); });

  add_questions(*config, arguments, code);

  CLI::App* token = app.add_subcommand("token", "Make a join file for one more sidecar");
  token->add_option("workload", arguments.workload, "NAMESPACE/NAME, or NAME in default")
      ->required();
  token->add_option("--lifetime-s", arguments.lifetime_seconds, "How long it can be used")
      ->check(CLI::Range(1, 7 * 24 * 3600))
      ->capture_default_str();
  add_state(*token, arguments);
  token->callback([&] {
    code = token_command(arguments.state, arguments.workload, arguments.lifetime_seconds);
  });

  add_endpoints(app, arguments, code);
  add_canary(app, arguments, code);
  add_capture(app, arguments, code);
  add_vm(app, arguments, code);
  add_inject(app, arguments, code);
  add_install(app, arguments, code);
  add_objects(app, arguments, code);

  CLI::App* completion = app.add_subcommand(
      "completion", "A script with which a shell completes this program's words");
  completion->add_option("shell", arguments.kind, "bash or zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  completion->callback([&] { std::fputs(completion_script(app, arguments.kind).c_str(), stdout); });

  CLI::App* version = app.add_subcommand("version", "The version of this program");
  add_output(*version, arguments);
  version->callback([&] {
    const std::string number(kGliaVersion);
    std::printf(arguments.format() == Output::kJson ? "{\"version\": \"%s\"}\n" : "glia %s\n",
                number.c_str());
  });
}

}  // namespace
}  // namespace glia

int main(int argc, char** argv) {
  using namespace glia;
  set_log_level(LogLevel::warning);
  CLI::App app("Glia: a service mesh for model traffic.", "glia");
  app.require_subcommand(1);
  app.fallthrough(false);
  Arguments arguments;
  int code = 0;
  add_commands(app, arguments, code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return code;
}
