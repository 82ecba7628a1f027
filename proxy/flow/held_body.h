// HeldBody: a request's body whose beginning is held back until the reader of model requests has seen
// what routes and policies ask for; then all of it flows, byte for byte.
//
// Not a KeptBody: that one lets pieces go at once and keeps them besides, for another attempt; this one
// lets nothing go, and then keeps nothing. What flows behind the held part is still read: a second
// model in it breaks the body off before its end, so no server acts on either.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "proxy/base/bytes.h"
#include "proxy/base/task.h"
#include "proxy/http/body.h"
#include "proxy/model/reader.h"

namespace glia {

class HeldBody final : public Body {
 public:
  // `most` bytes are held, and the rest of the piece that passes them.
  HeldBody(std::unique_ptr<Body> from, std::unique_ptr<ModelReader> reader, std::size_t most)
      : from_(std::move(from)), reader_(std::move(reader)), most_(most) {}

  // Takes the body in until the reader has seen enough, the body is over or the limit is reached. An
  // error: the request is refused, or the client broke off. This outlives the task.
  Task<Result<void>> hold();
  const ModelReader& reader() const { return *reader_; }
  // Bytes of the body that were not held, as far as the client has announced them.
  uint64_t rest() const;
  // Changes what is held; positions as in ModelReader::rename(), before anything was polled. May be
  // called again, for other places.
  void edit(std::span<const BodyEdit> edits);

  Piece poll() override;
  void wait(Waiter& waiter) override { from_->wait(waiter); }
  const Headers* trailers() const override { return from_->trailers(); }
  std::optional<uint64_t> length() const override;
  Error error() const override { return reader_->refused() ? reader_->refusal() : from_->error(); }

 private:
  void keep(const Slice& data);
  void apply_edits();

  std::unique_ptr<Body> from_;
  std::unique_ptr<ModelReader> reader_;
  const std::size_t most_;
  ByteQueue held_;
  std::vector<BodyEdit> edits_;  // Until the first poll.
  uint64_t taken_ = 0;           // bytes of from_
  int64_t growth_ = 0;           // bytes that edit() added
  bool over_ = false;            // from_ has ended.
};

}  // namespace glia
