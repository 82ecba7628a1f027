#include "proxy/mesh/lone_connection.h"

#include "proxy/base/text.h"
#include "proxy/http/raw_client.h"
#include "proxy/mesh/cluster.h"

namespace glia {

LoneConnection::LoneConnection(Endpoint& endpoint, const ConnectionInfo* client, Carries carries)
    : hold_(endpoint),
      config_(endpoint.cluster().config_ref()),
      options_{config_->codec, config_->http},
      limit_(endpoint.cluster().loop(), [this] {
        fail(cat("connecting to ", hold_.endpoint().config().address.text(), " took longer than ",
                 to_ms(config_->connect_timeout), " ms"));
      }) {
  const auto connect = carries == Carries::kHttp ? connect_http : connect_raw;
  http_ = connect(endpoint.cluster().loop(), endpoint.dial(client), options_, *this,
                  endpoint.cluster().http_stats());
  limit_.start(config_->connect_timeout);
}

void LoneConnection::on_connected(ClientConnection&) {
  limit_.stop();
  open_ = true;
  changed_.wake(hold_.endpoint().cluster().loop().ready());
}

// Once it was open, its only call has been told already.
void LoneConnection::on_finished(ClientConnection&, const Error& error) {
  if (!open_) fail(error.message());
}

void LoneConnection::fail(std::string_view why) {
  limit_.stop();
  if (!error_) {
    hold_.count_failure();
    error_.emplace(ErrorKind::kConnectFailed, Fault::kUpstream, std::string(why), Retry::kSafe);
  }
  changed_.wake(hold_.endpoint().cluster().loop().ready());
}

}  // namespace glia
