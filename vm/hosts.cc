#include "vm/hosts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <vector>

#include "proxy/base/file.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kBegin =
    "# Begin: names of the mesh, kept by `glia vm names`; `glia vm leave` removes them.\n";
// Where the file before us did not end with a newline; ours comes before this line.
constexpr std::string_view kBeginOnNewLine =
    "# Begin: names of the mesh, kept by `glia vm names` on a line of its own; `glia vm leave` "
    "removes "
    "them.\n";
constexpr std::string_view kEnd = "# End: names of the mesh.\n";
constexpr std::size_t kMostNames = 20'000;  // Of a block: resolvers read the file line by line.
constexpr std::size_t kLargestHosts = 16 << 20;  // bytes

struct Block {
  std::size_t begin = 0, end = 0;  // [begin, end) with all that we put in.
};

// Of a block that has both lines; anything else is somebody's own.
std::optional<Block> find_block(std::string_view hosts) {
  for (const std::string_view line : {kBegin, kBeginOnNewLine}) {
    std::size_t at = hosts.find(line);
    while (at != hosts.npos && at > 0 && hosts[at - 1] != '\n') at = hosts.find(line, at + 1);
    if (at == hosts.npos) continue;
    const std::size_t end = hosts.find(kEnd, at);
    if (end == hosts.npos) continue;
    const std::size_t after = end + kEnd.size();
    // Nobody has written behind it since, who would need it.
    const bool newline_too = line == kBeginOnNewLine && at > 0 && after == hosts.size();
    return Block{at - (newline_too ? 1 : 0), after};
  }
  return {};
}

std::set<std::string> names_in(std::string_view hosts) {
  std::set<std::string> names;
  std::istringstream lines{std::string(hosts)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    words >> word;  // The address.
    while (words >> word) names.insert(to_lower(word));
  }
  return names;
}

bool is_address(const std::string& text) {
  in6_addr bytes;  // Large enough for both.
  return ::inet_pton(AF_INET, text.c_str(), &bytes) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &bytes) == 1;
}

// "10.96.0.1" of "10.96.0.1", "[fd00::1]:80" and "10.96.0.1:80"; "" of names.
std::string address_in(std::string_view domain) {
  const std::size_t colon = domain.rfind(':'), bracket = domain.rfind(']');
  // Of "[fd00::1]" no colon is that of a port.
  const bool port = colon != domain.npos && (bracket == domain.npos || colon > bracket);
  std::string_view host = port ? domain.substr(0, colon) : domain;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::string address(host);
  return is_address(address) ? address : "";
}

bool is_name(std::string_view text) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789-.";
  return !text.empty() && text.size() <= 253 && text.find_first_not_of(kLetters) == text.npos &&
         text != "localhost" && text.front() != '.' && text.front() != '-';
}

// The names and the address that one virtual host answers to.
void add_host(const Json& host, NamedAddresses& out) {
  std::set<std::string> names;
  std::string address;
  const auto domains = host.find("domains");
  if (domains == host.end() || !domains->is_array()) return;
  for (const Json& one : *domains) {
    if (!one.is_string()) continue;
    const std::string domain = one.get<std::string>();
    if (std::string found = address_in(domain); !found.empty()) {
      address = std::move(found);
      continue;
    }
    std::string name = domain.substr(0, domain.find(':'));
    if (is_name(name)) names.insert(std::move(name));
  }
  if (!address.empty()) out[address].merge(names);
}

// A filter chain of relayed bytes: by its address to the cluster "outbound:5432:db.default".
void add_chain(const Json& chain, NamedAddresses& out) {
  const Json::json_pointer ranges("/filter_chain_match/prefix_ranges");
  if (!chain.contains(ranges) || !chain.contains("filters") || !chain["filters"].is_array()) return;
  for (const Json& filter : chain["filters"]) {
    const Json::json_pointer to("/typed_config/cluster");
    if (!filter.contains(to) || !filter[to].is_string()) continue;
    const std::string cluster = filter[to].get<std::string>();
    constexpr std::string_view kOutbound = "outbound:";
    if (!cluster.starts_with(kOutbound)) continue;
    const std::string name = cluster.substr(cluster.find(':', kOutbound.size()) + 1);
    if (!is_name(name)) continue;
    for (const Json& range : chain[ranges]) {
      const auto address = range.find("address_prefix");
      if (address == range.end() || !address->is_string()) continue;
      const std::string text = address->get<std::string>();
      if (!is_address(text)) continue;
      out[text].insert({name, name + ".svc", name + ".svc.cluster.local"});
    }
  }
}

