#include "proxy/admission/redis_ledger.h"

#include <algorithm>
#include <array>
#include <utility>

#include "proxy/base/log.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

// KEYS: buckets. ARGV: tokens; 1 at the door, where they are taken from all buckets or from none, else 0;
// then size and microseconds (`per`) of each bucket. Answers with the number of the bucket that has too few
// (0: none), milliseconds until it has enough, then what is left of each (below zero: owed) and the
// milliseconds until it is full. A full bucket is as good as none: it is removed, or runs out by then.
constexpr std::string_view kScript = R"lua(
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local more, door = tonumber(ARGV[1]), ARGV[2] == '1'
local levels, at, worst, wait = {}, {}, 0, 0
for i, key in ipairs(KEYS) do
  local size, per = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
  local was = redis.call('HMGET', key, 'level', 'at')
  levels[i], at[i] = size, now
  if was[1] and was[2] then
    at[i] = math.max(now, tonumber(was[2]))
    levels[i] = math.min(size, tonumber(was[1]) + (at[i] - tonumber(was[2])) * size / per)
  end
  local missing = math.min(more, size) - levels[i]
  if door and missing > 0 then
    local needs = missing * per / size
    if worst == 0 or needs > wait then worst, wait = i, needs end
  end
end
local answer = {worst, math.ceil(wait / 1000)}
for i, key in ipairs(KEYS) do
  local size, per = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
  local level = levels[i]
  if worst == 0 then level = math.min(size, level - more) end
  local full = math.ceil((size - level) * per / size / 1000)
  if worst == 0 then
    if level >= size then
      redis.call('DEL', key)
    else
      redis.call('HSET', key, 'level', string.format('%.17g', level), 'at', string.format('%.0f', at[i]))
      redis.call('PEXPIRE', key, full + 1000)
    end
  end
  answer[#answer + 1] = math.floor(level)
  answer[#answer + 1] = full
end
return answer
)lua";

Duration ms(int64_t count) { return std::chrono::milliseconds(std::max<int64_t>(0, count)); }

std::optional<RedisLedger::Answer> answer_of(const RespValue& reply) {
  const std::vector<RespValue>& list = reply.list;
  if (list.size() < 4 || list.size() % 2 != 0) return {};
  for (const RespValue& one : list) {
    if (one.kind != RespValue::Kind::kNumber) return {};
  }
  RedisLedger::Answer answer;
  for (std::size_t i = 2; i < list.size(); i += 2) {
    const int64_t left = list[i].number;
    answer.standings.push_back({.left = static_cast<uint64_t>(std::max<int64_t>(0, left)),
                                .full_in = ms(list[i + 1].number),
                                .owes = left < 0});
  }
  const auto refused = static_cast<std::size_t>(std::max<int64_t>(0, list[0].number));
  if (refused > answer.standings.size()) return {};
  if (refused > 0) {
    answer.shortage =
        TokenBook::Shortage{refused - 1, answer.standings[refused - 1].left, ms(list[1].number)};
  }
  return answer;
}

// A stream that must not be destroyed inside its own callback.
struct Gone final : Reapable {
  explicit Gone(std::unique_ptr<Stream> stream) : stream(std::move(stream)) {}
  std::unique_ptr<Stream> stream;
};

}  // namespace

// A task that waits for an answer; if it is destroyed meanwhile, nobody waits any more.
class RedisLedger::Sleeper final : public Asker {
 public:
  explicit Sleeper(RedisLedger& ledger) : ledger_(ledger) {}
  Sleeper(const Sleeper&) = delete;
  ~Sleeper() { ledger_.forget(*this); }
  void on_answer(std::optional<Answer> answer) override {
    answer_ = std::move(answer);
    over_ = true;
    slot_.wake(ledger_.loop_.ready());
  }
  bool over() const { return over_; }
  WaitSlot& slot() { return slot_; }
  std::optional<Answer> take() { return std::move(answer_); }

 private:
  RedisLedger& ledger_;
  std::optional<Answer> answer_;
  bool over_ = false;
  WaitSlot slot_;
};

RedisLedger::RedisLedger(EventLoop& loop, Network& network,
                         std::shared_ptr<const RedisConfig> config, std::string share,
                         std::shared_ptr<const TokenLedger> counts)
    : Timer(loop),
      network_(network),
      config_(std::move(config)),
      // In Redis Cluster, what stands in braces decides where a key lives: all of a share in one place.
      prefix_(cat("glia:{", share, "}:")),
      counts_(std::move(counts)) {}

