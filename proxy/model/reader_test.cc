// What is read of whole requests in each dialect, however their bodies are cut, and what giving the model
// another name changes in them.
#include "proxy/model/reader.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/http/grpc.h"

namespace glia {
namespace {

struct Sent {
  std::string path, body;
  std::vector<std::pair<std::string, std::string>> headers = {};
  bool grpc = false;
};

std::string text_of(const ModelRequest& r) {
  std::string out = cat(name_of(r.dialect), " ", r.operation, " model=", r.model);
  const auto say = [&](std::string_view name, const auto& value, const auto& usual) {
    if (value != usual) out += cat(" ", name, "=", value);
  };
  say("version", r.version, "");
  say("adapter", r.adapter, "");
  say("tenant", r.tenant, "");
  say("session", r.session, "");
  say("salt", r.cache_salt, "");
  if (r.streaming) out += " streaming";
  if (!r.read) out += " unread";
  say("bytes", r.input_bytes, 0u);
  say("tokens", r.input_tokens, 0u);
  say("most", r.most_output_tokens, 0u);
  say("choices", r.choices, 1u);
  say("rows", r.rows, 0u);
  say("priority", r.priority, 0);
  if (r.timeout) out += cat(" timeout=", to_ms(*r.timeout), "ms");
  return out;
}

// A request and its reader; the body may be null.
class Reading {
 public:
  explicit Reading(const Sent& sent, bool hashes = false) : request_(ArenaRef::create()) {
    request_.method = "POST";
    request_.path = sent.path;
    for (const auto& [name, value] : sent.headers) request_.headers.add(name, value);
    if (sent.grpc) request_.headers.add("content-type", "application/grpc");
    request_.body = std::make_unique<TextBody>(Slice());
    const auto call = recognise(request_);
    EXPECT_TRUE(call) << sent.path;
    reader_.emplace(*call, request_, hashes);
  }
  ModelReader& operator*() { return *reader_; }
  ModelReader* operator->() { return &*reader_; }
  std::string told() {
    if (reader_->refused()) return cat("! ", reader_->refusal().message());
    return text_of(record());
  }
  ModelRequest record(uint64_t rest = 0) { return reader_->record(request_.headers.arena(), rest); }

 private:
  Request request_;
  std::optional<ModelReader> reader_;
};

std::string read(const Sent& sent, std::vector<std::string> pieces) {
  Reading reading(sent);
  for (const std::string& piece : pieces) {
    if (!reading->push(piece)) return reading.told();
  }
  reading->finish();
  return reading.told();
}

std::string read_every_way(const Sent& sent) {
  const std::string& body = sent.body;
  const std::string whole = read(sent, {body});
  std::vector<std::string> bytes;
  for (std::size_t i = 0; i <= body.size(); ++i) {
    EXPECT_EQ(read(sent, {body.substr(0, i), body.substr(i)}), whole) << "cut at " << i;
    if (i < body.size()) bytes.push_back(body.substr(i, 1));
  }
  EXPECT_EQ(read(sent, bytes), whole) << "byte by byte";
  return whole;
}

// Protobuf, by hand.
std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7F));
  return out + static_cast<char>(value);
}
std::string number(uint32_t field, uint64_t value) { return varint(field << 3) + varint(value); }
std::string bytes(uint32_t field, const std::string& content) {
  return varint(field << 3 | 2) + varint(content.size()) + content;
}
std::string framed(const std::string& message) {
  std::string out;
  append_grpc_message(out, message);
  return out;
}

constexpr char kChat[] = "/v1/chat/completions";
constexpr char kInfer[] = "/inference.GRPCInferenceService/ModelInfer";
constexpr char kPredict[] = "/tensorflow.serving.PredictionService/Predict";

