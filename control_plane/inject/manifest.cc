#include "control_plane/inject/manifest.h"

#include <algorithm>
#include <map>
#include <optional>

#include "control_plane/inject/yaml_edit.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using Verdict = Decision::Verdict;

struct Part {
  std::string_view text;  // With the line "---" before it, if there is one.
  int line = 1;
};

// All of the text, cut at lines that begin with "---".
std::vector<Part> parts_of(std::string_view text) {
  std::vector<Part> parts;
  std::size_t begin = 0;
  int line = 1, first = 1;
  for (std::size_t at = 0; at < text.size(); ++line) {
    const bool cut = text.substr(at).starts_with("---") && at > begin;
    if (cut) {
      parts.push_back({text.substr(begin, at - begin), first});
      begin = at;
      first = line;
    }
    const std::size_t end = text.find('\n', at);
    at = end == text.npos ? text.size() : end + 1;
  }
  parts.push_back({text.substr(begin), first});
  return parts;
}

std::map<std::string, std::string> texts_of(const Json& map) {
  std::map<std::string, std::string> texts;
  for (const auto& [key, value] : map.items()) texts[key] = text_at(map, key.c_str());
  return texts;
}

std::string name_of_object(const Json& object) {
  const Json& meta = object_at(object, "metadata");
  std::string name = text_at(meta, "name");
  if (name.empty()) name = text_at(meta, "generateName");
  return cat(text_at(object, "kind"), name.empty() ? "" : " ", name);
}

// Of a whole manifest.
class Injector {
 public:
  Injector(Direction direction, const InjectSettings& defaults, const std::string& name_space)
      : direction_(direction), defaults_(defaults), name_space_(name_space) {}

  void learn_namespaces(const Json& object) {
    for (const Json& item : list_at(object, "items")) learn_namespaces(item);
    if (text_at(object, "kind") != "Namespace") return;
    const Json& meta = object_at(object, "metadata");
    const std::string name = text_at(meta, "name");
    namespaces_[name] = {.name = name,
                         .labels = texts_of(object_at(meta, "labels")),
                         .annotations = texts_of(object_at(meta, "annotations"))};
  }

  void change(Json& object) {
    each_pod(object, [&](Json& pod, const Json& owner) { change_pod(pod, owner); });
  }
  std::vector<ManifestLine> take_lines() { return std::move(lines_); }

 private:
  void change_pod(Json& pod, const Json& owner) {
    const std::string name = name_of_object(owner);
    if (direction_ == Direction::kUninject) {
      const bool injected =
          !text_at(object_at(object_at(pod, "metadata"), "annotations"), kInjectedAnnotation)
               .empty();
      pod = without_sidecar(std::move(pod));
      lines_.push_back({name, injected ? Decision{Verdict::kInject, "its sidecar is taken out"}
                                       : Decision{Verdict::kLeave, "it has no sidecar of Glia"}});
      return;
    }
    std::string where = text_at(object_at(owner, "metadata"), "namespace");
    if (where.empty()) where = name_space_;
    const auto known = namespaces_.find(where);
    const PodNamespace about =
        known != namespaces_.end() ? known->second : PodNamespace{where, {}, {}};
    // What an earlier run put in is no word of the pod's.
    Decision decision = decide(without_sidecar(pod), about, Asked::kByHand);
    if (decision.verdict == Verdict::kInject) {
      Result<Json> made = with_sidecar(pod, text_at(owner, "kind"), defaults_);
      if (made) {
        pod = *std::move(made);
      } else {
        decision = {Verdict::kRefuse, made.error().message()};
      }
    }
    lines_.push_back({name, std::move(decision)});
  }

  const Direction direction_;
  const InjectSettings& defaults_;
  const std::string& name_space_;
  std::map<std::string, PodNamespace> namespaces_;
  std::vector<ManifestLine> lines_;
};

Error at_line(int line, std::string_view why) { return invalid(cat("line ", line, ": ", why)); }

// A document whose text is JSON, which is written as JSON again.
std::optional<Json> json_document(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos || text[first] != '{') return {};
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return {};
  return json;
}

struct Document {
  Part part;
  std::optional<Json> json;      // Written as JSON,
  std::optional<YamlNode> yaml;  // or as YAML; neither: nothing is in it.
};

Result<Document> read_document(const Part& part) {
  Document document{.part = part, .json = json_document(part.text), .yaml = {}};
  if (document.json) return document;
  YamlFile file = read_yaml(part.text);
  if (file.failure) {
    return at_line(part.line - 1 + file.failure->line, file.failure->message);
  }
  if (file.documents.empty()) return document;
  if (file.documents.size() > 1)
    return at_line(part.line, "more than one document; write --- between");
  document.yaml = std::move(file.documents.front());
  if (document.yaml->kind != YamlNode::Kind::kMap) {
    return at_line(part.line, cat("is ", document.yaml->what(), ", not an object of Kubernetes"));
  }
  return document;
}

Result<std::string> changed(const Document& document, Injector& injector) {
  if (document.json) {
    Json object = *document.json;
    injector.change(object);
    if (object == *document.json) return std::string(document.part.text);
    return object.dump(2) + "\n";
  }
  if (!document.yaml) return std::string(document.part.text);
  Json object = json_of(*document.yaml);
  injector.change(object);
  Result<std::string> text = edited_yaml(document.part.text, *document.yaml, object);
  if (text) return text;
  return at_line(document.part.line, cat(name_of_object(object), ": ", text.error().message()));
}

}  // namespace

bool ManifestText::refused() const {
  return std::ranges::any_of(
      lines, [](const ManifestLine& line) { return line.decision.verdict == Verdict::kRefuse; });
}

void each_pod(Json& object, const std::function<void(Json& pod, const Json& object)>& visit) {
  if (!object.is_object()) return;
  const auto inner = [](Json& parent, const char* key) -> Json* {
    const auto found = parent.find(key);
    return found != parent.end() && found->is_object() ? &*found : nullptr;
  };
  const std::string kind = text_at(object, "kind");
  if (kind.ends_with("List") && object.contains("items") && object["items"].is_array()) {
    for (Json& item : object["items"]) each_pod(item, visit);
    return;
  }
  Json* spec = inner(object, "spec");
  if (spec == nullptr) return;
  // Visitors are shown what the object was.
  const Json owner = {{"kind", kind}, {"metadata", object_at(object, "metadata")}};
  if (kind == "Pod") return visit(object, owner);
  if (Json* job = inner(*spec, "jobTemplate")) spec = inner(*job, "spec");
  Json* pod = spec != nullptr ? inner(*spec, "template") : nullptr;
  if (pod == nullptr || !object_at(*pod, "spec").contains("containers")) return;
  visit(*pod, owner);
}

Result<ManifestText> inject_manifest(std::string_view text, Direction direction,
                                     const InjectSettings& defaults,
                                     const std::string& name_space) {
  Injector injector(direction, defaults, name_space);
  std::vector<Document> documents;
  for (const Part& part : parts_of(text)) {
    TRY(Document document, read_document(part));
    if (document.json) injector.learn_namespaces(*document.json);
    if (document.yaml) injector.learn_namespaces(json_of(*document.yaml));
    documents.push_back(std::move(document));
  }
  ManifestText made;
  for (const Document& document : documents) {
    TRY(const std::string part, changed(document, injector));
    made.text += part;
  }
  made.lines = injector.take_lines();
  return made;
}

}  // namespace glia
