// Editions of a task are told apart by what their items say.
#include "text/task_content.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

namespace eyrie::text {
namespace {

TEST(TaskContent, FollowsEveryTextAndNotTheOrder) {
  TaskItem one;
  one.question = "Why?";
  one.choices = {"a", "b"};
  one.gold = 1;
  one.prompt = "Question: Why?\nAnswer:";
  one.targets = {"a", "b"};
  TaskItem two = one;
  two.question = "How?";
  const std::string content = content_of({one, two});
  EXPECT_EQ(content.size(), 16u);
  EXPECT_EQ(content_of({two, one}), content);
  EXPECT_NE(content_of(std::vector<TaskItem>{one}), content);
  EXPECT_NE(content_of({one, two, two}), content);
  TaskItem moved = two;
  moved.index = 17;
  moved.split = "test";
  EXPECT_EQ(content_of({one, moved}), content);
  std::set<std::string> all = {content};
  const std::vector<std::function<void(TaskItem&)>> changes = {[](TaskItem& item) { item.question += " "; },
                                                               [](TaskItem& item) { item.choices[0] = "c"; },
                                                               [](TaskItem& item) { item.choices = {"ab"}; },
                                                               [](TaskItem& item) { item.gold = 0; },
                                                               [](TaskItem& item) { item.prompt = "Why?"; },
                                                               [](TaskItem& item) { item.prompts = {"p", "q"}; },
                                                               [](TaskItem& item) { item.targets = {"A", "B"}; }};
  for (const auto& change : changes) {
    TaskItem other = two;
    change(other);
    EXPECT_TRUE(all.insert(content_of({one, other})).second);
  }
}

}  // namespace
}  // namespace eyrie::text
