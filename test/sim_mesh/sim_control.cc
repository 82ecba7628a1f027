#include "test/sim_mesh/sim_control.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <utility>

#include "control_plane/serve/ads_stream.h"
#include "control_plane/serve/node_resources.h"
#include "control_plane/translate/translate.h"
#include "proxy/base/text.h"
#include "proxy/http/grpc.h"

namespace glia {
namespace {

constexpr std::size_t kLargestRequest = 4 << 20;  // bytes
constexpr Duration kHandshakeLimit = 5s;

// The responses of one stream, as a body; it reads the requests beside. Of either variant.
class AdsBody final : public Body, private AdsStream::Transport {
 public:
  AdsBody(EventLoop& loop, ControlPlane& plane, Result<SpiffeId> caller, AdsVariant variant,
          std::unique_ptr<Body> requests)
      : loop_(loop),
        variant_(variant),
        requests_(std::move(requests)),
        decoder_(kLargestRequest),
        trailers_(ArenaRef::create()),
        stream_(plane, *this, std::move(caller), {variant, {}}),
        timer_(loop, [this] { changed(); }) {
    reading_ = read();
    reading_.start();
  }

  Piece poll() override {
    if (over_) return {State::kEnd, {}};
    if (trouble_) return end(*trouble_);
    const Result<std::optional<AdsPush>> next = stream_.next();
    if (!next) return end(next.error());
    if (*next) {
      std::string framed;
      append_grpc_message(framed, variant_ == AdsVariant::kDelta
                                      ? to_delta_response(**next).SerializeAsString()
                                      : to_response(**next).SerializeAsString());
      return {State::kData, Slice::copy(framed)};
    }
    if (const auto when = stream_.wake_at()) {
      timer_.start(std::max<Duration>(*when - loop_.now(), Duration::zero()));
    }
    return {State::kPending, {}};
  }
  void wait(Waiter& waiter) override { slot_.put(waiter); }
  const Headers* trailers() const override { return over_ ? &trailers_ : nullptr; }

 private:
  void changed() override { slot_.wake(loop_.ready()); }
  Piece end(const Error& error) {
    over_ = true;
    trailers_.add("grpc-status", "7");
    message_ = encode_grpc_message(error.message());
    trailers_.add("grpc-message", message_);
    return {State::kEnd, {}};
  }
  Task<void> read() {
    const Result<void> read = co_await read_requests();
    trouble_ = read ? Error(ErrorKind::kClosed, Fault::kDownstream, "the client has ended its side")
                    : read.error();
    changed();
  }
  Task<Result<void>> read_requests() {
    while (true) {
      const Piece piece = co_await ::glia::next(*requests_);
      if (piece.state == State::kError) co_return requests_->error();
      if (piece.state == State::kEnd) co_return Result<void>();
      decoder_.add(piece.data.view());
      while (true) {
        CO_TRY(const auto message, decoder_.next());
        if (!message) break;
        CO_TRY_VOID(variant_ == AdsVariant::kDelta ? take<AdsSession::DeltaRequest>(*message)
                                                   : take<AdsSession::Request>(*message));
        changed();
      }
    }
  }

  template <class AnyRequest>
  Result<void> take(std::string_view bytes) {
    AnyRequest request;
    if (!request.ParseFromString(std::string(bytes))) return invalid("no DiscoveryRequest");
    return stream_.on_request(request);
  }