TEST(ModelReader, ReadsChats) {
  EXPECT_EQ(read_every_way({kChat, R"({"messages":[{"role":"user","content":"Hello there"}],)"
                                   R"("model":"llama","stream":true,"max_tokens":64,"n":2})"}),
            "openai chat model=llama streaming bytes=15 tokens=4 most=64 choices=2 rows=1");
  EXPECT_EQ(read_every_way({kChat, R"({"model":"m","messages":[{"role":"system","content":[)"
                                   R"({"type":"text","text":"12345678"},{"type":"image_url",)"
                                   R"("image_url":{"url":"data:image/png;base64,AAAA"}}]}],)"
                                   R"("max_completion_tokens":10,"cache_salt":"s","priority":-3,)"
                                   R"("prompt_cache_key":"k"})"}),
            "openai chat model=m session=k salt=s bytes=14 tokens=4 most=10 rows=1 priority=-3");
}

TEST(ModelReader, ReadsPromptsTextsAndTokenIds) {
  const std::string completions = "/v1/completions";
  EXPECT_EQ(read_every_way({completions, R"({"model":"m","prompt":"12345"})"}),
            "openai completions model=m bytes=5 tokens=2 rows=1");
  EXPECT_EQ(read_every_way({completions, R"({"model":"m","prompt":["1234","5678","9"]})"}),
            "openai completions model=m bytes=9 tokens=3 rows=3");
  EXPECT_EQ(read_every_way({completions, R"({"model":"m","prompt":[1,2,3]})"}),
            "openai completions model=m tokens=3 rows=1");
  EXPECT_EQ(read_every_way({"/v1/embeddings", R"({"input":[[1,2],[3]],"model":"m"})"}),
            "openai embeddings model=m tokens=3 rows=2");
  EXPECT_EQ(read_every_way({"/v1/rerank", R"({"model":"m","query":"1234","documents":)"
                                          R"(["12",{"text":"3456"}]})"}),
            "openai rerank model=m bytes=10 tokens=3 rows=2");
}

TEST(ModelReader, ReadsResponsesAndAnthropicMessages) {
  EXPECT_EQ(read_every_way({"/v1/responses",
                            R"({"model":"m","instructions":"1234","input":[{"role":"user",)"
                            R"("content":[{"type":"input_text","text":"5678"}]}],)"
                            R"("max_output_tokens":7,"tools":[{"a":1}]})"}),
            "openai responses model=m bytes=21 tokens=6 most=7 rows=1");
  EXPECT_EQ(read_every_way({"/v1/messages",
                            R"({"max_tokens":5,"system":[{"type":"text","text":"1234"}],)"
                            R"("messages":[{"role":"user","content":"12345678"}],"model":"c"})"}),
            "anthropic messages model=c bytes=16 tokens=4 most=5 rows=1");
}

TEST(ModelReader, ReadsTheOpenInferenceProtocol) {
  const std::string json =
      R"({"parameters":{"priority":2,"timeout":5000,"lora_name":"a"},"inputs":[)"
      R"({"name":"x","shape":[8,3],"datatype":"FP32","parameters":{"binary_data_size":96}},)"
      R"({"name":"y","shape":[4],"datatype":"FP32","data":[1,2,3,4]}]})";
  EXPECT_EQ(read_every_way({"/v2/models/a%20b/versions/3/infer", json}),
            "oip infer model=a b version=3 adapter=a bytes=105 rows=8 priority=2 timeout=5ms");
  // What follows the JSON are tensors.
  EXPECT_EQ(read_every_way({"/v2/models/m/infer",
                            json + "}}\"model",
                            {{"inference-header-content-length", cat(json.size())}}}),
            "oip infer model=m adapter=a bytes=105 rows=8 priority=2 timeout=5ms");
}

TEST(ModelReader, ReadsGenerateAndTensorFlowServing) {
  EXPECT_EQ(read_every_way({"/v2/models/m/generate_stream",
                            R"({"text_input":"12345678","parameters":{"max_tokens":9}})"}),
            "triton generate model=m streaming bytes=8 tokens=2 most=9 rows=1");
  EXPECT_EQ(read_every_way({"/v1/models/m/labels/stable:predict",
                            R"({"signature_name":"s","instances":[[1,2],[3,4],[5,6]]})"}),
            "tf_serving predict model=m version=stable bytes=19 rows=3");
  EXPECT_EQ(read_every_way({"/v1/models/m:predict", R"({"inputs":{"x":[1]}})"}),
            "tf_serving predict model=m bytes=9");
}

