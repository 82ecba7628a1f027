// What nghttp2 allocates for one session: from the thread's pool, about fifteen small blocks a
// request.
//
// Except one: nghttp2 keeps 16 KiB a session to put frames together in, of which an idle session
// holds on to a page or two. A frame is taken out as soon as it is made, before another session
// makes one, so a server's sessions, of which there are thousands, share that buffer. A client's
// session has its own: the preface waits in it until the first output.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>

namespace glia {

class H2Memory {
 public:
  enum class FrameBuffer : uint8_t { kOwn, kShared };
  explicit H2Memory(FrameBuffer which) : share_(which == FrameBuffer::kShared) {}
  H2Memory(const H2Memory&) = delete;

  // For the one session that is made with it; this object outlives that.
  nghttp2_mem functions();

 private:
  static void* allocate(std::size_t size, void* self);
  static void release(void* block, void* self);
  static void* allocate_zeroed(std::size_t count, std::size_t size, void* self);
  static void* reallocate(void* block, std::size_t size, void* self);

  // The first buffer of that size is the session's. It makes more while a head fills several.
  bool share_;
};

}  // namespace glia
