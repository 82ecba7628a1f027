// What a Capture is as rules: text for `nft -f` or for iptables-restore. Pure functions; nothing is
// run.
//
// The text is written as the programs print it themselves, so that what the kernel holds can be
// compared with what it should hold.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "capture/capture.h"

namespace glia {

inline constexpr std::string_view kNftTable = "glia";  // Of family inet.
// The chains of ours in tables of iptables; nobody else's begin so.
inline constexpr std::string_view kChainPrefix = "GLIA_";
// An empty chain: the table was not there before us.
inline constexpr std::string_view kMadeTable = "GLIA_MADE_TABLE";
// The same of a built-in chain, which iptables-nft makes when it is first needed: this and its name.
inline constexpr std::string_view kMadeChain = "GLIA_MADE_";

// "table inet glia {...}", as `nft -s list table inet glia` prints it.
std::string nft_rules(const Capture& capture);

// What ours adds to one table of iptables, each as a line of iptables-save.
struct IptablesTable {
  std::string name;                 // "nat", "mangle"
  std::vector<std::string> chains;  // "GLIA_INBOUND"
  std::vector<std::string> jumps;   // "-A OUTPUT -p tcp -j GLIA_OUTBOUND"
  std::vector<std::string> rules;   // "-A GLIA_OUTBOUND ..."
};
enum class IpVersion : uint8_t { kV4, kV6 };
// Empty if the version is not captured.
std::vector<IptablesTable> iptables_rules(const Capture& capture, IpVersion version);

// As iptables-restore takes it, for people to read and for tables without rules of ours.
std::string iptables_text(const std::vector<IptablesTable>& tables);

}  // namespace glia
