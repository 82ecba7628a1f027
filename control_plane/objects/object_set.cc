#include "control_plane/objects/object_set.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "control_plane/objects/reading.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

void list_path(const std::string& path, std::vector<std::string>& files,
               std::vector<Problem>& problems) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    if (std::filesystem::exists(path, error)) return files.push_back(path);
    problems.push_back({path, 0, 0, "there is no such file or directory"});
    return;
  }
  std::vector<std::string> found;
  for (auto entry = std::filesystem::directory_iterator(path, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const auto extension = entry->path().extension();
    const bool hidden = entry->path().filename().string().starts_with('.');  // Of editors.
    if (!hidden && (extension == ".yaml" || extension == ".yml")) {
      found.push_back(entry->path().string());
    }
  }
  if (error) problems.push_back({path, 0, 0, cat("cannot be read: ", error.message())});
  if (!error && found.empty()) problems.push_back({path, 0, 0, "has no *.yaml file"});
  std::sort(found.begin(), found.end());
  files.insert(files.end(), found.begin(), found.end());
}

template <class T>
const T* find(const std::vector<T>& objects, std::string_view ns, std::string_view name) {
  const std::optional<std::size_t> place = place_of(objects, ns, name);
  return place ? &objects[*place] : nullptr;
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

const MeshService* ObjectSet::backend(std::string_view kind, std::string_view ns,
                                      std::string_view name) const {
  if (kind == MeshService::kKind) return service(ns, name);
  return service(ns, cat(MeshService::kPoolMark, name));
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

const ModelPolicy* ObjectSet::model_policy(const MeshService& service) const {
  return service.model_policy ? &model_policies[*service.model_policy] : nullptr;
}

const Canary* ObjectSet::canary(const MeshService& service) const {
  return service.canary ? &canaries[*service.canary] : nullptr;
}

const Workload* ObjectSet::workload_at(std::string_view address, uint16_t port) const {
  const auto found = sockets.find(socket_text(address, port));
  if (found == sockets.end()) return nullptr;
  const Workload& workload = workloads[found->second];
  // Not its application, nor what its sidecar keeps for its own machine.
  const bool serves = workload.spec.address == address &&
                      std::ranges::any_of(workload.spec.ports,
                                          [&](const Workload::Port& p) { return p.port == port; });
  return serves ? &workload : nullptr;
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
  std::size_t all = 1;
  each_list([&](auto list) { all += (this->*list).size(); });
  return all;
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
  std::vector<ReadingRef> readings;
  for (const SourceText& source : sources) readings.push_back(read_source(source));
  return combine(readings, references);
}

std::vector<std::string> list_files(const std::vector<std::string>& paths,
                                    std::vector<Problem>& problems) {
  std::vector<std::string> files;
  for (const std::string& path : paths) list_path(path, files, problems);
  if (files.size() > kMaxFiles) {
    problems.push_back({files[kMaxFiles], 0, 0, cat("there are more than ", kMaxFiles, " files")});
    files.resize(kMaxFiles);
  }
  return files;
}

std::optional<SourceText> read_file(const std::string& name, std::vector<Problem>& problems) {
  std::ifstream file(name, std::ios::binary);
  std::string text(kMaxFileBytes + 1, '\0');
  if (file) file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || (!file.eof() && file.fail())) {
    problems.push_back({name, 0, 0, "the file cannot be read"});
    return {};
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMaxFileBytes) {
    problems.push_back(
        {name, 0, 0, cat("the file is larger than ", kMaxFileBytes, " bytes; split it")});
    return {};
  }
  return SourceText{name, std::move(text)};
}

LoadReport load(const std::vector<std::string>& paths) {
  std::vector<Problem> problems;
  std::vector<SourceText> sources;
  for (const std::string& name : list_files(paths, problems)) {
    if (auto source = read_file(name, problems)) sources.push_back(*std::move(source));
  }
  LoadReport report = parse(sources);
  // What could not be read explains what seems to be missing.
  report.problems.insert(report.problems.begin(), problems.begin(), problems.end());
  return report;
}

}  // namespace glia
