#include "control_plane/serve/resource_map.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "control_plane/serve/node_resources.h"
#include "proxy/base/text.h"

namespace glia {
namespace {

using Contents = std::map<std::string, std::string>;

PackedRef packed(const std::string& content) {
  auto resource = std::make_shared<PackedResource>();
  resource->version = content;
  return resource;
}

Contents contents(const ResourceMap& map) {
  Contents out;
  std::string last;
  for (const auto& [name, resource] : map) {
    EXPECT_LT(last, name) << "in order of names";
    last = name;
    out[name] = resource == nullptr ? "?" : resource->version;
  }
  return out;
}

std::string changes(const ResourceMap& before, const ResourceMap& after) {
  std::string out;
  for (const ResourceMap::Change& change : ResourceMap::changes(before, after)) {
    out += cat(out.empty() ? "" : " ",
               change.before == nullptr  ? "+"
               : change.after == nullptr ? "-"
                                         : "~",
               change.name());
  }
  return out;
}
std::string changes(const Contents& before, const Contents& after) {
  std::map<std::string, char> marks;
  for (const auto& [name, text] : before) marks[name] = '-';
  for (const auto& [name, text] : after) {
    const auto was = before.find(name);
    marks[name] = was == before.end() ? '+' : was->second == text ? '=' : '~';
  }
  std::string out;
  for (const auto& [name, mark] : marks) {
    if (mark != '=') out += cat(out.empty() ? "" : " ", mark, name);
  }
  return out;
}

TEST(ResourceMap, IsAMapWhoseCopiesAreValues) {
  ResourceMap map;
  map.set("b", packed("1"));
  map.set("a", packed("2"));
  const ResourceMap before = map;
  map.set("b", packed("3"));
  map.erase("a");
  map.erase("never there");
  EXPECT_EQ(contents(before), (Contents{{"a", "2"}, {"b", "1"}}));
  EXPECT_EQ(contents(map), (Contents{{"b", "3"}}));
  EXPECT_EQ(changes(before, map), "-a ~b");
  EXPECT_EQ(map.size(), 1u);
  EXPECT_EQ(map.at("b")->version, "3");
  EXPECT_EQ(map.find("a"), nullptr);
}

TEST(ResourceMap, EqualContentIsTheSameHoweverItCameTogether) {
  ResourceMap up, down;
  for (int i = 0; i < 100; ++i) up.set(cat(i), packed(cat("v", i)));
  for (int i = 200; i-- > 0;) down.set(cat(i), packed(cat("v", i)));
  for (int i = 100; i < 200; ++i) down.erase(cat(i));
  EXPECT_TRUE(up.same(down));
  EXPECT_EQ(changes(up, down), "");
  down.set("7", packed("other"));
  EXPECT_FALSE(up.same(down));
  EXPECT_EQ(up.names(), down.names());
  EXPECT_NE(up.content().text(), down.content().text());
}

TEST(ResourceMap, ANameWithoutAResourceIsNotTheSameAsOneWithIt) {
  ResourceMap known, whole;
  known.set("a", nullptr);
  whole.set("a", packed("1"));
  EXPECT_EQ(changes(known, whole), "~a");
  EXPECT_EQ(known.names(), whole.names());
}

TEST(ResourceMap, SaysWhatAMapSays) {
  std::mt19937 random(7);
  std::vector<std::pair<ResourceMap, Contents>> past;
  ResourceMap map;
  Contents expected;
  for (int step = 0; step < 3000; ++step) {
    const std::string name = cat("name-", random() % 150), text = cat(random() % 4);
    if (random() % 3 == 0) {
      map.erase(name);
      expected.erase(name);
    } else {
      map.set(name, packed(text));
      expected[name] = text;
    }
    ASSERT_EQ(map.size(), expected.size());
    ASSERT_EQ(map.contains(name), expected.contains(name));
    if (step % 30 != 0) continue;
    ASSERT_EQ(contents(map), expected);
    past.emplace_back(map, expected);
    const auto& [old, was] = past[random() % past.size()];
    ASSERT_EQ(contents(old), was) << "the past does not change";
    ASSERT_EQ(changes(old, map), changes(was, expected));
  }
}

}  // namespace
}  // namespace glia
