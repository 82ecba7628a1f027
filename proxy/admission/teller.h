// Teller: of several filters that could tell the same of a whole process, the one that does.
#pragma once

#include "proxy/base/shared.h"

namespace glia {

class Teller {
 public:
  // Does `filter` tell? The first that asks does, until it leaves.
  bool tells(const void* filter) const {
    return teller_.with([&](const void*& teller) {
      if (teller == nullptr) teller = filter;
      return teller == filter;
    });
  }
  // `filter` takes the place of `before`, if that tells.
  void replace(const void* before, const void* filter) const {
    teller_.with([&](const void*& teller) {
      if (teller == before) teller = filter;
    });
  }
  void leave(const void* filter) const { replace(filter, nullptr); }

 private:
  SharedOne<const void*> teller_{nullptr};
};

}  // namespace glia
