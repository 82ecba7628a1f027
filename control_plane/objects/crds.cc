#include "control_plane/objects/crds.h"

#include "control_plane/objects/kind.h"
#include "proxy/base/check.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::string_view kGroup = "glia.dev";

struct Names {
  std::string_view kind, plural;
  bool cluster_wide;
};
constexpr Names kNames[] = {{"Mesh", "meshes", true},
                            {"Workload", "workloads", false},
                            {"TrafficPolicy", "trafficpolicies", false},
                            {"ModelPolicy", "modelpolicies", false},
                            {"AuthorizationPolicy", "authorizationpolicies", false},
                            {"Canary", "canaries", false}};

// As `glia status` says it, of this object.
constexpr std::string_view kStatus = R"(          status:
            description: Written by glia-control.
            type: object
            properties:
              conditions:
                type: array
                items:
                  type: object
                  required: [type, status]
                  properties:
                    type: {type: string}
                    status: {type: string}
                    reason: {type: string}
                    message: {type: string}
                    lastTransitionTime: {type: string, format: date-time}
                    observedGeneration: {type: integer, format: int64}
)";

std::string quoted(std::string_view text) {
  std::string out = "\"";
  append_json_escaped(out, text);
  return out + '"';
}

// A name as YAML 1.1 takes it for one: `on` would be a boolean.
std::string name_of(const std::string& name) {
  const bool word = name == "on" || name == "off" || name == "yes" || name == "no" || name == "y" ||
                    name == "n" || name == "true" || name == "false" || name == "null";
  return word ? quoted(name) : name;
}

// Lines of block YAML, each at its depth.
class Lines {
 public:
  void add(int depth, std::string_view line) {
    out_.append(static_cast<std::size_t>(2 * depth), ' ');
    out_ += line;
    out_ += '\n';
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

void write_shape(const Shape& shape, int depth, Lines& out);

void write_fields(const Shape& shape, int depth, Lines& out) {
  out.add(depth, "type: object");
  std::string required;
  out.add(depth, "properties:");
  for (const FieldShape& field : shape.fields) {
    if (field.support == FieldShape::Support::kNotYet) continue;
    if (field.support == FieldShape::Support::kRequired) {
      required += cat(required.empty() ? "" : ", ", name_of(field.name));
    }
    out.add(depth + 1, cat(name_of(field.name), ":"));
    std::string about = field.documentation;
    if (!field.default_text.empty()) {
      about += cat(about.empty() ? "" : " ", "Default: ", field.default_text);
    }
    if (!about.empty()) out.add(depth + 2, cat("description: ", quoted(about)));
    write_shape(*field.shape, depth + 2, out);
  }
  if (!required.empty()) out.add(depth, cat("required: [", required, "]"));
}

void write_range(const Shape& shape, int depth, Lines& out) {
  out.add(depth, cat("minimum: ", shape.minimum));
  out.add(depth, cat("maximum: ", shape.maximum));
}

void write_text(const Shape& shape, int depth, Lines& out) {
  out.add(depth, "type: string");
  if (!shape.pattern.empty()) out.add(depth, cat("pattern: ", quoted(shape.pattern)));
  if (shape.values.empty()) return;
  std::string values;
  for (const std::string& value : shape.values) {
    values += cat(values.empty() ? "" : ", ", quoted(value));
  }
  out.add(depth, cat("enum: [", values, "]"));
}

void write_shape(const Shape& shape, int depth, Lines& out) {
  switch (shape.kind) {
    case Shape::Kind::kText: return write_text(shape, depth, out);
    case Shape::Kind::kInteger:
      out.add(depth, "type: integer");
      out.add(depth, "format: int64");
      return write_range(shape, depth, out);
    case Shape::Kind::kNumber:
      out.add(depth, "type: number");
      return write_range(shape, depth, out);
    case Shape::Kind::kBoolean: return out.add(depth, "type: boolean");
    case Shape::Kind::kTextOrInteger: return out.add(depth, "x-kubernetes-int-or-string: true");
    case Shape::Kind::kTextMap:
      out.add(depth, "type: object");
      return out.add(depth, "additionalProperties: {type: string}");
    case Shape::Kind::kList:
      out.add(depth, "type: array");
      if (shape.min_items > 0) out.add(depth, cat("minItems: ", shape.min_items));
      out.add(depth, cat("maxItems: ", shape.max_items));
      out.add(depth, "items:");
      return write_shape(*shape.item, depth + 1, out);
    case Shape::Kind::kObject: return write_fields(shape, depth, out);
  }
}

void write_kind(const Kind& kind, const Names& names, Lines& out) {
  const std::string singular = to_lower(kind.name);
  out.add(0, "---");
  out.add(0, "apiVersion: apiextensions.k8s.io/v1");
  out.add(0, "kind: CustomResourceDefinition");
  out.add(0, cat("metadata: {name: ", names.plural, ".", kGroup, "}"));
  out.add(0, "spec:");
  out.add(1, cat("group: ", kGroup));
  out.add(1, cat("scope: ", names.cluster_wide ? "Cluster" : "Namespaced"));
  out.add(1, cat("names: {kind: ", kind.name, ", listKind: ", kind.name, "List, plural: ",
                 names.plural, ", singular: ", singular, ", categories: [glia]}"));
  out.add(1, "versions:");
  out.add(1, "- name: v1");
  out.add(2, "served: true");
  out.add(2, "storage: true");
  out.add(2, "subresources: {status: {}}");
  out.add(2, "additionalPrinterColumns:");
  out.add(
      2,
      R"(- {name: Accepted, type: string, jsonPath: '.status.conditions[?(@.type=="Accepted")].status'})");
  out.add(2, "schema:");
  out.add(3, "openAPIV3Schema:");
  out.add(4, cat("description: ", quoted(kind.documentation)));
  out.add(4, "type: object");
  bool needs_spec = false;
  out.add(4, "properties:");
  for (const FieldShape& field : kind.shape->fields) {
    if (field.name != "spec") continue;
    needs_spec = field.support == FieldShape::Support::kRequired;
    out.add(5, "spec:");
    write_shape(*field.shape, 6, out);
  }
  std::string status(kStatus);
  status.pop_back();
  out.add(0, status);
  if (needs_spec) out.add(4, "required: [spec]");
}

}  // namespace

std::string crds_page() {
  Lines out;
  out.add(0, "# Written by //control_plane/objects:schema_tool; do not edit.");
  for (const Names& names : kNames) {
    const Kind* found = nullptr;
    for (const Kind& kind : kinds()) {
      if (kind.name == names.kind) found = &kind;
    }
    CHECK(found != nullptr);
    write_kind(*found, names, out);
  }
  return out.take();
}

}  // namespace glia
