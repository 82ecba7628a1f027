#include "control_plane/objects/object_set.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <tuple>

#include "control_plane/objects/check.h"
#include "control_plane/objects/digest.h"
#include "control_plane/objects/kind.h"
#include "control_plane/objects/kinds.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

// Kinds of the ecosystem and of later versions; a better answer than "did you mean Mesh?".
constexpr std::string_view kKindsNotYet[] = {
    "Gateway",  "GatewayClass",          "TCPRoute",   "TLSRoute",
    "UDPRoute", "InferencePool",         "Deployment", "Pod",
    "List",     "RequestAuthentication", "ModelPolicy"};

const std::string* scalar(const YamlNode* node) {
  return node && node->kind == YamlNode::Kind::kScalar ? &node->text : nullptr;
}

const std::string* scalar_at(const YamlNode& document, std::string_view outer,
                             std::string_view inner) {
  const YamlNode* node = document.find(outer);
  return node ? scalar(node->find(inner)) : nullptr;
}

// Names come from whoever wrote the file; a sentence stays one short line.
std::string shown(std::string_view name) {
  constexpr std::size_t kShown = 100;
  std::string out;
  append_json_escaped(out, name.substr(0, kShown));
  return out;
}

// What a file says is shown to people and written to logs: a line break or an escape sequence in it
// must not become one there.
void make_one_line(std::string& sentence) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : sentence) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7F)
      out += c;
    else
      out += cat("\\x", kHex[byte >> 4], kHex[byte & 15]);
  }
  sentence = std::move(out);
}

class Loader {
 public:
  LoadReport run(const std::vector<SourceText>& sources, References references) {
    std::string all;
    for (const SourceText& source : sources) {
      report_.files.push_back(source.name);
      all += cat(source.text.size(), "\n", source.text);
      read_source(source);
    }
    if (objects_ > kMaxObjects) {
      report_.problems.push_back(
          {"", 0, 0, cat("there are ", objects_, " objects, the limit is ", kMaxObjects)});
      return finish();
    }
    ObjectSet& set = draft_.objects;
    set.version = digest(all);
    settle_mesh();
    settle(set.workloads);
    settle(set.services);
    settle(set.http_routes);
    settle(set.grpc_routes);
    settle(set.traffic_policies);
    settle(set.slices);
    settle(set.grants);
    settle(set.policies);
    settle(set.canaries);
    check_objects(set, unread_, references, report_.problems);
    return finish();
  }

 private:
  void read_source(const SourceText& source) {
    const YamlFile file = read_yaml(source.text);
    for (const YamlNode& document : file.documents) {
      if (++objects_ > kMaxObjects) return;
      read_document(source.name, document);
    }
    if (!file.failure) return;
    unread_.unknown = true;
    report_.problems.push_back(
        {source.name, file.failure->line, file.failure->column, file.failure->message});
  }

  void read_document(const std::string& file, const YamlNode& document) {
    const std::string* kind_name = scalar(document.find("kind"));
    const Kind* kind = nullptr;
    for (const Kind& candidate : kinds()) {
      if (kind_name && candidate.name == *kind_name) kind = &candidate;
    }
    if (!kind) return unknown_kind(file, document, kind_name);

    const std::string* name = scalar_at(document, "metadata", "name");
    const std::string* ns = scalar_at(document, "metadata", "namespace");
    std::string object = kind->name;
    if (name) object += cat(" ", ns && *ns != "default" ? cat(shown(*ns), "/") : "", shown(*name));
    Reader reader(file, object, report_.problems);
    kind->read(document, reader, draft_);
    if (reader.errors() == 0) return;
    if (name)
      unread_.keys.insert(cat(kind->name, " ", ns ? *ns : "default", "/", *name));
    else
      unread_.unknown = true;
  }

  void unknown_kind(const std::string& file, const YamlNode& document, const std::string* name) {
    unread_.unknown = true;
    const YamlNode* kind = document.find("kind");
    const YamlNode& at = kind ? *kind : document;
    std::string sentence;
    const auto known = kind_names();
    if (document.kind != YamlNode::Kind::kMap) {
      sentence =
          cat("an object must be a map with apiVersion, kind and metadata, not ", document.what());
    } else if (!name) {
      sentence = "kind is missing or not text; it must be";
      for (const std::string_view k : known) sentence += cat(k == known.front() ? " " : ", ", k);
    } else if (std::find(std::begin(kKindsNotYet), std::end(kKindsNotYet), *name) !=
               std::end(kKindsNotYet)) {
      sentence = cat("kind ", *name, " is not supported yet; remove the object");
    } else {
      sentence = cat("kind ", shown(*name), " is not known");
      const auto meant = closest_of(*name, known);
      sentence += meant ? cat("; did you mean ", *meant, "?") : "; the kinds are";
      for (const std::string_view k : known) {
        if (!meant) sentence += cat(k == known.front() ? " " : ", ", k);
      }
    }
    report_.problems.push_back({file, at.line, at.column, std::move(sentence)});
  }

