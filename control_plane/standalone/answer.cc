#include "control_plane/standalone/answer.h"

#include <algorithm>
#include <utility>

#include "proxy/base/text.h"

namespace glia {
namespace {

constexpr std::size_t kNumberBytes = 4;

void put_number(std::string& out, std::size_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(number >> shift);
}

void put_record(std::string& out, std::string_view bytes) {
  put_number(out, bytes.size());
  out += bytes;
}

Error broken(std::string_view what) {
  return Error(ErrorKind::kProtocol, Fault::kSelf,
               cat("glia-translate's answer ", what,
                   "; glia-translate and glia-proxy must be of the same build"));
}

Result<std::size_t> take_number(std::string_view& bytes) {
  if (bytes.size() < kNumberBytes) return broken("is cut off");
  std::size_t number = 0;
  for (std::size_t i = 0; i < kNumberBytes; ++i) {
    number = number << 8 | static_cast<unsigned char>(bytes[i]);
  }
  bytes.remove_prefix(kNumberBytes);
  return number;
}

Result<std::string_view> take_record(std::string_view& bytes) {
  TRY(const std::size_t size, take_number(bytes));
  if (bytes.size() < size) return broken("is cut off");
  const std::string_view record = bytes.substr(0, size);
  bytes.remove_prefix(size);
  return record;
}

Result<void> read_fact(std::string_view line, WorkloadFacts& facts) {
  const std::size_t equals = line.find('=');
  if (equals == line.npos) return broken("holds a line that is no fact");
  const std::string_view name = line.substr(0, equals), value = line.substr(equals + 1);
  const std::pair<std::string_view, std::string*> texts[] = {
      {"spiffe_id", &facts.spiffe_id},
      {"cluster", &facts.cluster},
      {"admin_address", &facts.admin_address}};
  for (const auto& [known, text] : texts) {
    if (name == known) return *text = value, Result<void>();
  }
  const auto seconds = parse_decimal(value);
  if (name != "certificate_lifetime_s" || !seconds) return broken("holds an unknown fact");
  facts.certificate_lifetime = std::chrono::seconds(*seconds);
  return {};
}

}  // namespace

std::string encode(const StandaloneAnswer& answer) {
  const WorkloadFacts& facts = answer.facts;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(facts.certificate_lifetime);
  std::string out(kAnswerMagic);
  put_number(out, answer.pushes.size());
  put_record(out, cat("spiffe_id=", facts.spiffe_id, "\ncluster=", facts.cluster,
                      "\nadmin_address=", facts.admin_address,
                      "\ncertificate_lifetime_s=", seconds.count(), "\n"));
  for (const std::string& push : answer.pushes) put_record(out, push);
  return out;
}

Result<StandaloneAnswer> decode_answer(std::string_view bytes) {
  if (!bytes.starts_with(kAnswerMagic)) return broken("does not begin as it should");
  bytes.remove_prefix(kAnswerMagic.size());
  StandaloneAnswer answer;
  TRY(const std::size_t pushes, take_number(bytes));
  TRY(std::string_view lines, take_record(bytes));
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    TRY_VOID(read_fact(lines.substr(0, end), answer.facts));
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  while (answer.pushes.size() < pushes) {
    TRY(const std::string_view push, take_record(bytes));
    answer.pushes.emplace_back(push);
  }
  if (!bytes.empty()) return broken("goes on after its end");
  return answer;
}

}  // namespace glia
