// How a change becomes what all sidecars have: tried out by a few, then for all, or for nobody.
#include <algorithm>
#include <utility>

#include "control_plane/serve/ads_stream.h"
#include "control_plane/serve/control_plane.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

// The newest of each source.
void add(const SourceEdit& edit, SourceEdit& all) {
  const auto forget = [&all](const std::string& name) {
    std::erase_if(all.read, [&](const ReadingRef& reading) { return reading->name == name; });
    std::erase(all.gone, name);
  };
  for (const ReadingRef& reading : edit.read) {
    forget(reading->name);
    all.read.push_back(reading);
  }
  for (const std::string& name : edit.gone) {
    forget(name);
    all.gone.push_back(name);
  }
  if (edit.unreadable) all.unreadable = edit.unreadable;
}

std::string some_of(const std::set<std::string>& names) {
  constexpr std::size_t kShown = 3;
  std::string text;
  std::size_t shown = 0;
  for (const std::string& name : names) {
    if (shown == kShown) return text + ", ...";
    text += cat(shown++ == 0 ? "" : ", ", name);
  }
  return text;
}

// Where a cluster says who is there: pods and endpoints. It says each once, so nobody would say it again if
// it were taken back; and endpoints cannot wait until somebody was heard.
bool says_who_is_there(const Reading& reading) {
  return reading.mistakes == MistakesOf::kThisSource && reading.whole() &&
         std::ranges::all_of(reading.objects, [](const auto& object) {
           return object.first.starts_with("Workload ") ||
                  object.first.starts_with("EndpointSlice ");
         });
}

}  // namespace

ControlPlane::Change ControlPlane::change_of(const SourceEdit& edit) {
  Change change;
  for (const ReadingRef& reading : edit.read) change.sources.insert(reading->name);
  change.sources.insert(edit.gone.begin(), edit.gone.end());
  change.what = some_of(change.sources);
  return change;
}

void ControlPlane::apply(LoadReport report) {
  if (trial_) {
    waiting_.report = std::move(report);
    return;
  }
  applied(mesh_.apply(std::move(report)), {.sources = {}, .what = "the mesh", .whole = true});
}

void ControlPlane::apply(const SourceEdit& edit) {
  if (trial_) {
    if (!waiting_.edit) waiting_.edit.emplace();
    add(edit, *waiting_.edit);
    return;
  }
  SourceEdit untried, rest{.read = {}, .gone = {}, .unreadable = edit.unreadable};
  for (const ReadingRef& reading : edit.read) {
    (says_who_is_there(*reading) ? untried : rest).read.push_back(reading);
  }
  // Likewise of what a cluster does not have any more.
  for (const std::string& name : edit.gone) {
    (mesh_.stands_alone(name) ? untried : rest).gone.push_back(name);
  }
  const bool any = !untried.read.empty() || !untried.gone.empty();
  if (any) apply_untried(untried);
  if (any && rest.read.empty() && rest.gone.empty() && !rest.unreadable) return;
  applied(mesh_.apply(rest), change_of(rest));
}

void ControlPlane::apply_untried(const SourceEdit& edit) {
  const MeshState::Edit outcome = mesh_.apply(edit);
  tell_mistakes();
  if (outcome != MeshState::Edit::kTaken) return;
  tell_objects();
  put_in_force();
}

void ControlPlane::apply(const SourceEdit& edit, std::string what, Decided decided) {
  CHECK(!trial_);
  applied(mesh_.apply(edit),
          {.sources = {}, .what = std::move(what), .decided = std::move(decided)});
}

bool ControlPlane::when_decided(std::function<void()> work) {
  if (waiting_.work.size() >= kMostWaiting) return false;
  waiting_.work.push_back(std::move(work));
  do_what_waits();
  return true;
}

