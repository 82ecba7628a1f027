// ModelReader: makes a ModelRequest of a request's head and of its body, as it comes in pieces.
//
// It looks and never changes: the bytes stay where they are. What it keeps is bounded: a few names, the
// ids of a prompt's blocks (16 KiB) and where in the body the model is named. It can go on reading when
// the body flows on already, so that a second model behind the part that was held is still refused.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/arena.h"
#include "proxy/base/result.h"
#include "proxy/model/dialect.h"
#include "proxy/model/prefix.h"
#include "proxy/model/request.h"

namespace glia {

// `removed` bytes at `at` of a body give way to `put`.
struct BodyEdit {
  uint64_t at = 0;
  uint64_t removed = 0;
  std::string put;
};

class ModelReader final : private JsonTaker, private WireTaker {
 public:
  static constexpr std::size_t kLongestName = 256;  // bytes; of a model, version or adapter

  // `call` is of `request`. With `hashes`, the prompt's blocks are hashed. All outlives the reader.
  ModelReader(const ModelCall& call, const Request& request, bool hashes);
  ModelReader(const ModelReader&) = delete;
  ModelReader& operator=(const ModelReader&) = delete;

  // Can the body be read at all? Not if there is none, or if it is compressed.
  bool readable() const { return readable_; }
  // Is the model named in the body, and not in the path?
  bool named_in_body() const { return call_.model.empty(); }
  // More of the body. False: the request is refused, as refusal() says.
  bool push(std::string_view bytes);
  // The body is over.
  bool finish();
  // Nothing that is still to come adds to the record.
  bool settled() const;
  // Why it is refused; needs a push(), a finish() or a begin that said so.
  Error refusal() const;
  bool refused() const { return !fault_.empty(); }

  // What is known so far. `rest`: bytes of the body that were not read, as far as known.
  ModelRequest record(Arena& arena, uint64_t rest) const;

  // The change that has OpenAI's stream end with its usage, if the request does not say by itself what it
  // wants of that, and all of its body was read.
  std::optional<BodyEdit> ask_for_usage() const;
  // The changes that give the model another name in the body and, unless it is "", another version;
  // an error if it cannot be done. Positions are counted from the start of the body, in order.
  Result<std::vector<BodyEdit>> rename(std::string_view model, std::string_view version) const;

 private:
  void read_head(const Request& request);
  bool push_json(std::string_view bytes);
  bool push_grpc(std::string_view bytes);
  bool begin_message();
  bool fail(std::string_view why);
  bool take_name(std::string& name, std::string_view what);
  bool end_model();
  bool end_text(uint8_t what);
  void end_number(uint8_t what, double number);
  void end_parameter();
  void first_dimension(uint64_t size);

  bool begin(uint8_t what, JsonKind kind, uint64_t offset) override;
  void text(uint8_t what, std::string_view piece) override;  // Of both takers.
  bool end(uint8_t what, JsonKind kind, uint64_t offset) override;
  void number(uint8_t what, uint64_t value) override;
  void begin(uint8_t what, const WirePlace& place) override;
  bool end(uint8_t what) override;

  const ModelCall call_;
  bool readable_ = true;
  std::string fault_;

  // JSON.
  JsonScanner json_;
  std::optional<uint64_t> json_size_;  // The rest of the body is raw tensors.
  uint64_t pushed_ = 0;                // Bytes of the body.

  // gRPC: the frame of a message, and what is in it.
  std::optional<WireScanner> wire_;
  std::string prefix_;  // The first bytes of a frame, up to 5.
  int messages_ = 0;    // Begun.

  // The record, as it grows.
  ModelRequest found_;
  std::string model_, version_, adapter_, salt_, session_, tenant_;
  bool has_model_ = false;
  bool in_string_ = false;  // JSON: not in a number.
  std::string text_;        // Of a name, a number or a word; at most kLongestName and one more.
  uint64_t text_bytes_ = 0, tokens_ = 0, tool_bytes_ = 0, began_at_ = 0;
  int tensors_ = 0, dimensions_ = 0;
  std::string parameter_key_;
  std::optional<double> parameter_number_;
  std::string parameter_text_;
  std::optional<PrefixBlocks> blocks_;

  // Where `"stream": true` ends; 0: it is not there.
  uint64_t stream_end_ = 0;
  bool stream_options_ = false;

  // Where the model is named.
  uint64_t name_at_ = 0, name_size_ = 0;  // JSON, between the quotes.
  std::optional<WirePlace> name_, spec_, version_field_;
};

}  // namespace glia
