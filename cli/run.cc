#include "cli/run.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "cli/control_client.h"
#include "cli/probe.h"
#include "proxy/base/text.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/signals.h"
#include "proxy/net/tcp.h"

namespace glia {
namespace {

constexpr Duration kLook = 100ms;    // Between two looks at everything,
constexpr Duration kLaterLook = 1s;  // and once all was ready.
// A busy machine may answer late: so many looks must agree before we say that something is no
// longer ready.
constexpr int kDoubts = 3;
constexpr Duration kControlPatience = 15s;  // For the control plane to answer.
constexpr Duration kAppPatience = 10s;      // For an application to end.
constexpr int kTokenSeconds = 600;          // A join file is used at once.
constexpr int kControlRestarts = 10;        // Of a control plane that ends by itself, in one run.
constexpr std::size_t kTailLines = 8;

namespace fs = std::filesystem;

// A program of ours: beside this one, in Bazel's output tree, or on PATH.
std::string program(const std::string& name, const std::string& bazel_package) {
  std::error_code ignored;
  const fs::path here = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const fs::path& candidate : {here / name, here / ".." / bazel_package / name}) {
    if (fs::exists(candidate, ignored)) return fs::weakly_canonical(candidate, ignored).string();
  }
  return name;
}

std::string file_name(const Workload& workload) {
  return workload.metadata.ns + "." + workload.metadata.name;
}

Error failed(std::string sentence) {
  return Error(ErrorKind::kInternal, Fault::kSelf, std::move(sentence));
}

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

}  // namespace

Run::Run(const RunOptions& options, EventLoop& loop, Network& network)
    : options_(options),
      loop_(loop),
      network_(network),
      directory_(fs::absolute(options.state_directory).lexically_normal().string()) {}

void Run::begin() {
  task_ = main();
  task_.start();
}

void Run::stop() {
  hurry_ = stopping_;
  stopping_ = true;
}

Task<void> Run::main() {
  const Result<void> started = co_await start_all();
  if (started) {
    co_await watch();
  } else {
    std::fprintf(stderr, "glia run: %s\n", started.error().message().c_str());
    exit_code_ = 1;
  }
  co_await end_all();
  loop_.stop();
}

std::string Run::log_of(const std::string& name) const {
  return cat(directory_, "/log/", name, ".log");
}

Task<Result<void>> Run::start_all() {
  report_ = load({options_.mesh});
  for (const Problem& problem : report_.problems) say(problem.text());
  if (!report_.ok()) co_return failed(cat(options_.mesh, " has errors; nothing was started"));
  std::error_code error;
  for (const char* part : {"log", "join", "sidecar"}) {
    fs::create_directories(cat(directory_, "/", part), error);
  }
  if (error) co_return failed(cat("cannot make ", directory_, ": ", error.message()));
  fs::permissions(directory_, fs::perms::owner_all, error);
  // What `glia routes` without a file reads.
  fs::remove(directory_ + "/mesh", error);
  fs::create_symlink(fs::absolute(options_.mesh), directory_ + "/mesh", error);
  CO_TRY_VOID(co_await start_control());
  for (const Workload& workload : report_.objects.workloads) {
    Member& member = members_.emplace_back();
    member.workload = &workload;
    CO_TRY_VOID(start_sidecar(member));
    CO_TRY_VOID(start_application(member));
  }
  co_return Result<void>();
}

Task<Result<void>> Run::start_control() {
  if (ask_status(control_directory(directory_))) {
    co_return failed(cat("a mesh is running already with --state-dir ", options_.state_directory));
  }
  Result<Process> process = Process::start(
      {.name = "control plane",
       .command = {program("glia-control", "control_plane"), "--mesh", fs::absolute(options_.mesh),
                   "--state-dir", control_directory(directory_), "--listen", control_address_},
       .environment = {},
       .directory = "",
       .log = log_of("control")});
  if (!process) co_return std::move(process).error();
  control_ = std::move(*process);
  const TimePoint until = loop_.now() + kControlPatience;
  while (!ask_status(control_directory(directory_))) {
    if (const auto ended = control_->poll()) {
      co_return failed(
          cat("the control plane ", *ended, "\n", tail_of(log_of("control"), kTailLines)));
    }
    if (stopping_) co_return failed("interrupted");
    if (loop_.now() > until) co_return failed("the control plane does not answer");
    co_await sleep_for(loop_, kLook);
  }
  if (control_starts_++ > 0) {
    say("control plane   ready again");
    co_return Result<void>();
  }
  say(cat("control plane   ready   trust domain ", report_.objects.mesh.spec.trust_domain,
          ", logs in ", directory_, "/log"));
  co_return Result<void>();
}

