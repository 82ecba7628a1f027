// The one description of a kind's fields, from which parser, JSON schema and reference page are
// made.
//
// A Type<T> knows how a YAML value becomes a T and what to tell people about it (its Shape). Leaves
// are made by text(), integer(), ...; an ObjectType<T> binds field names to members of T. Reading
// never stops at the first mistake; everything wrong is told to the Reader.
#pragma once

#include <concepts>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control_plane/objects/object_set.h"
#include "control_plane/objects/yaml.h"
#include "proxy/base/text.h"

namespace glia {

struct FieldShape;

// What a YAML value may be, for people and other programs.
struct Shape {
  enum class Kind : uint8_t {
    kText,
    kInteger,
    kNumber,
    kBoolean,
    kObject,
    kList,
    kTextMap,
    kTextOrInteger
  };
  Kind kind = Kind::kText;
  std::string what;                          // "a duration such as 10s or 1h30m"
  std::string pattern;                       // kText: regular expression of JSON schema; "" is any.
  std::vector<std::string> values;           // kText: the only values, if not empty.
  int64_t minimum = 0, maximum = 0;          // kInteger, kNumber, kTextOrInteger
  std::size_t min_items = 0, max_items = 0;  // kList
  std::shared_ptr<const Shape> item;         // kList
  std::vector<FieldShape> fields;            // kObject
};

struct FieldShape {
  enum class Support : uint8_t { kOptional, kRequired, kNotYet };
  std::string name;
  Support support = Support::kOptional;
  std::string documentation;  // kNotYet: why, if there is more to say than "not supported yet".
  std::string default_text;   // "" has none.
  std::shared_ptr<const Shape> shape;  // Null for kNotYet.
};

inline namespace mesh_objects {

// Collects what is wrong with one object and knows the path of the field that is being read.
class Reader {
 public:
  Reader(std::string file, std::string object, std::vector<Problem>& problems)
      : file_(std::move(file)), object_(std::move(object)), problems_(problems) {}

  // "<file>:<line>:<column>: <object>: <path> <sentence>"
  void error(const YamlNode& at, std::string_view sentence);
  // The same for a field below the current path.
  void error_in(std::string_view field, Place at, std::string_view sentence);
  std::size_t errors() const { return errors_; }
  const std::string& file() const { return file_; }

  // Goes down by ".name" or "[index]" while it lives.
  class Step {
   public:
    Step(Reader& reader, std::string_view name);
    Step(Reader& reader, std::size_t index);
    ~Step() { reader_.path_.resize(length_); }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    Reader& reader_;
    std::size_t length_;
  };

 private:
  std::string file_, object_, path_;
  std::vector<Problem>& problems_;
  std::size_t errors_ = 0;
};

}  // namespace mesh_objects

template <class T>
struct Type {
  std::shared_ptr<const Shape> shape;
  std::function<void(const YamlNode&, Reader&, T&)> read;
};

// A rule on text; nothing if it holds, else the end of a sentence: "must be ...".
using TextCheck = std::function<std::optional<std::string>(std::string_view)>;

// Leaves. `what` is a noun phrase for the page; pattern is that of JSON schema.
Type<std::string> text(std::string what, std::string pattern = "", TextCheck check = nullptr);
Type<std::string> one_of(std::vector<std::string> values, std::vector<std::string> not_yet = {});
Type<Duration> duration();
Type<bool> boolean();
// A number with or without a fraction, at most 9 digits on either side of the point.
Type<double> number(std::string what, int64_t minimum, int64_t maximum);
Type<TextMap> text_map(std::string what, TextCheck key, TextCheck value);
Type<MeshService::Target> target_port();

// Reads the text of a scalar, with an error if it is something else; the parts of the leaves above.
std::optional<std::string> read_text(const YamlNode& node, Reader& reader);
std::optional<int64_t> read_integer(const YamlNode& node, Reader& reader, int64_t minimum,
                                    int64_t maximum);
// The index in `values`; an error names them all and what was meant.
std::optional<std::size_t> read_choice(const YamlNode& node, Reader& reader,
                                       const std::vector<std::string>& values,
                                       const std::vector<std::string>& not_yet);

template <std::integral T>
Type<T> integer(std::string what, int64_t minimum, int64_t maximum) {
  auto shape = std::make_shared<Shape>();
  shape->kind = Shape::Kind::kInteger;
  shape->what = std::move(what);
  shape->minimum = minimum;
  shape->maximum = maximum;
  return {shape, [=](const YamlNode& node, Reader& reader, T& out) {
            const auto value = read_integer(node, reader, minimum, maximum);
            if (value) out = static_cast<T>(*value);
          }};
}

template <class E>
using Choices = std::vector<std::pair<std::string, E>>;

template <class E>
Type<E> enumeration(Choices<E> choices, std::vector<std::string> not_yet = {}) {
  auto shape = std::make_shared<Shape>();
  for (const auto& choice : choices) shape->values.push_back(choice.first);
  return {shape, [=](const YamlNode& node, Reader& reader, E& out) {
            const auto index = read_choice(node, reader, shape->values, not_yet);
            if (index) out = choices[*index].second;
          }};
}

inline constexpr std::size_t kMaxListItems = 1024;
inline constexpr std::size_t kMaxMapKeys = 256;

template <class T>
Type<std::vector<T>> list(Type<T> item, std::size_t min_items = 0,
                          std::size_t max_items = kMaxListItems) {
  auto shape = std::make_shared<Shape>();
  shape->kind = Shape::Kind::kList;
  shape->item = item.shape;
  shape->min_items = min_items;
  shape->max_items = max_items;
  return {shape, [=](const YamlNode& node, Reader& reader, std::vector<T>& out) {
            if (node.kind != YamlNode::Kind::kList) {
              return reader.error(node, cat("must be a list, not ", node.what()));
            }
            if (node.items.size() < min_items) {
              reader.error(node, cat("must have at least ", min_items, " item"));
            }
            if (node.items.size() > max_items) {
              return reader.error(
                  node, cat("has ", node.items.size(), " items, the limit is ", max_items));
            }
            for (std::size_t i = 0; i < node.items.size(); ++i) {
              const Reader::Step step(reader, i);
              item.read(node.items[i], reader, out.emplace_back());
            }
          }};
}

template <class T>
class ObjectType {
 public:
  explicit ObjectType(std::string what) : shape_(std::make_shared<Shape>()) {
    shape_->kind = Shape::Kind::kObject;
    shape_->what = std::move(what);
  }

