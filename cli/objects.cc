// glia apply, get, delete, history, rollback: the mesh objects that a control plane keeps itself.
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "cli/control_client.h"
#include "control_plane/objects/documents.h"
#include "control_plane/objects/object_set.h"
#include "proxy/base/text.h"
#include "proxy/base/utc.h"

namespace glia {
namespace {

using Json = nlohmann::ordered_json;

// "anna@build-3"
std::string who_i_am() {
  const passwd* user = ::getpwuid(::getuid());
  char host[256] = {};
  if (::gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  return cat(user != nullptr ? std::string(user->pw_name) : cat("uid ", ::getuid()), "@", host);
}

int fail(const char* command, const std::string& sentence) {
  std::fprintf(stderr, "glia %s: %s\n", command, sentence.c_str());
  return 1;
}

const char* word(v1::ObjectChange::Verb verb) {
  switch (verb) {
    case v1::ObjectChange::CREATED: return "created";
    case v1::ObjectChange::CHANGED: return "changed";
    case v1::ObjectChange::DELETED: return "deleted";
    default: return "unchanged";
  }
}

// "-" is standard input. False after an error was shown.
bool read_sources(const std::vector<std::string>& paths, v1::ApplyRequest& request) {
  std::vector<Problem> problems;
  std::vector<std::string> named;
  for (const std::string& path : paths) {
    if (path != "-") {
      named.push_back(path);
      continue;
    }
    v1::ObjectFile& file = *request.add_files();
    file.set_name("stdin");
    file.set_text(std::string(std::istreambuf_iterator<char>(std::cin), {}));
  }
  for (const std::string& name : list_files(named, problems)) {
    const auto source = read_file(name, problems);
    if (!source) continue;
    v1::ObjectFile& file = *request.add_files();
    file.set_name(source->name);
    file.set_text(source->text);
  }
  for (const Problem& problem : problems) std::fprintf(stderr, "%s\n", problem.text().c_str());
  return problems.empty();
}

// What became of a request that changes objects.
int show(const char* command, const Result<v1::ApplyResponse>& response, bool dry_run) {
  if (!response) return fail(command, response.error().message());
  for (const std::string& problem : response->problems()) {
    std::fprintf(stderr, "%s\n", problem.c_str());
  }
  switch (response->verdict()) {
    case v1::ApplyResponse::MISTAKES:
      return fail(command, "nothing was changed: the mesh would not be right");
    case v1::ApplyResponse::CONFLICT:
      return fail(command, "nothing was changed: somebody else was faster (409)");
    case v1::ApplyResponse::REFUSED:
      return fail(command, "nothing was changed: sidecars that tried it out refuse it");
    default: break;
  }
  for (const v1::ObjectChange& change : response->changes()) {
    std::printf("%s %s %s%s\n", change.kind().c_str(), change.name().c_str(), word(change.verb()),
                dry_run ? " (not really)" : "");
  }
  if (!dry_run) std::printf("version %lld\n", static_cast<long long>(response->version()));
  return 0;
}

std::string yaml_of(const v1::Object& object) {
  if (object.text().empty()) {
    return cat("# ", object.kind(), " ", object.name(), " is in ", object.source(), "\n");
  }
  // Without the line of an earlier edit.
  std::string text = object.text();
  const std::size_t old = text.find("# resourceVersion: ");
  if (old != text.npos && (old == 0 || text[old - 1] == '\n')) {
    text.erase(old, text.find('\n', old) + 1 - old);
  }
  if (!text.ends_with('\n')) text += '\n';
  return cat(version_line(object.version()), text);
}

void print_objects(const v1::GetObjectsResponse& response, ObjectOutput output) {
  if (output == ObjectOutput::kYaml) {
    for (const v1::Object& object : response.objects()) {
      std::printf("---\n%s", yaml_of(object).c_str());
    }
    return;
  }
  if (output == ObjectOutput::kJson) {
    Json all = Json::array();
    for (const v1::Object& object : response.objects()) {
      all.push_back({{"kind", object.kind()},
                     {"name", object.name()},
                     {"resourceVersion", object.version()},
                     {"source", object.source()},
                     {"text", object.text()}});
    }
    std::printf("%s\n", all.dump(2).c_str());
    return;
  }
  std::printf("%-20s %-36s %-8s %s\n", "KIND", "NAME", "VERSION", "SOURCE");
  for (const v1::Object& object : response.objects()) {
    const std::string version = object.version() == 0 ? "-" : cat(object.version());
    std::printf("%-20s %-36s %-8s %s\n", object.kind().c_str(), object.name().c_str(),
                version.c_str(), object.source().c_str());
  }
}

}  // namespace

int apply_command(const std::string& state_directory, const std::vector<std::string>& paths,
                  bool dry_run) {
  v1::ApplyRequest request;
  if (!read_sources(paths, request)) return fail("apply", "nothing was changed");
  request.set_who(who_i_am());
  request.set_dry_run(dry_run);
  return show("apply", ask_apply(control_directory(state_directory), request), dry_run);
}

int delete_command(const std::string& state_directory, const std::string& kind,
                   const std::string& name) {
  v1::ApplyRequest request;
  request.set_who(who_i_am());
  request.add_remove()->set_kind(kind);
  request.mutable_remove(0)->set_name(name);
  return show("delete", ask_apply(control_directory(state_directory), request), false);
}

int get_command(const std::string& state_directory, const std::string& kind,
                const std::string& name, ObjectOutput output) {
  v1::GetObjectsRequest request;
  request.set_kind(kind);
  request.set_name(name);
  const auto response = ask_objects(control_directory(state_directory), request);
  if (!response) return fail("get", response.error().message());
  if (!name.empty() && response->objects().empty()) {
    return fail("get", cat("there is no ", kind, " ", name));
  }
  print_objects(*response, output);
  return 0;
}

int history_command(const std::string& state_directory, int most, Output output) {
  const auto response = ask_history(control_directory(state_directory), most);
  if (!response) return fail("history", response.error().message());
  Json all = Json::array();
  for (const v1::ObjectVersion& version : response->versions()) {
    Json changes = Json::array();
    std::string names;
    for (const v1::ObjectChange& change : version.changes()) {
      changes.push_back(
          {{"kind", change.kind()}, {"name", change.name()}, {"verb", word(change.verb())}});
      names += cat("    ", change.kind(), " ", change.name(), " ", word(change.verb()), "\n");
    }
    if (output == Output::kJson) {
      all.push_back({{"version", version.version()},
                     {"at", utc_text(WallTime(std::chrono::seconds(version.at_unix_s())))},
                     {"who", version.who()},
                     {"what", version.what()},
                     {"changes", changes}});
    } else {
      std::printf("%lld  %s  %s  %s\n%s", static_cast<long long>(version.version()),
                  utc_text(WallTime(std::chrono::seconds(version.at_unix_s()))).c_str(),
                  version.who().c_str(), version.what().c_str(), names.c_str());
    }
  }
  if (output == Output::kJson) std::printf("%s\n", all.dump(2).c_str());
  return 0;
}

int rollback_command(const std::string& state_directory, int version) {
  v1::RollbackRequest request;
  request.set_version(version);
  request.set_who(who_i_am());
  return show("rollback", ask_rollback(control_directory(state_directory), request), false);
}

}  // namespace glia
