#include "proxy/http/body.h"

#include "proxy/base/text.h"

namespace glia {

Task<Result<void>> pump(Body& from, Sink& to) {
  for (;;) {
    co_await drained(to);
    if (to.takes_pipe()) {
      if (std::optional<KernelPipe> pipe = from.poll_pipe()) {
        to.write_pipe(std::move(*pipe));
        continue;
      }
    }
    Body::Piece piece = co_await next(from);
    switch (piece.state) {
      case Body::State::kData: to.write(std::move(piece.data)); break;
      case Body::State::kPending: break;
      case Body::State::kEnd: to.end(from.trailers()); co_return Result<void>();
      case Body::State::kError: to.abort(); co_return from.error();
    }
  }
}

Task<Result<std::string>> read_all(Body& body, std::size_t limit) {
  std::string all;
  for (;;) {
    Body::Piece piece = co_await next(body);
    if (piece.state == Body::State::kEnd) co_return all;
    if (piece.state == Body::State::kError) co_return body.error();
    if (all.size() + piece.data.size() > limit) {
      co_return Error(ErrorKind::kTooLarge, Fault::kDownstream,
                      cat("body is larger than ", limit, " bytes"));
    }
    all += piece.data.view();
  }
}

}  // namespace glia
