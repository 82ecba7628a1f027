// The manifests of this directory, as the program that prints them holds them: `glia install` needs no files.
#pragma once

#include <span>
#include <string_view>

namespace glia {

struct Manifest {
  std::string_view file;  // "service.yaml"
  std::string_view text;  // Its documents.
};

// All but kustomization.yaml, by the names of their files.
std::span<const Manifest> manifests();

}  // namespace glia
