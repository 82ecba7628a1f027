#include "control_plane/explain/diff.h"

#include <algorithm>
#include <map>

#include "control_plane/translate/translate.h"
#include "google/protobuf/text_format.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

using Kind = ResourceChange::Kind;
using Texts = std::map<std::string, std::string>;  // "cluster a" -> the resource as text.

std::string text_of(const google::protobuf::Message& message) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetExpandAny(true);
  std::string out;
  printer.PrintToString(message, &out);
  return out;
}

// Of routes, each virtual host is shown alone: one edit rarely touches more.
Texts texts_of(const Resources& resources) {
  Texts texts;
  for (const auto& listener : resources.listeners) {
    texts[cat("listener ", listener.name())] = text_of(listener);
  }
  for (const auto& cluster : resources.clusters) {
    texts[cat("cluster ", cluster.name())] = text_of(cluster);
  }
  for (const auto& set : resources.endpoints) {
    texts[cat("endpoints ", set.cluster_name())] = text_of(set);
  }
  for (const auto& table : resources.routes) {
    for (const auto& host : table.virtual_hosts()) {
      texts[cat("host ", host.name(), " of routes ", table.name())] = text_of(host);
    }
  }
  return texts;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// The longest common subsequence stays; what is left of both is shown. `room[i][j]` is its length
// from line i of `a` and line j of `b` on.
std::vector<std::string> changed_lines(const std::string& before, const std::string& after) {
  std::vector<std::string_view> a = lines_of(before), b = lines_of(after);
  const auto [x, y] = std::ranges::mismatch(a, b);
  b.erase(b.begin(), y);
  a.erase(a.begin(), x);
  while (!a.empty() && !b.empty() && a.back() == b.back()) a.pop_back(), b.pop_back();
  constexpr std::size_t kMostCompared = 2000;  // lines of each
  if (a.size() > kMostCompared || b.size() > kMostCompared) {
    return {cat("- ", a.size(), " lines"), cat("+ ", b.size(), " lines")};
  }
  std::vector<std::vector<uint16_t>> room(a.size() + 1, std::vector<uint16_t>(b.size() + 1));
  for (std::size_t i = a.size(); i-- > 0;) {
    for (std::size_t j = b.size(); j-- > 0;) {
      room[i][j] = a[i] == b[j] ? static_cast<uint16_t>(room[i + 1][j + 1] + 1)
                                : std::max(room[i + 1][j], room[i][j + 1]);
    }
  }
  std::vector<std::string> out;
  for (std::size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    if (i < a.size() && j < b.size() && a[i] == b[j]) {
      ++i, ++j;
    } else if (j == b.size() || (i < a.size() && room[i + 1][j] >= room[i][j + 1])) {
      out.push_back(cat("- ", a[i++]));
    } else {
      out.push_back(cat("+ ", b[j++]));
    }
  }
  if (out.size() > ResourceChange::kMostLines) {
    const std::size_t more = out.size() - ResourceChange::kMostLines;
    out.resize(ResourceChange::kMostLines);
    out.push_back(cat("  and ", more, " more lines"));
  }
  return out;
}

std::vector<ResourceChange> changes_between(const Texts& before, const Texts& after) {
  std::vector<ResourceChange> changes;
  for (const auto& [what, text] : before) {
    const auto found = after.find(what);
    if (found == after.end()) {
      changes.push_back({Kind::kRemoved, what, {}});
    } else if (found->second != text) {
      changes.push_back({Kind::kChanged, what, changed_lines(text, found->second)});
    }
  }
  for (const auto& [what, text] : after) {
    if (!before.contains(what)) changes.push_back({Kind::kAdded, what, {}});
  }
  return changes;
}

std::string text_of(const std::vector<ResourceChange>& changes) {
  std::string text;
  for (const ResourceChange& change : changes) {
    const char mark = change.kind == Kind::kAdded ? '+' : change.kind == Kind::kRemoved ? '-' : '~';
    text += cat("  ", std::string(1, mark), " ", change.what, "\n");
    for (const std::string& line : change.lines) text += cat("      ", line, "\n");
  }
  return text;
}

std::string joined_names(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    text += cat(i > 0 ? ", " : "", names[i]);
  }
  return names.size() > kShown ? cat(text, " and ", names.size() - kShown, " more") : text;
}

}  // namespace

MeshDiff diff(const ObjectSet& before, const ObjectSet& after) {
  MeshDiff result;
  std::map<std::string, std::size_t> groups;  // Changes as text -> place in result.changes.
  for (const Workload& workload : before.workloads) {
    const std::string key = workload.metadata.key();
    const Workload* again = after.workload(key);
    if (again == nullptr) {
      result.left.push_back(key);
      continue;
    }
    auto changes =
        changes_between(texts_of(translate(before, workload)), texts_of(translate(after, *again)));
    if (changes.empty()) {
      ++result.unchanged;
      continue;
    }
    const auto [group, fresh] = groups.emplace(text_of(changes), result.changes.size());
    if (fresh) result.changes.push_back({{}, std::move(changes)});
    result.changes[group->second].workloads.push_back(key);
  }
  for (const Workload& workload : after.workloads) {
    const std::string key = workload.metadata.key();
    if (before.workload(key) == nullptr) result.joined.push_back(key);
  }
  return result;
}

std::string MeshDiff::text() const {
  std::string text;
  if (!joined.empty()) text += cat("new sidecars may join: ", joined_names(joined), "\n");
  if (!left.empty()) text += cat("no longer known: ", joined_names(left), "\n");
  for (const SidecarChange& change : changes) {
    text += cat(joined_names(change.workloads), "\n", text_of(change.changes));
  }
  return cat(text, unchanged, unchanged == 1 ? " sidecar is" : " sidecars are", " sent nothing\n");
}

}  // namespace glia