TEST(ModelReader, ReadsModelInfer) {
  const std::string message =
      bytes(3, "id") + bytes(4, bytes(1, "priority") + bytes(2, number(2, 4))) +
      bytes(4, bytes(2, number(5, 2'000'000)) + bytes(1, "timeout")) +
      bytes(4, bytes(1, "lora_name") + bytes(2, bytes(3, "ad"))) +
      bytes(5, bytes(1, "x") + bytes(2, "FP32") + bytes(3, varint(16) + varint(2))) +
      bytes(5, bytes(1, "y") + number(3, 5)) + bytes(7, std::string(200, 'r')) + bytes(1, "m") +
      bytes(2, "7");
  EXPECT_EQ(read_every_way({kInfer, framed(message), {{"grpc-timeout", "1S"}}, true}),
            "oip infer model=m version=7 adapter=ad bytes=200 rows=16 priority=4 timeout=1000ms");
}

TEST(ModelReader, ReadsPredict) {
  const std::string inputs = bytes(2, std::string(40, 't'));
  EXPECT_EQ(
      read_every_way(
          {kPredict, framed(inputs + bytes(1, bytes(1, "m") + bytes(2, number(1, 12)))), {}, true}),
      "tf_serving predict model=m version=12 bytes=40");
  EXPECT_EQ(
      read_every_way({kPredict, framed(bytes(1, bytes(4, "stable") + bytes(1, "m"))), {}, true}),
      "tf_serving predict model=m version=stable");
}

TEST(ModelReader, TakesWhoAsksFromFields) {
  EXPECT_EQ(read({kChat,
                  R"({"model":"m","prompt_cache_key":"k"})",
                  {{"x-llm-d-inference-fairness-id", "t"}, {"x-session-id", "s"}}},
                 {R"({"model":"m","prompt_cache_key":"k"})"}),
            "openai chat model=m tenant=t session=s rows=1");
}

// Most clients send no such thing; the server decides what it means.
TEST(ModelReader, TakesNoHarmFromValuesOfTheWrongKind) {
  EXPECT_EQ(read_every_way({kChat, R"({"model":null,"stream":"true","max_tokens":"many","n":[1],)"
                                   R"("priority":{},"messages":"x","tools":1e400})"}),
            "openai chat model= streaming bytes=5 tokens=2 rows=1");
  EXPECT_EQ(read_every_way({kChat, R"({"model":"m","max_tokens":-1,"n":0,"stream":"no"})"}),
            "openai chat model=m rows=1");
  EXPECT_EQ(read_every_way({kChat, R"({"model":"m","max_tokens":1e999})"}),
            "openai chat model=m most=1000000000000000 rows=1");
}

TEST(ModelReader, RefusesWhatServersReadDifferently) {
  const std::string who = "! the body of this openai chat request ";
  const auto chat = [](const std::string& body) { return read_every_way({kChat, body}); };
  EXPECT_EQ(chat(R"({"model":"a","model":"b"})"),
            who + "has two keys \"model\", and servers differ in which they read");
  EXPECT_EQ(chat(R"({"model":7})"), who + "has a value of the wrong kind");
  EXPECT_EQ(chat("{"), who + "ends before its JSON does");
  EXPECT_EQ(chat("{\"model\":\"a\xFF\"}"),
            who +
                "names a model with a control character, with white space around it or not in "
                "UTF-8");
  EXPECT_EQ(chat(R"({"model":"a\nb"})"),
            who +
                "names a model with a control character, with white space around it or not in "
                "UTF-8");
  EXPECT_EQ(chat(R"({"model":" a"})"),
            who +
                "names a model with a control character, with white space around it or not in "
                "UTF-8");
  EXPECT_EQ(chat("{\"model\":\"" + std::string(257, 'm') + "\"}"),
            who + "names a model of more than 256 bytes");
  EXPECT_EQ(
      read({"/v2/models/m/infer", "{}", {{"inference-header-content-length", "0x2"}}}, {"{}"}),
      "! the body of this oip infer request comes with an Inference-Header-Content-Length "
      "that is not one number");
  EXPECT_EQ(read({"/v2/models/m/infer", "{}", {{"inference-header-content-length", "3"}}}, {"{}"}),
            "! the body of this oip infer request is shorter than its "
            "Inference-Header-Content-Length");
}