Result<void> Run::start_sidecar(Member& member) {
  const Workload& workload = *member.workload;
  TRY(const auto token,
      ask_token(control_directory(directory_), workload.metadata.key(), kTokenSeconds));
  const std::string name = file_name(workload);
  const std::string join = cat(directory_, "/join/", name, ".yaml");
  {
    std::ofstream file(join, std::ios::trunc);
    fs::permissions(join, fs::perms::owner_read | fs::perms::owner_write);
    file << token.join_file();
    remember_control_address(token.join_file());
    if (!file.flush()) return failed(cat("cannot write ", join));
  }
  TRY(member.sidecar,
      Process::start(
          {.name = cat("sidecar of ", workload.metadata.display()),
           .command = {program("glia-proxy", "proxy/server"), "--join", join, "--state-dir",
                       cat(directory_, "/sidecar/", name), "--concurrency", "1", "--drain-time-s",
                       cat(options_.drain_seconds)},
           .environment = {},
           .directory = "",
           .log = log_of(cat(name, ".sidecar")),
           // Its access log, unless the mesh names a file.
           .output = log_of(cat(name, ".access"))}));
  return {};
}

Result<void> Run::start_application(Member& member) {
  const Workload& workload = *member.workload;
  if (workload.spec.command.empty()) return {};
  ProcessPlan plan;
  plan.name = workload.metadata.display();
  plan.command = workload.spec.command;
  plan.environment = workload.spec.env;
  // Where the application reaches the mesh; any HTTP client that honours it needs no other setting.
  const std::string outbound =
      cat("http://", workload.local_address(), ":", workload.spec.outbound.port);
  plan.environment.emplace("GLIA_OUTBOUND", outbound);
  plan.environment.emplace("GLIA_WORKLOAD", workload.metadata.key());
  plan.directory =
      (fs::absolute(workload.metadata.file).parent_path() / workload.spec.working_directory)
          .lexically_normal()
          .string();
  plan.log = log_of(file_name(workload));
  TRY(member.application, Process::start(plan));
  return {};
}

// The first start takes any port; sidecars know that one from then on.
void Run::remember_control_address(std::string_view join_file) {
  constexpr std::string_view kKey = "control: ";
  const std::size_t key = join_file.find(kKey);
  if (key == join_file.npos) return;
  const std::string_view rest = join_file.substr(key + kKey.size());
  control_address_ = trim(rest.substr(0, rest.find('\n')), "\"' ");
}

Task<Result<void>> Run::restart_control(const std::string& ended) {
  say(cat("control plane   ", ended, "; sidecars go on with what they have\n",
          tail_of(log_of("control"), kTailLines)));
  if (control_starts_ > kControlRestarts) {
    co_return failed(cat("the control plane ended ", control_starts_, " times"));
  }
  co_return co_await start_control();
}

