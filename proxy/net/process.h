// What a process that holds private keys asks of the system for itself.
#pragma once

namespace glia {

// No core dump is written, whatever the limits and the system's pattern say, and processes of the
// same user cannot read this one's memory (checklist K10).
void hide_memory();

}  // namespace glia
