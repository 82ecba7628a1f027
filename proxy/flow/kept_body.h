// KeptBody: a request's body that can be sent again while the upstream has not answered.
//
// What the first attempt took is kept, as shared slices, up to a limit; above it the body can be sent
// only once. A gRPC call has a body and needs this: without it, each call that a GOAWAY or a dying
// keep-alive connection turned away would be lost.
#pragma once

#include <vector>

#include "proxy/base/pool.h"
#include "proxy/http/body.h"

namespace glia {

class KeptBody final : public Body {
 public:
  // Bytes kept of one request.
  static constexpr std::size_t kMost = 64 * 1024;
  // What a small piece counts as: with its block it takes so much.
  static constexpr std::size_t kLeastCost = 128;

  explicit KeptBody(std::unique_ptr<Body> from, std::size_t most = kMost)
      : from_(std::move(from)), most_(most) {}
  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* at, std::size_t bytes) { pool_free(at, bytes); }

  // Begins again; false if what was taken is not there any more.
  bool rewind();
  // The upstream has answered: nothing is sent again.
  void forget();
  // All of it was taken, and is kept; it has no trailers.
  bool whole() const {
    const Headers* const trailers = ended_ ? from_->trailers() : nullptr;
    return keeping_ && ended_ && (trailers == nullptr || trailers->empty());
  }
  // The same bytes once more; needs whole(). It may outlive this.
  std::unique_ptr<Body> copy() const;

  Piece poll() override;
  std::optional<KernelPipe> poll_pipe() override;
  void wait(Waiter& waiter) override { from_->wait(waiter); }
  const Headers* trailers() const override { return from_->trailers(); }
  std::optional<uint64_t> length() const override { return from_->length(); }
  Error error() const override { return from_->error(); }

 private:
  void keep(const Slice& data);

  std::unique_ptr<Body> from_;
  const std::size_t most_;
  std::vector<Slice, PoolAllocator<Slice>> kept_;
  std::size_t cost_ = 0;  // Of kept_, in bytes.
  std::size_t next_ = 0;  // The piece of kept_ that poll() gives next.
  bool keeping_ = true;
  bool ended_ = false;  // from_ has.
};

}  // namespace glia
