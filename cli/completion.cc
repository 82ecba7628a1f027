#include "cli/completion.h"

#include <CLI/CLI.hpp>

#include <functional>
#include <vector>

#include "proxy/base/text.h"

namespace glia {
namespace {

struct Word {
  std::string text, help;
};

// Of one command: its own commands, then its flags. Names in the group "" are nobody's business.
std::vector<Word> words_of(const CLI::App& command) {
  std::vector<Word> words;
  for (const CLI::App* one : command.get_subcommands(nullptr)) {
    if (!one->get_group().empty()) words.push_back({one->get_name(), one->get_description()});
  }
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_group().empty()) continue;
    for (const std::string& name : option->get_lnames()) {
      words.push_back({cat("--", name), option->get_description()});
    }
  }
  return words;
}

// Every command that has commands or flags, with the words that lead to it: " vm join".
using Visit = std::function<void(const std::string& path, const CLI::App& command)>;
void each_command(const CLI::App& command, const std::string& path, const Visit& visit) {
  visit(path, command);
  for (const CLI::App* one : command.get_subcommands(nullptr)) {
    each_command(*one, cat(path, " ", one->get_name()), visit);
  }
}

// Between single quotes, for both shells; `colons` as zsh's _describe wants them.
std::string escaped(std::string_view text, bool colons = false) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else if (c == ':' && colons) {
      out += "\\:";
    } else {
      out += c;
    }
  }
  return out;
}

// Lines of a `case` that follows the words typed so far to the command that they name.
std::string known_paths(const CLI::App& app) {
  std::string paths;
  each_command(app, "", [&](const std::string& path, const CLI::App&) {
    if (!path.empty()) paths += cat(paths.empty() ? "" : "|", "'", path, "'");
  });
  return paths;
}

std::string bash(const CLI::App& app) {
  std::string cases;
  each_command(app, "", [&](const std::string& path, const CLI::App& command) {
    std::string words;
    for (const Word& word : words_of(command)) words += cat(words.empty() ? "" : " ", word.text);
    cases += cat("    '", path, "') words='", escaped(words), "' ;;\n");
  });
  return cat(R"(# Completion of glia for bash; written by `glia completion bash`.
_glia() {
  local command='' words='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$command ${COMP_WORDS[i]}" in
      )",
             known_paths(app), R"() command="$command ${COMP_WORDS[i]}" ;;
    esac
  done
  case $command in
)",
             cases, R"(  esac
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _glia glia
)");
}

std::string zsh(const CLI::App& app) {
  std::string cases;
  each_command(app, "", [&](const std::string& path, const CLI::App& command) {
    cases += cat("    '", path, "') found=(");
    for (const Word& word : words_of(command)) {
      cases += cat("\n      '", escaped(word.text, true), ":", escaped(word.help, true), "'");
    }
    cases += ") ;;\n";
  });
  return cat(R"(#compdef glia
# Completion of glia for zsh; written by `glia completion zsh`.
_glia() {
  local typed='' i
  local -a found
  for ((i = 2; i < CURRENT; i++)); do
    case "$typed $words[i]" in
      ()",
             known_paths(app), R"() typed="$typed $words[i]" ;;
    esac
  done
  case $typed in
)",
             cases, R"(  esac
  _describe -o glia found || _files
}
_glia "$@"
)");
}

}  // namespace

std::string completion_script(const CLI::App& app, std::string_view shell) {
  return shell == "zsh" ? zsh(app) : bash(app);
}

}  // namespace glia
