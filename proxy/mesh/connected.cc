#include "proxy/mesh/connected.h"

#include <utility>

namespace glia {

Connected::Connected(EventLoop& loop, std::unique_ptr<Stream> stream, ClientOptions options)
    : loop_(loop), options_(std::move(options)) {
  connection_ = connect_http(loop, std::move(stream), options_, *this, stats_);
}

void Connected::on_connected(ClientConnection&) {
  ready_ = true;
  changed_.wake(loop_.ready());
}

void Connected::on_finished(ClientConnection&, const Error& error) {
  error_ = error;
  changed_.wake(loop_.ready());
}

}  // namespace glia
