// Any bytes as the body of a request to a model: the same is read however they are cut, and a body whose
// model was given another name says that name, and all else as before.
#include <array>
#include <cstdint>

#include "proxy/base/check.h"
#include "proxy/base/text.h"
#include "proxy/model/reader.h"

namespace {

using namespace glia;

struct Kind {
  std::string_view path;
  bool grpc = false;
  std::string_view json_size = {};
};
constexpr std::array<Kind, 8> kKinds = {{
    {"/v1/chat/completions"},
    {"/v1/embeddings"},
    {"/v1/rerank"},
    {"/v2/models/m/infer"},
    {"/v2/models/m/infer", false, "40"},
    {"/v2/models/m/generate"},
    {"/inference.GRPCInferenceService/ModelStreamInfer", true},
    {"/tensorflow.serving.PredictionService/Predict", true},
}};

struct Outcome {
  std::string told;  // All but the model, or why it was refused.
  std::string model;
  std::vector<uint64_t> hashes;
  std::vector<BodyEdit> edits;
  bool refused = false, renamed = false;
};

Outcome read(const Kind& kind, std::string_view body, std::size_t step) {
  Request request(ArenaRef::create());
  request.method = "POST";
  request.path = kind.path;
  if (kind.grpc) request.headers.add("content-type", "application/grpc");
  if (!kind.json_size.empty()) {
    request.headers.add("inference-header-content-length", kind.json_size);
  }
  request.body = std::make_unique<TextBody>(Slice());
  const auto call = recognise(request);
  CHECK(call);
  ModelReader reader(*call, request, /*hashes=*/true);
  bool good = true;
  while (good && !body.empty()) {
    // Of exactly this size: a read past its end is seen.
    const std::string piece(body.substr(0, step));
    good = reader.push(piece);
    body.remove_prefix(piece.size());
  }
  good = good && reader.finish();
  CHECK(good != reader.refused());
  Outcome outcome{.refused = !good};
  if (!good) {
    outcome.told = reader.refusal().message();
    return outcome;
  }
  const ModelRequest r = reader.record(request.headers.arena(), 0);
  CHECK(r.model.size() <= ModelReader::kLongestName);
  CHECK(r.prefix_hashes.size() <= PrefixBlocks::kMostBlocks);
  outcome.told = cat(r.adapter, " ", r.streaming, " ", r.input_bytes, " ", r.input_tokens, " ",
                     r.most_output_tokens, " ", r.choices, " ", r.rows, " ", r.priority, " ",
                     r.timeout.value_or(Duration::zero()).count());
  outcome.model = r.model;
  outcome.hashes.assign(r.prefix_hashes.begin(), r.prefix_hashes.end());
  if (auto edits = reader.rename("another/name", "7")) {
    outcome.edits = *std::move(edits);
    outcome.renamed = reader.named_in_body();
  }
  return outcome;
}

void check_rename(const Kind& kind, std::string body, const Outcome& before) {
  for (auto edit = before.edits.rbegin(); edit != before.edits.rend(); ++edit) {
    CHECK(edit->at + edit->removed <= body.size());
    body.replace(edit->at, edit->removed, edit->put);
  }
  const Outcome after = read(kind, body, body.size() + 1);
  CHECK(!after.refused);
  CHECK(after.model == "another/name" && after.told == before.told);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Kind& kind = kKinds[data[0] % kKinds.size()];
  const std::size_t step = 1 + data[0] / kKinds.size() % 9;
  const std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = read(kind, body, body.size() + 1);
  const Outcome cut = read(kind, body, step);
  CHECK(whole.told == cut.told && whole.model == cut.model && whole.refused == cut.refused);
  CHECK(whole.hashes == cut.hashes);
  if (whole.renamed) check_rename(kind, body, whole);
  return 0;
}
