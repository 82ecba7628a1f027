#include "proxy/flow/model_sight.h"

#include <algorithm>

#include "proxy/base/text.h"
#include "proxy/flow/exchange.h"
#include "proxy/flow/forwarded.h"
#include "proxy/model/fields.h"

namespace glia {
namespace {

// What the routes of this request's host and the listener's policies ask for.
ModelNeed need_of(const Exchange& exchange) {
  const HttpManager& manager = exchange.manager();
  if (manager.model->always) return ModelNeed::kAll;
  ModelNeed need = manager.model_need;
  if (manager.routes != nullptr) {
    need = std::max(
        need, manager.routes->model_need(exchange.request(), meant_for(exchange.connection())));
  }
  return need;
}

void write_fields(const ModelRequest& record, Headers& headers) {
  const auto text = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) headers.add_kept(name, value);
  };
  const auto number = [&](std::string_view name, uint64_t value) {
    if (value == 0) return;
    headers.add_kept(name, headers.arena().copy(cat(value)), /*unique=*/true);
  };
  text(model_field::kDialect, name_of(record.dialect));
  text(model_field::kModel, record.model);
  text(model_field::kVersion, record.version);
  text(model_field::kAdapter, record.adapter);
  if (record.streaming || record.read) {
    text(model_field::kStream, record.streaming ? "true" : "false");
  }
  number(model_field::kInputTokens, record.input_tokens);
  number(model_field::kOutputTokens, record.most_output_tokens);
  number(model_field::kRows, record.rows);
}

// Somebody asked for the model, and it is not known.
Result<void> model_unknown(Exchange& exchange, const ModelReader& reader, bool readable) {
  const ModelReading& reading = *exchange.manager().model;
  ++exchange.site().stats().model.unknown;
  if (reading.unknown == ModelReading::Unknown::kRoute) return {};
  const ModelRequest& record = *exchange.sight().record;
  ++exchange.site().stats().model.refused;
  return Error(ErrorKind::kInvalid, Fault::kDownstream,
               cat("the model of this ", name_of(record.dialect), " ", record.operation,
                   " request is not known: ",
                   !readable ? "its body is compressed, or there is none"
                   : reader.settled()
                       ? "its body names none"
                       : cat("the first ", reading.held_bytes, " bytes of its body name none")));
}

}  // namespace

Task<Result<void>> read_model(Exchange& exchange) {
  Request& request = exchange.request();
  request.headers.remove_if(
      [](const Field& field) { return field.name.starts_with(kModelFieldPrefix); });
  const auto call = recognise(request);
  if (!call || !request.upgrade.empty()) co_return Result<void>();
  ModelSight& sight = exchange.sight();
  sight.call = *call;
  ModelStats& stats = exchange.site().stats().model;
  ++stats.requests[static_cast<int>(call->form->dialect)];
  const ModelReading& reading = *exchange.manager().model;
  auto made = std::make_unique<ModelReader>(*call, request, reading.prefix_hashes);
  const ModelReader& reader = *made;
  if (reader.refused()) {
    ++stats.refused;
    co_return reader.refusal();
  }
  const ModelNeed need = need_of(exchange);
  const bool read_body =
      need == ModelNeed::kAll || (need == ModelNeed::kName && reader.named_in_body());
  const bool readable = reader.readable();
  if (read_body && readable) {
    auto held =
        std::make_unique<HeldBody>(std::move(request.body), std::move(made), reading.held_bytes);
    sight.held = held.get();
    request.body = std::move(held);
    if (Result<void> taken = co_await sight.held->hold(); !taken) {
      if (reader.refused()) ++stats.refused;
      co_return taken;
    }
  }
  sight.record = reader.record(*exchange.arena(), sight.held != nullptr ? sight.held->rest() : 0);
  write_fields(*sight.record, request.headers);
  const bool asked = need != ModelNeed::kNothing && call->form->names_model();
  if (!asked || !sight.record->model.empty()) co_return Result<void>();
  co_return model_unknown(exchange, reader, readable);
}

void ModelSight::look_at(const Request& request, const Response& response, bool tallied) {
  answer.reset();
  if (response.status / 100 != 2) return;
  if (!record && tallied) {
    if (const auto found = recognise(request)) {
      by_path_ = {.dialect = found->form->dialect,
                  .operation = found->form->operation,
                  .streaming = found->form->streams};
    }
  }
  const ModelRequest* const asked = record ? &*record : by_path_ ? &*by_path_ : nullptr;
  if (asked == nullptr || !answers_with_output(*asked)) return;
  answer = std::make_unique<AnswerReader>(*asked, response.headers);
}

Result<void> rename_model(Exchange& exchange, const ModelName& name) {
  ModelSight& sight = exchange.sight();
  if (!sight.record) return {};
  Request& request = exchange.request();
  if (!sight.call.model.empty()) {
    // Where it stands now: the route may have given the path another beginning.
    const auto call = recognise(request);
    if (!call || call->model.empty()) {
      return Error(ErrorKind::kInvalid, Fault::kDownstream,
                   cat("route ", exchange.route()->name, " gives the model the name ", name.model,
                       " and the path another beginning, after which none names a model"));
    }
    request.path =
        exchange.arena()->copy(renamed_path(*call, request.path, name.model, name.version));
  } else if (sight.held != nullptr) {
    TRY(const auto edits, sight.held->reader().rename(name.model, name.version));
    sight.held->edit(edits);
  } else {
    return Error(ErrorKind::kInvalid, Fault::kDownstream,
                 cat("route ", exchange.route()->name, " gives the model the name ", name.model,
                     ", and the body cannot be read: it is compressed, or there is none"));
  }
  request.headers.set(model_field::kModel, name.model);
  if (!name.version.empty()) request.headers.set(model_field::kVersion, name.version);
  ++exchange.site().stats().model.renamed;
  return {};
}

}  // namespace glia