RedisLedger::~RedisLedger() {
  if (state_ == State::kOpen) write_some();
  for (Words& words : kept_) counts_->leave(share(), std::move(words));
  // What waits for the first connection; those that would take have nobody left who waits.
  for (Question& question : questions_) {
    if (!question.words.empty() && question.undo.empty()) {
      counts_->leave(share(), std::move(question.words));
    }
  }
}

std::string RedisLedger::share() const { return cat(config_->address, " ", prefix_); }

RedisLedger::Words RedisLedger::words_for(std::span<const TokenAccount> accounts, int64_t more,
                                          bool at_the_door) const {
  Words words = {"EVALSHA", "",
                 cat(accounts.size())};  // The script's name is known when it is sent.
  for (const TokenAccount& account : accounts) words.push_back(cat(prefix_, account.key));
  words.push_back(cat(more));
  words.emplace_back(at_the_door ? "1" : "0");
  for (const TokenAccount& account : accounts) {
    words.push_back(cat(account.budget->tokens));
    words.push_back(
        cat(std::chrono::duration_cast<std::chrono::microseconds>(account.budget->per).count()));
  }
  return words;
}

Task<std::optional<RedisLedger::Answer>> RedisLedger::take(std::span<const TokenAccount> accounts,
                                                           uint64_t tokens) {
  const auto more = static_cast<int64_t>(tokens);
  Sleeper sleeper(*this);
  const bool asked = ask({.asker = &sleeper,
                          .words = words_for(accounts, more, true),
                          .undo = words_for(accounts, -more, false)});
  if (!asked) co_return std::nullopt;
  while (!sleeper.over()) co_await wait_in(sleeper.slot());
  co_return sleeper.take();
}

void RedisLedger::charge(std::span<const TokenAccount> accounts, int64_t more, Asker* asker) {
  Words words = words_for(accounts, more, false);
  if (ask({.asker = asker, .words = words})) return;
  keep(std::move(words));
  if (asker != nullptr) asker->on_answer(std::nullopt);
}

void RedisLedger::keep(Words words) {
  if (kept_.size() < kMostKept) kept_.push_back(std::move(words));
}

void RedisLedger::forget(const Asker& asker) {
  for (Question& question : questions_) {
    if (question.asker == &asker) question.asker = nullptr;
  }
}

// False: Redis is away.
bool RedisLedger::ask(Question question) {
  if (state_ == State::kAway && loop_.now() >= again_at_) connect();
  if (state_ == State::kAway || (state_ != State::kOpen && tried_)) return false;
  if (questions_.size() >= kMostQuestions) return false;
  question.until = loop_.now() + config_->timeout;
  questions_.push_back(std::move(question));
  if (state_ == State::kOpen) send(questions_.back());
  if (!running()) start(config_->timeout);
  return true;
}

void RedisLedger::send(Question& question) {
  Words words = std::exchange(question.words, {});
  words[1] = script_;
  out_.append_copy(resp_command(words));
  loop_.mark(*this);
}

void RedisLedger::connect() {
  state_ = State::kConnecting;
  start(config_->timeout);
  if (Result<Address> address = Address::parse(config_->address)) return open(*address);
  resolving_ = resolve();
  resolving_.start();
}

Task<void> RedisLedger::resolve() {
  const std::size_t colon = config_->address.rfind(':');
  const auto port = parse_decimal(std::string_view(config_->address).substr(colon + 1));
  const auto found = co_await network_.resolve(config_->address.substr(0, colon),
                                               static_cast<uint16_t>(port.value_or(0)));
  // The timer may have given up on it.
  if (state_ != State::kConnecting || stream_ != nullptr) co_return;
  if (!found) co_return break_off(found.error().message());
  if (found->empty()) co_return break_off("its name has no address");
  open(found->front());
}

void RedisLedger::open(const Address& address) {
  stream_ = network_.connect(address);
  stream_->watch(*this);
}

void RedisLedger::on_open() {
  state_ = State::kGreeting;
  greet();
}

void RedisLedger::greet() {
  greetings_ = 1;
  if (!config_->password.empty()) {
    Words words = {"AUTH"};
    if (!config_->username.empty()) words.push_back(config_->username);
    words.push_back(config_->password);
    out_.append_copy(resp_command(words));
    ++greetings_;
  }
  const Words load = {"SCRIPT", "LOAD", std::string(kScript)};
  out_.append_copy(resp_command(load));
  loop_.mark(*this);
}

