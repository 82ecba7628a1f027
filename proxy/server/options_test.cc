#include "proxy/server/options.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "proxy/base/text.h"
#include "proxy/server/cpus.h"

namespace glia {
namespace {

Result<Options> parse(std::vector<const char*> arguments) { return parse_options(arguments); }

std::string refusal(std::vector<const char*> arguments) {
  const auto options = parse(std::move(arguments));
  return options ? "accepted" : options.error().message();
}

TEST(Options, TakesABootstrapFile) {
  const auto options = parse({"-c", "a.yaml"});
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->source, Options::Source::kBootstrap);
  EXPECT_EQ(options->config_path, "a.yaml");
  EXPECT_EQ(options->mode, Options::Mode::kServe);
  EXPECT_EQ(options->drain_time, 30s);
  EXPECT_EQ(options->log_level, LogLevel::info);
  EXPECT_GE(options->concurrency, 1u);
  EXPECT_TRUE(options->warnings.empty());
}

TEST(Options, TakesEverySpelling) {
  const auto options =
      parse({"--config-path=a.yaml", "--mode", "validate", "--print", "--concurrency", "3",
             "--drain-time-s=5", "-l", "warn", "--service-node", "n", "--service-cluster", "c",
             "--admin-address-path", "/a"});
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->mode, Options::Mode::kValidate);
  EXPECT_TRUE(options->print);
  EXPECT_EQ(options->concurrency, 3u);
  EXPECT_EQ(options->drain_time, 5s);
  EXPECT_EQ(options->log_level, LogLevel::warning);
  EXPECT_EQ(options->service_node, "n");
  EXPECT_EQ(options->service_cluster, "c");
  EXPECT_EQ(options->admin_address_path, "/a");
}

TEST(Options, TakesAMesh) {
  const auto alone = parse({"--mesh", "mesh.yaml", "--workload", "reco", "--ca-dir", "ca"});
  ASSERT_TRUE(alone) << alone.error().message();
  EXPECT_EQ(alone->source, Options::Source::kMesh);
  EXPECT_EQ(alone->workload, "default/reco");
  const auto control = parse({"--control", "127.0.0.1:15012", "--workload", "shop/front",
                              "--token-file", "t", "--state-dir", "s"});
  ASSERT_TRUE(control) << control.error().message();
  EXPECT_EQ(control->source, Options::Source::kControl);
  EXPECT_EQ(control->workload, "shop/front");
  const auto join = parse({"--join", "front.join"});
  ASSERT_TRUE(join) << join.error().message();
  EXPECT_EQ(join->source, Options::Source::kJoin);
  EXPECT_TRUE(parse({"--control", "cp:1", "--workload", "a", "--state-dir", "s"}));
  EXPECT_TRUE(parse({"-c", "a", "--state-dir", "s"}));
}

TEST(Options, TakesEnvoysFlagsWithAWarning) {
  const auto options = parse({"-c", "a", "--restart-epoch", "0", "--disable-hot-restart",
                              "--hot-restart-version", "--local-address-ip-version", "v4",
                              "--parent-shutdown-time-s", "60", "-l", "critical"});
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->log_level, LogLevel::error);
  ASSERT_EQ(options->warnings.size(), 5u);
  EXPECT_EQ(options->warnings[0],
            "--restart-epoch is taken for Envoy's sake and does nothing: Glia starts a new process "
            "beside the old one (SO_REUSEPORT)");
}

TEST(Options, SaysItsVersionAndHelp) {
  EXPECT_EQ(parse({"--version"})->only_say, "glia-proxy 0.1.0\n");
  const auto help = parse({"--help"});
  ASSERT_TRUE(help);
  for (const char* flag : {"--config-path", "--mesh", "--join", "--drain-time-s", "--version"}) {
    EXPECT_NE(help->only_say->find(flag), std::string::npos) << flag;
  }
  EXPECT_EQ(help->only_say->find("--restart-epoch"), std::string::npos);  // Not to be advertised.
}

