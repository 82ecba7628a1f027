#include "control_plane/serve/object_desk.h"

#include <algorithm>
#include <utility>

#include "control_plane/objects/kinds.h"
#include "control_plane/serve/peer.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using Change = v1::ObjectChange;

std::string shown(const std::string& kind, const std::string& name) { return cat(kind, " ", name); }

void add_change(Change::Verb verb, const std::string& kind, const std::string& name,
                int64_t version, v1::ApplyResponse& response) {
  v1::ObjectChange& change = *response.add_changes();
  change.set_verb(verb);
  change.set_kind(kind);
  change.set_name(name);
  change.set_version(version);
}

std::string with_namespace(const std::string& name) {
  return name.find('/') == name.npos ? "default/" + name : name;
}

// "HTTPRoute" for "httproute"; what is no kind stays.
std::string kind_called(const std::string& word) {
  for (const std::string_view kind : kind_names()) {
    if (equal_no_case(kind, word)) return std::string(kind);
  }
  return printable(word);
}

std::string file_names(const v1::ApplyRequest& request) {
  std::string names;
  for (const v1::ObjectFile& file : request.files()) {
    constexpr int kShown = 3;
    if (&file - &request.files(0) < kShown) {
      names += cat(names.empty() ? "" : ", ", printable(file.name()));
    }
  }
  const bool deletes = request.remove_size() > 0;
  return cat(names.empty() ? "" : cat("applied ", names), !names.empty() && deletes ? ", " : "",
             deletes ? cat("deleted ", request.remove_size()) : "");
}

}  // namespace

std::string StoredObjects::source_name(const std::string& kind, const std::string& name) {
  return cat("store:", kind, "/", name);
}

Result<SourceEdit> StoredObjects::read() {
  TRY(const std::vector<ObjectStore::Object> all, store_.objects());
  SourceEdit edit;
  for (const ObjectStore::Object& object : all) {
    edit.read.push_back(read_source({source_name(object.kind, object.name), object.text}));
  }
  return edit;
}

Result<ObjectDesk::Kept> ObjectDesk::kept() const {
  TRY(std::vector<ObjectStore::Object> all, store_.objects());
  Kept kept;
  for (ObjectStore::Object& object : all) {
    Key key{object.kind, object.name};
    kept.emplace(std::move(key), std::move(object));
  }
  return kept;
}

void ObjectDesk::read_file(const v1::ObjectFile& file, Order& order) const {
  const std::string only = file.only_kind().empty() ? ""
                                                    : cat(kind_called(file.only_kind()), " ",
                                                          printable(file.only_name()));
  std::optional<int64_t> seen;
  if (file.has_version()) seen = file.version();
  for (DocumentText& document : split_documents(file.text())) {
    ReadingRef reading = read_source(in_place(file.name(), document));
    if (reading->objects.size() != 1) {
      if (reading->problems.empty()) {
        order.mistakes.push_back(cat(file.name(), ":", document.line, ": there is no object here"));
      }
      order.unreadable.push_back(std::move(reading));
      continue;
    }
    const std::string& key = reading->objects.begin()->first;
    const std::size_t space = key.find(' ');
    order.wanted.push_back({{key.substr(0, space), key.substr(space + 1), std::move(document.text),
                             cat(file.name(), ":", document.line)},
                            document.version ? document.version : seen,
                            std::move(reading)});
    const ObjectStore::Change& change = order.wanted.back().change;
    if (only.empty() || only == cat(kind_called(change.kind), " ", change.name)) continue;
    order.mistakes.push_back(
        cat(change.source, ": this is ", shown(change.kind, change.name), ", and not ", only));
  }
  if (!only.empty() && order.wanted.size() != 1) {
    order.mistakes.push_back(cat(file.name(), ": there must be one object here, ", only));
  }
}

void ObjectDesk::in_turn(std::function<Result<Order>()> make, Done done) {
  auto work = [this, make = std::move(make), done] {
    Result<Order> order = make();
    if (!order) return done(std::move(order).error());
    carry_out(*std::move(order), done);
  };
  if (control_plane_.when_decided(std::move(work))) return;
  done(Error(ErrorKind::kOverflow, Fault::kSelf,
             cat(ControlPlane::kMostWaiting, " changes wait to be tried out; try again later")));
}

void ObjectDesk::apply(const v1::ApplyRequest& request, WallTime now, Done done) {
  Result<Order> order = order_of(request, now);
  in_turn([order = std::move(order)] { return order; }, std::move(done));
}

