#include "engine/training/tape.h"

#include <exception>

#include "base/status.h"

namespace zood::engine {

BufferId Tape::AddPersistent(std::size_t floats) {
  const BufferId id = AddTransient(floats);
  Get(id).persistent = true;
  return id;
}

BufferId Tape::AddTransient(std::size_t floats) {
  buffers_.push_back({.block = {.bytes = RoundUpToAlignment(floats * sizeof(float))}});
  return static_cast<BufferId>(buffers_.size()) - 1;
}

Place Tape::AddPlace(std::size_t rows, std::size_t channels) {
  return {.buffer = AddTransient(rows * channels),
          .rows = rows,
          .channels = channels,
          .stride = channels};
}

std::size_t Tape::SizeOf(BufferId id) const {
  return buffers_[static_cast<std::size_t>(id)].block.bytes / sizeof(float);
}

BufferId Tape::Root(BufferId id) const {
  for (BufferId other = id; other != -1; other = buffers_[static_cast<std::size_t>(id)].shares) {
    id = other;
  }
  return id;
}

void Tape::ShareInPlace() {
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const int now = static_cast<int>(i);
    for (const auto& [from, to] : steps_[i].in_place) {
      Buffer& source = Get(Root(from));
      Buffer& target = Get(to);
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
    for (const BufferId id : steps_[i].touched) Get(id).block.Touch(static_cast<int>(i));
  }
  for (const BufferId id : kept_) {
    Get(id).block.Touch(0);
    Get(id).block.Touch(static_cast<int>(steps_.size()));
  }
  ShareInPlace();
  std::vector<Block> blocks;
  for (const Buffer& buffer : buffers_) {
    if (!buffer.persistent && buffer.shares == -1) blocks.push_back(buffer.block);
  }
  transient_bytes_ = PlaceBlocks(blocks);
  auto placed = blocks.begin();
  for (Buffer& buffer : buffers_) {
    if (buffer.persistent) {
      buffer.block.offset = persistent_bytes_;
      persistent_bytes_ += buffer.block.bytes;
    } else if (buffer.shares == -1) {
      buffer.block.offset = (placed++)->offset;
    }
  }
}

Memory Tape::Locate(std::byte* memory) const {
  std::vector<float*> addresses;
  for (BufferId id = 0; id < static_cast<BufferId>(buffers_.size()); ++id) {
    const Buffer& root = buffers_[static_cast<std::size_t>(Root(id))];
    std::byte* const start = memory + (root.persistent ? 0 : persistent_bytes_);
    addresses.push_back(reinterpret_cast<float*>(start + root.block.offset));
  }
  return Memory(std::move(addresses));
}

absl::StatusOr<std::vector<BoundTrainingStep>> Tape::Bind(const Memory& memory) const {
  std::vector<BoundTrainingStep> bound;
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
