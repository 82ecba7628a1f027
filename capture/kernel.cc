#include "capture/kernel.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "capture/command.h"
#include "capture/rules.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::string_view kTables[] = {"nat", "mangle"};

// The package of Debian that has a program.
std::string_view package_of(const std::string& program) {
  return program == "nft" ? "nftables" : "iptables";
}

std::string first_line(const std::string& text) {
  const std::string_view line = trim(std::string_view(text).substr(0, text.find('\n')));
  return std::string(line);
}

Error failed(const std::string& program, const CommandResult& result) {
  const std::string said = first_line(result.errors.empty() ? result.output : result.errors);
  std::string fix;
  if (said.find("Operation not permitted") != said.npos ||
      said.find("Permission denied") != said.npos || said.find("must be root") != said.npos) {
    fix = "; run as root, or with the capability NET_ADMIN";
  } else if (said.find("No such file or directory") != said.npos ||
             said.find("not supported") != said.npos || said.find("not found") != said.npos ||
             said.find("No chain/target/match") != said.npos ||
             said.find("extension") != said.npos) {
    fix =
        cat("; this kernel lacks a module that the rules need (nft: nft_redir, nft_tproxy, "
            "nft_fib_inet;"
            " iptables: xt_REDIRECT, xt_TPROXY, xt_owner, xt_addrtype): load it, choose another "
            "--backend, or leave IPv6 out with --families v4");
  }
  return Error(ErrorKind::kInternal, Fault::kSelf, cat(program, " failed: ", said, fix));
}

// Runs it; a status other than 0 is an error.
Result<std::string> run(const std::vector<std::string>& words, const std::string& input = "") {
  if (!has_command(words[0])) {
    return Error(ErrorKind::kInternal, Fault::kSelf,
                 cat("the program ", words[0], " is not on this machine; install the package ",
                     package_of(words[0]), ", or choose another --backend"));
  }
  TRY(CommandResult result, run_command(words, input));
  if (result.status != 0) return failed(words[0], result);
  return std::move(result.output);
}

// Our table as nft prints it; nothing if there is none.
Result<std::optional<std::string>> nft_table() {
  // Its name is asked for first: asking for a table that is not there is an error as others are.
  TRY(const std::string tables, run({"nft", "list", "tables", "inet"}));
  if (tables.find(cat("table inet ", kNftTable, "\n")) == tables.npos) {
    return std::optional<std::string>();
  }
  TRY(std::string text, run({"nft", "-s", "list", "table", "inet", std::string(kNftTable)}));
  return std::optional<std::string>(std::move(text));
}

// Without what binds chains to the kernel's hooks, and the line that names the table.
std::string body_of(const std::string& table) {
  std::string body;
  for (std::size_t begin = table.find('\n') + 1; begin < table.size();) {
    const std::size_t end = std::min(table.find('\n', begin), table.size());
    const std::string_view line = std::string_view(table).substr(begin, end - begin);
    if (!line.starts_with("\t\ttype ")) body += cat(line, "\n");
    begin = end + 1;
  }
  return body;
}

// The same rules as this nft would print them, which may be another version than the one that ours are
// written like: through a table that is bound to nothing.
Result<std::string> as_this_nft_prints(const Capture& capture) {
  constexpr std::string_view kScratch = "glia_compared";
  const std::string name(kScratch);
  TRY_VOID(run({"nft", "-f", "-"}, cat("table inet ", name, " {\n", body_of(nft_rules(capture)))));
  Result<std::string> printed = run({"nft", "-s", "list", "table", "inet", name});
  TRY_VOID(run({"nft", "delete", "table", "inet", name}));
  return printed;
}

std::string nft_replacement(const Capture& capture, bool exists) {
  return cat(exists ? cat("delete table inet ", kNftTable, "\n") : "", nft_rules(capture));
}

// The programs of one kind of iptables.
struct Iptables {
  IpVersion version;
  std::string kind;  // "nft" or "legacy"
  std::string program(std::string_view what) const {
    return cat(version == IpVersion::kV6 ? "ip6tables" : "iptables", "-", kind, what);
  }
};

