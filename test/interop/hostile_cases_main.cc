// Prints the hostile requests of families A and B, one JSON object a line, for the differential test:
// {"id": "A1 CL.TE", "bytes": "<hexadecimal>"}. So the table is written once.
#include <cstdio>

#include "proxy/http/h1_hostile_test_support.h"

int main() {
  for (const glia::Hostile& hostile : glia::hostile_requests()) {
    // The id is ASCII but for the bytes that it shows: those are left out.
    std::fputs("{\"id\": \"", stdout);
    for (const char c : hostile.id) {
      if (c >= ' ' && c < 0x7f && c != '"' && c != '\\') std::fputc(c, stdout);
    }
    std::fputs("\", \"bytes\": \"", stdout);
    for (const char c : hostile.bytes) std::printf("%02x", static_cast<unsigned char>(c));
    std::fputs("\"}\n", stdout);
  }
}