TEST(ModelReader, RefusesMessagesThatServersReadDifferently) {
  const std::string who = "! the body of this oip infer request ";
  const auto infer = [](const std::string& body, std::string path = kInfer) {
    return read_every_way({path, body, {}, true});
  };
  EXPECT_EQ(infer(framed(bytes(1, "a") + bytes(1, "b"))),
            who + "has a field twice, and servers differ in which they read");
  EXPECT_EQ(infer(framed(bytes(1, "a\xFF"))),
            who +
                "names a model with a control character, with white space around it or not in "
                "UTF-8");
  EXPECT_EQ(infer(framed(bytes(1, "abc")).substr(0, 8)), who + "ends in the middle of a message");
  EXPECT_EQ(infer(framed(bytes(1, "a")) + framed(bytes(1, "a"))),
            who + "has two messages where one is due");
  const std::string stream = "/inference.GRPCInferenceService/ModelStreamInfer";
  EXPECT_EQ(infer(framed(bytes(1, "a")) + framed(bytes(1, "a")), stream),
            "oip infer model=a streaming");
  EXPECT_EQ(infer(framed(bytes(1, "a")) + framed(bytes(1, "b")), stream),
            who + "is a stream whose messages name different models");
  std::string compressed = framed(bytes(1, "a")) + framed("xxx");
  compressed[framed(bytes(1, "a")).size()] = 1;
  EXPECT_EQ(infer(compressed, stream),
            who + "has a compressed message behind one that is not; its model cannot be seen");
  EXPECT_EQ(read_every_way(
                {kPredict, framed(bytes(1, bytes(4, "l") + bytes(2, number(1, 1)))), {}, true}),
            "! the body of this tf_serving predict request names its version twice");
}

TEST(ModelReader, CannotReadWhatIsCompressed) {
  std::string body = framed(bytes(1, "a"));
  body[0] = 1;
  EXPECT_EQ(read_every_way({kInfer, body, {}, true}), "oip infer model= unread");
  Reading gzip({kChat, "", {{"content-encoding", "gzip"}}});
  EXPECT_FALSE(gzip->readable());
}