void RedisLedger::take_greeting(const RespValue& reply) {
  if (reply.kind != RespValue::Kind::kText) {
    return break_off(cat("it refuses us: ", std::string_view(reply.text).substr(0, 200)));
  }
  if (--greetings_ > 0) return;
  script_ = reply.text;
  state_ = State::kOpen;
  tried_ = true;
  if (std::exchange(told_, false)) {
    LOG(info, "the Redis at ", config_->address, " answers again; token budgets are shared");
  }
  // Before what waits: it is older.
  std::deque<Question> waiting = std::exchange(questions_, {});
  for (Words& words : counts_->take_untold(share())) {
    questions_.push_back({.words = std::move(words), .until = loop_.now() + config_->timeout});
  }
  for (Words& words : std::exchange(kept_, {})) {
    questions_.push_back({.words = std::move(words), .until = loop_.now() + config_->timeout});
  }
  for (Question& question : waiting) questions_.push_back(std::move(question));
  for (Question& question : questions_) send(question);
  if (!questions_.empty() && !running()) start(config_->timeout);
}

void RedisLedger::take_reply(const RespValue& reply) {
  if (state_ == State::kGreeting) return take_greeting(reply);
  if (state_ != State::kOpen || questions_.empty()) return break_off("it answers unasked");
  std::optional<Answer> answer = answer_of(reply);
  if (!answer) {
    // This one is told with the others.
    return break_off(reply.kind == RespValue::Kind::kError
                         ? cat("it answers ", std::string_view(reply.text).substr(0, 200))
                         : "its answer is not that of our script");
  }
  Question question = std::move(questions_.front());
  questions_.pop_front();
  if (question.asker != nullptr) return question.asker->on_answer(std::move(answer));
  // Who asked has left: nobody would give it back.
  if (!question.undo.empty() && !answer->shortage) ask({.words = std::move(question.undo)});
}

// Redis is away: whoever waits for it is told.
void RedisLedger::break_off(std::string_view why) {
  state_ = State::kAway;
  tried_ = true;
  again_at_ = loop_.now() + kPause;
  stop();
  in_.clear();
  out_.clear();
  if (stream_ != nullptr) loop_.reap(std::make_unique<Gone>(std::move(stream_)));
  counts_->redis_failures().add(1);
  if (!std::exchange(told_, true)) {
    constexpr std::string_view kMeanwhile[] = {"this process' own budgets decide",
                                               "requests are let in",
                                               "requests with budgets are refused"};
    LOG(warning, "the Redis at ", config_->address,
        ", which holds token budgets, cannot be asked: ", why, "; meanwhile ",
        kMeanwhile[static_cast<std::size_t>(config_->when_away)]);
  }
  for (Question& question : std::exchange(questions_, {})) {
    // What was not sent can be sent later; of what was sent nobody knows whether it was done.
    if (!question.words.empty() && question.undo.empty()) keep(std::move(question.words));
    if (question.asker != nullptr) question.asker->on_answer(std::nullopt);
  }
}

void RedisLedger::on_readable() {
  std::array<char, 4096> bytes;
  while (stream_ != nullptr) {
    const IoResult got = stream_->read(bytes);
    if (got.state == IoResult::State::kWait) break;
    if (got.state == IoResult::State::kEnd) return break_off("it closed the connection");
    if (got.state == IoResult::State::kError) return break_off(stream_->error().message());
    in_.push({bytes.data(), got.bytes});
    if (got.bytes < bytes.size()) break;
  }
  while (stream_ != nullptr) {
    const std::optional<RespValue> reply = in_.next();
    if (!reply) break;
    take_reply(*reply);
  }
  if (stream_ != nullptr && in_.broken()) break_off("it does not speak Redis' protocol");
}

void RedisLedger::on_writable() { loop_.mark(*this); }

void RedisLedger::on_broken() {
  if (stream_ != nullptr) break_off(stream_->error().message());
}

// False if the stream broke.
bool RedisLedger::write_some() {
  while (stream_ != nullptr && !out_.empty()) {
    std::array<std::string_view, 16> pieces;
    const std::size_t count = out_.front(pieces);
    const IoResult wrote = stream_->write({pieces.data(), count});
    if (wrote.state == IoResult::State::kWait) return true;
    if (wrote.state != IoResult::State::kDone) return false;
    out_.drop_front(wrote.bytes);
  }
  return true;
}

void RedisLedger::flush() {
  if (!write_some()) break_off(stream_->error().message());
}

void RedisLedger::fire() {
  const auto late = [&](std::string_view what) {
    break_off(cat("no ", what, " within ", to_ms(config_->timeout), " ms"));
  };
  if (state_ == State::kAway) return;
  if (state_ != State::kOpen) return late("connection");
  if (questions_.empty()) return;
  const Duration left = questions_.front().until - loop_.now();
  if (left <= 0s) return late("answer");
  start(left);
}

}  // namespace glia