// A table as it is: what of it is ours, and whether it is there at all.
struct Found {
  bool exists = false;
  bool others = false;  // Rules or chains of others, or a policy that is not ACCEPT.
  std::vector<std::string> chains, jumps, rules;
  bool any() const { return !chains.empty() || !jumps.empty(); }
};

bool is_ours(std::string_view line) { return line.find(kChainPrefix) != line.npos; }

void read_line(std::string_view line, Found& found) {
  if (line.starts_with(':')) {
    const std::string_view name = line.substr(1, line.find(' ') - 1);
    if (name.starts_with(kChainPrefix)) {
      found.chains.emplace_back(name);
    } else if (line.find(" ACCEPT ") == line.npos) {
      found.others = true;
    }
  } else if (line.starts_with(cat("-A ", kChainPrefix))) {
    found.rules.emplace_back(line);
  } else if (line.starts_with("-A ")) {
    if (is_ours(line)) {
      found.jumps.emplace_back(line);
    } else {
      found.others = true;
    }
  }
}

Result<Found> find(const Iptables& tool, std::string_view table) {
  TRY(const std::string all, run({tool.program("-save")}));
  Found found;
  bool inside = false;
  for (std::size_t begin = 0; begin < all.size();) {
    const std::size_t end = std::min(all.find('\n', begin), all.size());
    const std::string_view line = std::string_view(all).substr(begin, end - begin);
    begin = end + 1;
    if (line.starts_with('*')) inside = line.substr(1) == table;
    if (!inside) continue;
    found.exists = true;
    read_line(line, found);
  }
  return found;
}

bool same(const Found& found, const IptablesTable* wanted) {
  if (wanted == nullptr) return !found.any();
  std::vector<std::string> chains = found.chains;
  std::erase_if(chains, [](const std::string& chain) { return chain.starts_with(kMadeChain); });
  return chains == wanted->chains && found.jumps == wanted->jumps && found.rules == wanted->rules;
}

// "-A X ..." as "-D X ...".
std::string deletion(const std::string& line) { return "-D" + line.substr(2) + "\n"; }

// From what is there to what is wanted (null: nothing), in one transaction. `marks`: further chains,
// which are empty and say what was not there before us.
std::string change(std::string_view table, const Found& found, const IptablesTable* wanted,
                   const std::vector<std::string>& marks) {
  std::string text = cat("*", table, "\n");
  if (wanted != nullptr) {
    for (const std::string& chain : wanted->chains) text += cat(":", chain, " - [0:0]\n");
    for (const std::string& mark : marks) text += cat(":", mark, " - [0:0]\n");
  }
  for (const std::string& jump : found.jumps) text += deletion(jump);
  std::vector<std::string> gone = found.chains;
  if (wanted != nullptr) {
    std::erase_if(gone, [&](const std::string& chain) {
      return chain.starts_with(kMadeChain) || std::ranges::count(wanted->chains, chain) > 0;
    });
    for (const std::string& jump : wanted->jumps) text += jump + "\n";
    for (const std::string& rule : wanted->rules) text += rule + "\n";
  }
  for (const std::string& chain : gone) text += cat("-F ", chain, "\n");
  for (const std::string& chain : gone) text += cat("-X ", chain, "\n");
  return text + "COMMIT\n";
}

// "OUTPUT" of "-A OUTPUT -p tcp ...".
std::string chain_of(const std::string& line) { return line.substr(3, line.find(' ', 3) - 3); }

std::string_view nft_family(const Iptables& tool) {
  return tool.version == IpVersion::kV6 ? "ip6" : "ip";
}

// What is not there yet and will be made with `wanted`.
Result<std::vector<std::string>> marks_of(const Iptables& tool, const Found& found,
                                          const IptablesTable& wanted) {
  std::vector<std::string> marks;
  if (!found.exists) marks.emplace_back(kMadeTable);
  if (!found.exists || tool.kind != "nft" || !has_command("nft")) return marks;
  TRY(const CommandResult now,
      run_command({"nft", "list", "table", std::string(nft_family(tool)), wanted.name}));
  for (const std::string& jump : wanted.jumps) {
    const std::string chain = chain_of(jump);
    if (now.output.find(cat("chain ", chain, " {")) != now.output.npos) continue;
    marks.push_back(cat(kMadeChain, chain));
  }
  return marks;
}

