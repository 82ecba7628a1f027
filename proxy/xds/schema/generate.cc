// Reads a descriptor set and writes the constant tables behind proxy/xds/schema.h.
//
// Run by the build: generate DESCRIPTOR_SET OUT FILE... The tables hold every message that the
// named .proto files define or reach. They are offsets into one text, without pointers, so that the
// running proxy pays only for the pages that it looks at, and nothing has to be relocated.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

class Names {
 public:
  std::size_t offset(const std::string& name) {
    const auto [at, is_new] = offsets_.emplace(name, text_.size());
    if (is_new) text_ += name + '\0';
    return at->second;
  }
  void write(std::ostream& out) const {
    out << "const char kNames[] =\n    \"";
    for (std::size_t i = 0; i < text_.size(); ++i) {
      if (text_[i] == '\0')
        out << "\\0\"\n    \"";
      else
        out << text_[i];
    }
    out << "\";\n";
  }

 private:
  std::map<std::string, std::size_t> offsets_;
  std::string text_;
};

class Closure {
 public:
  void add(const Descriptor* message) {
    if (!messages_.emplace(message->full_name(), message).second) return;
    for (int i = 0; i < message->field_count(); ++i) {
      const FieldDescriptor* field = message->field(i);
      if (field->message_type() != nullptr) add(field->message_type());
      if (field->enum_type() != nullptr)
        enums_.emplace(field->enum_type()->full_name(), field->enum_type());
    }
    for (int i = 0; i < message->nested_type_count(); ++i) {
      if (!message->nested_type(i)->options().map_entry()) add(message->nested_type(i));
    }
  }
  void write(std::ostream& out) {
    out << "// Written by proxy/xds/schema/generate.cc.\n#include \"proxy/xds/schema.h\"\n\n"
        << "namespace glia::schema_tables {\n\n";
    write_messages(out);
    write_enums(out);
    names_.write(out);
    out << "\n}  // namespace glia::schema_tables\n";
  }

 private:
  static std::string well_known(const std::string& name) {
    static const std::map<std::string, std::string> kinds = {
        {"google.protobuf.Any", "kAny"},
        {"google.protobuf.Duration", "kDuration"},
        {"google.protobuf.Struct", "kStruct"},
        {"google.protobuf.Value", "kValue"},
        {"google.protobuf.ListValue", "kList"},
        {"google.protobuf.Timestamp", "kTimestamp"},
        {"google.protobuf.BoolValue", "kWrapper"},
        {"google.protobuf.UInt32Value", "kWrapper"},
        {"google.protobuf.Int32Value", "kWrapper"},
        {"google.protobuf.UInt64Value", "kWrapper"},
        {"google.protobuf.Int64Value", "kWrapper"},
        {"google.protobuf.DoubleValue", "kWrapper"},
        {"google.protobuf.FloatValue", "kWrapper"},
        {"google.protobuf.StringValue", "kWrapper"},
        {"google.protobuf.BytesValue", "kWrapper"}};
    const auto found = kinds.find(name);
    return found == kinds.end() ? "kNone" : found->second;
  }
  template <class Map>
  static std::size_t index_in(const Map& map, const std::string& name) {
    return static_cast<std::size_t>(std::distance(map.begin(), map.find(name)));
  }
  void write_field(std::ostream& out, const FieldDescriptor* field) {
    std::size_t of = 0;
    if (field->message_type() != nullptr)
      of = index_in(messages_, field->message_type()->full_name());
    if (field->enum_type() != nullptr) of = index_in(enums_, field->enum_type()->full_name());
    const auto* oneof = field->real_containing_oneof();
    const int flags = (field->is_repeated() ? 1 : 0) | (field->is_map() ? 2 : 0);
    out << "    {" << field->number() << ", " << names_.offset(field->name()) << ", "
        << names_.offset(field->json_name()) << ", static_cast<FieldType>(" << field->type()
        << "), " << flags << ", " << of << ", " << (oneof == nullptr ? 0 : oneof->index() + 1)
        << "},\n";
  }
  void write_messages(std::ostream& out) {
    std::size_t first = 0;
    out << "const MessageSchema kMessages[] = {\n";
    for (const auto& [name, message] : messages_) {
      out << "    {" << names_.offset(name) << ", " << first << ", " << message->field_count()
          << ", WellKnown::" << well_known(name) << "},\n";
      first += static_cast<std::size_t>(message->field_count());
    }
    out << "};\nconst std::size_t kMessageCount = " << messages_.size() << ";\n\n"
        << "const FieldSchema kFields[] = {\n";
    for (const auto& [name, message] : messages_) {
      for (int i = 0; i < message->field_count(); ++i) write_field(out, message->field(i));
    }
    out << "};\n\n";
  }
  void write_enums(std::ostream& out) {
    std::size_t first = 0;
    out << "const EnumSchema kEnums[] = {\n";
    for (const auto& [name, type] : enums_) {
      out << "    {" << first << ", " << type->value_count() << "},\n";
      first += static_cast<std::size_t>(type->value_count());
    }
    out << "};\n\nconst EnumValue kEnumValues[] = {\n";
    for (const auto& [name, type] : enums_) {
      for (int i = 0; i < type->value_count(); ++i) {
        out << "    {" << names_.offset(type->value(i)->name()) << ", " << type->value(i)->number()
            << "},\n";
      }
    }
    out << "};\n\n";
  }

  std::map<std::string, const Descriptor*> messages_;
  std::map<std::string, const EnumDescriptor*> enums_;
  Names names_;
};

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    std::cerr << "usage: generate DESCRIPTOR_SET OUT FILE...\n";
    return 2;
  }
  google::protobuf::FileDescriptorSet set;
  std::ifstream in(arguments[1], std::ios::binary);
  if (!set.ParseFromIstream(&in)) {
    std::cerr << arguments[1] << " is not a descriptor set\n";
    return 1;
  }
  google::protobuf::DescriptorPool pool;
  for (const auto& file : set.file()) {
    if (pool.BuildFile(file) == nullptr) return 1;  // The pool printed why.
  }
  Closure closure;
  for (int i = 3; i < count; ++i) {
    const FileDescriptor* file = pool.FindFileByName(arguments[i]);
    if (file == nullptr) {
      std::cerr << arguments[i] << " is not in " << arguments[1] << "\n";
      return 1;
    }
    for (int j = 0; j < file->message_type_count(); ++j) closure.add(file->message_type(j));
  }
  std::ofstream out(arguments[2]);
  closure.write(out);
  return out.good() ? 0 : 1;
}
