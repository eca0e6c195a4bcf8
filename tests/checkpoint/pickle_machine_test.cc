#include "checkpoint/pytorch/pickle_machine.h"

#include <gtest/gtest.h>

#include <array>

#include "base/checksum.h"
#include "tests/support/status_testing.h"

namespace zood::checkpoint {
namespace {

using Kind = PickleValue::Kind;
using namespace std::string_view_literals;

constexpr std::array kAllowed = {"collections.OrderedDict"sv, "torch.Size"sv};

absl::StatusOr<PickleDocument> Read(std::string_view pickle, std::uint64_t memory = 1 << 20) {
  Budget budget(memory);
  return Unpickle(AsBytes(pickle), kAllowed, budget);
}

TEST(PickleMachineTest, ReadsNumbers) {
  ASSERT_OK_AND_ASSIGN(
      const auto document,
      Read("\x80\x02(K\xffM\xff\xffJ\xff\xff\xff\xff\x8a\x00\x8a\x02\x00\x80\x88\x89t."sv));
  const PickleValue& tuple = document[document.root];
  ASSERT_EQ(tuple.kind, Kind::kTuple);
  std::vector<std::int64_t> numbers;
  for (const PickleRef item : tuple.items) numbers.push_back(document[item].integer);
  EXPECT_EQ(numbers, (std::vector<std::int64_t>{255, 65535, -1, 0, -32768, 1, 0}));
}

TEST(PickleMachineTest, KeepsWhatGoesBeyond64BitsAsItIs) {
  ASSERT_OK_AND_ASSIGN(const auto document,
                       Read("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."sv));
  EXPECT_EQ(document[document.root].kind, Kind::kLong);
  EXPECT_EQ(document[document.root].text, "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");
}

TEST(PickleMachineTest, StopsAtTheEndOfThePickle) {
  ASSERT_OK_AND_ASSIGN(const auto document, Read("\x80\x02N.and more"sv));
  EXPECT_EQ(document.size, 4u);
}

// OrderedDict() with an entry, then its _metadata, which is dropped.
TEST(PickleMachineTest, NotesCallsAndMakesNone) {
  ASSERT_OK_AND_ASSIGN(const auto document,
                       Read("\x80\x02"
                            "ccollections\nOrderedDict\n)Rq\x00(U\x01kK\x05u}b."sv));
  const PickleValue& call = document[document.root];
  ASSERT_EQ(call.kind, Kind::kCall);
  ASSERT_EQ(call.items.size(), 4u);
  EXPECT_EQ(document[call.items[0]].text, "collections.OrderedDict");
  EXPECT_EQ(document[call.items[1]].kind, Kind::kTuple);
  EXPECT_EQ(document[call.items[2]].text, "k");
  EXPECT_EQ(document[call.items[3]].integer, 5);
}

TEST(PickleMachineTest, RefersToTheMemo) {
  const auto document = Read(
      "\x80\x04]\x94h\x00"
      "a."sv);  // a list that holds itself
  ASSERT_TRUE(document.ok()) << document.status();
  const PickleValue& list = (*document)[document->root];
  ASSERT_EQ(list.items.size(), 1u);
  EXPECT_EQ(list.items[0], document->root);
}

TEST(PickleMachineTest, RefusesNamesBeforeTheyAreUsed) {
  for (const std::string_view pickle :
       {"\x80\x02"
        "cos\nsystem\n"sv,
        "\x80\x04\x8c\x02os\x8c\x06system\x93"sv, "\x80\x02(ios\nsystem\n"sv}) {
    const auto document = Read(pickle);  // cut short right after the name
    EXPECT_EQ(document.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(document.status().message().find("refused: the pickle names os.system"),
              std::string::npos)
        << document.status();
  }
}

TEST(PickleMachineTest, TakesNamesWholeOnly) {
  const auto index_of = [](std::string_view name) {
    const auto document = Read(
        "\x80\x02"
        "c" +
        std::string(name) + ".");
    EXPECT_TRUE(document.ok()) << document.status();
    return (*document)[document->root].integer;
  };
  EXPECT_EQ(index_of("torch\nSize\n"), 1);
  for (const std::string_view other :
       {"torch\nSiz\n", "torch\nSizes\n", "\ntorch.Size\n", "torch.Size\n\n"}) {
    EXPECT_EQ(index_of(other), PickleValue::kUnknownName) << other;
  }
}

// Names that are not known stand for objects of which nothing is made.
TEST(PickleMachineTest, NotesUnknownNames) {
  for (const std::string_view pickle :
       {"\x80\x02"
        "cmy.code\nThing\n)R."sv,
        "\x80\x04\x8c\x07my.code\x8c\x05Thing\x93)R."sv, "\x80\x02(imy.code\nThing\n."sv,
        "\x80\x04"
        "cmy.code\nThing\n)}\x92."sv}) {
    ASSERT_OK_AND_ASSIGN(const auto document, Read(pickle));
    EXPECT_EQ(document[document.root].kind, Kind::kCall);
    EXPECT_EQ(document.NameOf(document.root), "my.code.Thing");
  }
}

// One byte of pickle is one value of some seventy bytes; the budget is what ends it.
TEST(PickleMachineTest, StaysWithinItsBudget) {
  const std::string pickle = "\x80\x02(" + std::string(100'000, 'N') + "t.";
  const auto document = Read(pickle);
  EXPECT_EQ(document.status().code(), absl::StatusCode::kResourceExhausted) << document.status();
  EXPECT_TRUE(Read(pickle, 100 << 20).ok());
}

}  // namespace
}  // namespace zood::checkpoint
