// What a shell needs to complete the command line of `glia`, made from the same description of commands and
// flags that --help is made from, so that neither can know what the other does not.
#pragma once

#include <string>
#include <string_view>

namespace CLI {
class App;
}

namespace glia {

// A script for `shell`, "bash" or "zsh", of the program `app` with all its commands. Where nothing of ours
// begins so, names of files are offered.
std::string completion_script(const CLI::App& app, std::string_view shell);

}  // namespace glia
