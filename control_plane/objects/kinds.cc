#include "control_plane/objects/kinds.h"

#include <algorithm>

#include "control_plane/objects/kind.h"
#include "proxy/base/check.h"
#include "proxy/base/text.h"

namespace glia {

namespace {

using Support = FieldShape::Support;

std::string quoted(std::string_view text) {
  std::string out = "\"";
  append_json_escaped(out, text);
  return out + '"';
}

// Writes indented JSON; commas are its business.
class JsonWriter {
 public:
  void open(char bracket) {
    out_ += bracket;
    ++depth_;
    first_ = true;
  }
  void close(char bracket) {
    --depth_;
    if (!first_) line();
    first_ = false;
    out_ += bracket;
  }
  void item() {
    if (!first_) out_ += ',';
    first_ = false;
    line();
  }
  void key(std::string_view name) {
    item();
    out_ += cat(quoted(name), ": ");
  }
  void raw(std::string_view text) { out_ += text; }
  void member(std::string_view name, std::string_view text) {
    key(name);
    raw(quoted(text));
  }
  void list(std::string_view name, const std::vector<std::string>& items) {
    key(name);
    out_ += '[';
    for (std::size_t i = 0; i < items.size(); ++i) out_ += cat(i ? ", " : "", quoted(items[i]));
    out_ += ']';
  }
  std::string take() { return out_ + '\n'; }

