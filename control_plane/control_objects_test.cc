// Objects that are handed to a running glia-control: what it takes, what it keeps, and the way
// back.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "control_plane/control_test_support.h"
#include "glia/v1/objects.grpc.pb.h"

namespace glia {
namespace {

using Verdict = v1::ApplyResponse;

std::string route(std::string_view name, int weight) {
  return cat("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: ", name,
             "}\nspec:\n  parentRefs: [{group: '', kind: Service, name: back}]\n",
             "  rules: [{backendRefs: [{name: back, port: 80, weight: ", weight, "}]}]\n");
}

class ControlObjects : public ControlFixture {
 protected:
  ControlObjects() { EXPECT_EQ(start(), ""); }

  template <class Response, class Call>
  Response ask(Call call) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 30s);
    Response response;
    const auto stub = v1::ObjectService::NewStub(channel("control.sock"));
    const grpc::Status called = call(*stub, context, response);
    EXPECT_TRUE(called.ok()) << called.error_message();
    last_error_ = called.error_message();
    return response;
  }
  v1::ApplyResponse apply(const v1::ApplyRequest& request) {
    return ask<v1::ApplyResponse>([&](auto& stub, auto& context, auto& response) {
      return stub.Apply(&context, request, &response);
    });
  }
  v1::ApplyResponse apply(const std::string& text, const std::string& name = "shop.yaml") {
    v1::ApplyRequest request;
    request.set_who("anna");
    v1::ObjectFile& file = *request.add_files();
    file.set_name(name);
    file.set_text(text);
    return apply(request);
  }
  v1::ApplyResponse remove(const std::string& kind, const std::string& name) {
    v1::ApplyRequest request;
    request.add_remove()->set_kind(kind);
    request.mutable_remove(0)->set_name(name);
    return apply(request);
  }
  v1::ApplyResponse rollback(int64_t version) {
    v1::RollbackRequest request;
    request.set_version(version);
    return ask<v1::ApplyResponse>([&](auto& stub, auto& context, auto& response) {
      return stub.Rollback(&context, request, &response);
    });
  }
  // "HTTPRoute default/r@1 shop.yaml:1" of those that are kept.
  std::string kept() {
    const auto all = ask<v1::GetObjectsResponse>([&](auto& stub, auto& context, auto& response) {
      return stub.GetObjects(&context, {}, &response);
    });
    std::string text;
    for (const v1::Object& object : all.objects()) {
      if (object.version() == 0) continue;
      text += cat(text.empty() ? "" : "; ", object.kind(), " ", object.name(), "@",
                  object.version(), " ", object.source());
    }
    return text;
  }
  int routes_in_force() { return status().routes_size(); }

  std::string last_error_;
};

std::string problems(const v1::ApplyResponse& response) {
  std::string all;
  for (const std::string& problem : response.problems()) all += problem + "\n";
  return all;
}

TEST_F(ControlObjects, WhatIsAppliedIsInForceAndKept) {
  const auto taken = apply(cat("# ours\n---\n", route("r", 1), service("more")));
  EXPECT_EQ(taken.verdict(), Verdict::TAKEN) << problems(taken);
  EXPECT_EQ(taken.version(), 1);
  EXPECT_EQ(taken.changes_size(), 2);
  EXPECT_EQ(routes_in_force(), 1);
  EXPECT_EQ(kept(), "Service default/more@1 shop.yaml:10; HTTPRoute default/r@1 shop.yaml:3");
  EXPECT_EQ(start(), "") << "again";
  EXPECT_EQ(routes_in_force(), 1);
  EXPECT_EQ(apply(route("r", 1)).changes(0).verb(), v1::ObjectChange::UNCHANGED);
  EXPECT_EQ(apply(route("r", 2)).version(), 2);
  EXPECT_EQ(kept(), "Service default/more@1 shop.yaml:10; HTTPRoute default/r@2 shop.yaml:1");
}

TEST_F(ControlObjects, AMistakeTakesNothingAndAllAreToldWithTheirPlaces) {
  const auto refused =
      apply(cat(service("fine"), "---\n", "kind: Nonsense\n---\n", route("r", 1),
                "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {prots: []}\n"));
  EXPECT_EQ(refused.verdict(), Verdict::MISTAKES);
  const std::string text = problems(refused);
  EXPECT_NE(text.find("shop.yaml:9:7: kind Nonsense is not known"), text.npos) << text;
  EXPECT_NE(text.find("prots"), text.npos) << text;
  EXPECT_EQ(kept(), "");
  EXPECT_EQ(refused.version(), 0);
  // One that only all together shows.
  const auto lonely =
      apply(cat("\n", route("r", 1), "---\n", service("fine"))
                .replace(cat("\n", route("r", 1)).find("name: back}"), 10, "name: gone"));
  EXPECT_EQ(lonely.verdict(), Verdict::MISTAKES);
  EXPECT_NE(problems(lonely).find("shop.yaml:6:"), std::string::npos) << problems(lonely);
}

