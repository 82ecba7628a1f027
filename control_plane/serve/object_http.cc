#include "control_plane/serve/object_http.h"

#include <sys/stat.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "control_plane/objects/documents.h"
#include "control_plane/serve/peer.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

const char* word(v1::ObjectChange::Verb verb) {
  switch (verb) {
    case v1::ObjectChange::CREATED: return "created";
    case v1::ObjectChange::CHANGED: return "changed";
    case v1::ObjectChange::DELETED: return "deleted";
    default: return "unchanged";
  }
}

const char* word(v1::ApplyResponse::Verdict verdict) {
  switch (verdict) {
    case v1::ApplyResponse::MISTAKES: return "mistakes";
    case v1::ApplyResponse::CONFLICT: return "conflict";
    case v1::ApplyResponse::REFUSED: return "refused";
    default: return "taken";
  }
}

int status_of(v1::ApplyResponse::Verdict verdict) {
  switch (verdict) {
    case v1::ApplyResponse::MISTAKES: return 422;
    case v1::ApplyResponse::CONFLICT: return 409;
    case v1::ApplyResponse::REFUSED: return 424;  // It was right, but sidecars cannot do it.
    default: return 200;
  }
}

int status_of(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::kInvalid: return 400;
    case ErrorKind::kNoRoute: return 404;
    case ErrorKind::kTooLarge: return 413;
    case ErrorKind::kOverflow: return 503;
    default: return 500;
  }
}

Json to_json(const v1::ObjectChange& change) {
  return {{"kind", change.kind()},
          {"name", change.name()},
          {"verb", word(change.verb())},
          {"resourceVersion", change.version()}};
}

Json to_json(const v1::ApplyResponse& response) {
  Json problems = Json::array(), changes = Json::array();
  for (const std::string& problem : response.problems()) problems.push_back(problem);
  for (const v1::ObjectChange& change : response.changes()) changes.push_back(to_json(change));
  return {{"verdict", word(response.verdict())},
          {"version", response.version()},
          {"problems", problems},
          {"changes", changes}};
}

Json to_json(const v1::Object& object) {
  return {{"kind", object.kind()},
          {"name", object.name()},
          {"resourceVersion", object.version()},
          {"source", object.source()},
          {"text", object.text()}};
}

Json to_json(const v1::GetHistoryResponse& response) {
  Json all = Json::array();
  for (const v1::ObjectVersion& version : response.versions()) {
    Json changes = Json::array();
    for (const v1::ObjectChange& change : version.changes()) changes.push_back(to_json(change));
    all.push_back({{"version", version.version()},
                   {"atUnixSeconds", version.at_unix_s()},
                   {"who", version.who()},
                   {"what", version.what()},
                   {"changes", changes}});
  }
  return all;
}

Result<int64_t> number(std::string_view text, std::string_view what) {
  text = trim(text, "\"");  // As an entity tag is written.
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= 0) return value;
  return invalid(cat(what, " is \"", printable(text), "\", and not the number of a version"));
}

std::vector<std::string_view> parts_of(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

}  // namespace

// Its waiting ends with whoever waits, so a decision that comes later finds nobody.
class ObjectHttp::Place {
 public:
  explicit Place(ObjectHttp& door) : door_(door), number_(++door.last_) {
    door_.waiting_[number_] = &waiting_;
  }
  Place(const Place&) = delete;
  ~Place() { door_.waiting_.erase(number_); }
  ObjectDesk::Done done() {
    return [door = &door_, number = number_](Result<v1::ApplyResponse> outcome) {
      const auto found = door->waiting_.find(number);
      if (found == door->waiting_.end()) return;
      found->second->outcome = std::move(outcome);
      found->second->slot.wake(door->loop_.ready());
    };
  }
  Waiting& waiting() { return waiting_; }

 private:
  ObjectHttp& door_;
  const uint64_t number_;
  Waiting waiting_;
};

ObjectHttp::ObjectHttp(EventLoop& loop, Network& network, ObjectDesk& desk)
    : loop_(loop),
      desk_(desk),
      server_(loop, network, *this, {.idle_time = kIdleTime, .wrap = {}}) {}

Result<void> ObjectHttp::listen(const std::string& path) {
  TRY(const Address address, Address::unix_path(path));
  // The socket must not be open to others even for a moment.
  const mode_t before = ::umask(0177);
  Result<void> listening = server_.listen(address);
  ::umask(before);
  return listening;
}

