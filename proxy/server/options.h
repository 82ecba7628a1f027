// The command line of glia-proxy.
//
// Where Envoy has a flag for the same thing, it has Envoy's name; flags of Envoy that mean nothing
// here are taken with a warning, so that the binary can be swapped in scripts. An error names the
// flag, the value and the fix.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "proxy/base/log.h"
#include "proxy/base/result.h"
#include "proxy/base/time.h"

namespace glia {

struct Options {
  enum class Mode : uint8_t { kServe, kValidate };
  // Where the configuration comes from; exactly one.
  enum class Source : uint8_t {
    kBootstrap,  // -c FILE or --config-yaml TEXT: an Envoy v3 bootstrap.
    kControl,    // --control: a mesh's control plane.
    kJoin,       // --join FILE: the same, with address, workload and token from the file.
    kMesh,       // --mesh: standalone, the mesh is a file or directory here.
  };

  Source source = Source::kBootstrap;
  std::string config_path, config_yaml;  // One of them, with kBootstrap.
  std::string control;                   // host:port
  std::string workload;                  // "namespace/name", with kControl and kMesh.
  std::string token_file;                // "" if the state directory holds an identity.
  std::string trust_bundle;              // PEM, for a token file that is only a token.
  std::string join_file;
  std::string mesh;       // File or directory.
  std::string state_dir;  // "": keys and configuration stay in memory. Not with kMesh.
  std::string ca_dir;     // With kMesh; "": clear text.
  bool capture = false;   // With kMesh: traffic comes by rules of the kernel.

  Mode mode = Mode::kServe;
  bool print = false;        // With kValidate: print the configuration as understood.
  uint32_t concurrency = 1;  // Worker threads.
  // What Kubernetes gives a pod between SIGTERM and SIGKILL by default. Envoy's 600 s suppose that
  // nobody kills it.
  Duration drain_time = 30s;
  std::string service_node, service_cluster;  // Override the bootstrap's node; "": do not.
  LogLevel log_level = LogLevel::info;
  std::string admin_address;       // host:port; "": the bootstrap's, or ours when joining a mesh.
  std::string admin_address_path;  // "" writes nothing.
  // Probes of the application that kubelet asks us for (app_probes.h), and where.
  std::vector<std::string> app_probes;
  std::string app_probes_address;  // "": port 15020 of all addresses.
  bool core_dumps = false;  // They would hold the private key.

  std::vector<std::string> warnings;    // To be logged once logging works.
  std::optional<std::string> only_say;  // --help, --version: print this, and end with 0.
};

// `arguments` are those after the program's name.
Result<Options> parse_options(std::span<const char* const> arguments);

}  // namespace glia