// One line of state for each workload, printed when it changes.
Task<void> Run::watch() {
  while (!stopping_) {
    if (const auto ended = control_->poll()) {
      if (const auto again = co_await restart_control(*ended); !again && !stopping_) {
        std::fprintf(stderr, "glia run: %s\n", again.error().message().c_str());
        exit_code_ = 1;
        co_return;
      }
    }
    bool ready = true;
    for (Member& member : members_) {
      std::string state = co_await state_of(member);
      ready = ready && state.find("waiting") == state.npos &&
              state.find("was ended") == state.npos && state.find("exited") == state.npos;
      if (state == member.said) {
        member.doubts = 0;
        continue;
      }
      const bool ended =
          state.find("exited") != state.npos || state.find("was ended") != state.npos;
      if (all_ready_said_ && !ended && ++member.doubts < kDoubts) continue;
      member.doubts = 0;
      member.said = state;
      say(cat(
          member.workload->metadata.display(),
          std::string(std::max<std::size_t>(16, member.workload->metadata.display().size() + 1) -
                          member.workload->metadata.display().size(),
                      ' '),
          state));
    }
    if (ready && !all_ready_said_) {
      all_ready_said_ = true;
      say("ready: edit the mesh and watch it follow; Ctrl-C ends everything");
    }
    const TimePoint next_look = loop_.now() + (all_ready_said_ ? kLaterLook : kLook);
    while (!stopping_ && loop_.now() < next_look) co_await sleep_for(loop_, kLook);
  }
}

Task<std::string> Run::state_of(Member& member) {
  const Workload& workload = *member.workload;
  const std::string name = file_name(workload);
  std::string state;
  if (const auto ended = member.sidecar->poll()) {
    state = cat("sidecar ", *ended, " (", log_of(cat(name, ".sidecar")), ")");
  } else {
    const Result<Address> admin = Address::ip(workload.local_address(), workload.spec.admin.port);
    const bool ready = admin && co_await is_ready(loop_, network_, *admin, "/ready");
    state = ready ? "sidecar ready  " : "sidecar waiting";
  }
  if (member.application) {
    if (const auto ended = member.application->poll()) {
      state += cat("  application ", *ended, "\n", tail_of(log_of(name), kTailLines));
    } else if (workload.spec.ports.empty()) {
      state += "  application running";
    } else {
      const auto& wanted = workload.spec.ready;
      const Workload::Port* port =
          wanted ? workload.port(wanted->port) : &workload.spec.ports.front();
      const Result<Address> at = Address::ip(workload.spec.app_address, port->app_port);
      const bool ready = at && co_await is_ready(loop_, network_, *at, wanted ? wanted->path : "");
      state += ready ? "  application ready  " : "  application waiting";
    }
  }
  for (const Workload::Port& port : workload.spec.ports) {
    state += cat("  ", port.name, " ", workload.spec.address, ":", port.port);
  }
  state += cat("  outbound ", workload.local_address(), ":", workload.spec.outbound.port);
  co_return state;
}

Task<void> Run::end(std::vector<std::optional<Process>*> processes, Duration patience) {
  for (auto* process : processes) (*process)->send(SIGTERM);
  const TimePoint until = loop_.now() + patience;
  for (auto* process : processes) {
    while (!(*process)->poll()) {
      if (loop_.now() > until || hurry_) (*process)->send(SIGKILL);
      co_await sleep_for(loop_, 10ms);
    }
  }
}

// Applications first, so that their sidecars can still carry what they finish; the control plane
// last.
Task<void> Run::end_all() {
  std::vector<std::optional<Process>*> applications, sidecars, control;
  for (Member& member : members_) {
    if (member.application) applications.push_back(&member.application);
    if (member.sidecar) sidecars.push_back(&member.sidecar);
  }
  if (control_) control.push_back(&control_);
  if (!applications.empty()) say(cat("ending ", applications.size(), " applications"));
  co_await end(applications, kAppPatience);
  if (!sidecars.empty()) say(cat("ending ", sidecars.size(), " sidecars"));
  co_await end(sidecars, std::chrono::seconds(options_.drain_seconds) + kAppPatience);
  co_await end(control, kAppPatience);
}

int run_command(const RunOptions& options) {
  ::signal(SIGPIPE, SIG_IGN);
  auto backend = std::make_unique<LibeventBackend>();
  LibeventBackend& events = *backend;
  EventLoop loop(std::move(backend));
  Run* running = nullptr;
  SignalWatch signals(events, {SIGINT, SIGTERM, SIGHUP}, [&](int) { running->stop(); });
  SocketNetwork network(loop);
  Run run(options, loop, network);
  running = &run;
  run.begin();
  loop.run();
  return run.exit_code();
}

}  // namespace glia