Result<ObjectDesk::Order> ObjectDesk::order_of(const v1::ApplyRequest& request,
                                               WallTime now) const {
  Order order;
  order.dry_run = request.dry_run();
  order.author = {request.who().substr(0, kLongestWho), file_names(request), now};
  for (const v1::ObjectFile& file : request.files()) read_file(file, order);
  for (const v1::ObjectName& name : request.remove()) {
    std::optional<int64_t> seen;
    if (name.has_version()) seen = name.version();
    order.wanted.push_back(
        {{kind_called(name.kind()), with_namespace(name.name()), {}, "delete"}, seen, nullptr});
  }
  const std::size_t documents = order.wanted.size() + order.unreadable.size();
  if (documents > kMostDocuments) {
    return Error(ErrorKind::kTooLarge, Fault::kDownstream,
                 cat("the request has ", documents, " objects, the limit is ", kMostDocuments,
                     "; hand them in in parts"));
  }
  if (documents == 0) return invalid("the request has no objects");
  return order;
}

// What each of them would do, and whether its author knew what is there.
void ObjectDesk::compare(const Kept& kept, Order& order, v1::ApplyResponse& response) const {
  std::vector<Wanted> news;
  for (Wanted& wanted : order.wanted) {
    const ObjectStore::Change& change = wanted.change;
    const auto held = kept.find({change.kind, change.name});
    const int64_t version = held == kept.end() ? 0 : held->second.version;
    if (wanted.edited && *wanted.edited != version) {
      order.conflicts.push_back(
          cat(change.source, ": ", shown(change.kind, change.name), " was edited at version ",
              *wanted.edited, ", but ",
              version == 0 ? std::string("is not kept here any more")
                           : cat("is at version ", version, " now"),
              "; get it again and edit that, or take the line # resourceVersion out"));
    }
    if (!change.text && held == kept.end()) {
      order.mistakes.push_back(cat("there is no ", shown(change.kind, change.name),
                                   " that was applied; glia get lists what there is, and what is "
                                   "in a file is deleted there"));
      continue;
    }
    const bool same = change.text && held != kept.end() && held->second.text == *change.text;
    const Change::Verb verb = same                 ? Change::UNCHANGED
                              : !change.text       ? Change::DELETED
                              : held == kept.end() ? Change::CREATED
                                                   : Change::CHANGED;
    add_change(verb, change.kind, change.name, version, response);
    if (!same) news.push_back(std::move(wanted));
  }
  order.wanted = std::move(news);
}

// Is the mesh right with them?
void ObjectDesk::check(const Order& order, v1::ApplyResponse& response) const {
  std::vector<std::string> without;
  std::vector<ReadingRef> with = order.unreadable;
  for (const Wanted& wanted : order.wanted) {
    without.push_back(StoredObjects::source_name(wanted.change.kind, wanted.change.name));
    if (wanted.reading != nullptr) with.push_back(wanted.reading);
  }
  const LoadReport report = control_plane_.preview(without, with);
  for (const std::string& mistake : order.mistakes) response.add_problems(mistake);
  for (const Problem& problem : report.problems) response.add_problems(problem.text());
  if (!report.ok() || !order.mistakes.empty()) response.set_verdict(v1::ApplyResponse::MISTAKES);
}

Result<std::optional<SourceEdit>> ObjectDesk::write(Order& order, v1::ApplyResponse& response) {
  TRY(const Kept kept, this->kept());
  TRY(const int64_t newest, store_.newest());
  response.set_version(newest);
  compare(kept, order, response);
  std::optional<SourceEdit> edit;
  if (!order.conflicts.empty()) {
    response.set_verdict(v1::ApplyResponse::CONFLICT);
    for (const std::string& conflict : order.conflicts) response.add_problems(conflict);
    response.clear_changes();
    return edit;
  }
  check(order, response);
  if (response.verdict() != v1::ApplyResponse::TAKEN) response.clear_changes();
  if (response.verdict() != v1::ApplyResponse::TAKEN || order.dry_run || order.wanted.empty()) {
    return edit;
  }
  std::vector<ObjectStore::Change> changes;
  edit.emplace();
  for (Wanted& wanted : order.wanted) {
    const std::string source = StoredObjects::source_name(wanted.change.kind, wanted.change.name);
    if (wanted.change.text) {
      edit->read.push_back(read_source({source, *wanted.change.text}));
    } else {
      edit->gone.push_back(source);
    }
    changes.push_back(std::move(wanted.change));
  }
  TRY(const int64_t version, store_.write(changes, order.author));
  LOG(info, "version ", version, " of the kept objects: ", order.author.what, " by ",
      printable(order.author.who));
  response.set_version(version);
  for (v1::ObjectChange& change : *response.mutable_changes()) {
    if (change.verb() != Change::UNCHANGED) change.set_version(version);
  }
  return edit;
}

