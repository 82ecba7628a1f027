#include "proxy/xds/errors.h"

#include "proxy/base/text.h"

namespace glia {

void Errors::add(std::string_view path, std::string_view sentence, Position at) {
  if (sentences_.size() > kKept) return;
  if (sentences_.size() == kKept) {
    sentences_.emplace_back("there are more errors than these");
    return;
  }
  std::string text = path.empty() ? std::string(sentence) : cat(path, ": ", sentence);
  if (at.line != 0)
    text += cat(" (", file_, ":", at.line, ":", at.column, ")");
  else if (!file_.empty())
    text += cat(" (", file_, ")");
  sentences_.push_back(std::move(text));
}

std::string Errors::joined() const {
  std::string all;
  for (const std::string& sentence : sentences_) all += cat(all.empty() ? "" : "; ", sentence);
  return all;
}

void Errors::take(Errors other) {
  for (std::string& sentence : other.sentences_) {
    if (sentences_.size() > kKept) return;
    sentences_.push_back(std::move(sentence));
  }
}

}  // namespace glia