 private:
  void line() {
    out_ += '\n';
    out_.append(2 * depth_, ' ');
  }
  std::string out_;
  std::size_t depth_ = 0;
  bool first_ = true;
};

void write_shape(const Shape& shape, JsonWriter& json);

void write_fields(const Shape& shape, JsonWriter& json) {
  json.member("type", "object");
  json.key("additionalProperties");
  json.raw("false");
  std::vector<std::string> required;
  json.key("properties");
  json.open('{');
  for (const FieldShape& field : shape.fields) {
    if (field.support == Support::kNotYet) continue;
    if (field.support == Support::kRequired) required.push_back(field.name);
    json.key(field.name);
    json.open('{');
    if (!field.documentation.empty()) json.member("description", field.documentation);
    if (!field.default_text.empty()) json.member("x-default", field.default_text);
    write_shape(*field.shape, json);
    json.close('}');
  }
  json.close('}');
  if (!required.empty()) json.list("required", required);
}

void write_shape(const Shape& shape, JsonWriter& json) {
  switch (shape.kind) {
    case Shape::Kind::kText:
      json.member("type", "string");
      if (!shape.values.empty()) json.list("enum", shape.values);
      if (!shape.pattern.empty()) json.member("pattern", shape.pattern);
      return;
    case Shape::Kind::kInteger:
      json.member("type", "integer");
      json.key("minimum");
      json.raw(cat(shape.minimum));
      json.key("maximum");
      json.raw(cat(shape.maximum));
      return;
    case Shape::Kind::kNumber:
      json.member("type", "number");
      json.key("minimum");
      json.raw(cat(shape.minimum));
      json.key("maximum");
      json.raw(cat(shape.maximum));
      return;
    case Shape::Kind::kBoolean: json.member("type", "boolean"); return;
    case Shape::Kind::kTextOrInteger:
      json.key("type");
      json.raw("[\"string\", \"integer\"]");
      return;
    case Shape::Kind::kTextMap:
      json.member("type", "object");
      json.key("additionalProperties");
      json.raw("{\"type\": \"string\"}");
      return;
    case Shape::Kind::kList:
      json.member("type", "array");
      if (shape.min_items > 0) {
        json.key("minItems");
        json.raw(cat(shape.min_items));
      }
      json.key("maxItems");
      json.raw(cat(shape.max_items));
      json.key("items");
      json.open('{');
      write_shape(*shape.item, json);
      json.close('}');
      return;
    case Shape::Kind::kObject: write_fields(shape, json); return;
  }
}

std::string list_of(const std::vector<std::string>& values) {
  std::string out;
  for (const std::string& value : values) out += cat(out.empty() ? "`" : ", `", value, "`");
  return out;
}

// The value of a field for the table of the page.
std::string type_text(const Shape& shape) {
  switch (shape.kind) {
    case Shape::Kind::kText: return shape.values.empty() ? shape.what : list_of(shape.values);
    case Shape::Kind::kNumber:
    case Shape::Kind::kInteger: return cat(shape.what, ", ", shape.minimum, " to ", shape.maximum);
    case Shape::Kind::kBoolean: return "true or false";
    case Shape::Kind::kTextMap: return cat("map: ", shape.what);
    case Shape::Kind::kList: return cat("list: ", type_text(*shape.item));
    case Shape::Kind::kTextOrInteger:
    case Shape::Kind::kObject: return shape.what;
  }
  return "";
}

// "|" would end a cell of the table.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

void write_rows(const Shape& shape, const std::string& path, std::string& page) {
  for (const FieldShape& field : shape.fields) {
    if (field.support == Support::kNotYet) continue;
    const Shape& value = *field.shape;
    std::string name = path.empty() ? field.name : cat(path, ".", field.name);
    if (value.kind == Shape::Kind::kList) name += "[]";
    const bool has_default = !field.default_text.empty();
    const std::string presence = field.support == Support::kRequired ? "required"
                                 : has_default                       ? field.default_text
                                                                     : "";
    const bool heading = path.empty() && name == "spec";
    if (!heading)
      page += cat("| `", name, "` | ", cell(type_text(value)), " | ", cell(presence), " | ",
                  cell(field.documentation), " |\n");
    const Shape& inner = value.kind == Shape::Kind::kList ? *value.item : value;
    if (inner.kind == Shape::Kind::kObject) write_rows(inner, name, page);
  }
}

void collect_not_yet(const Shape& shape, const std::string& path, std::string& out) {
  for (const FieldShape& field : shape.fields) {
    const std::string name = path.empty() ? field.name : cat(path, ".", field.name);
    if (field.support == Support::kNotYet) {
      out += cat(out.empty() ? "`" : ", `", name, "`");
      continue;
    }
    const bool list = field.shape->kind == Shape::Kind::kList;
    const Shape& inner = list ? *field.shape->item : *field.shape;
    if (inner.kind == Shape::Kind::kObject) collect_not_yet(inner, list ? name + "[]" : name, out);
  }
}

const Shape& field_shape(const Shape& object, std::string_view name) {
  for (const FieldShape& field : object.fields) {
    if (field.name == name) return *field.shape;
  }
  CHECK(false);
}

// What a kind has besides what every object has; a `spec` goes without saying.
Shape own_fields(const Shape& object) {
  Shape own = object;
  std::erase_if(own.fields, [](const FieldShape& field) {
    return field.name == "apiVersion" || field.name == "kind" || field.name == "metadata" ||
           field.name == "status";
  });
  return own;
}

constexpr char kHeading[] = R"(<!-- Written by //control_plane/objects:schema_tool; do not edit. -->
# Mesh objects

A mesh is described by objects in YAML files, in the form that Kubernetes uses: `apiVersion`,
`kind`, `metadata`, `spec`. A file holds any number of documents between lines of `---`; a
directory stands for all `*.yaml` and `*.yml` files in it. `glia config validate FILE` reads
them and prints every problem with file, line and column. A field that is not known is an error,
so that a misspelt one cannot be ignored; text that YAML takes for a number or a boolean must be
quoted, as in Kubernetes. JSON schemas for editors are in [schema/](schema).

Every object has:

| field | value | default | meaning |
|---|---|---|---|
)";

constexpr char kSemantics[] = R"(
## How requests find their way

- An application sends what is for other Services to its own sidecar's outbound listener
  (port `spec.outbound.port` of its own machine), with the name of the Service as host. A host that
  is no Service is answered with 404 and the names that exist.
- Without a route, a request goes to the workloads behind the Service, to the one with the
  fewest running requests of two picked by chance.
- With an HTTPRoute or GRPCRoute whose parent is the Service, its rules decide instead. Over all
  routes of the Service, the first of these that tells two matches apart wins: exact path;
  regular expression; longest prefix; a method; most headers; most query parameters; namespace
  and name of the route in alphabetical order; order in the route. A request that no rule
  matches is answered with 404 (gRPC: UNIMPLEMENTED).
- A route of the Service's own namespace (a producer route) is for every caller. A route of
  another namespace (a consumer route) is for the workloads of its own namespace alone; where
  there is one, they do not meet the producer's.
- Backends share a rule's requests by weight. A rule without backends, or whose weights are all
  0, answers 500 (gRPC: UNAVAILABLE). Routes of a backend Service are not looked at.
- In files, a backend that does not exist, or that no ReferenceGrant allows, is an error of the
  file, unless its weight is 0. Where it cannot be one (an object deleted in a running cluster),
  its share of the requests is answered with 500 (gRPC: UNAVAILABLE) by a sentence that names
  `missing:PORT:NAME.NAMESPACE`, and the route's status says so.
- Wherever requests go to the target of a Canary, by default or by a route, they are shared between
  its two versions ([canaries.md](canaries.md)).
- A mirror gets a copy of each request, or of a part of them, as host `HOST-shadow`. Its answer is
  dropped; nothing that it does is seen by the caller. Copies beyond a limit are not made, those
  that do not keep up with their original are broken off (see limits.md).
- A header in a rule is changed before one in a backend. A rewritten path keeps its query.
- There is no time limit unless `timeouts.request` sets one.
- Between sidecars there is always mutual TLS and HTTP/2. The caller accepts only the identities
  of the workloads behind the Service, the callee only certificates of the mesh. The application
  behind the callee finds the caller's identity in `x-forwarded-client-cert`.
- A port with `protocol: TCP` has no host name: its bytes are relayed over mutual TLS for callers whose
  traffic is captured, by the address that they connect to ([capture.md](capture.md)).

## Limits

A file of at most 8 MiB, 1,000 files, 50,000 objects; YAML nested at most 64 deep and at most
1,000,000 values a file, with aliases expanded. YAML tags and merge keys (`<<`) are refused.
)";

}  // namespace

