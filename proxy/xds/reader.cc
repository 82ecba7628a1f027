#include "proxy/xds/reader.h"

#include <map>

#include "proxy/base/text.h"

namespace glia {

namespace {

void see_all(const Message& message);

void see_all(const Entry& entry) {
  entry.seen = true;
  if (entry.message) see_all(*entry.message);
}

void see_all(const Message& message) {
  for (const Entry& entry : message.entries) see_all(entry);
  if (message.content) see_all(*message.content);
}

std::string key_text(const Message& map_entry) {
  const Entry* key = map_entry.find("key");
  if (key == nullptr) return "";
  return key->field->is_text() ? key->text : cat(static_cast<int64_t>(key->bits));
}

void report(const Message& message, const std::string& path, Errors& errors);

void report_entry(const Entry& entry, const std::string& path, Errors& errors) {
  if (!entry.seen) return errors.add(path, "not supported by glia-proxy", entry.at);
  if (!entry.message) return;
  if (!entry.field->map()) return report(*entry.message, path, errors);
  const Entry* value = entry.message->find("value");
  if (value != nullptr && value->message) report(*value->message, path, errors);
}

void report(const Message& message, const std::string& path, Errors& errors) {
  for (const uint32_t number : message.unknown) {
    errors.add(path, cat("field number ", number, " of ", message.schema().name(),
                         " is not known to glia-proxy"));
  }
  if (message.content) return report(*message.content, path, errors);
  std::map<const FieldSchema*, std::size_t> counts;
  for (const Entry& entry : message.entries) {
    std::string here =
        path.empty() ? std::string(entry.field->name()) : cat(path, ".", entry.field->name());
    if (entry.field->map())
      here += cat("[", key_text(*entry.message), "]");
    else if (entry.field->repeated())
      here += cat("[", counts[entry.field]++, "]");
    report_entry(entry, here, errors);
  }
}

}  // namespace

const Entry* Reader::take(std::string_view name) const {
  if (message_ == nullptr) return nullptr;
  const Entry* entry = message_->find(name);
  if (entry != nullptr) entry->seen = true;
  return entry;
}

std::vector<const Entry*> Reader::all(std::string_view name) const {
  std::vector<const Entry*> entries;
  if (take(name) == nullptr) return entries;
  const FieldSchema* field = message_->schema().field(name);
  for (const Entry& entry : message_->entries) {
    if (entry.field != field) continue;
    entry.seen = true;
    entries.push_back(&entry);
  }
  return entries;
}

bool Reader::has(std::string_view name) const {
  return message_ != nullptr && message_->find(name) != nullptr;
}

std::string Reader::child(std::string_view name) const {
  return path_.empty() ? std::string(name) : cat(path_, ".", name);
}

Position Reader::position_of(std::string_view name) const {
  // The name may also be that of an element, "filter_chains[1]".
  const FieldSchema* field = message_ == nullptr ? nullptr : message_->schema().field(name);
  const Entry* entry = field == nullptr ? nullptr : message_->find(*field);
  return entry != nullptr && entry->at.line != 0 ? entry->at : at_;
}

std::string Reader::text(std::string_view name) const {
  const Entry* entry = take(name);
  if (entry == nullptr) return "";
  if (!entry->message) return entry->text;
  see_all(*entry);  // StringValue and BytesValue.
  const Entry* inside = entry->message->find("value");
  return inside == nullptr ? "" : inside->text;
}

std::vector<std::string> Reader::texts(std::string_view name) const {
  std::vector<std::string> texts;
  for (const Entry* entry : all(name)) texts.push_back(entry->text);
  return texts;
}

uint64_t Reader::number(std::string_view name, uint64_t otherwise, uint64_t most,
                        uint64_t least) const {
  const Entry* entry = take(name);
  if (entry == nullptr) return otherwise;
  uint64_t value = entry->bits;
  if (entry->message) {
    see_all(*entry);
    const Entry* inside = entry->message->find("value");
    value = inside == nullptr ? 0 : inside->bits;
  }
  if (value > most) return fail(name, cat(value, " is above ", most)), otherwise;
  if (value < least) return fail(name, cat(value, " is below ", least)), otherwise;
  return value;
}

std::vector<uint64_t> Reader::numbers(std::string_view name, uint64_t most, uint64_t least) const {
  std::vector<uint64_t> numbers;
  for (const Entry* entry : all(name)) {
    if (entry->bits >= least && entry->bits <= most) {
      numbers.push_back(entry->bits);
    } else {
      fail(name, cat(entry->bits, " is not between ", least, " and ", most));
    }
  }
  return numbers;
}

int64_t Reader::signed_number(std::string_view name) const {
  const Entry* entry = take(name);
  return entry == nullptr ? 0 : static_cast<int64_t>(entry->bits);
}

double Reader::real(std::string_view name, double otherwise) const {
  const Entry* entry = take(name);
  if (entry == nullptr) return otherwise;
  if (!entry->message) return entry->real;
  see_all(*entry);  // DoubleValue, and envoy.type.v3.Percent.
  const Entry* inside = entry->message->find("value");
  return inside == nullptr ? 0 : inside->real;
}

bool Reader::flag(std::string_view name, bool otherwise) const {
  const Entry* entry = take(name);
  if (entry == nullptr) return otherwise;
  if (!entry->message) return entry->bits != 0;
  see_all(*entry);
  const Entry* inside = entry->message->find("value");
  return inside != nullptr && inside->bits != 0;
}

std::string Reader::choice(std::string_view name) const {
  if (message_ == nullptr) return "";
  const EnumSchema& schema = message_->schema().field(name)->enumeration();
  const Entry* entry = take(name);
  const auto number = entry == nullptr ? 0 : static_cast<int64_t>(entry->bits);
  if (const EnumValue* value = schema.find(number)) return std::string(value->name());
  fail(name, cat("value ", number, " is not known to glia-proxy"));
  return "";
}

std::optional<Duration> Reader::duration(std::string_view name) const {
  constexpr int64_t kSecondsMax = 366LL * 24 * 3600;
  const Entry* entry = take(name);
  if (entry == nullptr) return {};
  see_all(*entry);
  const Entry* seconds = entry->message->find("seconds");
  const Entry* nanos = entry->message->find("nanos");
  const int64_t whole = seconds == nullptr ? 0 : static_cast<int64_t>(seconds->bits);
  const int64_t part = nanos == nullptr ? 0 : static_cast<int64_t>(nanos->bits);
  if (whole < 0 || part < 0 || part > 999'999'999)
    return fail(name, "is negative or broken"), std::nullopt;
  if (whole > kSecondsMax) return fail(name, cat(whole, "s is longer than a year")), std::nullopt;
  return std::chrono::seconds(whole) + std::chrono::nanoseconds(part);
}

Reader Reader::message(std::string_view name) const {
  const Entry* entry = take(name);
  if (entry == nullptr) return Reader(nullptr, child(name), errors_, at_);
  return Reader(entry->message.get(), child(name), errors_, entry->at.line ? entry->at : at_);
}

Reader Reader::element(std::string_view name, std::size_t index, const Entry& entry) const {
  return Reader(entry.message.get(), cat(child(name), "[", index, "]"), errors_, entry.at);
}

std::string Reader::map_key(const Entry& entry) { return key_text(*entry.message); }

Reader Reader::map_value(std::string_view name, std::string_view key, const Entry& entry) const {
  const Entry* value = entry.message->find("value");
  return Reader(value == nullptr ? nullptr : value->message.get(), cat(child(name), "[", key, "]"),
                errors_, entry.at);
}

Reader Reader::content() const {
  if (message_ == nullptr) return *this;
  for (const Entry& entry : message_->entries) entry.seen = true;
  if (message_->content) return Reader(message_->content.get(), path_, errors_, at_);
  const Entry* url = message_->find("type_url");
  // From YAML, the type was refused already with its line.
  if (at_.line == 0) {
    fail(url == nullptr
             ? "has no type"
             : cat("the type ", type_of_url(url->text), " is not supported by glia-proxy"));
  }
  return Reader(nullptr, path_, errors_, at_);
}

std::string_view Reader::type() const {
  return message_ == nullptr ? "" : message_->schema().name();
}

void Reader::fail(std::string_view sentence) const { errors_->add(path_, sentence, at_); }

void Reader::fail(std::string_view name, std::string_view sentence) const {
  errors_->add(child(name), sentence, position_of(name));
}

void Reader::accept(std::string_view name) const {
  for (const Entry* entry : all(name)) see_all(*entry);
}

void Reader::accept_all() const {
  if (message_ != nullptr) see_all(*message_);
}

void Reader::only(std::string_view name, std::string_view wanted) const {
  if (!has(name)) return;
  const std::string said = choice(name);
  if (said != wanted)
    fail(name, cat(said, " is not supported by glia-proxy, only ", wanted, " is"));
}

void Reader::only(std::string_view name, bool wanted) const {
  if (!has(name) || flag(name) == wanted) return;
  fail(name, cat("only ", wanted, " is supported by glia-proxy"));
}

void Reader::report_unread() const {
  if (message_ != nullptr) report(*message_, path_, *errors_);
}

}  // namespace glia
