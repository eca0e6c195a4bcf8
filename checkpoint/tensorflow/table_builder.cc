#include "checkpoint/tensorflow/table_builder.h"

#include <algorithm>
#include <utility>

#include "base/checksum.h"
#include "base/wire_writer.h"
#include "checkpoint/tensorflow/table.h"

namespace zood::checkpoint {
namespace {

constexpr std::size_t kBlockSize = 262144;  // TensorFlow's

std::size_t SharedPrefix(std::string_view a, std::string_view b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

bool IncrementByte(std::string& key, std::size_t at) {
  if (static_cast<unsigned char>(key[at]) == 0xff) return false;
  key[at] = static_cast<char>(static_cast<unsigned char>(key[at]) + 1);
  key.resize(at + 1);
  return true;
}

// A short key that is not less than `start` and less than `limit`, as LevelDB chooses it.
std::string Separator(std::string start, std::string_view limit) {
  const std::size_t shared = SharedPrefix(start, limit);
  if (shared == start.size() || shared == limit.size()) return start;  // one begins the other
  const auto low = static_cast<unsigned char>(start[shared]);
  const auto high = static_cast<unsigned char>(limit[shared]);
  if (low + 1 < high) IncrementByte(start, shared);
  return start;
}

// A short key that is not less than `key`.
std::string Successor(std::string key) {
  for (std::size_t i = 0; i < key.size(); ++i) {
    if (IncrementByte(key, i)) return key;
  }
  return key;
}

}  // namespace

void BlockBuilder::Add(std::string_view key, std::string_view value) {
  std::size_t shared = 0;
  if (since_restart_ < restart_interval_) {
    shared = SharedPrefix(last_key_, key);
  } else {
    restarts_.push_back(static_cast<std::uint32_t>(bytes_.size()));
    since_restart_ = 0;
  }
  AppendVarint(bytes_, shared);
  AppendVarint(bytes_, key.size() - shared);
  AppendVarint(bytes_, value.size());
  bytes_ += key.substr(shared);
  bytes_ += value;
  last_key_ = key;
  ++since_restart_;
}

std::string BlockBuilder::Finish() {
  std::string block = std::exchange(bytes_, {});
  for (const std::uint32_t restart : restarts_) AppendFixed32(block, restart);
  AppendFixed32(block, static_cast<std::uint32_t>(restarts_.size()));
  restarts_ = {0};
  since_restart_ = 0;
  last_key_.clear();
  return block;
}

void TableBuilder::Add(std::string_view key, std::string_view value) {
  AddPendingIndexEntry(key);
  data_.Add(key, value);
  last_key_ = key;
  if (data_.size() >= kBlockSize) FlushBlock();
}

void TableBuilder::FlushBlock() {
  if (!data_.empty()) pending_handle_ = WriteBlock(data_.Finish());
}

std::string TableBuilder::WriteBlock(std::string block) {
  std::string handle;
  AppendVarint(handle, file_.size());
  AppendVarint(handle, block.size());
  block += '\0';  // uncompressed
  AppendFixed32(block, MaskCrc32c(Crc32c(AsBytes(block))));
  file_ += block;
  return handle;
}

void TableBuilder::AddPendingIndexEntry(std::optional<std::string_view> next_key) {
  if (pending_handle_.empty()) return;
  index_.Add(next_key ? Separator(last_key_, *next_key) : Successor(last_key_), pending_handle_);
  pending_handle_.clear();
}

std::string TableBuilder::Finish() {
  FlushBlock();
  std::string footer = WriteBlock(BlockBuilder(1).Finish());  // the meta index: nothing
  AddPendingIndexEntry(std::nullopt);
  footer += WriteBlock(index_.Finish());
  footer.resize(kTableFooterSize - sizeof(kTableMagic), '\0');
  file_ += footer;
  file_ += AsText(std::as_bytes(std::span(&kTableMagic, 1)));
  return std::move(file_);
}

}  // namespace zood::checkpoint
