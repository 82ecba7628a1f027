// ReportStream: one sidecar's stream of reports above its transport: who it is, how much it may say,
// and what it is asked for. A sidecar is asked only for clusters that it holds, and believed only in
// what it was asked. Belongs to the control plane's loop.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control_plane/canary/observations.h"
#include "control_plane/serve/control_plane.h"

namespace glia {

class ReportStream {
 public:
  static constexpr RateLimit kReports = {.per_second = 10, .burst = 50};
  static constexpr std::size_t kLargestReport = 512 * 1024;  // bytes
  static constexpr std::size_t kMostOrdered = 64;            // Clusters of one order.
  static constexpr Duration kInterval = 1s;                  // Between two reports.

  // `caller`: the verified identity, or why there is none. Both references outlive the stream.
  ReportStream(ControlPlane& control_plane, ReportedObservations& observations,
               Result<SpiffeId> caller, TimePoint now);
  ReportStream(const ReportStream&) = delete;
  ReportStream& operator=(const ReportStream&) = delete;
  ~ReportStream();

  // An error of either ends the stream; its sentence is for the client.
  Result<void> on_report(const v1::Report& report, TimePoint now);
  // The order that is due, if it is another one than the last. Ask again every so often.
  Result<std::optional<v1::ReportOrder>> next(TimePoint now);
  bool opened() const { return opened_; }

 private:
  ControlPlane& control_plane_;
  ReportedObservations& observations_;
  const Result<SpiffeId> caller_;
  const ReportedObservations::Teller teller_;
  Rate reports_;
  std::vector<std::string> ordered_;
  std::string config_;  // Of the objects by which it was ordered.
  uint64_t wish_ = 0;
  TimePoint told_;  // The last report, or the first order.
  bool opened_ = false, ordered_once_ = false;
};

}  // namespace glia