// Virtual hosts and filter chains, wherever a dump has them.
void walk(const Json& json, NamedAddresses& out, int depth = 0) {
  constexpr int kDeepest = 32;
  if (depth > kDeepest) return;
  if (json.is_object()) {
    for (const char* const key : {"virtual_hosts", "filter_chains"}) {
      const auto found = json.find(key);
      if (found == json.end() || !found->is_array()) continue;
      for (const Json& one : *found) {
        if (!one.is_object()) continue;
        key[0] == 'v' ? add_host(one, out) : add_chain(one, out);
      }
    }
  }
  if (!json.is_structured()) return;
  for (const Json& child : json) walk(child, out, depth + 1);
}

Error failed(std::string_view doing, const std::string& path, int why) {
  const std::string fix = why == EACCES || why == EPERM ? "; run as root" : "";
  return Error(ErrorKind::kInternal, Fault::kSelf,
               cat("cannot ", doing, " ", path, ": ", std::strerror(why), fix));
}

// By a file beside it, so that nobody ever reads half of one. Some systems mount the file itself, which
// cannot be replaced; then what is in it is.
Result<void> replace(const std::string& path, std::string_view text) {
  struct stat was;
  if (::stat(path.c_str(), &was) != 0) return failed("look at", path, errno);
  int why = replace_file(path, text, was.st_mode & 07777, FileOwner{was.st_uid, was.st_gid});
  if (why == 0) return {};
  if (why != EBUSY && why != EXDEV) return failed("write", path, why);
  const int fd = ::open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (fd < 0) return failed("write", path, errno);
  const bool done = write_whole(fd, text);
  why = errno;
  ::close(fd);
  if (!done) return failed("write", path, why);
  return {};
}

}  // namespace

Result<NamedAddresses> named_addresses(std::string_view config_dump) {
  const Json json = Json::parse(config_dump, nullptr, false);
  if (!json.is_object() || !json.contains("configs")) {
    return invalid("the sidecar's page /config_dump is not what it should be");
  }
  NamedAddresses names;
  walk(json, names);
  return names;
}

std::string without_names(std::string_view hosts) {
  const std::optional<Block> block = find_block(hosts);
  if (!block) return std::string(hosts);
  return cat(hosts.substr(0, block->begin), hosts.substr(block->end));
}

std::string with_names(std::string_view hosts, const NamedAddresses& names) {
  std::string out = without_names(hosts);
  const std::set<std::string> taken = names_in(out);
  std::string lines;
  std::size_t count = 0;
  for (const auto& [address, known_as] : names) {
    std::string line = address;
    for (const std::string& name : known_as) {
      if (taken.contains(name) || ++count > kMostNames) continue;
      line += cat(" ", name);
    }
    if (line.size() > address.size()) lines += cat(line, "\n");
  }
  if (lines.empty()) return out;
  const bool newline = !out.empty() && !out.ends_with('\n');
  return cat(out, newline ? "\n" : "", newline ? kBeginOnNewLine : kBegin, lines, kEnd);
}

Result<bool> write_names(const std::string& path, const NamedAddresses& names) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return failed("read", path, errno);
  std::stringstream read;
  read << file.rdbuf();
  const std::string before = read.str();
  if (before.size() > kLargestHosts) {
    return invalid(cat(path, " has ", before.size(), " bytes, which is no hosts file"));
  }
  const std::string after = with_names(before, names);
  if (after == before) return false;
  TRY_VOID(replace(path, after));
  return true;
}

}  // namespace glia