void ControlPlane::applied(MeshState::Edit edit, Change change) {
  tell_mistakes();
  // Of people's changes the newest counts, of files what they say now.
  const auto again = [&](const std::string& source) { return change.sources.contains(source); };
  if (stopped_ && (change.whole || stopped_->sources.empty() ||
                   std::ranges::any_of(stopped_->sources, again))) {
    stopped_.reset();
  }
  change_ = std::move(change);
  switch (edit) {
    case MeshState::Edit::kUnchanged: return decide({});
    case MeshState::Edit::kRefused:
      LOG(error, "the edit is not used; configuration ", in_force_, " stays in force:");
      for (const std::string& error : mesh_.errors()) LOG(error, error);
      return decide(mesh_.errors());
    case MeshState::Edit::kTaken: break;
  }
  tell_objects();
  try_out();
}

// Each once: where objects come one by one, most edits leave those of the others as they were.
void ControlPlane::tell_mistakes() {
  if (told_warnings_.size() > kMaxProblemsHeld) told_warnings_.clear();
  for (const std::string& warning : mesh_.warnings()) {
    if (told_warnings_.insert(warning).second) LOG(warning, warning);
  }
  for (const auto& [source, why] : mesh_.set_aside()) {
    const auto told = told_aside_.find(source);
    if (told != told_aside_.end() && told->second == why) continue;
    LOG(error, source, " is not in force as it is now: ", why);
  }
  told_aside_ = mesh_.set_aside();
}

// Whoever hears of them may say at once how far canaries are; that goes with the objects.
void ControlPlane::tell_objects() {
  telling_ = true;
  if (objects_taken_) objects_taken_(objects());
  telling_ = false;
}

void ControlPlane::try_out() {
  std::vector<AdsStream*> told;
  trial_.emplace(loop_.now());
  for (auto& [key, sidecar] : sidecars_) {
    if (trial_->full()) break;
    const Workload* workload = objects().workload(key);
    if (workload == nullptr || sidecar.heard_again > loop_.now()) continue;
    if (!trial_->wants(workload->metadata.ns, sidecar.spiffe_id)) continue;
    if (!offer(key, sidecar, told)) continue;
    trial_->add({.workload = key, .ns = workload->metadata.ns, .identity = sidecar.spiffe_id});
  }
  if (!trial_->voters().empty()) {
    LOG(info, "configuration ", objects().version, " is tried out by ", trial_->voters().size(),
        trial_->voters().size() == 1 ? " sidecar" : " sidecars");
    trial_timer_.start(Trial::kWait);
  }
  for (AdsStream* stream : told) stream->transport_.changed();
  if (trial_->voters().empty()) pass();
}

// Who refuses what it was sent before, or has not come so far, has no say. Has it something to say?
bool ControlPlane::offer(std::string_view workload, Sidecar& sidecar,
                         std::vector<AdsStream*>& told) {
  const TimePoint now = loop_.now();
  for (const AdsStream* stream : sidecar.streams) {
    if (stream->over_ || !stream->session_->can_judge()) return false;
    if (!stream->check_identity(*objects().workload(workload))) return false;
  }
  bool asked = false;
  for (AdsStream* stream : sidecar.streams) {
    if (!stream->retarget()) continue;
    told.push_back(stream);
    asked = asked || stream->session_->word(now) != Trial::Word::kAccepted;
  }
  return asked;
}

void ControlPlane::take_word(Trial::Voter& voter) const {
  const auto found = sidecars_.find(voter.workload);
  if (voter.word == Trial::Word::kRefused || found == sidecars_.end()) return;
  const std::vector<AdsStream*>& streams = found->second.streams;
  const auto word = [this](const AdsStream* stream) { return stream->session_->word(loop_.now()); };
  const bool accepted = !streams.empty() && std::ranges::all_of(streams, [&](auto* stream) {
    return word(stream) == Trial::Word::kAccepted;
  });
  voter.word = accepted ? Trial::Word::kAccepted : Trial::Word::kNothing;
  for (const AdsStream* stream : streams) {
    if (word(stream) != Trial::Word::kRefused) continue;
    voter.word = Trial::Word::kRefused;
    for (const AdsSession::KindStatus& kind : stream->session_->status()) {
      if (kind.refusal.empty()) continue;
      voter.sentence = cat("the sidecar of ", voter.workload, " refuses ", name_of(kind.type), " ",
                           kind.sent_version, ": ", kind.refusal);
    }
  }
}

