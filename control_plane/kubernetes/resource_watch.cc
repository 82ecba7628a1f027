#include "control_plane/kubernetes/resource_watch.h"

#include <utility>

#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

Error failed(std::string message) {
  return Error(ErrorKind::kProtocol, Fault::kUpstream, std::move(message));
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (plain || c == '-' || c == '_' || c == '.') {
      out += c;
    } else {
      append_escaped(out, c);
    }
  }
  return out;
}

}  // namespace

std::string Resource::path() const {
  return group.empty() ? cat("/api/", version, "/", plural)
                       : cat("/apis/", group, "/", version, "/", plural);
}

std::string Resource::path_of(const std::string& ns, const std::string& name) const {
  std::string all = path();
  all.resize(all.size() - plural.size());
  return cat(all, ns.empty() ? "" : cat("namespaces/", ns, "/"), plural, "/", name);
}

std::string Resource::text() const { return group.empty() ? plural : cat(plural, ".", group); }

ResourceWatch::ResourceWatch(ApiServer& server, Resource resource, uint64_t seed, Owner& owner)
    : server_(server),
      resource_(std::move(resource)),
      owner_(owner),
      random_(seed),
      backoff_(kFirstRetry, kLastRetry) {}

void ResourceWatch::start() {
  task_ = run();
  task_.start();
}

Task<void> ResourceWatch::run() {
  while (true) {
    const Result<void> done = version_.empty() ? co_await list() : co_await watch();
    if (done) {
      if (!trouble_.empty()) LOG(info, resource_.text(), ": the API server answers again");
      trouble_.clear();
      continue;
    }
    co_await sleep_for(server_.loop(), fail(done.error()));
  }
}

// Says what is wrong, once, and how long to wait.
Duration ResourceWatch::fail(const Error& error) {
  const bool denied = std::exchange(denied_, false);
  const Duration delay =
      denied ? kDeniedRetry - Duration(static_cast<Duration::rep>(random_.below(
                                  static_cast<uint64_t>(Duration(kDeniedRetry).count()) / 4)))
             : backoff_.next(random_);
  if (trouble_ != error.message()) {
    LOG(warning, resource_.text(), ": ", error.message(), "; trying again in ", to_ms(delay),
        " ms");
  }
  trouble_ = error.message();
  if (denied) settled_ = true;
  return delay;
}

Error ResourceWatch::refused(std::string_view verb, const ApiAnswer& answer) {
  const std::string said = refusal_of(answer);
  if (answer.status == 410) version_.clear();  // It is not kept any more.
  denied_ = answer.status == 403 || answer.status == 404;
  if (answer.status == 403) {
    return failed(cat("may not ", verb, " ", resource_.text(), " (", said,
                      "); grant the service account the verbs list and watch on ", resource_.plural,
                      " of the API group \"", resource_.group, "\": kubectl apply -f rbac.yaml"));
  }
  if (answer.status == 404) {
    return failed(cat("the cluster does not know ", resource_.text(),
                      "; install its CustomResourceDefinition if you want to use ",
                      resource_.kind));
  }
  return failed(cat("cannot ", verb, " ", resource_.text(), ": ", said));
}

// False if it is one too many, or nothing that has a name.
bool ResourceWatch::put(const Json& object, std::set<Key>& seen) {
  const Json& metadata = object_at(object, "metadata");
  Key key{text_at(metadata, "namespace"), text_at(metadata, "name")};
  if (key.second.empty()) return false;
  if (seen.size() >= kMostObjects && !seen.contains(key)) {
    if (!std::exchange(full_, true)) {
      LOG(error, resource_.text(), ": there are more than ", kMostObjects,
          ", which is the limit; the others are not looked at");
    }
    return false;
  }
  seen.insert(std::move(key));
  owner_.on_object(resource_, object);
  return true;
}

