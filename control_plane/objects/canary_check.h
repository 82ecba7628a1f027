// What is wrong with a Canary that only shows beside the other objects.
#pragma once

#include <vector>

#include "control_plane/objects/check.h"

namespace glia {

// Fills in Canary::stable_members and candidate_members, and MeshService::canary. After the members
// of the Services.
void check_canaries(ObjectSet& objects, const Unread& unread, std::vector<Problem>& problems);

}  // namespace glia
