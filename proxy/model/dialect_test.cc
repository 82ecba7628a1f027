#include "proxy/model/dialect.h"

#include <gtest/gtest.h>

#include "proxy/base/text.h"

namespace glia {
namespace {

struct Head {
  std::string_view method, path;
  bool grpc = false;
};

std::string told(const Head& head) {
  Request request(ArenaRef::create());
  request.method = head.method;
  request.path = head.path;
  if (head.grpc) request.headers.add("content-type", "application/grpc");
  const auto call = recognise(request);
  if (!call) return "no model";
  return cat(name_of(call->form->dialect), " ", call->form->operation,
             call->model.empty() ? "" : cat(" ", call->model),
             call->version.empty() ? "" : cat(" v", call->version),
             call->form->streams ? " streams" : "");
}

struct Case {
  Head head;
  std::string_view told;
};
class Recognises : public testing::TestWithParam<Case> {};
TEST_P(Recognises, ByMethodAndPath) {
  EXPECT_EQ(told(GetParam().head), GetParam().told) << GetParam().head.path;
}

constexpr bool kGrpc = true;
INSTANTIATE_TEST_SUITE_P(
    All, Recognises,
    testing::Values(
        Case{{"POST", "/v1/chat/completions"}, "openai chat"},
        Case{{"POST", "/v1/chat/completions?api-version=1"}, "openai chat"},
        Case{{"POST", "/openai/v1/chat/completions"}, "openai chat"},
        Case{{"POST", "/v1/chat/completions/"}, "openai chat"},
        Case{{"POST", "//v1//chat/completions"}, "openai chat"},
        Case{{"POST", "/v1/ch%61t/completions"}, "openai chat"},
        Case{{"GET", "/v1/chat/completions"}, "no model"},
        Case{{"POST", "/v1/completions"}, "openai completions"},
        Case{{"POST", "/v1/responses"}, "openai responses"},
        Case{{"POST", "/v1/embeddings"}, "openai embeddings"},
        Case{{"POST", "/v2/rerank"}, "openai rerank"}, Case{{"POST", "/rerank"}, "openai rerank"},
        Case{{"POST", "/v1/messages"}, "anthropic messages"},
        Case{{"POST", "/v2/models/m/infer"}, "oip infer m"},
        Case{{"POST", "/v2/models/m/versions/3/infer"}, "oip infer m v3"},
        Case{{"POST", "/v2/models//infer"}, "no model"},
        Case{{"GET", "/v2/models/m/ready"}, "oip ready m"},
        Case{{"GET", "/v2/models/m"}, "oip metadata m"},
        Case{{"POST", "/v2/models/m/generate"}, "triton generate m"},
        Case{{"POST", "/v2/models/m/versions/1/generate_stream"}, "triton generate m v1 streams"},
        Case{{"POST", "/v2/repository/models/m/unload"}, "triton unload m"},
        Case{{"POST", "/v2/repository/index"}, "triton index"},
        Case{{"POST", "/v1/models/m:predict"}, "tf_serving predict m"},
        Case{{"POST", "/v1/models/m%3Apredict"}, "tf_serving predict m"},
        Case{{"POST", "/v1/models/a:b:predict"}, "tf_serving predict a:b"},
        Case{{"POST", "/v1/models/m:other"}, "no model"},
        Case{{"POST", "/v1/models/:predict"}, "no model"},
        Case{{"POST", "/v1/models/m/versions/2:predict"}, "tf_serving predict m v2"},
        Case{{"POST", "/v1/models/m/labels/stable:classify"}, "tf_serving classify m vstable"},
        Case{{"GET", "/v1/models/m/metadata"}, "tf_serving metadata m"},
        Case{{"POST", "/inference.GRPCInferenceService/ModelInfer", kGrpc}, "oip infer"},
        Case{{"POST", "/inference.GRPCInferenceService/ModelInfer"}, "no model"},
        Case{{"POST", "/inference.GRPCInferenceService/ModelStreamInfer", kGrpc},
             "oip infer streams"},
        Case{{"POST", "/tensorflow.serving.PredictionService/Predict", kGrpc},
             "tf_serving predict"},
        Case{{"POST", "/v1/chat/completions", kGrpc}, "no model"}, Case{{"GET", "/"}, "no model"},
        Case{{"OPTIONS", "*"}, "no model"}, Case{{"POST", "/other/page"}, "no model"}));

std::string renamed(std::string_view path, std::string_view model, std::string_view version = "") {
  Request request(ArenaRef::create());
  request.method = "POST";
  request.path = path;
  return renamed_path(*recognise(request), path, model, version);
}

TEST(RenamedPath, ChangesOnlyTheName) {
  EXPECT_EQ(renamed("/x/v2/models/m/infer?a=b", "other"), "/x/v2/models/other/infer?a=b");
  EXPECT_EQ(renamed("/v2/models/m/versions/1/infer", "o"), "/v2/models/o/versions/1/infer");
  EXPECT_EQ(renamed("/v2/models/m/versions/1/infer", "o", "2"), "/v2/models/o/versions/2/infer");
  EXPECT_EQ(renamed("/v2/models/m/infer", "o", "2"), "/v2/models/o/versions/2/infer");
  EXPECT_EQ(renamed("/v1/models/m:predict", "o", "2"), "/v1/models/o/versions/2:predict");
  EXPECT_EQ(renamed("/v1/models/m/labels/x:predict", "o", "2"), "/v1/models/o/versions/2:predict");
  EXPECT_EQ(renamed("/v1/models/m/versions/7:predict", "o", "new"),
            "/v1/models/o/labels/new:predict");
  EXPECT_EQ(renamed("/v2/models/m/infer", "a/b c"), "/v2/models/a%2Fb%20c/infer");
}

}  // namespace
}  // namespace glia