const IptablesTable* table_of(const std::vector<IptablesTable>& tables, std::string_view name) {
  const auto place = std::ranges::find(tables, name, &IptablesTable::name);
  return place == tables.end() ? nullptr : &*place;
}

Installed combine(const std::vector<Installed>& parts) {
  if (std::ranges::all_of(parts, [](Installed part) { return part == Installed::kAsWanted; })) {
    return Installed::kAsWanted;
  }
  const bool none =
      std::ranges::all_of(parts, [](Installed part) { return part == Installed::kNothing; });
  return none ? Installed::kNothing : Installed::kOther;
}

std::vector<Iptables> tools_of(const Capture& capture) {
  const std::string kind = capture.backend == CaptureBackend::kIptablesLegacy ? "legacy" : "nft";
  std::vector<Iptables> tools;
  // Rules of a family that is not captured any more go as well.
  for (const IpVersion version : {IpVersion::kV4, IpVersion::kV6}) {
    const Iptables tool{version, kind};
    const bool wanted = version == IpVersion::kV6 ? capture.v6() : capture.v4();
    if (wanted || has_command(tool.program("-restore"))) tools.push_back(tool);
  }
  return tools;
}

enum class Act : uint8_t { kLook, kChange };

Result<Installed> iptables(const Capture& capture, Act act) {
  std::vector<Installed> parts;
  for (const Iptables& tool : tools_of(capture)) {
    const std::vector<IptablesTable> tables = iptables_rules(capture, tool.version);
    for (const std::string_view name : kTables) {
      const IptablesTable* const wanted = table_of(tables, name);
      TRY(const Found found, find(tool, name));
      if (wanted == nullptr && !found.any()) continue;
      const bool right = same(found, wanted);
      parts.push_back(right         ? Installed::kAsWanted
                      : found.any() ? Installed::kOther
                                    : Installed::kNothing);
      if (right || act == Act::kLook) continue;
      std::vector<std::string> marks;
      if (wanted != nullptr && !found.any()) {
        TRY(marks, marks_of(tool, found, *wanted));
      }
      TRY_VOID(run({tool.program("-restore"), "--noflush", "-w", "5"},
                   change(name, found, wanted, marks)));
    }
  }
  return combine(parts);
}

// An iptables-nft table that was not there before us goes as it came; a legacy one is the kernel's
// and stays, empty.
Result<void> drop_empty_table(const Iptables& tool, std::string_view table) {
  TRY(const Found left, find(tool, table));
  if (left.others || left.any() || tool.kind != "nft") return {};
  TRY_VOID(run({tool.program(""), "-t", std::string(table), "-X"}));
  if (!has_command("nft")) return {};
  TRY_VOID(run({"nft", "delete", "table", std::string(nft_family(tool)), std::string(table)}));
  return {};
}

// A built-in chain that was not there before us, if nobody has used it since.
Result<void> drop_empty_chain(const Iptables& tool, std::string_view table,
                              const std::string& mark) {
  const std::string chain = mark.substr(kMadeChain.size());
  TRY_VOID(run_command({tool.program(""), "-t", std::string(table), "-X", chain}));
  return {};
}

// What of `tool` was taken away is appended to `gone`.
Result<void> remove_iptables(const Iptables& tool, std::string& gone) {
  for (const std::string_view table : kTables) {
    TRY(const Found found, find(tool, table));
    if (!found.any()) continue;
    TRY_VOID(
        run({tool.program("-restore"), "--noflush", "-w", "5"}, change(table, found, nullptr, {})));
    for (const std::string& chain : found.chains) {
      if (chain == kMadeTable) {
        TRY_VOID(drop_empty_table(tool, table));
      } else if (chain.starts_with(kMadeChain)) {
        TRY_VOID(drop_empty_chain(tool, table, chain));
      }
    }
    gone += cat(gone.empty() ? "" : ", ", tool.program(""), " table ", table);
  }
  return {};
}

// Tables of iptables-legacy are made by looking at them, so nobody looks where there is none.
bool legacy_in_use(IpVersion version) {
  const char* const file =
      version == IpVersion::kV6 ? "/proc/net/ip6_tables_names" : "/proc/net/ip_tables_names";
  const int fd = ::open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char first;
  const bool some = ::read(fd, &first, 1) == 1;
  ::close(fd);
  return some;
}

}  // namespace

