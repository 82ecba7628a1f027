#include "control_plane/canary/report_stream.h"

#include "control_plane/serve/peer.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {

ReportStream::ReportStream(ControlPlane& control_plane, ReportedObservations& observations,
                           Result<SpiffeId> caller, TimePoint now)
    : control_plane_(control_plane),
      observations_(observations),
      caller_(std::move(caller)),
      teller_(observations.enter(caller_ ? caller_->text() : "")),
      reports_(kReports, now),
      told_(now) {}

ReportStream::~ReportStream() { observations_.leave(teller_); }

Result<void> ReportStream::on_report(const v1::Report& report, TimePoint now) {
  if (!caller_) return caller_.error();
  if (!reports_.take(now)) {
    return Error(ErrorKind::kOverflow, Fault::kDownstream,
                 cat("too many reports on one stream; at most ", kReports.per_second, " a second"));
  }
  if (report.ByteSizeLong() > kLargestReport) {
    return Error(ErrorKind::kTooLarge, Fault::kDownstream,
                 cat("a report of ", report.ByteSizeLong(), " bytes; at most ", kLargestReport));
  }
  if (!opened_) {
    if (report.clusters_size() > 0) {
      return invalid("the first report of a stream is empty: there is no order yet");
    }
    opened_ = true;
    return {};
  }
  observations_.take(teller_, report, now - told_, now);
  told_ = now;
  return {};
}

Result<std::optional<v1::ReportOrder>> ReportStream::next(TimePoint now) {
  if (!opened_) return std::optional<v1::ReportOrder>();
  const std::string& config = control_plane_.objects().version;
  if (ordered_once_ && wish_ == observations_.wish() && config_ == config) {
    return std::optional<v1::ReportOrder>();
  }
  wish_ = observations_.wish();
  config_ = config;
  // Nothing was asked for, nothing is: no edit is worth a search for the identity.
  if (ordered_once_ && ordered_.empty() && observations_.wanted().empty()) {
    return std::optional<v1::ReportOrder>();
  }
  TRY(std::vector<std::string> held, control_plane_.held_of(*caller_, observations_.wanted()));
  if (held.size() > kMostOrdered) {
    LOG(warning, caller_->text(), " holds ", held.size(), " clusters of canaries; it is asked for ",
        kMostOrdered);
    held.resize(kMostOrdered);
  }
  if (ordered_once_ && held == ordered_) return std::optional<v1::ReportOrder>();
  if (!ordered_once_) told_ = now;
  ordered_once_ = true;
  ordered_ = std::move(held);
  observations_.asked(teller_, ordered_, now);
  v1::ReportOrder order;
  for (const std::string& cluster : ordered_) order.add_clusters(cluster);
  order.mutable_interval()->set_seconds(kInterval / 1s);
  return std::optional(std::move(order));
}

}  // namespace glia