TEST(Options, NamesFlagValueAndFix) {
  EXPECT_EQ(refusal({}),
            "no configuration; give -c FILE (an Envoy bootstrap), --mesh FILE --workload "
            "NAME (standalone), or --join FILE (a mesh's control plane)");
  EXPECT_EQ(refusal({"-c", "a", "--mode", "init"}),
            "--mode init: not a mode; use serve or validate");
  EXPECT_EQ(refusal({"-c", "a", "--concurrency", "0"}),
            "--concurrency 0: not a number of workers; use 1 to 256");
  EXPECT_EQ(refusal({"-c", "a", "--concurrency", "257"}),
            "--concurrency 257: not a number of workers; use 1 to 256");
  EXPECT_EQ(refusal({"-c", "a", "--concurrency", "two"}),
            "--concurrency two: not a number of workers; use 1 to 256");
  EXPECT_EQ(refusal({"-c", "a", "--drain-time-s", "1m"}),
            "--drain-time-s 1m: not a number of seconds; use 0 to 86400");
  EXPECT_EQ(refusal({"-c", "a", "-l", "loud"}),
            "--log-level loud: not a level; use trace, debug, info, warning, error or off");
  EXPECT_EQ(refusal({"-c", "a", "--print"}),
            "--print shows a configuration that was only checked; add --mode validate");
  EXPECT_EQ(refusal({"-c", "a", "--mesh", "b"}),
            "-c and --mesh are two sources of configuration; give one of them");
  EXPECT_EQ(refusal({"-c", "a", "--config-yaml", "b"}),
            "-c and --config-yaml are two sources of configuration; give one of them");
  EXPECT_EQ(refusal({"--mesh", "a"}),
            "--mesh needs --workload NAMESPACE/NAME, the workload that this "
            "proxy stands beside");
  EXPECT_EQ(refusal({"-c", "a", "--capture"}),
            "--capture has a meaning only with --mesh; with a control plane, spec.capture of the "
            "Workload says it");
  EXPECT_EQ(refusal({"--mesh", "a", "--workload", "a/b/c"}),
            "--workload a/b/c: not NAME or NAMESPACE/NAME, as in default/front");
  EXPECT_EQ(refusal({"--mesh", "a", "--workload", "b", "--token-file", "t"}),
            "--token-file t: has a meaning only with --control; leave it out");
  EXPECT_EQ(refusal({"--mesh", "a", "--workload", "b", "--state-dir", "d"}),
            "--state-dir d: has a meaning only with -c, --config-yaml, --control or --join; leave it "
            "out");
  EXPECT_EQ(refusal({"-c", "a", "--ca-dir", "d"}),
            "--ca-dir d: has a meaning only with --mesh; leave it out");
  EXPECT_EQ(refusal({"--control", "cp", "--workload", "b", "--token-file", "t"}),
            "--control cp: not HOST:PORT, as in 127.0.0.1:15012");
  EXPECT_EQ(refusal({"--control", "cp:70000", "--workload", "b", "--token-file", "t"}),
            "--control cp:70000: not HOST:PORT, as in 127.0.0.1:15012");
  EXPECT_EQ(refusal({"--control", "cp:1", "--workload", "b"}),
            "--control needs --token-file FILE to prove who this is, or --state-dir DIR with the "
            "identity of an earlier run");
}

TEST(Options, KnowsWhatWasMeant) {
  EXPECT_EQ(refusal({"-c", "a", "--concurency", "2"}),
            "unknown flag --concurency; did you mean --concurrency?");
  EXPECT_EQ(refusal({"-c", "a", "--concurency=2"}),
            "unknown flag --concurency; did you mean --concurrency?");
  EXPECT_EQ(refusal({"-c", "a", "--something-else-entirely"}),
            "unknown flag --something-else-entirely; glia-proxy --help lists the flags");
  EXPECT_EQ(refusal({"a.yaml"}),
            "argument \"a.yaml\" belongs to no flag; a configuration file is given "
            "with -c FILE");
  EXPECT_EQ(refusal({"-c"}), "--config-path is given without a value; write --config-path VALUE");
  EXPECT_EQ(refusal({"-c", "a", "-c", "b"}), "--config-path is given more than once; give it once");
}

TEST(Cpus, RoundsAQuotaUp) {
  EXPECT_EQ(cpus_of_quota("max 100000\n"), std::nullopt);
  EXPECT_EQ(cpus_of_quota("50000 100000\n"), 1u);
  EXPECT_EQ(cpus_of_quota("150000 100000\n"), 2u);
  EXPECT_EQ(cpus_of_quota("200000 100000"), 2u);
  for (const char* broken : {"", "x", "0 100000", "100000 0", "-1 100000"}) {
    EXPECT_EQ(cpus_of_quota(broken), std::nullopt) << broken;
  }
}

TEST(Cpus, TakesTheSmallestQuotaOnTheWayUp) {
  const std::string root = cat(testing::TempDir(), "cgroup-", getpid());
  const auto write = [](const std::string& path, std::string_view text) {
    std::ofstream(path) << text;
  };
  mkdir(root.c_str(), 0700);
  mkdir((root + "/slice").c_str(), 0700);
  mkdir((root + "/slice/service").c_str(), 0700);
  write(root + "/self", "12:cpu:/old\n0::/slice/service\n");
  EXPECT_EQ(cgroup_cpus(root, root + "/self"), std::nullopt);
  write(root + "/slice/service/cpu.max", "max 100000\n");
  write(root + "/slice/cpu.max", "300000 100000\n");
  EXPECT_EQ(cgroup_cpus(root, root + "/self"), 3u);
  write(root + "/slice/service/cpu.max", "100000 100000\n");
  EXPECT_EQ(cgroup_cpus(root, root + "/self"), 1u);
  write(root + "/self", "12:cpu:/old\n");  // No cgroup v2.
  EXPECT_EQ(cgroup_cpus(root, root + "/self"), std::nullopt);
  EXPECT_EQ(cgroup_cpus(root, root + "/missing"), std::nullopt);
  EXPECT_GE(usable_cpus(), 1u);
}

}  // namespace
}  // namespace glia
