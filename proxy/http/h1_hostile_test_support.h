// The requests that must be refused: families A and B of the checklist of bad input (body framing;
// request line, host and fields). The first word of a case's name is its row; rows whose requests
// are not refused but handled in some way have tests of their own, named after them
// (proxy/flow/hostile_test.cc, which also checks that no row is missing).
//
// Test data, shared by the tests of the parser alone, of the server, and of a whole worker; each
// case is sent whole, byte by byte, line by line, and behind a valid request.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/text.h"

namespace glia {

struct Hostile {
  std::string id;  // "A28 size Z": row, then what it is.
  std::string bytes;
  int status;
  bool in_body = false;  // The head is good: it may be on its way up before the fault comes.

  std::string row() const { return id.substr(0, id.find(' ')); }
};

namespace hostile_detail {

using namespace std::string_literals;

inline std::string head(std::string_view fields, std::string_view line = "POST /x HTTP/1.1") {
  return cat(line, "\r\nHost: a.test\r\n", fields, "\r\n");
}
inline std::string chunked(std::string_view body) {
  return cat(head("Transfer-Encoding: chunked\r\n"), body);
}
inline std::string first_line(std::string_view line) {
  return cat(line, "\r\nHost: a.test\r\n\r\n");
}
inline std::string repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

inline void add_framing(std::vector<Hostile>& all) {
  const auto add = [&](std::string id, std::string bytes, int status = 400) {
    all.push_back({std::move(id), std::move(bytes), status});
  };
  add("A1 CL.TE", head("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\nG");
  add("A2 TE.CL", head("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n") + "5c\r\nGPOST");
  add("A3 xchunked", head("Transfer-Encoding: xchunked\r\nContent-Length: 15\r\n"), 501);
  add("A4 unknown coding", head("Transfer-Encoding: blegh\r\n"), 501);
  add("A5 space before colon", head("Transfer-Encoding : chunked\r\n") + "0\r\n\r\n");
  add("A6 space before colon", head("Content-Length : 5\r\n") + "hello");
  add("A8 chunked not last", head("Transfer-Encoding: chunked, identity\r\n"));
  add("A9 list", head("Transfer-Encoding: identity, chunked\r\nContent-Length: 5\r\n"));
  add("A10 two lines", head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"));
  add("A11 twice", head("Transfer-Encoding: chunked, chunked\r\n"));
  add("A12 cow", head("Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n"), 501);
  add("A13 empty member", head("Transfer-Encoding: ,chunked\r\nContent-Length: 5\r\n"));
  add("A14 quoted", head("Transfer-Encoding: \"chunked\"\r\n"));
  add("A15 NUL", head("Transfer-Encoding: chunked\0\r\n"s));
  add("A16 CR", head("Transfer-Encoding: chunked\r\r\n"));
  add("A17 folded coding", head("Transfer-Encoding:\r\n chunked\r\n"));
  add("A18 folded field", head("X-A: b\r\n c\r\n"));
  add("A18 folded by tab", head("X-A: b\r\n\tc\r\n"));
  add("A19 HTTP/1.0 with coding", head("Transfer-Encoding: chunked\r\n", "POST / HTTP/1.0"), 505);
  add("A20 underscore", head("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n") + "hello");
  add("A20 underscore length", head("Content_Length: 5\r\n"));
  add("A21 two lengths", head("Content-Length: 5\r\nContent-Length: 6\r\n"));
  add("A22 equal lengths", head("Content-Length: 5\r\nContent-Length: 5\r\n") + "hello");
  add("A23 list of lengths", head("Content-Length: 5, 5\r\n") + "hello");
  for (const char* length : {"+5", "-1", "0x5", "1_0", "5 5", "5;a", "5.0", "\xef\xbc\x95"}) {
    add(cat("A24 length ", length), head(cat("Content-Length: ", length, "\r\n")));
  }
  add("A25 empty length", head("Content-Length:\r\n"));
  add("A25 length of spaces", head("Content-Length: \t \r\n"));
  add("A26 empty then 5", head("Content-Length:\r\nContent-Length: 5\r\n"));
  for (const char* length :
       {"18446744073709551621", "9223372036854775808", "100000000000000000000000000000"}) {
    add(cat("A27 length ", length), head(cat("Content-Length: ", length, "\r\n")));
  }
  add("A42 other expectation", head("Expect: y\r\nContent-Length: 5\r\n") + "hello", 417);
}

// Every control and high byte before and after the coding and its value: 640 cases, of which two
// stand in kTabsAroundCoding.
inline const std::string kTabsAroundCoding[] = {"Transfer-Encoding: \tchunked\r\n",
                                                "Transfer-Encoding: chunked\t\r\n"};
inline void add_coding_bytes(std::vector<Hostile>& all) {
  for (int i = 1; i < 256; ++i) {
    if (i >= 0x20 && i < 0x7f) continue;
    const char byte = static_cast<char>(i);
    const std::string places[] = {cat(std::string(1, byte), "Transfer-Encoding: chunked\r\n"),
                                  cat("Transfer-Encoding", std::string(1, byte), ": chunked\r\n"),
                                  cat("Transfer-Encoding: ", std::string(1, byte), "chunked\r\n"),
                                  cat("Transfer-Encoding: chunked", std::string(1, byte), "\r\n")};
    for (int place = 0; place < 4; ++place) {
      // Tabs around a value are white space that a recipient must take (RFC 9112 section 5.1).
      if (byte == '\t' && place >= 2) continue;
      all.push_back({cat("A7 byte ", i, " place ", place), head(places[place]), 400});
    }
  }
}

inline void add_chunks(std::vector<Hostile>& all) {
  const auto add = [&](std::string id, std::string_view body) {
    all.push_back({std::move(id), chunked(body), 400, true});
  };
  for (const char* size : {"0x5", "+5", "-0", "5_0", "Z", ""}) {
    add(cat("A28 size ", size), cat(size, "\r\nhello\r\n0\r\n\r\n"));
  }
  add("A29 17 digits", "00000000000000005\r\nhello\r\n0\r\n\r\n");
  add("A29 16 digits F", "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n");
  add("A30 space before", " 5\r\nhello\r\n0\r\n\r\n");
  add("A30 space after", "5 \r\nhello\r\n0\r\n\r\n");
  add("A31 bare LF", "5\nhello\r\n0\r\n\r\n");
  add("A32 data then LF", "5\r\nhello\n0\r\n\r\n");
  add("A32 data then XX", "5\r\nhelloXX0\r\n\r\n");
  add("A32 data then size", "5\r\nhello0\r\n\r\n");
  add("A33 CR in extension", "5;a\rb\r\nhello\r\n0\r\n\r\n");
  add("A33 LF in extension", "5;a\nb\r\nhello\r\n0\r\n\r\n");
  add("A33 NUL in extension", "5;a\0b\r\nhello\r\n0\r\n\r\n"s);
  add("A34 long extension", cat("5;", std::string(300, 'a'), "\r\nhello\r\n0\r\n\r\n"));
  add("A34 long extensions, one byte each",
      repeated(cat("1;", std::string(16 * 1024, 'a'), "\r\nx\r\n"), 4));
  add("A34 64 KiB extension", cat("5;", std::string(64 * 1024, 'a'), "\r\nhello\r\n0\r\n\r\n"));
  add("A18 folded trailer", "0\r\nX-A: b\r\n c\r\n\r\n");
  add("B6 trailer without colon", "0\r\nX-A\r\n\r\n");
}

inline void add_lines(std::vector<Hostile>& all) {
  const auto add = [&](std::string id, std::string bytes, int status = 400) {
    all.push_back({std::move(id), std::move(bytes), status});
  };
  add("B1 bare LF everywhere", "GET / HTTP/1.1\nHost: a.test\n\n");
  add("B1 bare LF after a field", "GET / HTTP/1.1\r\nHost: a.test\n\r\n");
  add("B2 CR inside a value", head("X-A: b\rc\r\n"));
  add("B3 field behind CR", head("X-A: a\rX-B: b\r\n"));
  add("B4 NUL in a value", head("X-A: a\0b\r\n"s));
  add("B5 NUL in a name", head("X\0A: b\r\n"s));
  add("B5 0x80 in a name", head("X\x80"s + "A: b\r\n"));
  add("B5 space in a name", head("X A: b\r\n"));
  add("B5 parenthesis in a name", head("X(A: b\r\n"));
  add("B6 no colon", head("X-A\r\n"));
  add("B7 empty name", head(": b\r\n"));
  add("B8 white space first", "GET / HTTP/1.1\r\n Host: a.test\r\n\r\n");
  add("B9 two hosts", head("Host: b.test\r\n"));
  add("B9 no host", "GET / HTTP/1.1\r\nX-A: b\r\n\r\n");
  for (const char* host : {"a/b", "u@a.test", "a,b", "a b", "a:", "a:b", "a:0", "a:65536",
                           "a:80:80", "", "[::1", "[]", "[::1]x", "[1234]", "a%2fb", "a\\b"}) {
    add(cat("B9 host ", host), cat("GET / HTTP/1.1\r\nHost: ", host, "\r\n\r\n"));
  }
  for (const char* target : {"http://u@a.test/", "http://a.test/#f", "file://a.test/",
                             "https://a.test/", "http:///x", "http://a b/", "a.test/x"}) {
    add(cat("B11 target ", target), first_line(cat("GET ", target, " HTTP/1.1")));
  }
  for (const char* line : {"GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET\t/ HTTP/1.1",
                           "GET /\tHTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1", "GET"}) {
    add(cat("B12 line ", line), first_line(line));
  }
  for (const char* line : {"GET / HTTP/1.1x", "GET / HTTP/1.10", "GET / HTTP/11", "GET / HTTP/1",
                           "GET / http/1.1", "GET /"}) {
    add(cat("B13 line ", line), first_line(line));
  }
  for (const char* version : {"3.0", "2.0", "1.0", "1.2", "0.9"}) {
    add(cat("B13 version ", version), first_line(cat("GET / HTTP/", version)), 505);
  }
  add("B13 HTTP/0.9", "GET /\r\n");
  add("B14 brace in the method", first_line("G{T / HTTP/1.1"));
  add("B14 lower-case method", first_line("get / HTTP/1.1"), 501);
  add("B14 long method", first_line(cat(std::string(10240, 'A'), " / HTTP/1.1")), 501);
  for (const std::string& target :
       {"/#f"s, "/\x80"s, "/a\0b"s, "/\x7f"s, "x"s, "*"s, "/\"a\""s, "/<a>"s, "/a\\b"s}) {
    add(cat("B15 target ", target), first_line(cat("GET ", target, " HTTP/1.1")));
  }
  add("B15 CONNECT with a path", first_line("CONNECT / HTTP/1.1"));
  add("B16 CONNECT", first_line("CONNECT a.test:443 HTTP/1.1"), 405);
  add("B16 TRACE", first_line("TRACE / HTTP/1.1"), 405);
}

inline void add_fields(std::vector<Hostile>& all) {
  const auto add = [&](std::string id, std::string bytes, int status = 400) {
    all.push_back({std::move(id), std::move(bytes), status});
  };
  for (const char* name : {"X-Forwarded-Client-Cert", "Authorization", "Host", "Content-Length",
                           "transfer-encoding", "Cookie", "x-forwarded-for", "close, Host"}) {
    add(cat("B18 Connection names ", name), head(cat("Connection: ", name, "\r\n")));
  }
  add("B18 Connection names no field", head("Connection: a b\r\n"));
  add("B19 128 KiB field", head(cat("X-A: ", std::string(128 * 1024, 'a'), "\r\n")), 431);
  add("B19 101 fields", head(repeated("a: b\r\n", 100)), 431);
  add("B19 10000 fields", head(repeated("a: b\r\n", 10000)), 431);
  add("B19 long name", head(cat(std::string(300, 'a'), ": b\r\n")), 431);
  add("B19 long target", first_line(cat("GET /", std::string(70000, 'a'), " HTTP/1.1")), 414);
  add("B22 empty lines", cat(repeated("\r\n", 40), head("")));
  add("B22 empty line of LF", cat("\n", head("")));
}

}  // namespace hostile_detail

inline std::vector<Hostile> hostile_requests() {
  std::vector<Hostile> all;
  hostile_detail::add_framing(all);
  hostile_detail::add_coding_bytes(all);
  hostile_detail::add_chunks(all);
  hostile_detail::add_lines(all);
  hostile_detail::add_fields(all);
  return all;
}

enum class Way { kWhole, kByteByByte, kLineByLine, kBehindAnother };
inline constexpr Way kWays[] = {Way::kWhole, Way::kByteByByte, Way::kLineByLine,
                                Way::kBehindAnother};
inline constexpr std::string_view kValidRequest = "GET /valid HTTP/1.1\r\nHost: a.test\r\n\r\n";

// The writes in which `bytes` are sent that way.
inline std::vector<std::string> pieces_of(std::string_view bytes, Way way) {
  std::vector<std::string> pieces;
  switch (way) {
    case Way::kWhole: return {std::string(bytes)};
    case Way::kBehindAnother: return {cat(kValidRequest, bytes)};
    case Way::kByteByByte:
      for (const char c : bytes) pieces.emplace_back(1, c);
      return pieces;
    case Way::kLineByLine:
      while (!bytes.empty()) {
        const std::size_t line = std::min(bytes.find('\n'), bytes.size() - 1) + 1;
        pieces.emplace_back(bytes.substr(0, line));
        bytes.remove_prefix(line);
      }
      return pieces;
  }
  return pieces;
}

}  // namespace glia
