// Writes the tables that table.h reads, as TensorFlow's own writer does, byte for byte.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace zood::checkpoint {

// Collects one block. Every `restart_interval` entries a key is written whole, so that a reader can
// start there.
class BlockBuilder {
 public:
  explicit BlockBuilder(int restart_interval) : restart_interval_(restart_interval) {}

  void Add(std::string_view key, std::string_view value);

  // What the block will measure when it is finished.
  std::size_t size() const {
    return bytes_.size() + (restarts_.size() + 1) * sizeof(std::uint32_t);
  }
  bool empty() const { return bytes_.empty(); }

  // The block; the builder is as new afterwards.
  std::string Finish();

 private:
  const int restart_interval_;
  std::string bytes_;
  std::vector<std::uint32_t> restarts_ = {0};
  int since_restart_ = 0;
  std::string last_key_;
};

// A table in memory, uncompressed. Not thread-safe. Add() entries with strictly ascending keys,
// then Finish() once.
class TableBuilder {
 public:
  void Add(std::string_view key, std::string_view value);
  std::string Finish();

 private:
  void FlushBlock();
  // Writes a block with its trailer and returns its handle as the index stores it.
  std::string WriteBlock(std::string block);
  void AddPendingIndexEntry(std::optional<std::string_view> next_key);

  std::string file_;
  BlockBuilder data_{16};
  BlockBuilder index_{1};
  std::string last_key_;
  std::string pending_handle_;  // of the block before, until the first key after it is known
};

}  // namespace zood::checkpoint
