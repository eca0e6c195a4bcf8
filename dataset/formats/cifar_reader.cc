// CIFAR-10's binary files (Krizhevsky, 2009): records of a label and 32 x 32 pixels, first all red,
// then all green, then all blue.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "dataset/formats/readers.h"

namespace zood::dataset {
namespace {

constexpr std::size_t kSide = 32;
constexpr std::size_t kPlane = kSide * kSide;
constexpr std::size_t kRecord = 1 + 3 * kPlane;
constexpr int kClasses = 10;

// From planes to pixels.
void Interleave(std::span<const std::byte> planes, std::byte* pixels) {
  for (std::size_t i = 0; i < kPlane; ++i) {
    for (std::size_t c = 0; c < 3; ++c) *pixels++ = planes[c * kPlane + i];
  }
}

absl::Status ReadBatch(const std::string& name, const FileBytes& file, Split split,
                       ReadBudget& budget, DatasetBuilder& builder) {
  const std::size_t count = file.bytes.size() / kRecord;
  if (count == 0 || file.bytes.size() % kRecord != 0) {
    return DataLoss("{} has {} bytes, expected a multiple of {}, the size of a CIFAR-10 record",
                    name, file.bytes.size(), kRecord);
  }
  ZOOD_RETURN_IF_ERROR(Annotate(budget.TakeHeap(count * 3 * kPlane), name));
  const auto pixels = std::make_shared<std::vector<std::byte>>(count * 3 * kPlane);
  for (std::size_t i = 0; i < count; ++i) {
    const auto record = file.bytes.subspan(i * kRecord, kRecord);
    const auto to = std::span(*pixels).subspan(i * 3 * kPlane, 3 * kPlane);
    const std::string item = fmt::format("{}#{}", BaseName(name), i);
    const auto label = static_cast<int>(record[0]);
    ZOOD_RETURN_IF_ERROR(budget.GoOn(kRecord));
    if (label >= kClasses) {
      builder.AddProblem(
          item, fmt::format("has label {}, expected 0 to {}: CIFAR-10 has {} classes", label,
                            kClasses - 1, kClasses));
      continue;
    }
    Interleave(record.subspan(1), to.data());
    ZOOD_RETURN_IF_ERROR(builder.AddPixels(item, label, split, {kSide, kSide, 3}, {to, pixels}));
  }
  return absl::OkStatus();
}

}  // namespace

bool IsCifar10(const FileBytes& file) {
  if (file.bytes.empty() || file.bytes.size() % kRecord != 0) return false;
  for (std::size_t at = 0; at < file.bytes.size(); at += kRecord) {
    if (static_cast<int>(file.bytes[at]) >= kClasses) return false;
  }
  return true;
}

bool IsCifar10Name(std::string_view name) {
  return name.ends_with(".bin") && (name.starts_with("data_batch") || name == "test_batch.bin");
}

absl::StatusOr<DatasetScan> ReadCifar10(FileTree& tree, std::string_view folder,
                                        const std::vector<std::size_t>& batches,
                                        const DatasetOptions& options, ReadBudget& budget) {
  DatasetBuilder builder(options, budget);
  builder.AddTree(tree);
  ZOOD_RETURN_IF_ERROR(
      ReadLabelsFile(tree, folder, {"batches.meta.txt", "labels.txt"}, options, builder));
  for (const std::size_t batch : batches) {
    const std::string& name = tree.files()[batch];
    const absl::StatusOr<FileBytes> file = tree.Open(batch, options.limits.max_total_bytes);
    if (!file.ok()) return Annotate(file.status(), name);
    const Split split = SplitOfName(BaseName(name)).value_or(Split::kTrain);
    ZOOD_RETURN_IF_ERROR(Annotate(ReadBatch(name, *file, split, budget, builder), tree.name()));
  }
  return builder.Finish(tree.name(), tree.kind() + "cifar10");
}

}  // namespace zood::dataset