TEST(ModelReader, EstimatesWhatItHasNotRead) {
  Reading reading({kChat, ""});
  ASSERT_TRUE(reading->push(R"({"model":"m","messages":[{"content":"12345678)"));
  EXPECT_FALSE(reading->settled());
  EXPECT_EQ(text_of(reading.record(400)), "openai chat model=m unread bytes=408 tokens=102");
}

TEST(ModelReader, HashesThePrompt) {
  Reading reading({kChat, ""}, /*hashes=*/true);
  ASSERT_TRUE(reading->push(R"({"messages":[{"role":"user","content":"a\u0062c"}],"model":"m"})"));
  PrefixBlocks blocks;
  blocks.add("userabc");
  const ArenaRef arena = ArenaRef::create();
  const auto chain = blocks.chain("m", "", *arena);
  EXPECT_TRUE(std::ranges::equal(reading.record().prefix_hashes, chain));
  EXPECT_EQ(chain.size(), 1u);
}

// --- Another name ----------------------------------------------------------------------------------

std::string renamed(const Sent& sent, std::string_view model, std::string_view version = "") {
  Reading reading(sent);
  EXPECT_TRUE(reading->push(sent.body));
  const auto edits = reading->rename(model, version);
  if (!edits) return cat("! ", edits.error().message());
  std::string body = sent.body;
  for (auto edit = edits->rbegin(); edit != edits->rend(); ++edit) {
    body.replace(edit->at, edit->removed, edit->put);
  }
  return body;
}

TEST(ModelReaderRename, ChangesOnlyTheNameInJson) {
  EXPECT_EQ(renamed({kChat, R"({ "x": "model", "mo\u0064el" : "\u0061/b" , "n":1})"}, "other"),
            R"({ "x": "model", "mo\u0064el" : "other" , "n":1})");
  EXPECT_EQ(renamed({kChat, R"({"model":"a"})"}, "q\"\\"), R"({"model":"q\"\\"})");
  const std::string none =
      "! the route gives the model another name, and the part of the body that was held has none";
  EXPECT_EQ(renamed({kChat, R"({"n":1})"}, "m"), none);
  EXPECT_EQ(renamed({kChat, R"({"model":"abc)"}, "m"), none);
  EXPECT_EQ(renamed({kChat, R"({"model":null})"}, "m"), none);
  EXPECT_EQ(renamed({"/v2/models/m/infer", R"({"inputs":[]})"}, "m"), R"({"inputs":[]})");
}

TEST(ModelReaderRename, AdjustsTheLengthsOfModelInfer) {
  const std::string long_name(200, 'n');
  const auto message = [](const std::string& model, const std::string& more = "") {
    return framed(bytes(3, "id") + bytes(1, model) + more + bytes(7, std::string(300, 'r')));
  };
  const Sent sent{kInfer, message("m"), {}, true};
  EXPECT_EQ(renamed(sent, "other"), message("other"));
  EXPECT_EQ(renamed(sent, long_name), message(long_name));
  EXPECT_EQ(renamed(sent, "o", "2"), message("o", bytes(2, "2")));
  EXPECT_EQ(renamed({kInfer, message("m", bytes(2, "1")), {}, true}, "o", "22"),
            message("o", bytes(2, "22")));
  EXPECT_EQ(renamed({kInfer, message("m", bytes(2, "1")), {}, true}, "o"),
            message("o", bytes(2, "1")));
  EXPECT_EQ(
      renamed({"/inference.GRPCInferenceService/ModelStreamInfer", message("m"), {}, true}, "o"),
      "! the route gives the model another name, and in a stream of requests each message "
      "would need it");
}

TEST(ModelReaderRename, AdjustsTheLengthsOfPredict) {
  const auto message = [](const std::string& spec) {
    return framed(bytes(2, std::string(150, 'i')) + bytes(1, spec) + bytes(3, "out"));
  };
  const std::string long_name(150, 'n');
  const Sent plain{kPredict, message(bytes(1, "m") + bytes(3, "sig")), {}, true};
  EXPECT_EQ(renamed(plain, long_name), message(bytes(1, long_name) + bytes(3, "sig")));
  EXPECT_EQ(renamed(plain, "o", "3"),
            message(bytes(1, "o") + bytes(2, number(1, 3)) + bytes(3, "sig")));
  EXPECT_EQ(renamed(plain, "o", "new"), message(bytes(1, "o") + bytes(4, "new") + bytes(3, "sig")));
  const Sent versioned{kPredict, message(bytes(2, number(1, 300)) + bytes(1, "m")), {}, true};
  EXPECT_EQ(renamed(versioned, "o", "3"), message(bytes(1, "o") + bytes(2, number(1, 3))));
}

// Of a large message only the beginning is held.
TEST(ModelReaderRename, NeedsTheNameAndTheVersionOnly) {
  const auto held = [](const std::string& path, const std::string& body, std::size_t bytes,
                       std::string_view version) {
    Reading reading({path, body, {}, true});
    EXPECT_TRUE(reading->push(body.substr(0, bytes)));
    const auto edits = reading->rename("other", version);
    return edits ? "" : edits.error().message();
  };
  const std::string none =
      "the route gives the model another name, and the part of the body that was held has none";
  const std::string no_version =
      "the route gives the model another name, and the part of the body that was held does not "
      "reach to its version";
  const std::string tensor = bytes(7, std::string(200, 'r'));
  const std::string plain = framed(bytes(1, "m") + tensor);
  EXPECT_EQ(held(kInfer, plain, 7, ""), none);
  EXPECT_EQ(held(kInfer, plain, 8, ""), "");
  EXPECT_EQ(held(kInfer, plain, 100, "2"), no_version);
  EXPECT_EQ(held(kInfer, plain, plain.size(), "2"), "");
  const std::string versioned = framed(bytes(1, "m") + bytes(2, "11") + tensor);
  EXPECT_EQ(held(kInfer, versioned, 11, "2"), no_version);
  EXPECT_EQ(held(kInfer, versioned, 12, "2"), "");
  const std::string predict = framed(bytes(1, bytes(1, "m") + bytes(3, "sig")) + tensor);
  EXPECT_EQ(held(kPredict, predict, 12, ""), no_version);
  EXPECT_EQ(held(kPredict, predict, 15, "2"), "");
}

TEST(ModelReaderRename, NamesTheModelOfARepositoryCall) {
  const Sent sent{"/inference.GRPCInferenceService/RepositoryModelLoad",
                  framed(bytes(1, "repository") + bytes(2, "m")),
                  {},
                  true};
  EXPECT_EQ(renamed(sent, "o"), framed(bytes(1, "repository") + bytes(2, "o")));
}

// What `body` becomes, read whole and in pieces; "" if nothing is asked for.
std::string asked_for_usage(const std::string& path, std::string body) {
  std::optional<BodyEdit> edit;
  for (std::size_t size : {body.size(), std::size_t{1}}) {
    Reading reading({path, body});
    for (std::size_t at = 0; at < body.size(); at += size) {
      if (at <= body.rfind('}'))
        EXPECT_FALSE(reading->ask_for_usage()) << "before all of it was read";
      reading->push(body.substr(at, size));
    }
    reading->finish();
    const auto found = reading->ask_for_usage();
    EXPECT_TRUE(size == body.size() || (found ? found->at : 0) == (edit ? edit->at : 0));
    edit = found;
  }
  return edit ? body.replace(edit->at, edit->removed, edit->put) : "";
}

TEST(ModelReaderUsage, AsksStreamsForItThatSayNothingOfIt) {
  const std::string chat = "/v1/chat/completions";
  EXPECT_EQ(asked_for_usage(chat, R"({"stream":true})"),
            R"({"stream":true,"stream_options":{"include_usage":true}})");
  EXPECT_EQ(asked_for_usage(chat, R"({"model":"m", "stream" : true , "n":1} )"),
            R"({"model":"m", "stream" : true,"stream_options":{"include_usage":true} , "n":1} )");
  EXPECT_EQ(asked_for_usage("/v1/completions", R"({"stream":true,"prompt":"x"})"),
            R"({"stream":true,"stream_options":{"include_usage":true},"prompt":"x"})");
  EXPECT_EQ(asked_for_usage(chat, R"({"stream":false})"), "");
  EXPECT_EQ(asked_for_usage(chat, R"({"model":"m"})"), "");
  EXPECT_EQ(asked_for_usage(chat, R"({"metadata":{"stream":true}})"), "");
  EXPECT_EQ(asked_for_usage(chat, R"({"stream":true,"stream_options":{}})"), "");
  EXPECT_EQ(asked_for_usage(chat, R"({"stream_options":null,"stream":true})"), "");
  EXPECT_EQ(asked_for_usage("/v1/responses", R"({"stream":true})"), "");
  EXPECT_EQ(asked_for_usage("/v1/messages", R"({"stream":true})"), "");
}

}  // namespace
}  // namespace glia
