#include "proxy/http/h2_stream.h"

#include <algorithm>

#include "proxy/http/h2_fields.h"
#include "proxy/http/h2_session.h"

namespace glia {

H2Stream::H2Stream(H2Session& session, ArenaRef arena)
    : session_(&session), arena_(std::move(arena)) {
  session.list(*this);
}

H2Stream::~H2Stream() {
  discard();
  if (session_ != nullptr) session_->unlist(*this);
}

bool H2Stream::full() const {
  if (!open_ || output_ended_ || output_.size() >= session_->stream_room()) return true;
  // Where nothing moves, one piece is enough: many streams of one slow reader are not to fill a
  // buffer each.
  return !output_.empty() && session_->stuck(id_, output_.size());
}

void H2Stream::write(Slice data) {
  if (!open_ || output_ended_) return;
  bytes_out_ += data.size();
  output_.append(std::move(data));
  resume();
}

void H2Stream::end(const Headers* trailers) {
  if (!open_ || output_ended_) return;
  output_ended_ = true;
  if (trailers != nullptr && !trailers->empty()) {
    // A copy: the body that owns them may be gone before its last byte has left.
    trailers_out_.emplace(arena_);
    for (const Field& field : trailers->fields()) trailers_out_->add(field.name, field.value);
  }
  resume();
}

void H2Stream::resume() {
  if (deferred_) {
    deferred_ = false;
    nghttp2_session_resume_data(session_->nghttp2(), id_);
  }
  session_->mark_output();
}

void H2Stream::reset(uint32_t code, std::optional<Error> why) {
  if (why) fail(std::move(*why));
  if (!open_ || aborted_) return;
  aborted_ = true;
  output_ended_ = true;
  output_.clear();
  nghttp2_submit_rst_stream(session_->nghttp2(), NGHTTP2_FLAG_NONE, id_, code);
  session_->mark_output();
}

Body::Piece H2Stream::poll() {
  if (!input_.empty()) {
    Slice piece = input_.take(input_.size());
    consume(piece.size());
    return {Body::State::kData, std::move(piece)};
  }
  if (input_ended_) return {Body::State::kEnd, {}};
  if (error_ || !open_) return {Body::State::kError, {}};
  return {Body::State::kPending, {}};
}

Error H2Stream::error() const {
  if (error_) return *error_;
  return Error(ErrorKind::kReset, Fault::kSelf, "the HTTP/2 stream is closed");
}

void H2Stream::consume(std::size_t bytes) {
  if (session_ == nullptr || bytes == 0) return;
  const std::size_t credited = std::min(credited_, bytes);
  credited_ -= credited;
  session_->taken(bytes, credited);
  nghttp2_session_consume_stream(session_->nghttp2(), id_, bytes);
  nghttp2_session_consume_connection(session_->nghttp2(), bytes - credited);
  session_->mark_output();
}

void H2Stream::discard() {
  input_discarded_ = true;
  const std::size_t bytes = input_.size();
  input_.clear();
  if (session_ == nullptr || bytes == 0) return;
  // Only the connection's window: it belongs to the neighbours too. The stream's stays shut.
  const std::size_t credited = std::exchange(credited_, 0);
  session_->taken(bytes, credited);
  nghttp2_session_consume_connection(session_->nghttp2(), bytes - credited);
  session_->mark_output();
}

void H2Stream::receive(Slice data) {
  bytes_in_ += data.size();
  if (input_discarded_) {
    nghttp2_session_consume_connection(session_->nghttp2(), data.size());
    return;
  }
  if (session_->credits(data.size())) {
    credited_ += data.size();
    nghttp2_session_consume_connection(session_->nghttp2(), data.size());
  }
  input_.append(std::move(data));
  arrived_.wake(session_->ready());
}

void H2Stream::receive_end() {
  input_ended_ = true;
  arrived_.wake(session_->ready());
}

H2Stream::Trailer H2Stream::receive_trailer(std::string_view name, std::string_view value) {
  if (!trailers_in_) {
    trailers_in_.emplace(arena_);
    trailers_budget_.emplace(session_->limits());
  }
  if (!trailers_budget_->take(name, value)) {
    return trailers_budget_->hopeless() ? Trailer::kHopeless : Trailer::kTooLarge;
  }
  if (!is_forbidden_trailer(name)) trailers_in_->add(name, value);
  return Trailer::kTaken;
}

void H2Stream::wake_all() {
  arrived_.wake(session_->ready());
  drained_.wake(session_->ready());
}

}  // namespace glia