Task<Result<void>> ResourceWatch::page(std::string rest, std::set<Key>& seen, std::string& next) {
  std::string path = cat(resource_.path(), "?limit=", kPage);
  if (!resource_.selector.empty()) path += cat("&", resource_.selector);
  if (!rest.empty()) path += cat("&continue=", escaped(rest));
  CO_TRY(const ApiAnswer answer, co_await server_.ask({.path = std::move(path)}));
  if (answer.status != 200) co_return refused("list", answer);
  const Json list = Json::parse(answer.body, nullptr, false);
  const Json& metadata = object_at(list, "metadata");
  const std::string version = text_at(metadata, "resourceVersion");
  if (!list.is_object() || version.empty()) {
    co_return failed(cat("the list of ", resource_.text(), " is no list"));
  }
  for (const Json& item : list_at(list, "items")) put(item, seen);
  next = text_at(metadata, "continue");
  if (next.empty()) version_ = version;
  co_return Result<void>();
}

Task<Result<void>> ResourceWatch::list() {
  std::set<Key> seen;
  std::string next;
  full_ = false;
  do {
    std::string rest = std::exchange(next, {});
    // What a list that began too long ago leaves behind is seen in the next one.
    CO_TRY_VOID(co_await page(std::move(rest), seen, next));
  } while (!next.empty());
  for (const Key& key : held_) {
    if (!seen.contains(key)) owner_.on_gone(resource_, key.first, key.second);
  }
  held_ = std::move(seen);
  settled_ = true;
  co_return Result<void>();
}

Task<Result<void>> ResourceWatch::watch() {
  const uint64_t seconds = kWatchSeconds + random_.below(kWatchSeconds);
  std::string path =
      cat(resource_.path(), "?watch=1&allowWatchBookmarks=true&resourceVersion=", escaped(version_),
          "&timeoutSeconds=", seconds);
  if (!resource_.selector.empty()) path += cat("&", resource_.selector);
  const TimePoint began = server_.loop().now();
  ApiCall call(server_, {.path = std::move(path)});
  call.within(ApiServer::kAnswerTime);
  CO_TRY(const int status, co_await call.start());
  if (status != 200) {
    ApiAnswer answer{status, {}};
    CO_TRY(answer.body, co_await read_all(call.body(), ApiServer::kLargestAnswer));
    co_return refused("watch", answer);
  }
  std::string text;  // Of which all but the last line has been taken.
  while (true) {
    call.within(kSilence);
    Body::Piece piece = co_await next(call.body());
    if (piece.state == Body::State::kPending) continue;
    if (piece.state == Body::State::kError) co_return call.body().error();
    if (piece.state == Body::State::kEnd) break;
    text += piece.data.view();
    std::size_t at = 0;
    for (std::size_t end; (end = text.find('\n', at)) != text.npos; at = end + 1) {
      CO_TRY_VOID(take_event(std::string_view(text).substr(at, end - at)));
    }
    text.erase(0, at);
    if (text.size() > kLongestEvent) {
      version_.clear();
      co_return failed(cat("an event has more than ", kLongestEvent, " bytes"));
    }
  }
  // In order, but at once, again and again, would be a loop.
  if (server_.loop().now() - began < kGoodWatch) co_return failed("the watch ended at once");
  backoff_.reset();
  co_return Result<void>();
}

Result<void> ResourceWatch::take_event(std::string_view line) {
  if (trim(line, " \r").empty()) return {};
  const Json event = Json::parse(line, nullptr, false);
  const std::string type = event.is_object() ? text_at(event, "type") : "";
  const Json& object = object_at(event, "object");
  if (type == "ERROR") {
    const std::string message = text_at(object, "message");
    if (text_at(object, "code") == "410") version_.clear();
    return failed(cat("the watch broke off: ", message));
  }
  const Json& metadata = object_at(object, "metadata");
  const std::string version = text_at(metadata, "resourceVersion");
  if (version.empty()) {
    version_.clear();  // What was meant is not known: it is in the next list.
    return failed("an event of the watch cannot be read");
  }
  backoff_.reset();
  trouble_.clear();
  version_ = version;
  if (type == "BOOKMARK") return {};
  if (type == "DELETED") {
    const Key key{text_at(metadata, "namespace"), text_at(metadata, "name")};
    if (held_.erase(key) > 0) owner_.on_gone(resource_, key.first, key.second);
    return {};
  }
  put(object, held_);
  return {};
}

}  // namespace glia
