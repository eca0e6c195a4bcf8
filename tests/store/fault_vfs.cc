// SQLite on a FaultDisk: the system's own VFS, with each change counted, failed or remembered.
#include <sqlite3.h>

#include <filesystem>
#include <new>
#include <string>

#include "tests/store/fault_disk.h"

namespace zood::store {
namespace {

FaultDisk* g_disk = nullptr;
sqlite3_vfs g_vfs;
sqlite3_vfs* g_system = nullptr;

struct FaultFile {
  sqlite3_file base;
  std::string* path;  // null for what SQLite keeps nameless
  bool name_synced;
  sqlite3_file* system() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

FaultFile* Cast(sqlite3_file* file) { return reinterpret_cast<FaultFile*>(file); }
sqlite3_file* System(sqlite3_file* file) { return Cast(file)->system(); }

// The code of the fault that this operation suffers, or SQLITE_OK.
int Suffer(int io_error) {
  const auto fault = g_disk->NextOperation();
  if (!fault) return SQLITE_OK;
  return *fault == Fault::kNoSpace ? SQLITE_FULL : io_error;
}

int Close(sqlite3_file* file) {
  const int result = System(file)->pMethods->xClose(System(file));
  delete Cast(file)->path;
  return result;
}

int Read(sqlite3_file* file, void* to, int bytes, sqlite3_int64 offset) {
  return System(file)->pMethods->xRead(System(file), to, bytes, offset);
}

int Write(sqlite3_file* file, const void* from, int bytes, sqlite3_int64 offset) {
  if (const int fault = Suffer(SQLITE_IOERR_WRITE); fault != SQLITE_OK) {
    if (!g_disk->power_just_went()) return fault;
    // Torn: the first half arrived.
    System(file)->pMethods->xWrite(System(file), from, bytes / 2, offset);
    return fault;
  }
  return System(file)->pMethods->xWrite(System(file), from, bytes, offset);
}

int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  if (const int fault = Suffer(SQLITE_IOERR_TRUNCATE); fault != SQLITE_OK) return fault;
  return System(file)->pMethods->xTruncate(System(file), size);
}

int Sync(sqlite3_file* file, int) {
  if (const int fault = Suffer(SQLITE_IOERR_FSYNC); fault != SQLITE_OK) return fault;
  FaultFile* const self = Cast(file);
  g_disk->NoteSynced(*self->path);
  // As unixSync does for a journal that it created.
  if (!self->name_synced) {
    g_disk->NoteDirectorySynced(std::filesystem::path(*self->path).parent_path());
  }
  self->name_synced = true;
  return SQLITE_OK;
}

int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return System(file)->pMethods->xFileSize(System(file), size);
}
int Lock(sqlite3_file* file, int level) {
  return System(file)->pMethods->xLock(System(file), level);
}
int Unlock(sqlite3_file* file, int level) {
  return System(file)->pMethods->xUnlock(System(file), level);
}
int CheckReservedLock(sqlite3_file* file, int* result) {
  return System(file)->pMethods->xCheckReservedLock(System(file), result);
}
int FileControl(sqlite3_file* file, int operation, void* argument) {
  return System(file)->pMethods->xFileControl(System(file), operation, argument);
}
int SectorSize(sqlite3_file* file) { return System(file)->pMethods->xSectorSize(System(file)); }
int DeviceCharacteristics(sqlite3_file* file) {
  return System(file)->pMethods->xDeviceCharacteristics(System(file));
}

constexpr sqlite3_io_methods kMethods = {.iVersion = 1,
                                         .xClose = Close,
                                         .xRead = Read,
                                         .xWrite = Write,
                                         .xTruncate = Truncate,
                                         .xSync = Sync,
                                         .xFileSize = FileSize,
                                         .xLock = Lock,
                                         .xUnlock = Unlock,
                                         .xCheckReservedLock = CheckReservedLock,
                                         .xFileControl = FileControl,
                                         .xSectorSize = SectorSize,
                                         .xDeviceCharacteristics = DeviceCharacteristics};

int Open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  FaultFile* const self = Cast(file);
  self->base.pMethods = nullptr;
  const bool exists = name != nullptr && std::filesystem::exists(name);
  if (!exists) {
    if (const int fault = Suffer(SQLITE_CANTOPEN); fault != SQLITE_OK) return fault;
  }
  const int result = g_system->xOpen(g_system, name, self->system(), flags, out_flags);
  if (result != SQLITE_OK) return result;
  self->path = name != nullptr ? new std::string(name) : nullptr;
  const bool journal = (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL)) != 0;
  self->name_synced = exists || !journal;
  if (name != nullptr) g_disk->NoteCreated(name);
  self->base.pMethods = &kMethods;
  return SQLITE_OK;
}

int Delete(sqlite3_vfs*, const char* name, int sync_directory) {
  if (const int fault = Suffer(SQLITE_IOERR_DELETE); fault != SQLITE_OK) return fault;
  const int result = g_system->xDelete(g_system, name, 0);
  if (result == SQLITE_OK) {
    g_disk->NoteRemoved(name);
    if (sync_directory != 0) {
      g_disk->NoteDirectorySynced(std::filesystem::path(name).parent_path());
    }
  }
  return result;
}

}  // namespace

void RegisterFaultVfs(FaultDisk& disk) {
  g_disk = &disk;
  g_system = sqlite3_vfs_find(nullptr);
  g_vfs = *g_system;  // what does not touch files stays the system's
  g_vfs.zName = disk.vfs_name().c_str();
  g_vfs.szOsFile = static_cast<int>(sizeof(FaultFile)) + g_system->szOsFile;
  g_vfs.pNext = nullptr;
  g_vfs.xOpen = Open;
  g_vfs.xDelete = Delete;
  sqlite3_vfs_register(&g_vfs, 0);
}

void UnregisterFaultVfs() {
  sqlite3_vfs_unregister(&g_vfs);
  g_disk = nullptr;
}

}  // namespace zood::store