  template <class T>
  void twice(const T& again, const T& first) {
    report_.problems.push_back(
        {again.metadata.file, again.metadata.at.line, again.metadata.at.column,
         cat(T::kKind, " ", again.metadata.display(), ": is there twice, first in ",
             first.metadata.file, ":", first.metadata.at.line)});
  }

  // Sorts and drops doubles, the first of which stays.
  template <class T>
  void settle(std::vector<T>& objects) {
    std::map<std::pair<std::string, std::string>, T> sorted;
    for (T& object : objects) {
      const auto key = std::pair(object.metadata.ns, object.metadata.name);
      const auto [place, first] = sorted.try_emplace(key, std::move(object));
      if (!first) twice(object, place->second);
    }
    objects.clear();
    for (auto& [key, object] : sorted) objects.push_back(std::move(object));
  }

  void settle_mesh() {
    if (draft_.meshes.empty()) {
      if (unread_.any()) return;  // It may be among those.
      report_.problems.push_back(
          {report_.files.empty() ? "" : report_.files[0], 0, 0,
           "there is no Mesh; add one: {apiVersion: glia.dev/v1, kind: Mesh, metadata: {name: "
           "demo}}"});
      return;
    }
    draft_.objects.mesh = draft_.meshes[0];
    for (std::size_t i = 1; i < draft_.meshes.size(); ++i) {
      const Metadata& again = draft_.meshes[i].metadata;
      const Metadata& first = draft_.meshes[0].metadata;
      report_.problems.push_back(
          {again.file, again.at.line, again.at.column,
           cat("Mesh ", again.display(), ": there must be exactly one Mesh, the first is in ",
               first.file, ":", first.at.line)});
    }
  }

  LoadReport finish() {
    for (Problem& problem : report_.problems) make_one_line(problem.message);
    sort_problems();
    report_.objects = std::move(draft_.objects);
    return std::move(report_);
  }

  void sort_problems() {
    auto& problems = report_.problems;
    std::map<std::string_view, std::size_t> places;
    for (std::size_t i = 0; i < report_.files.size(); ++i) places.emplace(report_.files[i], i + 1);
    // Too many to list: no error may hide behind warnings.
    const bool errors_first = problems.size() > kMaxProblems;
    const auto key = [&](const Problem& p) {
      const auto place = places.find(p.file);
      return std::tuple(errors_first && p.severity == Problem::Severity::kWarning,
                        place == places.end() ? 0 : place->second, p.line, p.column,
                        std::string_view(p.message));
    };
    std::sort(problems.begin(), problems.end(),
              [&](const Problem& a, const Problem& b) { return key(a) < key(b); });
    // A route of several ports of a Service is looked at for each.
    const auto again = std::ranges::unique(
        problems, [&](const Problem& a, const Problem& b) { return key(a) == key(b); });
    problems.erase(again.begin(), again.end());
    if (!errors_first || problems.size() <= kMaxProblems) return;
    const std::size_t more = problems.size() - kMaxProblems;
    problems.resize(kMaxProblems);
    problems.push_back({"", 0, 0, cat("and ", more, " more problems"), problems[0].severity});
  }

  LoadReport report_;
  Draft draft_;
  Unread unread_;
  std::size_t objects_ = 0;
};

void add_file(const std::filesystem::path& path, std::vector<SourceText>& sources,
              std::vector<Problem>& problems) {
  const std::string name = path.string();
  if (sources.size() >= kMaxFiles) {
    if (sources.size() == kMaxFiles) {
      problems.push_back({name, 0, 0, cat("there are more than ", kMaxFiles, " files")});
    }
    return;
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxFileBytes + 1, '\0');
  if (file) file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || (!file.eof() && file.fail())) {
    problems.push_back({name, 0, 0, "the file cannot be read"});
    return;
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMaxFileBytes) {
    problems.push_back({name, 0, 0,
                        cat("the file is larger than ", kMaxFileBytes,
                            " bytes; split "
                            "it")});
    return;
  }
  sources.push_back({name, std::move(text)});
}

