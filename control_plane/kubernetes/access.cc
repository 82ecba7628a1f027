#include "control_plane/kubernetes/access.h"

#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include "control_plane/objects/yaml.h"
#include "proxy/base/base64.h"
#include "proxy/base/text.h"
#include "proxy/net/address.h"

namespace glia {
namespace {

constexpr std::size_t kMostFile = 1 << 20;  // bytes

std::string text_of(const YamlNode* map, std::string_view key) {
  const YamlNode* node = map == nullptr ? nullptr : map->find(key);
  return node != nullptr && node->kind == YamlNode::Kind::kScalar ? node->text : "";
}

bool has(const YamlNode* map, std::string_view key) {
  const YamlNode* node = map == nullptr ? nullptr : map->find(key);
  return node != nullptr && node->kind != YamlNode::Kind::kNull;
}

// Contexts, clusters and users are lists of {name, <kind>: {...}}.
const YamlNode* named(const YamlNode& file, std::string_view list, std::string_view kind,
                      std::string_view name) {
  const YamlNode* items = file.find(list);
  if (items == nullptr || items->kind != YamlNode::Kind::kList) return nullptr;
  for (const YamlNode& item : items->items) {
    if (item.kind == YamlNode::Kind::kMap && text_of(&item, "name") == name) return item.find(kind);
  }
  return nullptr;
}

class Kubeconfig {
 public:
  Kubeconfig(std::string path, const YamlNode& file) : path_(std::move(path)), file_(file) {}

  Result<ApiAccess> read() {
    const std::string current = text_of(&file_, "current-context");
    if (current.empty()) return wrong("it has no current-context; kubectl config use-context NAME");
    const YamlNode* context = named(file_, "contexts", "context", current);
    if (context == nullptr)
      return wrong(cat("there is no context ", current, ", which is current"));
    const std::string cluster = text_of(context, "cluster"), user = text_of(context, "user");
    const YamlNode* server = named(file_, "clusters", "cluster", cluster);
    if (server == nullptr)
      return wrong(cat("there is no cluster ", cluster, " of context ", current));
    ApiAccess access;
    if (has(context, "namespace")) access.name_space = text_of(context, "namespace");
    TRY_VOID(read_cluster(*server, cluster, access));
    if (user.empty()) return access;
    const YamlNode* who = named(file_, "users", "user", user);
    if (who == nullptr) return wrong(cat("there is no user ", user, " of context ", current));
    TRY_VOID(read_user(*who, user, access));
    return access;
  }

 private:
  Error wrong(std::string_view why) const { return invalid(cat("kubeconfig ", path_, ": ", why)); }

  // Base64 in `key`-data, or a file whose path is relative to that of the kubeconfig.
  Result<std::string> content(const YamlNode& map, const std::string& key) const {
    const std::string data = text_of(&map, key + "-data");
    if (!data.empty()) {
      std::string bytes;
      if (!parse_base64(data, bytes)) return wrong(cat(key, "-data is not base64"));
      return bytes;
    }
    const std::string file = text_of(&map, key);
    if (file.empty()) return std::string();
    return read_small_file(beside(file));
  }
  std::string beside(const std::string& file) const {
    const std::size_t slash = path_.rfind('/');
    if (file.starts_with('/') || slash == path_.npos) return file;
    return path_.substr(0, slash + 1) + file;
  }

  Result<void> read_server(std::string_view url, const std::string& name, ApiAccess& access) const {
    const std::string whole(url);
    access.tls = url.starts_with("https://");
    if (!access.tls && !url.starts_with("http://")) {
      return wrong(cat("server of cluster ", name, " is \"", whole, "\", not https://HOST[:PORT]"));
    }
    url.remove_prefix(access.tls ? 8 : 7);
    const std::size_t slash = std::min(url.find('/'), url.size());
    std::string_view host = url.substr(0, slash);
    access.path = trim(url.substr(slash), "/");
    if (!access.path.empty()) access.path.insert(0, "/");
    access.port = access.tls ? 443 : 80;
    const std::size_t colon = host.rfind(':');
    const bool has_port = colon != host.npos && host.find(']', colon) == host.npos;
    if (has_port) {
      const auto port = parse_decimal(host.substr(colon + 1));
      if (!port || *port == 0 || *port > 65535) {
        return wrong(cat("server of cluster ", name, " is \"", whole, "\", which has no port"));
      }
      access.port = static_cast<uint16_t>(*port);
      host = host.substr(0, colon);
    }
    access.host = trim(host, "[]");
    if (access.host.empty()) return wrong(cat("server of cluster ", name, " has no host"));
    return {};
  }

