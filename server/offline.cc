#include "server/offline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/file.h"
#include "base/status.h"
#include "checkpoint/reader.h"
#include "serving/memory_budget.h"
#include "store/store.h"

namespace zood::server {
namespace {

absl::StatusOr<std::unique_ptr<store::Store>> OpenStore(const std::string& data_dir) {
  return store::Store::Open(FileSystem::Native(), data_dir + "/store", {.create = false});
}

}  // namespace

absl::Status Inspect(const std::string& path) {
  ZOOD_ASSIGN_OR_RETURN(const auto reader, checkpoint::Open(FileSystem::Native(), path));
  std::size_t width = 0;
  for (const auto& variable : reader->variables()) width = std::max(width, variable.name.size());
  std::int64_t elements = 0;
  for (const checkpoint::VariableInfo& variable : reader->variables()) {
    fmt::print("{:<{}}  {:<8}  {}\n", variable.name, width, Name(variable.dtype),
               variable.shape.ToString());
    elements += variable.shape.num_elements();
  }
  for (const checkpoint::UnreadEntry& entry : reader->unread()) {
    fmt::print("not read: {}: {}\n", entry.name, entry.reason);
  }
  fmt::print("{}: {} variables, {} elements\n", checkpoint::Name(reader->format()),
             reader->variables().size(), elements);
  return absl::OkStatus();
}

absl::Status Fsck(const std::string& data_dir, bool verify_digests) {
  ZOOD_ASSIGN_OR_RETURN(const store::FsckReport report,
                        store::CheckStore(FileSystem::Native(), data_dir + "/store",
                                          {.verify_digests = verify_digests}));
  for (const std::string& sentence : report.damage) fmt::print("damage: {}\n", sentence);
  for (const std::string& sentence : report.garbage) fmt::print("garbage: {}\n", sentence);
  fmt::print("{} versions, {} datasets, {} tensors, {} packs, {}: {}\n", report.versions,
             report.datasets, report.tensors, report.packs, serving::FormatBytes(report.bytes),
             report.clean() ? "clean" : "damaged");
  if (report.clean()) return absl::OkStatus();
  return FailedPrecondition("the store is damaged in {} places", report.damage.size());
}

absl::Status Gc(const std::string& data_dir) {
  ZOOD_ASSIGN_OR_RETURN(const auto store, OpenStore(data_dir));
  ZOOD_ASSIGN_OR_RETURN(const store::GcReport report, store->Gc());
  fmt::print("{} freed: {} tensors forgotten, {} packs removed, {} of them rewritten\n",
             serving::FormatBytes(report.bytes_freed), report.tensors_forgotten,
             report.packs_removed, report.packs_rewritten);
  return absl::OkStatus();
}

}  // namespace zood::server
