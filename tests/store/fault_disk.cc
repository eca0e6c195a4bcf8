#include "tests/store/fault_disk.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <utility>

#include "base/status.h"
#include "tests/store/store_testing.h"

namespace zood::store {

FaultDisk::FaultDisk() { RegisterFaultVfs(*this); }
FaultDisk::~FaultDisk() { UnregisterFaultVfs(); }

void FaultDisk::FailAt(std::int64_t nth, Fault fault, bool forever) {
  const std::lock_guard lock(mutex_);
  fail_at_ = operations_ + nth;
  fault_ = fault;
  forever_ = forever;
}

std::optional<Fault> FaultDisk::NextOperation() {
  const std::lock_guard lock(mutex_);
  const std::int64_t number = operations_++;
  if (!fail_at_) return std::nullopt;
  const bool fails = forever_ ? number >= *fail_at_ : number == *fail_at_;
  return fails ? std::optional(fault_) : std::nullopt;
}

bool FaultDisk::power_just_went() const {
  const std::lock_guard lock(mutex_);
  return fail_at_ && forever_ && operations_ == *fail_at_ + 1;
}

absl::Status FaultDisk::Attempt() {
  const auto fault = NextOperation();
  if (!fault) return absl::OkStatus();
  if (*fault == Fault::kNoSpace) return ResourceExhausted("planted: no space left");
  return Unavailable("planted: input/output error");
}

void FaultDisk::NoteCreated(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (!live_.contains(path)) live_[path] = std::make_shared<Inode>();
}

void FaultDisk::NoteRemoved(const std::string& path) {
  const std::lock_guard lock(mutex_);
  live_.erase(path);
}

void FaultDisk::NoteSynced(const std::string& path) {
  const std::lock_guard lock(mutex_);
  live_.at(path)->synced = ReadFile(path);
}

void FaultDisk::NoteDirectorySynced(const std::string& directory) {
  const std::lock_guard lock(mutex_);
  const auto inside = [&](const auto& entry) {
    return std::filesystem::path(entry.first).parent_path() == directory;
  };
  std::erase_if(durable_, inside);
  for (const auto& entry : live_) {
    if (inside(entry)) durable_.insert(entry);
  }
}

std::string FaultDisk::Mix(const std::string& synced, const std::string& live,
                           std::mt19937_64& random) {
  constexpr std::size_t kSector = 512;
  std::string mixed = synced;
  mixed.resize(random() % 2 == 0 ? synced.size() : live.size(), '\0');
  for (std::size_t at = 0; at < std::min(mixed.size(), live.size()); at += kSector) {
    const std::size_t length = std::min({kSector, mixed.size() - at, live.size() - at});
    if (random() % 2 == 0) mixed.replace(at, length, live, at, length);
  }
  return mixed;
}

void FaultDisk::LosePower(PowerLoss kind, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  StopFailing();
  std::map<std::shared_ptr<Inode>, std::string> contents;
  std::set<std::string> paths;
  for (const auto& [path, inode] : live_) {
    contents[inode] = ReadFile(path);
    paths.insert(path);
  }
  for (const auto& [path, inode] : durable_) {
    contents.try_emplace(inode, inode->synced);
    paths.insert(path);
  }
  for (auto& [inode, bytes] : contents) {
    if (kind == PowerLoss::kLoseUnsynced) bytes = inode->synced;
    if (kind == PowerLoss::kMix) bytes = Mix(inode->synced, bytes, random);
  }
  Names after;
  for (const std::string& path : paths) {
    const bool live = kind == PowerLoss::kKeepAll || (kind == PowerLoss::kMix && random() % 2 == 0);
    const Names& from = live ? live_ : durable_;
    if (const auto it = from.find(path); it != from.end()) after.insert(*it);
    std::filesystem::remove(path);
  }
  for (const auto& [path, inode] : after) {
    WriteFile(path, contents.at(inode));
    inode->synced = contents.at(inode);
  }
  live_ = durable_ = after;
}

void FaultDisk::Forget() {
  StopFailing();
  live_.clear();
  durable_.clear();
}

absl::StatusOr<std::shared_ptr<const FileContents>> FaultDisk::Open(const std::string& path) {
  ZOOD_RETURN_IF_ERROR(Attempt());
  return Native().Open(path);
}

absl::Status FaultDisk::WriteNew(const std::string& path,
                                 std::span<const std::span<const std::byte>> pieces) {
  std::string bytes;
  for (const auto& piece : pieces) {
    bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  if (std::filesystem::exists(path)) return AlreadyExists("{} exists", path);
  const absl::Status status = Attempt();
  if (status.ok()) {
    WriteFile(path, bytes);
    NoteCreated(path);
    NoteSynced(path);
  } else if (power_just_went()) {  // half of it was written when the power went
    WriteFile(path, bytes.substr(0, bytes.size() / 2));
    NoteCreated(path);
  }
  return status;
}

absl::Status FaultDisk::Rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  ZOOD_RETURN_IF_ERROR(Attempt());
  ZOOD_RETURN_IF_ERROR(Native().Rename(from, to));
  live_[to] = live_.at(from);
  live_.erase(from);
  return absl::OkStatus();
}

absl::Status FaultDisk::SyncDirectory(const std::string& path) {
  ZOOD_RETURN_IF_ERROR(Attempt());
  NoteDirectorySynced(path);
  return absl::OkStatus();
}

absl::Status FaultDisk::Remove(const std::string& path) {
  if (path == ballast_) StopFailing();
  ZOOD_RETURN_IF_ERROR(Attempt());
  NoteRemoved(path);
  return Native().Remove(path);
}

absl::Status FaultDisk::CreateDirectories(const std::string& path) {
  ZOOD_RETURN_IF_ERROR(Attempt());
  return Native().CreateDirectories(path);
}

absl::StatusOr<std::vector<std::string>> FaultDisk::List(const std::string& path) {
  ZOOD_RETURN_IF_ERROR(Attempt());
  return Native().List(path);
}

absl::StatusOr<std::uint64_t> FaultDisk::Size(const std::string& path) {
  ZOOD_RETURN_IF_ERROR(Attempt());
  return Native().Size(path);
}

absl::StatusOr<bool> FaultDisk::Exists(const std::string& path) {
  ZOOD_RETURN_IF_ERROR(Attempt());
  return Native().Exists(path);
}

}  // namespace zood::store