std::optional<std::string> json_schema(std::string_view name) {
  for (const Kind& kind : kinds()) {
    if (!equal_no_case(kind.name, name)) continue;
    JsonWriter json;
    json.open('{');
    json.member("$schema", "https://json-schema.org/draft/2020-12/schema");
    json.member("title", cat(kind.name, " (", kind.api_version, ")"));
    json.member("description", kind.documentation);
    write_shape(*kind.shape, json);
    json.close('}');
    return json.take();
  }
  return {};
}

std::string json_schema_of_all() {
  JsonWriter json;
  json.open('{');
  json.member("$schema", "https://json-schema.org/draft/2020-12/schema");
  json.member("title", "Mesh objects");
  json.member("type", "object");
  json.list("required", {"apiVersion", "kind", "metadata"});
  json.key("properties");
  json.raw("{\"kind\": ");
  std::string names;
  for (const Kind& kind : kinds()) names += cat(names.empty() ? "" : ", ", quoted(kind.name));
  json.raw(cat("{\"enum\": [", names, "]}}"));
  json.key("allOf");
  json.open('[');
  for (const Kind& kind : kinds()) {
    json.item();
    json.open('{');
    json.key("if");
    json.raw(cat("{\"properties\": {\"kind\": {\"const\": ", quoted(kind.name), "}}}"));
    json.key("then");
    json.open('{');
    json.member("description", kind.documentation);
    write_shape(*kind.shape, json);
    json.close('}');
    json.close('}');
  }
  json.close(']');
  json.close('}');
  return json.take();
}

std::string reference_page() {
  std::string page = kHeading;
  write_rows(field_shape(*kinds()[0].shape, "metadata"), "metadata", page);
  for (const Kind& kind : kinds()) {
    page += cat("\n## ", kind.name, "\n\n`apiVersion: ", kind.api_version, "`\n\n",
                kind.documentation, "\n\n```yaml\n", kind.example, "```\n\n",
                "| field | value | default | meaning |\n|---|---|---|---|\n");
    const Shape own = own_fields(*kind.shape);
    write_rows(own, "", page);
    std::string not_yet;
    collect_not_yet(own, "", not_yet);
    if (!not_yet.empty()) page += cat("\nOf the standard, refused so far: ", not_yet, ".\n");
  }
  return page + kSemantics;
}

}  // namespace glia