TEST_F(ControlObjects, WhoeverEditedAnOlderVersionIsToldSo) {
  apply(route("r", 1));
  EXPECT_EQ(apply(cat("# resourceVersion: 1\n", route("r", 2))).verdict(), Verdict::TAKEN);
  const auto late = apply(cat("# resourceVersion: 1\n", route("r", 3)));
  EXPECT_EQ(late.verdict(), Verdict::CONFLICT);
  EXPECT_EQ(
      problems(late),
      "shop.yaml:1: HTTPRoute default/r was edited at version 1, but is at version 2 now; get "
      "it again and edit that, or take the line # resourceVersion out\n");
  EXPECT_EQ(kept(), "HTTPRoute default/r@2 shop.yaml:1");
  EXPECT_EQ(apply(route("r", 3)).verdict(), Verdict::TAKEN) << "who does not ask is not told";
}

TEST_F(ControlObjects, DeletesWhatWasAppliedOnly) {
  apply(route("r", 1));
  EXPECT_EQ(remove("httproute", "r").verdict(), Verdict::TAKEN);
  EXPECT_EQ(routes_in_force(), 0);
  const auto again = remove("HTTPRoute", "r");
  EXPECT_EQ(again.verdict(), Verdict::MISTAKES);
  EXPECT_NE(problems(again).find("there is no HTTPRoute default/r that was applied"),
            std::string::npos)
      << problems(again);
  EXPECT_EQ(remove("Service", "back").verdict(), Verdict::MISTAKES) << "it is in a file";
}

TEST_F(ControlObjects, WhatOthersNeedCannotBeDeleted) {
  apply(service("more"));
  std::string to_more = route("r", 1);
  to_more.replace(to_more.rfind("name: back"), 10, "name: more");
  apply(to_more);
  const auto refused = remove("Service", "more");
  EXPECT_EQ(refused.verdict(), Verdict::MISTAKES);
  EXPECT_NE(problems(refused).find("there is no such Service"), std::string::npos)
      << problems(refused);
}

TEST_F(ControlObjects, RollsBack) {
  apply(route("r", 1));
  apply(route("r", 2));
  apply(cat(route("s", 1), "---\n", service("more")));
  EXPECT_EQ(rollback(0).version(), 4);
  EXPECT_EQ(kept(), "HTTPRoute default/r@2 shop.yaml:1");
  EXPECT_EQ(rollback(1).version(), 5);
  EXPECT_EQ(kept(), "HTTPRoute default/r@5 shop.yaml:1");
  const auto history = ask<v1::GetHistoryResponse>([&](auto& stub, auto& context, auto& response) {
    return stub.GetHistory(&context, {}, &response);
  });
  ASSERT_EQ(history.versions_size(), 5);
  EXPECT_EQ(history.versions(0).what(), "rolled back to version 1");
  EXPECT_EQ(history.versions(4).what(), "applied shop.yaml");
  EXPECT_EQ(history.versions(4).who(), "anna");
}

TEST_F(ControlObjects, ADryRunOnlySaysWhatWouldChange) {
  v1::ApplyRequest request;
  request.set_dry_run(true);
  request.add_files()->set_text(route("r", 1));
  const auto said = apply(request);
  EXPECT_EQ(said.verdict(), Verdict::TAKEN);
  EXPECT_EQ(said.changes(0).verb(), v1::ObjectChange::CREATED);
  EXPECT_EQ(kept(), "");
}

TEST_F(ControlObjects, AFileAndTheStoreCannotHaveTheSameObject) {
  const auto refused = apply(service("back"));
  EXPECT_EQ(refused.verdict(), Verdict::MISTAKES);
  EXPECT_NE(problems(refused).find("Service back: is there twice"), std::string::npos)
      << problems(refused);
}

TEST_F(ControlObjects, AFileThatIsWrongStopsNothingThatIsInForce) {
  apply(route("r", 1));
  save(mesh() + "---\nkind: Nonsense\n");
  status_when([](const v1::Status& now) { return now.config_errors_size() > 0; });
  const auto refused = apply(route("r", 2));
  EXPECT_EQ(refused.verdict(), Verdict::MISTAKES);
  EXPECT_NE(problems(refused).find("Nonsense"), std::string::npos) << problems(refused);
  EXPECT_EQ(routes_in_force(), 1);
  save(mesh());
  status_when([](const v1::Status& now) { return now.config_errors_size() == 0; });
  EXPECT_EQ(apply(route("r", 2)).verdict(), Verdict::TAKEN);
}

TEST_F(ControlObjects, ADamagedStoreIsNotStartedWith) {
  apply(route("r", 1));
  running_.reset();
  std::ofstream(root_ + "/state/objects.db", std::ios::in | std::ios::out) << "not a database";
  EXPECT_NE(start().find("objects.db"), std::string::npos);
}

TEST_F(ControlObjects, ARequestHasOnlySoManyObjects) {
  std::string many;
  for (std::size_t i = 0; i <= ObjectDesk::kMostDocuments; ++i) many += "---\na: b\n";
  v1::ApplyRequest request;
  request.add_files()->set_text(many);
  grpc::ClientContext context;
  v1::ApplyResponse response;
  const auto stub = v1::ObjectService::NewStub(channel("control.sock"));
  const grpc::Status called = stub->Apply(&context, request, &response);
  EXPECT_EQ(called.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << called.error_message();
}

}  // namespace
}  // namespace glia