  EventLoop& loop_;
  const AdsVariant variant_;
  std::unique_ptr<Body> requests_;
  GrpcDecoder decoder_;
  Headers trailers_;
  std::string message_;
  std::optional<Error> trouble_;
  bool over_ = false;
  WaitSlot slot_;
  AdsStream stream_;
  CallbackTimer timer_;
  Task<void> reading_;
};

}  // namespace

struct SimOffice::Parts {
  std::string directory = testing::TempDir() + "office_XXXXXX";
  std::unique_ptr<Store> store;
  std::optional<CertificateAuthority> authority;
  std::optional<Registrar> registrar;
};

SimOffice::SimOffice(const std::string& trust_domain) : parts_(std::make_unique<Parts>()) {
  CHECK(::mkdtemp(parts_->directory.data()) != nullptr);
  SimWorld world(1);
  const Clock& clock = world.loop().clock();
  auto store = Store::open(parts_->directory + "/mesh.db", clock.wall_now());
  CHECK(store.ok());
  parts_->store = *std::move(store);
  auto authority = CertificateAuthority::create(trust_domain, clock.wall_now(), 365 * 24h);
  CHECK(authority.ok());
  parts_->authority.emplace(*std::move(authority));
  parts_->registrar.emplace(*parts_->store, *parts_->authority, clock.now());
}

SimOffice::~SimOffice() { std::filesystem::remove_all(parts_->directory); }

const CertificateAuthority& SimOffice::authority() const { return *parts_->authority; }

struct SimControl::Plane {
  ControlPlane control;
};

SimControl::SimControl(SimWorld& world, const Address& address, SimOffice& office, std::string mesh)
    : world_(world), address_(address), office_(office), mesh_(std::move(mesh)) {
  const CertificateAuthority& authority = office.authority();
  const auto own =
      issue(authority, {.uri_san = cat("spiffe://", authority.trust_domain(), "/glia-control"),
                        .now = world.loop().clock().wall_now()});
  CHECK(own.ok());
  auto tls = TlsContext::create(TlsContext::Side::kServer, {.certificate_chain = own->certificate,
                                                            .private_key = own->private_key,
                                                            .trusted_ca = authority.certificate(),
                                                            .require_client_certificate = true,
                                                            .alpn = {"h2"}});
  CHECK(tls.ok());
  tls_ = *std::move(tls);
  start();
}

SimControl::~SimControl() { die(); }

void SimControl::edit(std::string mesh) {
  LoadReport report = parse({{"mesh.yaml", mesh}});
  if (report.ok()) mesh_ = std::move(mesh);  // Nobody starts on a file that cannot be used.
  if (plane_ != nullptr) plane_->control.apply(std::move(report));
}

void SimControl::start() {
  LoadReport report = parse({{"mesh.yaml", mesh_}});
  if (!report.ok()) std::fputs(report.errors().c_str(), stderr);
  CHECK(report.ok());
  plane_ = std::unique_ptr<Plane>(new Plane{{world_.loop(), MeshState(std::move(report.objects)),
                                             *office_.parts_->registrar, "simulated"}});
  auto acceptor = world_.host(address_.ip_text()).listen(address_, {}, *this);
  CHECK(acceptor.ok());
  acceptor_ = std::move(*acceptor);
}

void SimControl::die() {
  acceptor_.reset();
  connections_.clear();
  plane_.reset();
}

std::map<std::string, std::string> SimControl::resources_for(const std::string& workload) const {
  const ObjectSet& objects = plane_->control.objects();
  const auto packed = pack(translate(objects, *objects.workload(workload)));
  std::map<std::string, std::string> all;
  for (const XdsType type : kXdsTypes) {
    for (const auto& [name, resource] : packed->of(type).resources) {
      all[cat(type_url(type), " ", name)] = resource->any().value();
    }
  }
  return all;
}

void SimControl::on_accept(std::unique_ptr<Stream> stream) {
  connections_.push_back(serve_http(world_.loop(),
                                    tls_->wrap(world_.loop(), std::move(stream), kHandshakeLimit),
                                    options_, *this, *this, stats_));
}

void SimControl::on_finished(ServerConnection& connection) {
  const auto place = std::ranges::find_if(
      connections_, [&](const auto& owned) { return owned.get() == &connection; });
  world_.loop().reap(std::move(*place));
  connections_.erase(place);
}

Task<void> SimControl::serve(ServerStream& stream) {
  Response response(stream.arena());
  response.status = 200;
  response.headers.add("content-type", "application/grpc");
  const TlsInfo& peer = *stream.connection().tls;
  CHECK(peer.peer_uri_sans.size() == 1);
  const bool delta = stream.request().path.ends_with("/DeltaAggregatedResources");
  response.body = std::make_unique<AdsBody>(
      world_.loop(), plane_->control, SpiffeId::parse(peer.peer_uri_sans.front()),
      delta ? AdsVariant::kDelta : AdsVariant::kStateOfTheWorld, std::move(stream.request().body));
  co_await stream.respond(std::move(response));
}

}  // namespace glia