// The end of a trial tells transports, which must not happen inside of their own calls.
void ControlPlane::hear_soon() {
  if (!trial_ || std::exchange(words_came_, true)) return;
  trial_timer_.start(Duration::zero());
}

void ControlPlane::hear_trial() {
  words_came_ = false;
  if (!trial_) return;
  for (Trial::Voter& voter : trial_->voters()) take_word(voter);
  const TimePoint now = loop_.now();
  switch (trial_->outcome(now)) {
    case Trial::Outcome::kOpen: return trial_timer_.start(trial_->ends() - now);
    case Trial::Outcome::kPassed: return pass();
    case Trial::Outcome::kStopped: return stop();
  }
}

void ControlPlane::end_trial() {
  trial_.reset();
  trial_timer_.stop();
  words_came_ = false;
}

// For all.
void ControlPlane::pass() {
  for (const Trial::Voter& voter : trial_->voters()) {
    if (voter.word == Trial::Word::kRefused) {
      LOG(warning, "configuration ", objects().version,
          " goes on, others accept it: ", voter.sentence);
    }
    const auto found = sidecars_.find(voter.workload);
    if (voter.word != Trial::Word::kNothing || found == sidecars_.end()) continue;
    if (loop_.now() < trial_->ends()) continue;  // Others were enough.
    LOG(warning, "the sidecar of ", voter.workload, " did not answer in time");
    found->second.heard_again = loop_.now() + Trial::kLatePause;
  }
  end_trial();
  put_in_force();
  decide({});
}

void ControlPlane::put_in_force() {
  mesh_.keep();
  in_force_ = objects().version;
  LOG(info, "configuration ", in_force_, " is in force (", objects().size(), " objects)");
  std::erase_if(sidecars_, [this](const auto& entry) {
    return entry.second.streams.empty() && objects().workload(entry.first) == nullptr;
  });
  push();
}

// For nobody.
void ControlPlane::stop() {
  LOG(error, "configuration ", objects().version, " is taken back, ", in_force_,
      " stays in force:");
  std::vector<std::string> refusals, sentences;
  for (const Trial::Voter& voter : trial_->voters()) {
    if (voter.word != Trial::Word::kRefused) continue;
    refusals.push_back(voter.sentence);
    sentences.push_back(cat(change_.what, ": taken back, ", voter.sentence));
    LOG(error, sentences.back());
    const auto found = sidecars_.find(voter.workload);
    if (found == sidecars_.end()) continue;
    for (AdsStream* stream : found->second.streams) stream->session_->remind();
  }
  // People are told; a file waits until somebody looks.
  const bool file_waits = stopped_ && !stopped_->sources.empty() && change_.decided;
  if (!file_waits) {
    stopped_ = {.sources = change_.sources, .sentences = std::move(sentences)};
  }
  end_trial();
  mesh_.take_back();
  tell_objects();
  push();
  decide(refusals);
}

void ControlPlane::decide(const std::vector<std::string>& refusals) {
  const Decided decided = std::exchange(change_, {}).decided;
  if (decided) decided(refusals);
  do_what_waits();
}

void ControlPlane::do_what_waits() {
  if (doing_what_waits_) return;
  doing_what_waits_ = true;
  while (!trial_) {
    // However fast edits come, after each one somebody who waits has his turn.
    const bool turn_of_work = edit_had_its_turn_ && !waiting_.work.empty();
    edit_had_its_turn_ = false;
    if (auto splits = std::exchange(waiting_.splits, {})) {
      split(*splits);
    } else if (waiting_.report && !turn_of_work) {
      edit_had_its_turn_ = true;
      apply(*std::exchange(waiting_.report, {}));
    } else if (waiting_.edit && !turn_of_work) {
      edit_had_its_turn_ = true;
      apply(*std::exchange(waiting_.edit, {}));
    } else if (!waiting_.work.empty()) {
      const std::function<void()> work = std::move(waiting_.work.front());
      waiting_.work.pop_front();
      work();
    } else {
      break;
    }
  }
  doing_what_waits_ = false;
}

}  // namespace glia
