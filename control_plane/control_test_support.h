// glia-control on a thread of its own, in a directory of its own, for tests that are its gRPC
// clients over its UNIX sockets. The clients own those sockets, so they say themselves who they
// are, as the front door would.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "control_plane/control.h"
#include "control_plane/serve/peer.h"
#include "glia/v1/status.grpc.pb.h"
#include "proxy/base/text.h"

namespace glia {

inline constexpr char kFront[] = "spiffe://demo.mesh/ns/default/sa/front";
inline constexpr char kBack[] = "spiffe://demo.mesh/ns/default/sa/back";

inline std::string workload(std::string_view name, std::string_view address, int app_port) {
  return cat("---\napiVersion: glia.dev/v1\nkind: Workload\nmetadata:\n  name: ", name,
             "\n  labels: {app: ", name, "}\nspec:\n  address: ", address,
             "\n  ports: [{name: http, port: 8080, protocol: HTTP, appPort: ", app_port, "}]\n");
}
inline std::string service(std::string_view name) {
  return cat("---\napiVersion: v1\nkind: Service\nmetadata: {name: ", name,
             "}\nspec:\n  selector: {app: ", name, "}\n  ports: [{name: http, port: 80, ",
             "targetPort: http}]\n");
}
inline std::string mesh(std::string_view domain = "demo.mesh") {
  return cat("apiVersion: glia.dev/v1\nkind: Mesh\nmetadata: {name: demo}\nspec: {trustDomain: ",
             domain, ", certificateLifetime: 1h}\n", workload("front", "127.0.1.1", 18081),
             workload("back", "127.0.1.2", 18082), service("back"));
}

class Running {
 public:
  explicit Running(const ControlOptions& options) {
    std::promise<std::string> failed;
    std::future<std::string> failure = failed.get_future();
    thread_ = std::thread([this, options, &failed] { serve(options, failed); });
    failure_ = failure.get();
  }
  ~Running() {
    loop_.post([this] { loop_.stop(); });
    thread_.join();
  }
  const std::string& failure() const { return failure_; }  // "" while it serves.
  // Does `work` on its loop, and waits for that.
  void run(const std::function<void(Control&)>& work) {
    std::promise<void> done;
    loop_.post([&] {
      work(*control_);
      done.set_value();
    });
    done.get_future().wait();
  }

 private:
  void serve(const ControlOptions& options, std::promise<std::string>& failed) {
    Result<std::unique_ptr<Control>> control = Control::start(loop_, *backend_, options);
    if (control) (*control)->plane().advertise("127.0.0.1:15012");
    if (control) control_ = control->get();
    failed.set_value(control ? "" : control.error().message());
    loop_.run();
  }
  LibeventBackend* backend_ = new LibeventBackend;
  EventLoop loop_{std::unique_ptr<LoopBackend>(backend_)};
  std::string failure_;
  Control* control_ = nullptr;  // While loop_ runs.
  std::thread thread_;
};

// One stream of whoever has this SPIFFE ID; "": of nobody. `open` makes it of a context.
template <class In, class Out>
class Talk {
 public:
  template <class Open>
  Talk(std::string_view caller, Open open) {
    context_.set_deadline(std::chrono::system_clock::now() + 30s);
    if (!caller.empty()) {
      context_.AddMetadata(kForwardedCertificateHeader, cat("Hash=00;URI=", caller));
    }
    stream_ = open(&context_);
  }
  ~Talk() {
    if (!ended_) context_.TryCancel(), stream_->Finish();
  }
  bool send(const In& message) { return stream_->Write(message); }
  Out receive() {
    Out message;
    EXPECT_TRUE(stream_->Read(&message));
    return message;
  }
  grpc::Status end() {
    Out message;
    while (stream_->Read(&message)) {
    }
    ended_ = true;
    return stream_->Finish();
  }

 private:
  grpc::ClientContext context_;  // Keeps the channel.
  std::unique_ptr<grpc::ClientReaderWriter<In, Out>> stream_;
  bool ended_ = false;
};

class ControlFixture : public testing::Test {
 protected:
  ControlFixture() {
    std::string pattern = testing::TempDir() + "ctl_XXXXXX";
    // Short enough for a UNIX socket, wherever the tests run.
    if (pattern.size() > 60) pattern = std::filesystem::temp_directory_path() / "ctl_XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    save(mesh());
  }
  ~ControlFixture() override {
    running_.reset();
    std::filesystem::remove_all(root_);
  }

  void save(const std::string& text) {
    std::ofstream(root_ + "/new") << text;
    std::filesystem::rename(root_ + "/new", root_ + "/mesh.yaml");
  }
  std::string start() {
    running_.reset();
    ControlOptions options;
    options.mesh = {root_ + "/mesh.yaml"};
    options.state_directory = root_ + "/state";
    options.version = "test";
    running_.emplace(options);
    return running_->failure();
  }
  std::shared_ptr<grpc::Channel> channel(std::string_view socket) {
    return grpc::CreateChannel(cat("unix:", root_, "/state/", socket),
                               grpc::InsecureChannelCredentials());
  }
  v1::Status status() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 30s);
    v1::Status status;
    const auto stub = v1::StatusService::NewStub(channel("control.sock"));
    const grpc::Status called = stub->GetStatus(&context, {}, &status);
    EXPECT_TRUE(called.ok()) << called.error_message();
    return status;
  }
  // Asks until `wanted` holds: what a client sent may still be on its way.
  v1::Status status_when(const std::function<bool(const v1::Status&)>& wanted) {
    const auto end = std::chrono::steady_clock::now() + 20s;
    v1::Status now = status();
    while (!wanted(now) && std::chrono::steady_clock::now() < end) now = status();
    EXPECT_TRUE(wanted(now)) << now.DebugString();
    return now;
  }

  std::string root_;
  std::optional<Running> running_;
};

}  // namespace glia
