// Reads requests as a connection does, with the parsers alone; shared by their tests and fuzz
// targets.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proxy/base/text.h"
#include "proxy/http/h1_body.h"
#include "proxy/http/h1_parser.h"

namespace glia {

// What a connection would make of some writes: requests served, then perhaps a refusal.
struct H1Outcome {
  int served = 0;
  int status = 0;
  std::string reason;
  std::string heads;  // "POST /x a.test x-a=b;" of each request
  std::string bodies;
  std::string trailers;
};

inline std::string text_of(const Request& request) {
  std::string text = cat(request.method, ' ', request.path, ' ', request.authority, ' ');
  for (const Field& field : request.headers.fields())
    text += cat(field.name, '=', field.value, ';');
  return text;
}

class H1Reader {
 public:
  const H1Outcome& read(const std::vector<std::string>& writes) {
    for (const std::string& bytes : writes) {
      Slice input = Slice::copy(bytes);
      while (!input.empty() && outcome_.status == 0) step(input);
    }
    return outcome_;
  }

 private:
  void step(Slice& input) {
    if (!in_body_) return take_head(input);
    GatherQueue data;
    const auto state = decoder_.decode(input, data);
    while (!data.empty()) outcome_.bodies += data.pop().view();
    if (state == H1BodyDecoder::State::kError) {
      outcome_.status = 400;
      outcome_.reason = decoder_.reason();
    } else if (state == H1BodyDecoder::State::kEnd) {
      complete();
    }
  }

  void take_head(Slice& input) {
    if (!request_) {
      request_.emplace(ArenaRef::create());
      request_->scheme = "http";
      parser_.begin(*request_);
    }
    std::string_view view = input.view();
    const auto state = parser_.feed(view);
    input.drop_front(input.size() - view.size());
    if (state == H1HeadParser::State::kRefused) {
      outcome_.status = parser_.refusal().status;
      outcome_.reason = parser_.refusal().reason;
    }
    if (state != H1HeadParser::State::kDone) return;
    outcome_.heads += text_of(*request_);
    decoder_.begin(parser_.framing(), request_->headers.arena_ref());
    in_body_ = true;
    if (decoder_.ended()) complete();
  }

  void complete() {
    ++outcome_.served;
    if (const auto trailers = decoder_.take_trailers()) {
      for (const Field& field : trailers->fields()) outcome_.trailers += cat(field.name, ';');
    }
    in_body_ = false;
    request_.reset();
  }

  HttpLimits limits_;
  H1RequestParser parser_{limits_};
  H1BodyDecoder decoder_{limits_};
  std::optional<Request> request_;
  H1Outcome outcome_;
  bool in_body_ = false;
};

}  // namespace glia
