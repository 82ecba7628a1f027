#include "proxy/server/overload.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "proxy/base/log.h"
#include "proxy/base/text.h"
#include "proxy/server/cgroup.h"

namespace glia {

Pressure pressure_of(uint64_t resident, uint64_t limit, Pressure before) {
  const auto above = [&](uint64_t percent) { return resident > limit / 100 * percent; };
  if (above(kRefuseAt)) return Pressure::kRefuse;
  if (above(kShedAt)) return std::max(before, Pressure::kShed);
  return above(kCalmAt) ? std::min(before, Pressure::kShed) : Pressure::kNone;
}

uint64_t resident_memory() {
  // Pages: size, resident, ... (proc(5)). Not a C++ stream: it would allocate.
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long long size = 0, resident = 0;
  const int read = std::fscanf(file, "%llu %llu", &size, &resident);
  std::fclose(file);
  return read == 2 ? resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

std::optional<uint64_t> cgroup_memory(const std::string& root, const std::string& self) {
  std::optional<uint64_t> least;
  for (const std::string& value : cgroup_values(root, self, "memory.max")) {
    const auto bytes = parse_decimal(trim(value, " \t\n"));  // Nothing for "max".
    if (bytes && *bytes > 0) least = std::min(*bytes, least.value_or(*bytes));
  }
  return least;
}

Overload::Overload(EventLoop& loop, uint64_t limit, std::function<uint64_t()> resident,
                   std::function<void(Pressure)> tell)
    : loop_(loop),
      limit_(limit),
      resident_(std::move(resident)),
      tell_(std::move(tell)),
      timer_(loop, [this] { look(); }) {
  timer_.start(kMemoryLook);
}

void Overload::look() {
  const uint64_t resident = resident_();
  timer_.start(resident > limit_ / 100 * kLookSoonAt ? kMemoryLookSoon : kMemoryLook);
  const Pressure now = pressure_of(resident, limit_, pressure_);
  // What was freed comes back to the system only when it is asked for, and only then is it seen.
  const TimePoint time = loop_.now();
  if (now != Pressure::kNone && time - trimmed_ >= kMemoryTrim) {
    trimmed_ = time;
    ::malloc_trim(0);
  }
  if (now == pressure_) return;
  constexpr std::string_view kWords[] = {
      "enough memory again", "memory is short: new requests get 503 and connections end",
      "memory is nearly out: new connections are closed"};
  LOG(warning, kWords[static_cast<int>(now)], " (", resident >> 20, " of ", limit_ >> 20, " MiB)");
  pressure_ = now;
  tell_(now);
}

}  // namespace glia
