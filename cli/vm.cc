#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <iostream>
#include <iterator>

#include "capture/command.h"
#include "capture/kernel.h"
#include "cli/commands.h"
#include "cli/control_client.h"
#include "cli/fetch.h"
#include "proxy/base/text.h"
#include "proxy/net/libevent_backend.h"
#include "proxy/net/signals.h"
#include "vm/hosts.h"

namespace glia {
namespace {

int fail(const char* command, const Error& error) {
  std::fprintf(stderr, "glia vm %s: %s\n", command, error.message().c_str());
  return 1;
}

// What systemd has to be told on the machine itself.
Result<void> tell_systemd(const std::vector<std::vector<std::string>>& commands) {
  for (const std::vector<std::string>& words : commands) {
    TRY(const CommandResult ran, run_command(words));
    if (ran.status == 0) continue;
    std::string line;
    for (const std::string& word : words) line += cat(line.empty() ? "" : " ", word);
    return Error(ErrorKind::kInternal, Fault::kSelf,
                 cat("`", line, "` failed: ", trim(ran.errors, " \n")));
  }
  return {};
}

const std::vector<std::vector<std::string>> kBegin = {
    {"systemd-sysusers"},
    {"systemctl", "daemon-reload"},
    {"systemctl", "enable", "--now", "glia-proxy.service"},
    {"systemctl", "enable", "--now", "glia-capture.service"}};
const std::vector<std::string> kBeginNames = {"systemctl", "enable", "--now", "glia-names.service"};

bool is_this_machine(const std::string& root) { return trim(root, "/").empty(); }

std::string read_token(const std::string& word) {
  if (word != "-") return word;
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

}  // namespace

int vm_token_command(const std::string& state_directory, const std::string& workload,
                     int lifetime_seconds) {
  const auto token = ask_token(control_directory(state_directory), workload, lifetime_seconds);
  if (!token) return fail("token", token.error());
  std::printf("%s\n", vm_token(token->join_file()).c_str());
  return 0;
}

int vm_join_command(VmPlan plan, const std::string& token) {
  Result<std::string> file = join_file_of(read_token(token));
  if (!file) return fail("join", file.error());
  plan.join_file = *std::move(file);
  const auto written = join_machine(plan);
  if (!written) return fail("join", written.error());
  for (const std::string& path : *written) std::printf("wrote %s\n", path.c_str());
  std::vector<std::vector<std::string>> begin = kBegin;
  if (plan.names) begin.push_back(kBeginNames);
  if (is_this_machine(plan.root) && has_command("systemctl")) {
    const Result<void> begun = tell_systemd(begin);
    if (!begun) return fail("join", begun.error());
    std::printf("the sidecar runs, and all traffic goes through it\n");
    return 0;
  }
  std::printf("on the machine itself, run:\n");
  for (const auto& words : begin) {
    for (const std::string& word : words) std::printf(" %s", word.c_str());
    std::printf("\n");
  }
  return 0;
}

int vm_leave_command(const std::string& root) {
  if (is_this_machine(root)) {
    // Capture first: without its sidecar the machine would reach nobody. Units that are not there
    // are not a trouble.
    if (has_command("systemctl")) {
      (void)tell_systemd({{"systemctl", "disable", "--now", "glia-names.service"}});
      (void)tell_systemd({{"systemctl", "disable", "--now", "glia-capture.service"}});
      (void)tell_systemd({{"systemctl", "disable", "--now", "glia-proxy.service"}});
    }
    const Result<std::string> rules = remove_capture();
    if (!rules) return fail("leave", rules.error());
  }
  const auto gone = leave_machine(root);
  if (!gone) return fail("leave", gone.error());
  for (const std::string& path : *gone) std::printf("removed %s\n", path.c_str());
  if (gone->empty()) std::printf("nothing to do, this machine is in no mesh\n");
  if (is_this_machine(root) && has_command("systemctl")) {
    const Result<void> told = tell_systemd({{"systemctl", "daemon-reload"}});
    if (!told) return fail("leave", told.error());
  }
  return 0;
}

namespace {

Result<NamedAddresses> ask_names(const std::string& admin) {
  TRY(const std::string page, fetch(admin, "/config_dump"));
  return named_addresses(page);
}

// Until it is told to end: what the mesh says changes, and so does the file.
int follow_names(const NamesOptions& options) {
  constexpr Duration kEvery = 2s;
  auto* backend = new LibeventBackend;
  EventLoop loop{std::unique_ptr<LoopBackend>(backend)};
  SignalWatch signals(*backend, {SIGTERM, SIGINT}, [&loop](int) { loop.stop(); });
  std::string said;
  CallbackTimer look(loop, [&] {
    look.start(kEvery);
    const Result<NamedAddresses> names = ask_names(options.admin);
    // A sidecar that is away for a moment leaves the names as they are: addresses outlive it.
    const Result<bool> written = names ? write_names(options.hosts, *names) : names.error();
    const std::string trouble = written ? "" : written.error().message();
    if (!trouble.empty() && trouble != said) (void)fail("names", written.error());
    said = trouble;
    if (!written || !*written) return;
    std::printf("%zu addresses have names in %s\n", names->size(), options.hosts.c_str());
    std::fflush(stdout);
  });
  look.start(Duration::zero());
  loop.run();
  return 0;
}

}  // namespace

int vm_names_command(const NamesOptions& options) {
  if (options.follow) return follow_names(options);
  NamedAddresses names;
  if (!options.remove) {
    auto asked = ask_names(options.admin);
    if (!asked) return fail("names", std::move(asked).error().in(options.admin));
    names = *std::move(asked);
  }
  if (options.print) {
    std::fputs(with_names("", names).c_str(), stdout);
    return 0;
  }
  const Result<bool> written = write_names(options.hosts, names);
  if (!written) return fail("names", written.error());
  std::printf(*written ? "wrote %s\n" : "nothing to do, %s is as it should be\n",
              options.hosts.c_str());
  return 0;
}

}  // namespace glia