void add_path(const std::string& path, std::vector<SourceText>& sources,
              std::vector<Problem>& problems) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    if (!std::filesystem::exists(path, error)) {
      problems.push_back({path, 0, 0, "there is no such file or directory"});
      return;
    }
    return add_file(path, sources, problems);
  }
  std::vector<std::filesystem::path> files;
  for (auto entry = std::filesystem::directory_iterator(path, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const auto extension = entry->path().extension();
    const bool hidden = entry->path().filename().string().starts_with('.');  // Of editors.
    if (!hidden && (extension == ".yaml" || extension == ".yml")) files.push_back(entry->path());
  }
  if (error) problems.push_back({path, 0, 0, cat("cannot be read: ", error.message())});
  if (!error && files.empty()) problems.push_back({path, 0, 0, "has no *.yaml file"});
  std::sort(files.begin(), files.end());
  for (const auto& file : files) add_file(file, sources, problems);
}

template <class T>
const T* find(const std::vector<T>& objects, std::string_view ns, std::string_view name) {
  const auto place = std::lower_bound(objects.begin(), objects.end(), std::pair(ns, name),
                                      [](const T& object, const auto& key) {
                                        return std::pair<std::string_view, std::string_view>(
                                                   object.metadata.ns, object.metadata.name) < key;
                                      });
  const bool found =
      place != objects.end() && place->metadata.ns == ns && place->metadata.name == name;
  return found ? &*place : nullptr;
}

}  // namespace

std::string Problem::text() const {
  std::string out;
  if (!file.empty()) out += cat(file, ":");
  if (line > 0) out += cat(line, ":", column, ":");
  return cat(out, out.empty() ? "" : " ", severity == Severity::kWarning ? "warning: " : "",
             message);
}

bool selects(const TextMap& selector, const TextMap& labels) {
  return std::all_of(selector.begin(), selector.end(), [&](const auto& wanted) {
    const auto found = labels.find(wanted.first);
    return found != labels.end() && found->second == wanted.second;
  });
}

const Workload* ObjectSet::workload(std::string_view key) const {
  const std::size_t slash = key.find('/');
  if (slash == key.npos) return find(workloads, "default", key);
  return find(workloads, key.substr(0, slash), key.substr(slash + 1));
}

const MeshService* ObjectSet::service(std::string_view ns, std::string_view name) const {
  return find(services, ns, name);
}

const TrafficPolicy* ObjectSet::traffic_policy(const MeshService& service, uint16_t port) const {
  const TrafficPolicy* general = nullptr;
  for (const std::size_t place : service.traffic_policies) {
    const TrafficPolicy& policy = traffic_policies[place];
    if (policy.spec.target_ref.port == port) return &policy;
    if (!policy.spec.target_ref.port && general == nullptr) general = &policy;
  }
  return general;
}

const Canary* ObjectSet::canary(const MeshService& service) const {
  return service.canary ? &canaries[*service.canary] : nullptr;
}

const Workload* ObjectSet::workload_at(std::string_view address, uint16_t port) const {
  const auto found = std::ranges::find_if(workloads, [&](const Workload& workload) {
    return workload.spec.address == address &&
           std::ranges::any_of(workload.spec.ports,
                               [&](const Workload::Port& p) { return p.port == port; });
  });
  return found == workloads.end() ? nullptr : &*found;
}

std::string ObjectSet::spiffe_id(const Workload& workload) const {
  return cat("spiffe://", mesh.spec.trust_domain, "/ns/", workload.metadata.ns, "/sa/",
             workload.spec.identity);
}

std::string ObjectSet::spiffe_id(std::string_view identity, std::string_view ns) const {
  if (identity.starts_with("spiffe://")) return std::string(identity);
  const std::size_t slash = identity.find('/');
  if (slash != identity.npos) {
    ns = identity.substr(0, slash);
    identity.remove_prefix(slash + 1);
  }
  return cat("spiffe://", mesh.spec.trust_domain, "/ns/", ns, "/sa/", identity);
}

std::size_t ObjectSet::size() const {
  return 1 + workloads.size() + services.size() + http_routes.size() + grpc_routes.size() +
         traffic_policies.size() + slices.size() + grants.size() + policies.size() +
         canaries.size();
}

bool LoadReport::ok() const {
  return std::none_of(problems.begin(), problems.end(),
                      [](const Problem& p) { return p.severity == Problem::Severity::kError; });
}

std::string LoadReport::errors() const {
  std::string out;
  for (const Problem& problem : problems) {
    if (problem.severity != Problem::Severity::kError) continue;
    out += cat(out.empty() ? "" : "\n", problem.text());
  }
  return out;
}

LoadReport parse(const std::vector<SourceText>& sources, References references) {
  return Loader().run(sources, references);
}

LoadReport load(const std::vector<std::string>& paths) {
  std::vector<SourceText> sources;
  std::vector<Problem> problems;
  for (const std::string& path : paths) add_path(path, sources, problems);
  LoadReport report = parse(sources);
  // What could not be read explains what seems to be missing.
  report.problems.insert(report.problems.begin(), problems.begin(), problems.end());
  return report;
}

}  // namespace glia