void ObjectDesk::carry_out(Order order, const Done& done) {
  v1::ApplyResponse response;
  const Result<std::optional<SourceEdit>> edit = write(order, response);
  if (!edit) return done(edit.error());
  if (!*edit) return done(std::move(response));
  auto decided = [this, response, done,
                  now = order.author.at](const std::vector<std::string>& refusals) mutable {
    if (refusals.empty()) return done(std::move(response));
    const Result<void> taken_back = take_back(refusals, now, response);
    if (!taken_back) return done(taken_back.error());
    done(std::move(response));
  };
  control_plane_.apply(**edit, cat(order.author.what, " by ", printable(order.author.who)),
                       std::move(decided));
}

// The newest version is the one that sidecars refused.
Result<void> ObjectDesk::take_back(const std::vector<std::string>& refusals, WallTime now,
                                   v1::ApplyResponse& response) {
  const int64_t refused = response.version();
  TRY(std::vector<ObjectStore::Change> changes, store_.back_to(refused - 1));
  TRY(const Kept kept, this->kept());
  std::erase_if(changes, [&kept](const ObjectStore::Change& change) {
    return !change.text && !kept.contains({change.kind, change.name});
  });
  TRY(const int64_t version,
      store_.write(changes, {"glia-control",
                             cat("took version ", refused, " back: ", refusals.front()), now}));
  response.set_verdict(v1::ApplyResponse::REFUSED);
  response.set_version(version);
  response.clear_changes();
  for (const std::string& refusal : refusals) response.add_problems(refusal);
  return {};
}

void ObjectDesk::rollback(const v1::RollbackRequest& request, WallTime now, Done done) {
  in_turn([this, request, now] { return order_of(request, now); }, std::move(done));
}

Result<ObjectDesk::Order> ObjectDesk::order_of(const v1::RollbackRequest& request,
                                               WallTime now) const {
  TRY(const int64_t newest, store_.newest());
  const int64_t version = request.version() == 0 ? newest - 1 : request.version();
  TRY(std::vector<ObjectStore::Change> changes, store_.back_to(std::max<int64_t>(version, 0)));
  Order order;
  order.author = {request.who().substr(0, kLongestWho), cat("rolled back to version ", version),
                  now};
  TRY(const Kept kept, this->kept());
  for (ObjectStore::Change& change : changes) {
    if (!change.text && !kept.contains({change.kind, change.name})) continue;
    ReadingRef reading;
    if (change.text) {
      reading = read_source({StoredObjects::source_name(change.kind, change.name), *change.text});
    }
    order.wanted.push_back({std::move(change), {}, std::move(reading)});
  }
  return order;
}

Result<v1::GetObjectsResponse> ObjectDesk::get(const v1::GetObjectsRequest& request) const {
  TRY(const Kept kept, this->kept());
  v1::GetObjectsResponse response;
  const std::string name = request.name().empty() ? "" : with_namespace(request.name());
  const auto add = [&](std::string_view kind, const Metadata& metadata) {
    if (!request.kind().empty() && !equal_no_case(request.kind(), kind)) return;
    if (!name.empty() && name != metadata.key()) return;
    v1::Object& object = *response.add_objects();
    object.set_kind(std::string(kind));
    object.set_name(metadata.key());
    object.set_source(cat(metadata.file, ":", metadata.at.line));
    const auto held = kept.find({object.kind(), object.name()});
    if (held == kept.end()) return;
    object.set_source(held->second.source);
    object.set_version(held->second.version);
    object.set_text(held->second.text);
  };
  const ObjectSet& objects = control_plane_.objects();
  add(Mesh::kKind, objects.mesh.metadata);
  each_list([&](auto list) {
    using List = std::remove_reference_t<decltype(objects.*list)>;
    for (const auto& object : objects.*list) add(List::value_type::kKind, object.metadata);
  });
  return response;
}

Result<v1::GetHistoryResponse> ObjectDesk::history(const v1::GetHistoryRequest& request) const {
  const int64_t most = request.most() <= 0 ? kUsualHistory : request.most();
  TRY(const std::vector<ObjectStore::Version> all, store_.history(most));
  v1::GetHistoryResponse response;
  for (const ObjectStore::Version& version : all) {
    v1::ObjectVersion& one = *response.add_versions();
    one.set_version(version.number);
    one.set_at_unix_s(
        std::chrono::duration_cast<std::chrono::seconds>(version.author.at.time_since_epoch())
            .count());
    one.set_who(version.author.who);
    one.set_what(version.author.what);
    for (const ObjectStore::Touched& touched : version.touched) {
      v1::ObjectChange& change = *one.add_changes();
      change.set_verb(!touched.after    ? Change::DELETED
                      : !touched.before ? Change::CREATED
                                        : Change::CHANGED);
      change.set_kind(touched.kind);
      change.set_name(touched.name);
      change.set_version(version.number);
    }
  }
  return response;
}

}  // namespace glia
