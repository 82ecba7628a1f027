// The JSON form of a load report (protobuf's JSON mapping, RFC 8259): one object of numbers, three of
// whose members are objects of numbers. Nothing deeper is read, so nothing recurses.
#include "proxy/base/text.h"
#include "proxy/model/orca.h"
#include "proxy/model/orca_builder.h"

namespace glia {
namespace {

Error wrong(std::string_view sentence) {
  return Error(ErrorKind::kInvalid, Fault::kUpstream, cat("load report: ", sentence));
}

// The mapping allows both spellings of a field's name.
std::string field_name(std::string_view name) {
  std::string snake;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') snake += '_';
    snake += to_lower(c);
  }
  return snake;
}

class JsonReport {
 public:
  explicit JsonReport(std::string_view text) : rest_(text) {}

  Result<OrcaReport> read() {
    TRY_VOID(members([](JsonReport& self, const std::string& name) { return self.field(name); }));
    skip_space();
    if (!rest_.empty()) return wrong("something follows the object");
    return builder_.take();
  }

 private:
  using Member = Result<void> (*)(JsonReport&, const std::string& name);

  void skip_space() {
    rest_ = rest_.substr(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size()));
  }
  bool take(char c) {
    skip_space();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  Result<void> members(Member member) {
    if (!take('{')) return wrong("no object stands where one is due");
    if (take('}')) return {};
    do {
      TRY(const std::string name, string());
      if (!take(':')) return wrong(cat("no ':' follows \"", name, "\""));
      TRY_VOID(member(*this, name));
    } while (take(','));
    if (!take('}')) return wrong("an object is not closed");
    return {};
  }

  Result<void> field(const std::string& spelled) {
    const std::string name = field_name(spelled);
    map_ = OrcaBuilder::map_of(name);
    if (map_) {
      return members([](JsonReport& self, const std::string& metric) {
        Result<double> value = self.number(metric);
        if (!value) return Result<void>(std::move(value).error());
        return self.builder_.metric(*self.map_, metric, *value);
      });
    }
    TRY(const double value, number(name));
    if (name == "rps") return {};  // Deprecated; passed over.
    return builder_.scalar(name, value);
  }

  Result<double> number(const std::string& name) {
    skip_space();
    if (rest_.starts_with('"')) {  // The mapping writes 64 bit integers so, and allows all.
      TRY(const std::string text, string());
      return orca_number(name, text);
    }
    const std::size_t size = std::min(rest_.find_first_not_of("+-.0123456789eE"), rest_.size());
    const std::string_view text = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return orca_number(name, text);
  }

  Result<std::string> string() {
    if (!take('"')) return wrong("no name stands where one is due");
    std::string out;
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < ' ') return wrong("a name has a control character");
      if (c != '\\') {
        out += c;
        continue;
      }
      TRY_VOID(escape(out));
    }
    return wrong("a name is not closed");
  }

  Result<void> escape(std::string& out) {
    constexpr std::string_view kLetters = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
    const char c = rest_.empty() ? '\0' : rest_.front();
    rest_.remove_prefix(std::min<std::size_t>(1, rest_.size()));
    if (const std::size_t at = kLetters.find(c); at != kLetters.npos) {
      out += kMeant[at];
      return {};
    }
    // Metric names are ASCII wherever they come from; a name that is not is refused.
    int code = c == 'u' && rest_.size() >= 4 ? 0 : -1;
    for (std::size_t i = 0; i < 4 && code >= 0; ++i) {
      const int digit = hex_value(rest_[i]);
      code = digit < 0 ? -1 : code * 16 + digit;
    }
    if (code < ' ' || code > '~') return wrong("a name has an escape that is no ASCII character");
    rest_.remove_prefix(4);
    out += static_cast<char>(code);
    return {};
  }

  std::string_view rest_;
  std::optional<OrcaBuilder::Map> map_;
  OrcaBuilder builder_;
};

}  // namespace

Result<OrcaReport> read_orca_json(std::string_view text) {
  if (text.size() > kOrcaLongest) return wrong(cat("longer than ", kOrcaLongest, " bytes"));
  return JsonReport(text).read();
}

}  // namespace glia