Result<ObjectHttp::Asked> ObjectHttp::read(const Request& request) {
  Asked asked{
      .method = request.method, .kind = {}, .ns = {}, .name = {}, .at_version = {}, .back_to = {}};
  const std::string_view path = request.path.substr(0, request.path.find('?'));
  const std::vector<std::string_view> parts = parts_of(path, '/');
  if (parts.empty() || parts[0] != "v1" || parts.size() > 4) {
    return Error(ErrorKind::kNoRoute, Fault::kDownstream,
                 "objects are at /v1/KIND/NAMESPACE/NAME; see docs/apply.md");
  }
  std::string* const names[] = {&asked.kind, &asked.ns, &asked.name};
  for (std::size_t i = 1; i < parts.size(); ++i) *names[i - 1] = parts[i];
  if (path.size() < request.path.size()) {
    for (const std::string_view pair : parts_of(request.path.substr(path.size() + 1), '&')) {
      const std::size_t equals = std::min(pair.find('='), pair.size());
      const std::string_view name = pair.substr(0, equals);
      const std::string_view value = pair.substr(std::min(equals + 1, pair.size()));
      if (name == "resourceVersion") {
        TRY(asked.at_version, number(value, name));
      } else if (name == "version") {
        TRY(asked.back_to, number(value, name));
      } else if (name == "dryRun" && (value == "true" || value == "false")) {
        asked.dry_run = value == "true";
      } else {
        return invalid(cat("the query has ", printable(pair),
                           "; known are resourceVersion=N, version=N and dryRun=true"));
      }
    }
  }
  if (const auto match = request.headers.get("if-match")) {
    TRY(asked.at_version, number(*match, "if-match"));
  }
  // Nothing that somebody relies on is passed over.
  if (asked.is_rollback() && (asked.at_version || asked.dry_run)) {
    return invalid(
        "a rollback takes version=N alone, no resourceVersion, if-match or dryRun; GET /v1/history "
        "says what it would take back");
  }
  if (!asked.is_rollback() && asked.back_to) {
    return invalid("version=N is for POST /v1/rollback; an object has a resourceVersion=N");
  }
  return asked;
}

Result<ObjectHttp::Answer> ObjectHttp::look(const Asked& asked) const {
  if (asked.kind == "history") {
    TRY(const v1::GetHistoryResponse history, desk_.history({}));
    return Answer{200, text_of(to_json(history))};
  }
  v1::GetObjectsRequest request;
  request.set_kind(asked.kind);
  if (!asked.name.empty()) request.set_name(cat(asked.ns, "/", asked.name));
  TRY(const v1::GetObjectsResponse found, desk_.get(request));
  if (!asked.name.empty()) {
    if (found.objects_size() == 1) return Answer{200, text_of(to_json(found.objects(0)))};
    return Error(ErrorKind::kNoRoute, Fault::kDownstream,
                 cat("there is no ", printable(asked.kind), " ", printable(request.name())));
  }
  Json all = Json::array();
  for (const v1::Object& object : found.objects()) {
    if (asked.ns.empty() || object.name().starts_with(asked.ns + "/"))
      all.push_back(to_json(object));
  }
  return Answer{200, text_of(all)};
}

Task<ObjectHttp::Answer> ObjectHttp::change(const Request& request, Asked asked) {
  std::string body;
  if (request.body != nullptr) {
    Result<std::string> read = co_await read_all(*request.body, kLargestBody);
    if (!read) {
      const bool large = read.error().kind() == ErrorKind::kTooLarge;
      if (large) co_return Answer{413, cat("the body is larger than ", kLargestBody, " bytes")};
      co_return Answer{400, "the body has not come whole"};
    }
    body = *std::move(read);
  }
  const bool one = !asked.name.empty(), apply = asked.kind == "apply" && asked.ns.empty();
  Place place(*this);
  v1::ApplyRequest wanted;
  wanted.set_who("HTTP");
  wanted.set_dry_run(asked.dry_run);
  if (asked.is_rollback()) {
    v1::RollbackRequest back;
    back.set_who("HTTP");
    back.set_version(asked.back_to.value_or(0));
    desk_.rollback(back, loop_.clock().wall_now(), place.done());
  } else if ((asked.method == "PUT" && one) || (asked.method == "POST" && apply)) {
    v1::ObjectFile& file = *wanted.add_files();
    file.set_name("body");
    file.set_text(std::move(body));
    if (one) {
      file.set_only_kind(asked.kind);
      file.set_only_name(cat(asked.ns, "/", asked.name));
    }
    if (asked.at_version) file.set_version(*asked.at_version);
    desk_.apply(wanted, loop_.clock().wall_now(), place.done());
  } else if (asked.method == "DELETE" && one) {
    v1::ObjectName& gone = *wanted.add_remove();
    gone.set_kind(asked.kind);
    gone.set_name(cat(asked.ns, "/", asked.name));
    if (asked.at_version) gone.set_version(*asked.at_version);
    desk_.apply(wanted, loop_.clock().wall_now(), place.done());
  } else {
    co_return Answer{405, cat(printable(asked.method), " is not for this path; see docs/apply.md")};
  }
  while (!place.waiting().outcome) co_await wait_in(place.waiting().slot);
  const Result<v1::ApplyResponse>& outcome = *place.waiting().outcome;
  if (!outcome) co_return Answer{status_of(outcome.error()), outcome.error().message()};
  co_return Answer{status_of(outcome->verdict()), text_of(to_json(*outcome))};
}

Task<ObjectHttp::Answer> ObjectHttp::answer_to(const Request& request) {
  const Result<Asked> asked = read(request);
  if (!asked) co_return Answer{status_of(asked.error()), asked.error().message()};
  if (request.method != "GET") co_return co_await change(request, *asked);
  Result<Answer> seen = look(*asked);
  if (!seen) co_return Answer{status_of(seen.error()), seen.error().message()};
  co_return *std::move(seen);
}

Task<void> ObjectHttp::serve(ServerStream& stream) {
  CallbackTimer late(loop_, [&stream] { stream.abort(); });
  late.start(kLongestTime);
  Answer answer = co_await answer_to(stream.request());
  if (!answer.json.ends_with('\n')) answer.json = text_of(Json{{"error", answer.json}});
  co_await stream.respond(text_response(stream, answer.status, "application/json", answer.json));
}

}  // namespace glia
