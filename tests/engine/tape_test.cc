// Where a tape puts its values.
#include "engine/tape/tape.h"

#include <gtest/gtest.h>

#include <vector>

namespace zood::engine {
namespace {

// A step that touches `values` and does nothing.
void AddStep(Tape& tape, std::vector<ValueId> values,
             std::vector<std::pair<ValueId, ValueId>> in_place = {}) {
  tape.Add({.operation = "test",
            .touched = std::move(values),
            .in_place = std::move(in_place),
            .bind = [](const Memory&) -> BoundStep {
              return [](const StepContext&) { return absl::OkStatus(); };
            }});
}

struct Placed {
  explicit Placed(Tape& tape) : block(tape.bytes() + kArenaAlignment), memory({}) {
    tape.Plan();
    block.resize(tape.bytes() + kArenaAlignment);
    memory = tape.Locate(block.data());
  }
  std::ptrdiff_t OffsetOf(ValueId id) const { return memory.At<std::byte>(id) - block.data(); }

  std::vector<std::byte> block;
  Memory memory;
};

ValueType Floats(std::size_t count) { return ValueType::Floats(count); }

TEST(TapeTest, ValuesThatAreNotInUseTogetherShareMemory) {
  Tape tape;
  const ValueId a = tape.AddTransient(Floats(100)), b = tape.AddTransient(Floats(100));
  const ValueId c = tape.AddTransient(Floats(100));
  AddStep(tape, {a, b});
  AddStep(tape, {b, c});
  const Placed placed(tape);
  EXPECT_EQ(placed.OffsetOf(a), placed.OffsetOf(c));
  EXPECT_NE(placed.OffsetOf(a), placed.OffsetOf(b));
  EXPECT_EQ(tape.bytes(), 2 * RoundUpToAlignment(400));
}

TEST(TapeTest, SizesAreThoseOfTheType) {
  Tape tape;
  const std::vector<ValueType> types = {
      {.shape = {2, 3, 5, 7}},
      {.shape = {2, 3, 5, 7}, .dtype = DType::kBFloat16},
      {.shape = {2, 3, 5, 7}, .dtype = DType::kInt8},
      ValueType::Bytes(1000),
  };
  std::size_t expected = 0;
  std::vector<ValueId> values;
  for (const ValueType& type : types) {
    values.push_back(tape.AddTransient(type));
    expected += RoundUpToAlignment(type.bytes());
  }
  EXPECT_EQ(types[0].bytes(), 840u);
  EXPECT_EQ(types[1].bytes(), 420u);
  EXPECT_EQ(types[2].bytes(), 210u);
  EXPECT_EQ(types[3].bytes(), 1000u);
  AddStep(tape, values);
  tape.Plan();
  EXPECT_EQ(tape.bytes(), expected);
}

TEST(TapeTest, AStepWritesOverWhatIsReadNoMore) {
  for (const bool read_later : {false, true}) {
    for (const std::size_t size : {100u, 200u}) {
      SCOPED_TRACE(testing::Message() << read_later << " " << size);
      Tape tape;
      const ValueId a = tape.AddTransient(Floats(100)), b = tape.AddTransient(Floats(size));
      AddStep(tape, {a});
      AddStep(tape, {a, b}, {{a, b}});
      AddStep(tape, read_later ? std::vector<ValueId>{a, b} : std::vector<ValueId>{b});
      const Placed placed(tape);
      EXPECT_EQ(placed.OffsetOf(a) == placed.OffsetOf(b), !read_later && size == 100);
    }
  }
}

TEST(TapeTest, AChainOfSumsStaysInOnePlace) {
  Tape tape;
  std::vector<ValueId> chain = {tape.AddTransient(Floats(64))};
  AddStep(tape, {chain[0]});
  for (int i = 0; i < 4; ++i) {
    chain.push_back(tape.AddTransient(Floats(64)));
    AddStep(tape, {chain[chain.size() - 2], chain.back()},
            {{chain[chain.size() - 2], chain.back()}});
  }
  const Placed placed(tape);
  EXPECT_EQ(tape.bytes(), 256u);
  for (const ValueId id : chain) EXPECT_EQ(placed.OffsetOf(id), placed.OffsetOf(chain[0]));
}

TEST(TapeTest, WhatTheCallerWritesAndReadsIsKept) {
  Tape tape;
  const ValueId input = tape.AddTransient(Floats(16)), early = tape.AddTransient(Floats(16));
  const ValueId result = tape.AddTransient(Floats(16)), late = tape.AddTransient(Floats(16));
  AddStep(tape, {early});
  AddStep(tape, {input, result});
  AddStep(tape, {late});
  tape.KeepBefore(input);
  tape.KeepAfter(result);
  const Placed placed(tape);
  EXPECT_NE(placed.OffsetOf(input), placed.OffsetOf(early));
  EXPECT_NE(placed.OffsetOf(result), placed.OffsetOf(late));
}

TEST(TapeTest, PersistentValuesShareNothing) {
  Tape tape;
  const ValueId a = tape.AddPersistent(Floats(16)), b = tape.AddPersistent(Floats(16));
  const ValueId c = tape.AddTransient(Floats(16));
  AddStep(tape, {a});
  AddStep(tape, {b}, {{a, b}});
  AddStep(tape, {c}, {{b, c}});
  const Placed placed(tape);
  EXPECT_EQ(tape.bytes(), 3 * 64u);
  EXPECT_NE(placed.OffsetOf(a), placed.OffsetOf(b));
  EXPECT_NE(placed.OffsetOf(b), placed.OffsetOf(c));
}

TEST(PlaceTest, PartsOfRows) {
  const Place whole = Place::Whole(3, {.shape = {2, 4, 5, 6}, .dtype = DType::kBFloat16});
  EXPECT_EQ(whole.rows, 40u);
  EXPECT_EQ(whole.stride, 12u);
  EXPECT_TRUE(whole.is_dense());
  const Place part = whole.Channels(2, 3).Channels(1, 2);
  EXPECT_EQ(part.offset, 6u);
  EXPECT_EQ(part.channels, 2u);
  EXPECT_EQ(part.stride, 12u);
  EXPECT_FALSE(part.is_dense());
  const Place flat = whole.InRowsOf(120);
  EXPECT_EQ(flat.rows, 2u);
  EXPECT_TRUE(flat.is_dense());
  EXPECT_EQ(flat.elements(), whole.elements());
}

}  // namespace
}  // namespace zood::engine
