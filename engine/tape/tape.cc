#include "engine/tape/tape.h"

#include <exception>

#include "base/status.h"

namespace zood::engine {

ValueId Tape::AddPersistent(ValueType type) {
  const ValueId id = AddTransient(std::move(type));
  Get(id).persistent = true;
  return id;
}

ValueId Tape::AddTransient(ValueType type) {
  const Block block{.bytes = RoundUpToAlignment(type.bytes())};
  values_.push_back({.type = std::move(type), .block = block});
  return static_cast<ValueId>(values_.size()) - 1;
}

Place Tape::AddPlace(ValueType type) {
  const ValueId id = AddTransient(std::move(type));
  return Place::Whole(id, TypeOf(id));
}

ValueId Tape::Root(ValueId id) const {
  for (ValueId other = id; other != -1; other = values_[Index(id)].shares) id = other;
  return id;
}

void Tape::ShareInPlace() {
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const int now = static_cast<int>(i);
    for (const auto& [from, to] : steps_[i].in_place) {
      Value& source = Get(Root(from));
      Value& target = Get(to);
      if (source.persistent || target.persistent || source.block.last != now ||
          target.block.first != now || source.block.bytes != target.block.bytes) {
        continue;
      }
      source.block.last = target.block.last;
      target.shares = Root(from);
    }
  }
}

void Tape::Plan() {
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    for (const ValueId id : steps_[i].touched) Get(id).block.Touch(static_cast<int>(i));
  }
  for (const ValueId id : written_before_) Get(id).block.Touch(0);
  for (const ValueId id : read_after_) Get(id).block.Touch(static_cast<int>(steps_.size()));
  ShareInPlace();
  std::vector<Block> blocks;
  for (const Value& value : values_) {
    if (!value.persistent && value.shares == -1) blocks.push_back(value.block);
  }
  transient_bytes_ = PlaceBlocks(blocks);
  auto placed = blocks.begin();
  for (Value& value : values_) {
    if (value.persistent) {
      value.block.offset = persistent_bytes_;
      persistent_bytes_ += value.block.bytes;
    } else if (value.shares == -1) {
      value.block.offset = (placed++)->offset;
    }
  }
}

Memory Tape::Locate(std::byte* memory) const {
  std::vector<std::byte*> addresses;
  for (ValueId id = 0; id < static_cast<ValueId>(values_.size()); ++id) {
    const Value& root = values_[Index(Root(id))];
    addresses.push_back(memory + (root.persistent ? 0 : persistent_bytes_) + root.block.offset);
  }
  return Memory(std::move(addresses));
}

absl::StatusOr<std::vector<BoundStep>> Tape::Bind(const Memory& memory) const {
  std::vector<BoundStep> bound;
  bound.reserve(steps_.size());
  for (const TapeStep& step : steps_) {
    try {
      bound.push_back(step.bind(memory));
    } catch (const std::exception& error) {
      return Internal("node {}: oneDNN refused {}: {}", step.node, step.operation, error.what());
    }
  }
  return bound;
}

}  // namespace zood::engine