  Result<void> read_cluster(const YamlNode& cluster, const std::string& name,
                            ApiAccess& access) const {
    TRY_VOID(read_server(text_of(&cluster, "server"), name, access));
    if (text_of(&cluster, "insecure-skip-tls-verify") == "true") {
      return wrong(cat("cluster ", name,
                       " has insecure-skip-tls-verify, which is not done here: give "
                       "certificate-authority-data"));
    }
    if (has(&cluster, "proxy-url"))
      return wrong(cat("cluster ", name, ": proxy-url is not supported"));
    access.server_name = text_of(&cluster, "tls-server-name");
    TRY(access.authority, content(cluster, "certificate-authority"));
    if (access.tls && access.authority.empty()) {
      return wrong(cat("cluster ", name,
                       " has no certificate-authority-data: by what shall the server be known?"));
    }
    return {};
  }

  Result<void> read_user(const YamlNode& user, const std::string& name, ApiAccess& access) const {
    constexpr std::pair<const char*, const char*> kUnsupported[] = {
        {"exec", "a plug-in that makes credentials"},
        {"auth-provider", "a plug-in that makes credentials"},
        {"username", "a password"},
        {"as", "impersonation"}};
    for (const auto& [key, what] : kUnsupported) {
      if (!has(&user, key)) continue;
      return wrong(cat("user ", name, " has ", key, " (", what,
                       "), which is not supported; make a service account, and give its token: "
                       "kubectl create token NAME"));
    }
    access.token = text_of(&user, "token");
    if (has(&user, "tokenFile")) {
      access.token.clear();
      access.token_file = beside(text_of(&user, "tokenFile"));
    }
    TRY(access.certificate, content(user, "client-certificate"));
    TRY(access.private_key, content(user, "client-key"));
    if (access.certificate.empty() != access.private_key.empty()) {
      return wrong(cat("user ", name, " has only one of client-certificate and client-key"));
    }
    return {};
  }

  const std::string path_;
  const YamlNode& file_;
};

}  // namespace

std::string ApiAccess::text() const {
  const bool six = host.find(':') != host.npos;
  return cat(tls ? "https://" : "http://", six ? "[" : "", host, six ? "]" : "", ":", port, path);
}

Result<std::string> read_small_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return invalid(cat(path, " cannot be read"));
  if (text.str().size() > kMostFile)
    return invalid(cat(path, " has more than ", kMostFile, " bytes"));
  return text.str();
}

Result<ApiAccess> access_in_cluster(const std::function<std::string(const char*)>& environment,
                                    const std::string& directory) {
  ApiAccess access;
  access.host = environment("KUBERNETES_SERVICE_HOST");
  const std::string port = environment("KUBERNETES_SERVICE_PORT");
  if (access.host.empty() || port.empty()) {
    return invalid(
        "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, so this is no pod of a "
        "cluster; give --kubeconfig FILE");
  }
  const auto number = parse_decimal(port);
  if (!number || *number == 0 || *number > 65535) {
    return invalid(cat("KUBERNETES_SERVICE_PORT is ", port, ", which is no port"));
  }
  access.port = static_cast<uint16_t>(*number);
  access.token_file = directory + "/token";
  access.authority_file = directory + "/ca.crt";
  // Both must be there now; later they are read again.
  for (const std::string* const file : {&access.token_file, &access.authority_file}) {
    auto read = read_small_file(*file);
    if (!read) {
      return std::move(read).error().in(
          "the pod has no token of its service account (automountServiceAccountToken)");
    }
  }
  const auto name_space = read_small_file(directory + "/namespace");
  if (name_space) access.name_space = trim(*name_space, " \r\n");
  return access;
}

Result<ApiAccess> access_by_kubeconfig(const std::string& path) {
  TRY(const std::string text, read_small_file(path));
  const YamlFile file = read_yaml(text);
  if (file.failure) {
    return invalid(cat("kubeconfig ", path, ":", file.failure->line, ": ", file.failure->message));
  }
  if (file.documents.empty() || file.documents[0].kind != YamlNode::Kind::kMap) {
    return invalid(cat("kubeconfig ", path, " is none: it has no clusters, users and contexts"));
  }
  return Kubeconfig(path, file.documents[0]).read();
}

}  // namespace glia
