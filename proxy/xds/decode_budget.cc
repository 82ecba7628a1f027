#include "proxy/xds/decode_budget.h"

#include "proxy/base/text.h"
#include "proxy/http/syntax.h"
#include "proxy/net/address.h"
#include "proxy/xds/decode_common.h"

namespace glia {
namespace {

constexpr std::size_t kMostBudgets = 64, kLongestName = 128;

TokenBudget decode_one(const Reader& message) {
  constexpr uint64_t kMostTokens = uint64_t{1} << 40;
  constexpr Duration kShortest = 1s, kLongest = 744h;
  TokenBudget budget;
  budget.name = message.text("name");
  budget.tokens = message.number("tokens", 1, kMostTokens, 1);
  budget.per = message.duration("per", budget.per);
  budget.model = message.text("model");
  budget.tenant = message.text("tenant");
  budget.each_model = message.flag("each_model");
  budget.each_tenant = message.flag("each_tenant");
  const std::string stop = message.choice("stop_streams");
  if (stop == "WHEN_EMPTY") budget.stop = TokenBudget::Stop::kWhenEmpty;
  if (stop == "AT_RESERVATION") budget.stop = TokenBudget::Stop::kAtReservation;
  if (budget.name.empty()) message.fail("name", "is empty; refusals and metrics call it by that");
  if (!message.has("tokens")) message.fail("has no tokens; write how many may be used");
  if (!is_value(budget.name) || budget.name.size() > kLongestName) {
    message.fail("name", cat("has a control character, or more than ", kLongestName, " bytes"));
  }
  if (budget.per < kShortest || budget.per > kLongest) {
    message.fail("per", "is not between 1 s and 744 h");
    budget.per = 60s;
  }
  return budget;
}

// "host:port" with a port that can be connected to, or the path of a UNIX socket.
bool names_a_server(const std::string& address) {
  if (address.starts_with("unix:")) return Address::parse(address).ok();
  const std::size_t colon = address.rfind(':');
  if (colon == address.npos || colon == 0 || !is_value(address)) return false;
  const auto port = parse_decimal(std::string_view(address).substr(colon + 1));
  return port && *port >= 1 && *port <= 65535;
}

std::shared_ptr<const RedisConfig> decode_redis(const Reader& message) {
  constexpr Duration kShortest = 1ms, kLongest = 10s;
  auto redis = std::make_shared<RedisConfig>();
  redis->address = message.text("address");
  if (!names_a_server(redis->address)) {
    message.fail("address", cat("\"", redis->address,
                                "\" is no address of a Redis; write it as redis.example:6379 or "
                                "unix:/run/redis.sock"));
  }
  redis->share = message.text("share");
  if (!is_value(redis->share) || redis->share.size() > kLongestName ||
      redis->share.find_first_of("{}") != std::string::npos) {
    message.fail("share",
                 cat("has a control character, a brace, or more than ", kLongestName, " bytes"));
  }
  redis->username = message.text("username");
  if (const std::string path = message.text("password_file"); !path.empty()) {
    const auto content = read_file(path);
    redis->password = std::string(trim(content.value_or(""), " \t\r\n"));
    if (redis->password.empty()) {
      message.fail("password_file", cat("the file ", path, " cannot be read or has no password"));
    }
  } else if (!redis->username.empty()) {
    message.fail("username", "has no password beside it; set password_file as well");
  }
  redis->timeout = message.duration("timeout", redis->timeout);
  if (redis->timeout < kShortest || redis->timeout > kLongest) {
    message.fail("timeout", "is not between 1 ms and 10 s");
    redis->timeout = 100ms;
  }
  const std::string away = message.choice("when_away");
  if (away == "ALLOW") redis->when_away = RedisConfig::WhenAway::kAllow;
  if (away == "REFUSE") redis->when_away = RedisConfig::WhenAway::kRefuse;
  return redis;
}

}  // namespace

std::shared_ptr<const TokenBudgetsConfig> decode_token_budgets_of_route(const Reader& config) {
  if (config.has("redis")) {
    config.fail("redis",
                "is for listeners; a route's budgets are held where those of its listener are");
  }
  return decode_token_budgets(config);
}

std::shared_ptr<const TokenBudgetsConfig> decode_token_budgets(const Reader& config) {
  auto budgets = std::make_shared<TokenBudgetsConfig>();
  config.each("budgets", [&](const Reader& message, std::size_t index) {
    if (index == kMostBudgets) message.fail(cat("is one more than ", kMostBudgets));
    budgets->budgets.push_back(decode_one(message));
  });
  budgets->usual_output_tokens = static_cast<uint32_t>(
      config.number("usual_output_tokens", budgets->usual_output_tokens, 1'000'000, 1));
  if (config.choice("tenants") == "CALLERS") {
    budgets->tenants = AdmissionConfig::Tenants::kCallers;
  }
  budgets->keep_requests = config.flag("keep_requests");
  budgets->application = config.text("application");
  if (config.has("redis")) budgets->redis = decode_redis(config.message("redis"));
  return budgets;
}

}  // namespace glia
