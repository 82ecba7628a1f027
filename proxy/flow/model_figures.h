// ModelFigures: what a site counts of models' answers: time to first token, tokens, why they stopped,
// errors inside answers whose status is 200. Names are OpenTelemetry's for generative AI, as Prometheus
// writes them.
//
// Both ends of a call count: the sidecar of the caller (site "outbound") sees what the caller waited
// for, that of the server what the engine needed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "proxy/base/sketch.h"
#include "proxy/base/time.h"
#include "proxy/model/answer_reader.h"
#include "proxy/model/request.h"
#include "proxy/telemetry/metrics.h"

namespace glia {

class ModelFigures {
 public:
  // Series of one site on one worker: an operation of a model's version in a cluster. What is beyond
  // them is counted as model "other".
  static constexpr std::size_t kMostSeries = 64;
  static constexpr std::size_t kMostTenants = 64;  // Beyond them, tenant "other".
  static constexpr std::size_t kMostReasons = 16;  // Of a series; beyond them, reason "other".

  // The answer with a status of 2xx to `asked`, from `cluster`, has ended as far as it came. The
  // request's first byte came at `began`.
  void count(const ModelRequest& asked, std::string_view cluster, const ModelAnswer& answer,
             TimePoint began, TimePoint now);
  void collect(MetricsPage& page, const Labels& labels) const;

 private:
  using Key = std::tuple<std::string, std::string, std::string, std::string_view>;
  struct Series {
    Sketch duration, first_token, token_time;  // seconds
    Sketch input, output;                      // tokens
    uint64_t events = 0, errors = 0, unclear = 0, rows = 0, bytes = 0;
    std::map<std::string, uint64_t, std::less<>> reasons;
  };
  struct Tokens {
    uint64_t input = 0, output = 0;
  };

  Series& series_of(const ModelRequest& asked, std::string_view cluster);
  static void collect(MetricsPage& page, const Labels& labels, const Series& series);

  std::map<Key, Series, std::less<>> series_;
  std::map<std::string, Tokens, std::less<>> tenants_;
  Series other_;
};

}  // namespace glia
