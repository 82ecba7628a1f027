// What a sidecar keeps over a restart: a file that is whole, its own and of a format it knows, or nothing;
// and what it tells a control plane that comes back.
#include "proxy/xds/kept_configuration.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "proxy/base/text.h"
#include "proxy/net/x509.h"
#include "proxy/xds/ads_test_support.h"
#include "proxy/xds/configuration_keeper.h"
#include "proxy/xds/private_file.h"

namespace glia {
namespace {

constexpr std::string_view kOwner = "n1 spiffe://m.test/n1";

struct Kept : PlayedDelta {
  std::string file() {
    return encode_kept(
        configuration->draft(),
        [this](ResourceKind kind, const std::string& name) {
          return client->time_left(kind, name);
        },
        kOwner, wall());
  }
  WallTime wall() { return world.loop().clock().wall_now(); }
  // A new process, with this file.
  Result<void> restart(const std::string& file) {
    make();
    TRY(const KeptConfiguration kept, decode_kept(file, kOwner, wall()));
    TRY_VOID(client->restore(kept.pushes));
    client->start();
    take();
    world.run_for(1ms);
    return {};
  }
  std::string trouble(const std::string& file, std::string_view owner = kOwner) {
    const auto kept = decode_kept(file, owner, wall());
    return kept ? "" : kept.error().message();
  }
  std::string with_lock(const std::string& name) {
    return bytes_of(message_of(ResourceKind::kListener), cat("name: ", name, R"(
address: {socket_address: {address: 127.0.0.1, port_value: 8443}}
filter_chains:
- transport_socket:
    name: tls
    typed_config:
      "@type": t/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
      common_tls_context:
        tls_certificate_sds_secret_configs: [{name: pushed, sds_config: {ads: {}}}]
        validation_context_sds_secret_config: {name: roots, sds_config: {ads: {}}}
  filters:
  - name: hcm
    typed_config:
      "@type": t/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: s
      rds: {route_config_name: main, config_source: {ads: {}}}
      http_filters: [{name: r, typed_config: {"@type": t/envoy.extensions.filters.http.router.v3.Router}}]
)"));
  }
};

TEST_F(Kept, ARestartServesWhatWasHeldAndSaysSoToTheControlPlane) {
  settle();
  const std::string kept = file();
  const std::string version = configuration->snapshot()->version;
  ASSERT_TRUE(restart(kept).ok());
  EXPECT_TRUE(client->settled()) << "nobody needs to answer first";
  EXPECT_TRUE(client->unconfirmed());
  EXPECT_TRUE(has("reco"));
  EXPECT_EQ(configuration->snapshot()->version, version);
  EXPECT_EQ(configuration->snapshot()->listeners.at("web")->chains[0].http.routes->hosts().size(),
            1u);
  EXPECT_EQ(take(), (Lines{"cds held reco=c1 from n1", "eds +reco held reco=e1", "lds held web=l1",
                           "rds +main held main=r1"}));
  changes(ResourceKind::kCluster, "x", {});  // "You are heard."
  EXPECT_FALSE(client->unconfirmed());
  EXPECT_TRUE(has("reco"));
}

TEST_F(Kept, AHeartbeatConfirmsWhatWasKept) {
  settle();
  changes(ResourceKind::kCluster, "5", {{"short", "c1", cluster("short"), 10}});
  ASSERT_TRUE(restart(file()).ok());
  EXPECT_TRUE(client->unconfirmed());
  changes(ResourceKind::kCluster, "x", {{"short", "c1", "", 10}});
  EXPECT_FALSE(client->unconfirmed());
}

TEST_F(Kept, WhatVanishedMeanwhileIsRemovedOnceTheControlPlaneSaysSo) {
  settle();
  changes(ResourceKind::kCluster, "5", {{"b", "c1", cluster("b")}});
  changes(ResourceKind::kEndpoints, "6", {{"b", "e1", endpoints("b", 81)}});
  ASSERT_TRUE(restart(file()).ok());
  EXPECT_TRUE(has("b"));
  std::exchange(watcher, nullptr)->on_end("connection refused");
  world.run_for(24h * 3);
  EXPECT_TRUE(has("b")) << "without a control plane nothing goes";
  changes(ResourceKind::kCluster, "x", {}, {"b"});
  EXPECT_FALSE(has("b"));
  EXPECT_TRUE(has("reco"));
}

TEST_F(Kept, EachByteThatIsAnotherAndEachEndThatIsMissingIsNoticed) {
  settle();
  const std::string whole = file();
  ASSERT_EQ(trouble(whole), "");
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string other = whole;
    other[at] = static_cast<char>(other[at] ^ 1);
    EXPECT_NE(trouble(other), "") << "byte " << at;
  }
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(trouble(whole.substr(0, size)), "") << size << " bytes";
  }
  EXPECT_EQ(trouble(whole.substr(0, whole.size() - 1)).substr(0, 28),
            "it is damaged (it ends after");
  EXPECT_NE(trouble(whole + "x"), "");
  EXPECT_EQ(trouble(""), "it is no configuration that glia-proxy has kept");
}

TEST_F(Kept, AFileOfAnotherSidecarOrAnotherFormatIsRefusedWithTheReason) {
  settle();
  std::string whole = file();
  EXPECT_EQ(trouble(whole, "n2 spiffe://m.test/n2"),
            "it belongs to n1 spiffe://m.test/n1 and this is n2 spiffe://m.test/n2");
  whole.replace(whole.find(" 1\n"), 3, " 2\n");
  EXPECT_EQ(trouble(whole), "it has the format 2, and this glia-proxy reads format 1 only");
}

// A newer program may refuse what an older one took: the decoders are those of the wire.
TEST_F(Kept, WhatCannotBeUsedIsRefusedWholeAndIsNoRefusalOfAPush) {
  settle();
  PushedResources push{
      .version = "1", .type_url = type_url_of(ResourceKind::kCluster), .nonce = ""};
  push.resources.push_back({.bytes = cluster("good"), .name = "good", .version = "1"});
  push.resources.push_back(
      {.bytes = cluster("bad", "lb_policy: MAGLEV"), .name = "bad", .version = "1"});
  make();
  const auto restored = client->restore({push});
  ASSERT_FALSE(restored.ok());
  EXPECT_TRUE(restored.error().message().starts_with("cluster[bad].lb_policy: MAGLEV is not"))
      << restored.error().message();
  EXPECT_FALSE(has("good"));
  EXPECT_FALSE(client->unconfirmed());
  EXPECT_FALSE(configuration->refusal(ResourceKind::kCluster));
}

TEST_F(Kept, WhatCameForAWhileIsKeptForTheRestOfIt) {
  settle();
  changes(ResourceKind::kCluster, "5", {{"short", "c1", cluster("short"), 10}});
  world.run_for(4s);
  const std::string kept = file();
  ASSERT_TRUE(restart(kept).ok());
  world.run_for(5s);
  EXPECT_TRUE(has("short"));
  world.run_for(2s);
  EXPECT_FALSE(has("short"));
  EXPECT_TRUE(has("reco"));
  ASSERT_TRUE(restart(kept).ok());
  EXPECT_FALSE(has("short")) << "its time was over before";
  EXPECT_TRUE(has("reco"));
}

// Whoever sends keys wants them in memory only; authorities are public.
TEST_F(Kept, KeysThatCameBySdsAreNotWritten) {
  const WallTime now = wall();
  const auto authority = CertificateAuthority::create("m.test", now, 24h);
  ASSERT_TRUE(authority.ok());
  const auto leaf =
      issue(*authority, {.uri_san = "spiffe://m.test/n1", .now = now, .lifetime = 1h});
  ASSERT_TRUE(leaf.ok());
  Message key(*MessageSchema::find(message_of(ResourceKind::kSecret)));
  key.add_text("name", "pushed");
  Message& pair = key.add_message("tls_certificate");
  pair.add_message("certificate_chain").add_text("inline_string", leaf->certificate);
  pair.add_message("private_key").add_text("inline_string", leaf->private_key);
  Message roots(*MessageSchema::find(message_of(ResourceKind::kSecret)));
  roots.add_text("name", "roots");
  roots.add_message("validation_context")
      .add_message("trusted_ca")
      .add_text("inline_string", authority->certificate());
  changes(ResourceKind::kListener, "1", {{"web", "l1", with_lock("web")}});
  changes(ResourceKind::kRoutes, "2", {{"main", "r1", routes("main", "control")}});
  changes(ResourceKind::kSecret, "3",
          {{"pushed", "s1", encode_wire(key)}, {"roots", "s1", encode_wire(roots)}});
  ASSERT_EQ(configuration->draft().of(ResourceKind::kSecret).size(), 2u);
  ASSERT_EQ(configuration->snapshot()->listeners.size(), 1u);
  const std::string kept = file();
  EXPECT_EQ(kept.find("PRIVATE KEY"), std::string::npos);
  ASSERT_TRUE(restart(kept).ok());
  EXPECT_EQ(configuration->draft().of(ResourceKind::kSecret).size(), 1u);
  EXPECT_TRUE(configuration->snapshot()->listeners.empty()) << "it waits for its key";
  EXPECT_FALSE(client->settled());
}

struct KeptOfAll : PlayedAds {};

// Versions are numbers of the server's there, which may count from one again.
TEST_F(KeptOfAll, StateOfTheWorldIsAskedForWithoutAVersion) {
  push(ResourceKind::kCluster, "7", "a", {cluster("reco"), cluster("old")});
  push(ResourceKind::kEndpoints, "8", "b", {endpoints("reco", 80), endpoints("old", 80)});
  push(ResourceKind::kListener, "9", "c", {listener("web", 8080, "main")});
  push(ResourceKind::kRoutes, "9", "d", {routes("main", "reco")});
  const WallTime now = world.loop().clock().wall_now();
  const std::string file = encode_kept(
      configuration->draft(), [](ResourceKind, const std::string&) { return std::nullopt; }, kOwner,
      now);
  make();
  const auto kept = decode_kept(file, kOwner, now);
  ASSERT_TRUE(kept.ok());
  ASSERT_TRUE(client->restore(kept->pushes).ok());
  take();
  client->start();
  world.run_for(1ms);
  EXPECT_EQ(take(), (Lines{"cds v n from n1", "eds v n old reco", "lds v n", "rds v n main"}));
  EXPECT_TRUE(client->settled());
  push(ResourceKind::kCluster, "1", "x", {cluster("reco")});
  EXPECT_EQ(configuration->snapshot()->clusters.count("old"), 0u);
  EXPECT_EQ(configuration->snapshot()->clusters.count("reco"), 1u);
}

struct Keeping : Kept {
  Keeping() {
    client->on_change([this] { keeper.changed(); });
  }
  ~Keeping() override {
    client->on_change([] {});
  }
  void finish(const Result<void>& result) { std::exchange(pending, nullptr)(result); }

