// Confirmations: somebody else's word before a canary goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "control_plane/objects/canary.h"

namespace glia {

struct Confirmation {
  enum class Answer : uint8_t {
    kYes,
    kNo,
    kNone,  // Nothing that could be understood, or nothing in time.
  };
  Answer answer = Answer::kNone;
  std::string why;  // What was said, a line at most.
};

// Inheritance for the second one, of tests.
class Confirmations {
 public:
  using Answered = std::function<void(const Confirmation&)>;
  virtual ~Confirmations() = default;
  // `body` is JSON. `answered` is called once, later, from the top of the loop.
  virtual void ask(const Canary::Confirm& whom, std::string body, Answered answered) = 0;
};

}  // namespace glia
