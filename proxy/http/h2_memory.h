// nghttp2's allocations from the thread's pool: about fifteen small blocks a request.
#pragma once

#include <nghttp2/nghttp2.h>

namespace glia {

nghttp2_mem h2_pool_memory();

}  // namespace glia
