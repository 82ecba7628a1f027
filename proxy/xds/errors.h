// Errors: everything that is wrong with a configuration, not only the first thing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/xds/message.h"

namespace glia {

class Errors {
 public:
  // `file` is named in each sentence whose line is known.
  explicit Errors(std::string file = "") : file_(std::move(file)) {}

  // "listeners[0].filter_chain: unknown field (file.yaml:12:5)". No path: only the sentence.
  void add(std::string_view path, std::string_view sentence, Position at = {});
  bool empty() const { return sentences_.empty(); }
  std::size_t size() const { return sentences_.size(); }
  // At most kKept; the last one then says that there are more.
  const std::vector<std::string>& sentences() const { return sentences_; }
  // All of them with "; " between, for a NACK.
  std::string joined() const;
  void take(Errors other);

  static constexpr std::size_t kKept = 100;

 private:
  std::string file_;
  std::vector<std::string> sentences_;
};

}  // namespace glia