  template <class M, class N>
  ObjectType& required(std::string name, M T::* member, const Type<N>& type, std::string doc) {
    return add({std::move(name), FieldShape::Support::kRequired, std::move(doc), "", type.shape},
               bind(member, type));
  }
  template <class M, class N>
  ObjectType& optional(std::string name, M T::* member, const Type<N>& type, std::string doc,
                       std::string default_text = "") {
    return add({std::move(name), FieldShape::Support::kOptional, std::move(doc),
                std::move(default_text), type.shape},
               bind(member, type));
  }
  // A field that may only have these values and is not kept.
  ObjectType& fixed(std::string name, FieldShape::Support support, const Type<std::string>& type,
                    std::string doc) {
    return add({std::move(name), support, std::move(doc), "", type.shape},
               [read = type.read](const YamlNode& node, Reader& reader, T&) {
                 std::string ignored;
                 read(node, reader, ignored);
               });
  }
  // Fields of the standard that are known and not supported.
  ObjectType& not_yet(std::initializer_list<const char*> names, std::string reason = "") {
    for (const char* name : names) {
      add({name, FieldShape::Support::kNotYet, reason, "", nullptr}, nullptr);
    }
    return *this;
  }
  // Rules between fields, looked at if all fields were read without an error.
  using Check = std::function<void(T&, const YamlNode&, Reader&)>;
  ObjectType& check(Check check) {
    check_ = std::move(check);
    return *this;
  }

  operator Type<T>() const {  // NOLINT: a finished description is a type
    return {shape_, [shape = shape_, binders = binders_, check = check_](const YamlNode& node,
                                                                         Reader& reader, T& out) {
              read(*shape, binders, check, node, reader, out);
            }};
  }

 private:
  using Binder = std::function<void(const YamlNode&, Reader&, T&)>;

  ObjectType& add(FieldShape field, Binder binder) {
    shape_->fields.push_back(std::move(field));
    binders_.push_back(std::move(binder));
    return *this;
  }
  template <class M, class N>
  static Binder bind(M T::* member, const Type<N>& type) {
    return [member, read = type.read](const YamlNode& node, Reader& reader, T& out) {
      if constexpr (std::same_as<M, N>) {
        read(node, reader, out.*member);
      } else {
        read(node, reader, (out.*member).emplace());
      }
    };
  }
  static void read(const Shape& shape, const std::vector<Binder>& binders, const Check& check,
                   const YamlNode& node, Reader& reader, T& out);

  std::shared_ptr<Shape> shape_;
  std::vector<Binder> binders_;
  Check check_;
};

// Says which keys of `node` are no fields; returns the place of each known field's value in
// node.items (null: not given), with an error for a required one that is missing. Nothing if `node`
// is no map.
std::optional<std::vector<const YamlNode*>> find_fields(const Shape& shape, const YamlNode& node,
                                                        Reader& reader);

template <class T>
void ObjectType<T>::read(const Shape& shape, const std::vector<Binder>& binders, const Check& check,
                         const YamlNode& node, Reader& reader, T& out) {
  if constexpr (requires { out.at; }) out.at = {node.line, node.column};
  const std::size_t errors_before = reader.errors();
  const auto values = find_fields(shape, node, reader);
  if (!values) return;
  for (std::size_t i = 0; i < binders.size(); ++i) {
    if ((*values)[i] == nullptr) continue;
    const Reader::Step step(reader, shape.fields[i].name);
    binders[i](*(*values)[i], reader, out);
  }
  if (check && reader.errors() == errors_before) check(out, node, reader);
}

}  // namespace glia