  std::vector<std::string> files;
  ConfigurationKeeper::Done pending;
  ConfigurationKeeper keeper{world.loop(), *configuration, *client, std::string(kOwner),
                             [this](std::string content, ConfigurationKeeper::Done done) {
                               files.push_back(std::move(content));
                               pending = std::move(done);
                             }};
};

TEST_F(Keeping, AChangeOfSeveralPushesIsWrittenOnceAndARowOfChangesAtABoundedRate) {
  settle();
  EXPECT_EQ(files.size(), 0u);
  world.run_for(ConfigurationKeeper::kSettle);
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(trouble(files[0]), "");
  finish({});
  EXPECT_EQ(keeper.written(), 1u);
  EXPECT_EQ(keeper.size(), files[0].size());
  for (int i = 0; i < 600; ++i) {  // A minute.
    changes(ResourceKind::kEndpoints, cat("e", i),
            {{"reco", cat("e", i), endpoints("reco", 1 + i)}});
    world.run_for(100ms);
    if (pending) finish({});
  }
  EXPECT_GE(files.size(), 6u);
  EXPECT_LE(files.size(), 8u);
  world.run_for(1h);
  const std::size_t last = files.size();
  if (pending) finish({});
  changes(ResourceKind::kCluster, "h", {});  // Says nothing.
  world.run_for(1h);
  EXPECT_EQ(files.size(), last);
  ASSERT_TRUE(restart(files.back()).ok());
  EXPECT_EQ(configuration->draft().of(ResourceKind::kEndpoints).at("reco")->version, "e599");
}

TEST_F(Keeping, APartOfTheFirstConfigurationIsNotWritten) {
  changes(ResourceKind::kCluster, "1", {{"reco", "c1", cluster("reco")}});
  world.run_for(1h);
  EXPECT_TRUE(client->settled()) << "it serves with what there is";
  EXPECT_FALSE(keeper.unwritten());
  EXPECT_EQ(files.size(), 0u);
  changes(ResourceKind::kEndpoints, "2", {{"reco", "e1", endpoints("reco", 80)}});
  changes(ResourceKind::kListener, "3", {{"web", "l1", listener("web", 8080, "main")}});
  changes(ResourceKind::kRoutes, "4", {{"main", "r1", routes("main", "reco")}});
  world.run_for(ConfigurationKeeper::kSettle);
  EXPECT_EQ(files.size(), 1u);
}

TEST_F(Keeping, AnEmptyAnswerThatCompletesTheFirstConfigurationIsWritten) {
  changes(ResourceKind::kCluster, "1", {{"reco", "c1", cluster("reco")}});
  changes(ResourceKind::kEndpoints, "2", {{"reco", "e1", endpoints("reco", 80)}});
  world.run_for(1h);
  EXPECT_EQ(files.size(), 0u);
  changes(ResourceKind::kListener, "3", {});
  world.run_for(ConfigurationKeeper::kSettle);
  EXPECT_EQ(files.size(), 1u);
}

TEST_F(Keeping, ADiskThatRefusesIsTriedAgainAndASlowOneIsNotHurried) {
  settle();
  world.run_for(ConfigurationKeeper::kSettle);
  finish(invalid("no space left on device"));
  EXPECT_EQ(keeper.failed(), 1u);
  world.run_for(ConfigurationKeeper::kTryAgain - 2s);
  changes(ResourceKind::kEndpoints, "5", {{"reco", "e2", endpoints("reco", 81)}});
  world.run_for(1s);
  EXPECT_EQ(files.size(), 1u) << "a mesh that changes does not hurry it";
  world.run_for(1s);
  ASSERT_EQ(files.size(), 2u);
  changes(ResourceKind::kCluster, "6", {{"b", "c1", cluster("b")}});
  world.run_for(1h);
  EXPECT_EQ(files.size(), 2u) << "one at a time";
  finish({});
  EXPECT_EQ(keeper.unwritten().has_value(), true);
  EXPECT_EQ(keeper.unwritten().has_value(), false);
}

struct PrivateFiles : testing::Test {
  const std::string directory = cat(testing::TempDir(), "private-", getpid());
  const std::string path = directory + "/some";
  ~PrivateFiles() override {
    ::unlink(path.c_str());
    ::rmdir(directory.c_str());
  }
};

TEST_F(PrivateFiles, AreReplacedWholeAndReadByNobodyElse) {
  ASSERT_TRUE(write_private_file(directory, "some", "one").ok());
  std::ofstream(path + ".glia-new") << "half of someth";  // Of a run that was cut off.
  ASSERT_TRUE(write_private_file(directory, "some", "two").ok());
  EXPECT_EQ(**read_private_file(directory, "some", 3), "two");
  struct stat facts = {};
  ASSERT_EQ(::stat(path.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
  EXPECT_NE(::access((path + ".glia-new").c_str(), F_OK), 0);
}

TEST_F(PrivateFiles, WhatIsMissingIsNothingAndWhatOthersMayWriteIsNotTrusted) {
  EXPECT_FALSE(*read_private_file(directory, "some", 10));
  ASSERT_TRUE(write_private_file(directory, "some", "12345678901").ok());
  EXPECT_EQ(read_private_file(directory, "some", 10).error().message(),
            path + " is larger than 10 bytes");
  ::chmod(path.c_str(), 0660);  // As kubelet does it for an fsGroup.
  EXPECT_TRUE(read_private_file(directory, "some", 100).ok());
  ::chmod(path.c_str(), 0602);
  EXPECT_EQ(read_private_file(directory, "some", 100).error().message(),
            path + " can be written by others, so it is not trusted; delete it");
  EXPECT_FALSE(write_private_file(directory + "/no/such", "some", "").ok());
}

}  // namespace
}  // namespace glia
