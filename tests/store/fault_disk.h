// A disk that fails on command and forgets, when the power goes, whatever was not synced.
//
// Files lie in a real directory; beside it the disk remembers what a real one would still have
// after a loss of power: the bytes of each file at its last sync, and the names of each directory
// at its last sync. Both the store's FileSystem and SQLite (through a VFS, fault_vfs.cc) work on
// it, and every operation that either does counts, so that a test can let the n-th fail for every
// n. Thread-safe, but for LosePower() and Forget(), which are called when nobody uses the disk.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>

#include "base/file.h"

namespace zood::store {

enum class Fault { kNoSpace, kIoError };

// What a loss of power leaves: only what was synced; everything (as a killed process does); or
// some of what was not, by sectors and by names.
enum class PowerLoss { kLoseUnsynced, kKeepAll, kMix };

class FaultDisk : public FileSystem {
 public:
  // Registers a VFS of its own; one FaultDisk at a time.
  FaultDisk();
  ~FaultDisk() override;

  const std::string& vfs_name() const { return vfs_name_; }

  // Operation number `nth` (from 0, counted from now) fails; with `forever` all later ones, too.
  void FailAt(std::int64_t nth, Fault fault, bool forever);
  void StopFailing() {
    const std::lock_guard lock(mutex_);
    fail_at_.reset();
    ballast_.clear();
  }
  // What fails does so only while there is a file at `path`, and removing it succeeds.
  void FullUntilRemoved(const std::string& path) { ballast_ = path; }
  std::int64_t operations() const {
    const std::lock_guard lock(mutex_);
    return operations_;
  }
  // An operation has failed since FailAt().
  bool has_failed() const {
    const std::lock_guard lock(mutex_);
    return fail_at_ && operations_ > *fail_at_;
  }

  // Puts every file back to what the disk would have after a loss of power.
  void LosePower(PowerLoss kind, std::uint64_t seed);

  // A disk without files; the caller removes them.
  void Forget();

  // For both users of the disk: the fault that this operation suffers, if any; whether it was in
  // this operation that the power went, so that half of it may be done; and what becomes durable.
  std::optional<Fault> NextOperation();
  bool power_just_went() const;
  void NoteCreated(const std::string& path);
  void NoteRemoved(const std::string& path);
  void NoteSynced(const std::string& path);
  void NoteDirectorySynced(const std::string& directory);

  absl::StatusOr<std::shared_ptr<const FileContents>> Open(const std::string& path) override;
  absl::Status WriteNew(const std::string& path,
                        std::span<const std::span<const std::byte>> pieces) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status CreateDirectories(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  absl::StatusOr<std::uint64_t> Size(const std::string& path) override;
  absl::StatusOr<bool> Exists(const std::string& path) override;

 private:
  struct Inode {
    std::string synced;
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;  // by path

  absl::Status Attempt();
  static std::string Mix(const std::string& synced, const std::string& live,
                         std::mt19937_64& random);

  const std::string vfs_name_ = "zood-fault";
  mutable std::recursive_mutex mutex_;  // of all that follows
  std::int64_t operations_ = 0;
  std::optional<std::int64_t> fail_at_;
  Fault fault_ = Fault::kIoError;
  bool forever_ = false;
  std::string ballast_;
  Names live_, durable_;
};

// fault_vfs.cc
void RegisterFaultVfs(FaultDisk& disk);
void UnregisterFaultVfs();

}  // namespace zood::store
