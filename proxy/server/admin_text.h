// The rows of the admin pages as text and as JSON, in Envoy's shapes, so that scripts and people who
// know one know the other. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/server/admin_view.h"

namespace glia {

std::string_view name_of(ServerState state);  // "LIVE", as Envoy writes it.

// "cluster::address::key::value" lines.
std::string clusters_text(const std::vector<EndpointRow>& rows);
// `rows` are in order of cluster.
std::string clusters_json(const std::vector<EndpointRow>& rows);
// What is believed of the endpoints of clusters that choose by load reports and whose name contains
// `cluster`: a table, and the same as JSON.
std::string endpoints_text(const std::vector<EndpointRow>& rows, std::string_view cluster);
std::string endpoints_json(const std::vector<EndpointRow>& rows, std::string_view cluster);
// "name::address" lines.
std::string listeners_text(const std::vector<ListenerRow>& rows);
std::string listeners_json(const std::vector<ListenerRow>& rows);
// Rows of the same user stand together.
std::string certificates_json(const std::vector<CertificateRow>& rows, WallTime now);
std::string server_info_json(const ServerFacts& facts);
std::string exchanges_json(const std::vector<std::string>& exchanges);

}  // namespace glia
