// What a sidecar says of one cluster, if it can be true.
#pragma once

#include "control_plane/canary/observed.h"
#include "glia/v1/report.pb.h"
#include "proxy/base/result.h"

namespace glia {

// `most`: requests that one sidecar can have had in the time. Finish reasons and fields keep the names
// that the sidecar gave them, in maps that are as large as it made them (report.proto says how large they
// may be). The error says what cannot be true; then nothing of it counts.
Result<ClusterTally> read_report(const v1::ClusterReport& report, uint64_t most);

}  // namespace glia
