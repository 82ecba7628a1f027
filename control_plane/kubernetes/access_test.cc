// Who we are to an API server, from kubeconfig files and from what a pod is told.
#include "control_plane/kubernetes/access.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "proxy/base/base64.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

std::string directory() { return testing::TempDir(); }

std::string write(const std::string& name, std::string_view text) {
  const std::string path = directory() + name;
  std::ofstream(path) << text;
  return path;
}

std::string config(std::string_view cluster, std::string_view user) {
  return cat(R"(apiVersion: v1
kind: Config
current-context: here
contexts:
- name: other
  context: {cluster: none, user: none}
- name: here
  context: {cluster: c, user: u, namespace: shop}
clusters:
- name: c
  cluster: )",
             cluster, "\nusers:\n- name: u\n  user: ", user, "\n");
}

std::string refusal(const std::string& text) {
  const auto access = access_by_kubeconfig(write("kubeconfig", text));
  EXPECT_FALSE(access.ok());
  return access ? "" : access.error().message().substr(access.error().message().find(": ") + 2);
}

TEST(Kubeconfig, GivesServerAuthorityAndCredentials) {
  write("authority.pem", "AUTHORITY");
  write("key.pem", "KEY");
  std::string data;
  append_base64(data, "CERTIFICATE");
  const auto access = access_by_kubeconfig(write(
      "kubeconfig",
      config("{server: \"https://kube.example:6443/k8s/\", certificate-authority: authority.pem, "
             "tls-server-name: kubernetes}",
             cat("{client-certificate-data: ", data, ", client-key: key.pem, token: secret}"))));
  ASSERT_TRUE(access.ok()) << access.error().message();
  EXPECT_EQ(access->text(), "https://kube.example:6443/k8s");
  EXPECT_EQ(access->host, "kube.example");
  EXPECT_EQ(access->server_name, "kubernetes");
  EXPECT_EQ(access->authority, "AUTHORITY");
  EXPECT_EQ(access->certificate, "CERTIFICATE");
  EXPECT_EQ(access->private_key, "KEY");
  EXPECT_EQ(access->token, "secret");
  EXPECT_EQ(access->name_space, "shop");
}

TEST(Kubeconfig, TakesAnAddressAndAFileWithTheToken) {
  const auto access = access_by_kubeconfig(
      write("kubeconfig", config("{server: \"http://[::1]:8001\"}", "{tokenFile: token}")));
  ASSERT_TRUE(access.ok()) << access.error().message();
  EXPECT_EQ(access->text(), "http://[::1]:8001");
  EXPECT_EQ(access->host, "::1");
  EXPECT_FALSE(access->tls);
  EXPECT_EQ(access->token_file, directory() + "token");
}

TEST(Kubeconfig, RefusesWhatItCannotDoAndSaysWhatToDoInstead) {
  const std::string server = "{server: \"https://a\", certificate-authority-data: QQ==}";
  EXPECT_EQ(refusal(config(server, "{exec: {command: aws}}")),
            "user u has exec (a plug-in that makes credentials), which is not supported; make a "
            "service account, and give its token: kubectl create token NAME");
  EXPECT_NE(refusal(config(server, "{username: a, password: b}")).find("a password"),
            std::string::npos);
  EXPECT_NE(refusal(config(server, "{client-key-data: QQ==}"))
                .find("has only one of client-certificate and client-key"),
            std::string::npos);
  EXPECT_NE(refusal(config("{server: \"https://a\", insecure-skip-tls-verify: true}", "{}"))
                .find("give certificate-authority-data"),
            std::string::npos);
  EXPECT_NE(
      refusal(config("{server: \"https://a\"}", "{}")).find("by what shall the server be known"),
      std::string::npos);
  EXPECT_NE(refusal(config("{server: \"ftp://a\"}", "{}")).find("not https://HOST[:PORT]"),
            std::string::npos);
  EXPECT_NE(refusal(config("{server: \"https://a:99999\"}", "{}")).find("has no port"),
            std::string::npos);
  EXPECT_NE(refusal("kind: Config\n").find("it has no current-context"), std::string::npos);
  EXPECT_NE(refusal("current-context: x\n").find("there is no context x"), std::string::npos);
  EXPECT_FALSE(access_by_kubeconfig(directory() + "nowhere").ok());
}

class InCluster : public testing::Test {
 protected:
  Result<ApiAccess> access() {
    return access_in_cluster([this](const char* name) { return environment_[name]; },
                             directory() + "account");
  }
  std::map<std::string, std::string> environment_ = {{"KUBERNETES_SERVICE_HOST", "10.96.0.1"},
                                                     {"KUBERNETES_SERVICE_PORT", "443"}};
};

TEST_F(InCluster, ReadsWhatKubeletPutsIntoEveryPod) {
  std::filesystem::create_directories(directory() + "account");
  write("account/token", "t");
  write("account/ca.crt", "c");
  write("account/namespace", "glia-system\n");
  const auto found = access();
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_EQ(found->text(), "https://10.96.0.1:443");
  EXPECT_EQ(found->token_file, directory() + "account/token");
  EXPECT_EQ(found->name_space, "glia-system");
}

TEST_F(InCluster, OutsideOfAClusterSaysWhatToGive) {
  environment_.clear();
  const auto found = access();
  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.error().message().find("give --kubeconfig FILE"), std::string::npos);
}

}  // namespace
}  // namespace glia