Result<CaptureBackend> usable_backend() {
  if (has_command("nft")) return CaptureBackend::kNft;
  const bool legacy = legacy_in_use(IpVersion::kV4) || legacy_in_use(IpVersion::kV6);
  if (legacy && has_command("iptables-legacy-restore")) return CaptureBackend::kIptablesLegacy;
  if (has_command("iptables-nft-restore")) return CaptureBackend::kIptablesNft;
  if (has_command("iptables-legacy-restore")) return CaptureBackend::kIptablesLegacy;
  return invalid(
      "neither nft nor iptables is on this machine; install the package nftables (or iptables)");
}

Result<Installed> installed(const Capture& capture) {
  if (capture.backend != CaptureBackend::kNft) return iptables(capture, Act::kLook);
  TRY(const std::optional<std::string> now, nft_table());
  if (!now) return Installed::kNothing;
  if (*now == nft_rules(capture)) return Installed::kAsWanted;
  TRY(const std::string wanted, as_this_nft_prints(capture));
  const auto hooks = [](const std::string& text) {
    std::size_t count = 0;
    for (std::size_t at = text.find(" hook "); at != text.npos; at = text.find(" hook ", at + 1)) {
      ++count;
    }
    return count;
  };
  const bool same = body_of(wanted) == body_of(*now) && hooks(nft_rules(capture)) == hooks(*now);
  return same ? Installed::kAsWanted : Installed::kOther;
}

namespace {

// Takes away what is ours, except that of `kept`.
Result<std::string> remove_but(std::optional<CaptureBackend> kept) {
  std::string gone;
  if (kept != CaptureBackend::kNft && has_command("nft")) {
    TRY(const std::optional<std::string> table, nft_table());
    if (table) {
      TRY_VOID(run({"nft", "delete", "table", "inet", std::string(kNftTable)}));
      gone = cat("nft table inet ", kNftTable);
    }
  }
  for (const IpVersion version : {IpVersion::kV4, IpVersion::kV6}) {
    const Iptables nft{version, "nft"}, legacy{version, "legacy"};
    if (kept != CaptureBackend::kIptablesNft && has_command(nft.program("-restore"))) {
      TRY_VOID(remove_iptables(nft, gone));
    }
    if (kept != CaptureBackend::kIptablesLegacy && legacy_in_use(version) &&
        has_command(legacy.program("-restore"))) {
      TRY_VOID(remove_iptables(legacy, gone));
    }
  }
  return gone;
}

Result<Installed> install_nft(const Capture& capture) {
  TRY(const Installed before, installed(capture));
  if (before == Installed::kAsWanted) return before;
  TRY_VOID(run({"nft", "-f", "-"}, nft_replacement(capture, before != Installed::kNothing)));
  return before;
}

}  // namespace

namespace {

// Half of the rules would be worse than none: one family captured, the other not.
Result<Installed> install_iptables(const Capture& capture) {
  TRY(const Installed before, iptables(capture, Act::kLook));
  Result<Installed> done = iptables(capture, Act::kChange);
  if (done || before != Installed::kNothing) return done;
  std::string gone;
  for (const Iptables& tool : tools_of(capture)) {
    if (has_command(tool.program("-restore"))) TRY_VOID(remove_iptables(tool, gone));
  }
  return done;
}

}  // namespace

Result<Installed> install(const Capture& capture) {
  TRY(const Installed before,
      capture.backend == CaptureBackend::kNft ? install_nft(capture) : install_iptables(capture));
  // Rules of another backend would decide beside these.
  TRY(const std::string other, remove_but(capture.backend));
  return other.empty() ? before : Installed::kOther;
}

Result<std::string> remove_capture() { return remove_but({}); }

std::string printed(const Capture& capture) {
  if (capture.backend == CaptureBackend::kNft) return nft_rules(capture);
  std::string text;
  for (const Iptables& tool : tools_of(capture)) {
    if (iptables_rules(capture, tool.version).empty()) continue;
    text += cat("# ", tool.program("-restore"), " --noflush\n",
                iptables_text(iptables_rules(capture, tool.version)));
  }
  return text;
}

}  // namespace glia
