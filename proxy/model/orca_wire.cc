// The protobuf form of a load report, read and written by hand: ten fields of two kinds.
#include <bit>
#include <cstring>

#include "proxy/base/text.h"
#include "proxy/model/orca.h"
#include "proxy/model/orca_builder.h"

namespace glia {
namespace {

// Field numbers of xds.data.orca.v3.OrcaLoadReport.
constexpr std::string_view scalar_name(uint64_t number) {
  switch (number) {
    case 1: return "cpu_utilization";
    case 2: return "mem_utilization";
    case 6: return "rps_fractional";
    case 7: return "eps";
    case 9: return "application_utilization";
    default: return "";
  }
}
constexpr std::optional<OrcaBuilder::Map> map_number(uint64_t number) {
  using enum OrcaBuilder::Map;
  if (number == 4) return kRequestCost;
  if (number == 5) return kUtilization;
  if (number == 8) return kNamedMetrics;
  return {};
}
constexpr uint64_t kOldRps = 3;  // uint64, deprecated; passed over.

constexpr uint64_t kVarint = 0, kFixed64 = 1, kBytes = 2;

Error wrong(std::string_view sentence) {
  return Error(ErrorKind::kInvalid, Fault::kUpstream, cat("load report: ", sentence));
}

// One field at a time of a message; a broken one ends it with an error.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : rest_(bytes) {}
  bool more() const { return !rest_.empty(); }
  // Reads the next field; then number, kind and one of the values are set.
  Result<void> next() {
    TRY(const uint64_t key, varint());
    number = key >> 3;
    kind = key & 7;
    if (number == 0) return wrong("a field has number 0");
    if (kind == kVarint) {
      TRY(whole, varint());
      return {};
    }
    if (kind == kFixed64) {
      TRY(const std::string_view eight, take(8));
      uint64_t bits = 0;
      for (int i = 7; i >= 0; --i) {
        bits = bits << 8 | static_cast<unsigned char>(eight[static_cast<std::size_t>(i)]);
      }
      real = std::bit_cast<double>(bits);
      return {};
    }
    if (kind != kBytes) return wrong(cat("field ", number, " has wire type ", kind));
    TRY(const uint64_t size, varint());
    TRY(text, take(size));
    return {};
  }
  uint64_t number = 0, kind = 0;
  uint64_t whole = 0;
  double real = 0;
  std::string_view text;

 private:
  Result<uint64_t> varint() {
    uint64_t value = 0;
    for (std::size_t i = 0; i < rest_.size() && i < 10; ++i) {
      const auto byte = static_cast<unsigned char>(rest_[i]);
      value |= uint64_t{byte & 0x7Fu} << (7 * i);
      if (byte >= 0x80) continue;
      rest_.remove_prefix(i + 1);
      return value;
    }
    return wrong("a number breaks off");
  }
  Result<std::string_view> take(uint64_t size) {
    if (size > rest_.size()) return wrong("a field breaks off");
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  std::string_view rest_;
};

Result<void> read_entry(std::string_view bytes, OrcaBuilder::Map map, OrcaBuilder& builder) {
  Fields fields(bytes);
  std::string_view name;
  double value = 0;
  while (fields.more()) {
    TRY_VOID(fields.next());
    if (fields.number == 1 && fields.kind == kBytes)
      name = fields.text;
    else if (fields.number == 2 && fields.kind == kFixed64)
      value = fields.real;
    else
      return wrong(cat("an entry has a field ", fields.number));
  }
  return builder.metric(map, name, value);
}

Result<void> read_field(const Fields& field, OrcaBuilder& builder) {
  if (field.number == kOldRps && field.kind == kVarint) return {};
  if (const auto map = map_number(field.number); map && field.kind == kBytes) {
    return read_entry(field.text, *map, builder);
  }
  const std::string_view name = scalar_name(field.number);
  if (name.empty() || field.kind != kFixed64) {
    return wrong(cat("field ", field.number, " of wire type ", field.kind, " is not known"));
  }
  return builder.scalar(name, field.real);
}

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void append_double(std::string& out, uint64_t number, double value) {
  append_varint(out, number << 3 | kFixed64);
  const auto bits = std::bit_cast<uint64_t>(value);
  for (int shift = 0; shift < 64; shift += 8) out += static_cast<char>(bits >> shift);
}

void append_bytes(std::string& out, uint64_t number, std::string_view bytes) {
  append_varint(out, number << 3 | kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

void append_map(std::string& out, uint64_t number, const std::vector<OrcaReport::Metric>& metrics) {
  for (const OrcaReport::Metric& metric : metrics) {
    std::string entry;
    append_bytes(entry, 1, metric.name);
    append_double(entry, 2, metric.value);
    append_bytes(out, number, entry);
  }
}

}  // namespace

Result<OrcaReport> read_orca_binary(std::string_view bytes) {
  if (bytes.size() > kOrcaLongest) return wrong(cat("longer than ", kOrcaLongest, " bytes"));
  OrcaBuilder builder;
  Fields fields(bytes);
  while (fields.more()) {
    TRY_VOID(fields.next());
    TRY_VOID(read_field(fields, builder));
  }
  return builder.take();
}

Result<Duration> read_orca_request(std::string_view bytes) {
  Duration interval{};
  Fields fields(bytes);
  while (fields.more()) {
    TRY_VOID(fields.next());
    if (fields.number != 1 || fields.kind != kBytes) continue;  // Names of request costs.
    constexpr uint64_t kMostSeconds = 24 * 3600, kMostNanos = 999'999'999;
    Fields duration(fields.text);
    interval = Duration::zero();
    while (duration.more()) {
      TRY_VOID(duration.next());
      if (duration.kind != kVarint) return wrong("report_interval is no duration");
      if (duration.number == 1 && duration.whole <= kMostSeconds)
        interval += std::chrono::seconds(duration.whole);
      else if (duration.number == 2 && duration.whole <= kMostNanos)
        interval += std::chrono::nanoseconds(duration.whole);
      else
        return wrong("report_interval is not between 0 and a day");
    }
  }
  return interval;
}

std::string write_orca_request(Duration interval) {
  std::string duration, out;
  const auto number = [&](char tag, uint64_t value) {
    duration += tag;
    for (; value >= 0x80; value >>= 7) duration += static_cast<char>(value | 0x80);
    duration += static_cast<char>(value);
  };
  number('\x08', static_cast<uint64_t>(interval / 1s));
  number('\x10', static_cast<uint64_t>(interval % 1s / 1ns));
  // At most 22 bytes, so its length is one.
  out += '\x0A';
  out += static_cast<char>(duration.size());
  return out + duration;
}

std::string write_orca_binary(const OrcaReport& report) {
  std::string out;
  const auto scalar = [&](uint64_t number, double value) {
    if (value != 0) append_double(out, number, value);
  };
  scalar(1, report.cpu_utilization);
  scalar(2, report.mem_utilization);
  append_map(out, 4, report.request_cost);
  append_map(out, 5, report.utilization);
  scalar(6, report.rps);
  scalar(7, report.eps);
  append_map(out, 8, report.named_metrics);
  scalar(9, report.application_utilization);
  return out;
}

}  // namespace glia
