// CustomResourceDefinitions of our own kinds (group glia.dev): deploy/crds.yaml, from the same description that
// drives the parser, so that what the API server takes is what we read.
#pragma once

#include <string>

namespace glia {

// The whole file. Schemas are structural (apiextensions.k8s.io/v1); what is no field is pruned by the API server,
// and refused before by clients that ask for strict validation, as kubectl does.
std::string crds_page();

}  // namespace glia
