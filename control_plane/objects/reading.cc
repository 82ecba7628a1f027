#include "control_plane/objects/reading.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "control_plane/objects/kinds.h"
#include "control_plane/objects/yaml.h"
#include "proxy/base/check.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

// Kinds of the ecosystem and of later versions; a better answer than "did you mean Mesh?".
constexpr std::string_view kKindsNotYet[] = {"Gateway",  "GatewayClass", "TCPRoute",
                                             "TLSRoute", "UDPRoute",     "Deployment",
                                             "Pod",      "List",         "RequestAuthentication"};

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

// What a part of a document says, the same wherever it stands; lengths keep apart what is not one.
void add_content(const YamlNode& node, std::string& out) {
  out += cat(static_cast<int>(node.kind), node.quoted ? "q" : "p", node.text.size(), ":", node.text,
             node.items.size(), ":");
  for (const YamlNode& key : node.keys) add_content(key, out);
  for (const YamlNode& item : node.items) add_content(item, out);
}

std::size_t objects_in(const Draft& draft) {
  std::size_t all = draft.meshes.size();
  each_list([&](auto list) { all += (draft.objects.*list).size(); });
  return all;
}

class SourceReader {
 public:
  std::shared_ptr<const Reading> run(const SourceText& source, MistakesOf mistakes) {
    reading_.name = source.name;
    reading_.mistakes = mistakes;
    reading_.digest = source_digest(source);
    const YamlFile file = read_yaml(source.text);
    for (const YamlNode& document : file.documents) {
      if (++reading_.documents > kMaxObjects) break;
      read_document(source.name, document);
    }
    if (file.failure) {
      reading_.unread.unknown = true;
      reading_.problems.push_back(
          {source.name, file.failure->line, file.failure->column, file.failure->message});
    }
    // A kind whose list each_list() does not know would never be in force.
    CHECK(objects_in(reading_.draft) == read_);
    return std::make_shared<const Reading>(std::move(reading_));
  }

 private:
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
    Reader reader(file, object, reading_.problems);
    kind->read(document, reader, reading_.draft);
    std::string key = cat(kind->name, " ", ns ? *ns : "default", "/", name ? *name : "");
    if (reader.errors() == 0) {
      ++read_;
      std::string content;
      add_content(document, content);
      reading_.objects.emplace(std::move(key), digest(content));
    } else if (name) {
      reading_.unread.keys.insert(std::move(key));
    } else {
      reading_.unread.unknown = true;
    }
  }

  void unknown_kind(const std::string& file, const YamlNode& document, const std::string* name) {
    reading_.unread.unknown = true;
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
    reading_.problems.push_back({file, at.line, at.column, std::move(sentence)});
  }

  Reading reading_;
  std::size_t read_ = 0;
};

class Combination {
 public:
  LoadReport run(const std::vector<ReadingRef>& readings, References references) {
    std::size_t documents = 0;
    for (const ReadingRef& reading : readings) {
      add(*reading);
      documents += reading->documents;
      draft_.objects.sources = draft_.objects.sources + reading->digest;
    }
    if (documents > kMaxObjects) {
      report_.problems.push_back(
          {"", 0, 0, cat("there are ", documents, " objects, the limit is ", kMaxObjects)});
      return finish(references);
    }
    ObjectSet& set = draft_.objects;
    set.version = set.sources.text();
    settle_mesh();
    each_list([&](auto list) { settle(set.*list); });
    add_pools(set);
    check_objects(set, unread_, references, report_.problems);
    return finish(references);
  }

 private:
  void add(const Reading& reading) {
    report_.files.push_back(reading.name);
    report_.problems.insert(report_.problems.end(), reading.problems.begin(),
                            reading.problems.end());
    unread_.unknown = unread_.unknown || reading.unread.unknown;
    unread_.keys.insert(reading.unread.keys.begin(), reading.unread.keys.end());
    const Draft& from = reading.draft;
    draft_.meshes.insert(draft_.meshes.end(), from.meshes.begin(), from.meshes.end());
    each_list([&](auto list) {
      auto& all = draft_.objects.*list;
      all.insert(all.end(), (from.objects.*list).begin(), (from.objects.*list).end());
    });
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

  LoadReport finish(References references) {
    for (Problem& problem : report_.problems) make_one_line(problem.message);
    sort_problems(references);
    report_.objects = std::move(draft_.objects);
    return std::move(report_);
  }

  // Of many authors: the first error of a source says that it is wrong, and none may hide behind another's.
  // How many are left?
  static std::size_t one_error_each(std::vector<Problem>& problems) {
    std::set<std::string> wrong;
    std::erase_if(problems, [&wrong](const Problem& problem) {
      return problem.severity == Problem::Severity::kError && !problem.file.empty() &&
             !wrong.insert(problem.file).second;
    });
    return wrong.size();
  }

  void sort_problems(References references) {
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
    std::size_t most = kMaxProblems;
    if (references == References::kMayBeMissing) most = std::max(most, one_error_each(problems));
    if (!errors_first || problems.size() <= most) return;
    const std::size_t more = problems.size() - most;
    problems.resize(most);
    problems.push_back({"", 0, 0, cat("and ", more, " more problems"), problems[0].severity});
  }

  LoadReport report_;
  Draft draft_;
  Unread unread_;
};

}  // namespace

SetDigest source_digest(const SourceText& source) {
  return SetDigest::of(cat(source.name.size(), " ", source.name, "\n", source.text));
}

ReadingRef read_source(const SourceText& source, MistakesOf mistakes) {
  return SourceReader().run(source, mistakes);
}

LoadReport combine(const std::vector<ReadingRef>& readings, References references) {
  return Combination().run(readings, references);
}

}  // namespace glia
