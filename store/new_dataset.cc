#include "store/new_dataset.h"

#include <utility>

#include "base/checksum.h"
#include "base/status.h"
#include "store/limits.h"
#include "store/names.h"
#include "store/new_version.h"
#include "store/packs/bytes.h"

namespace zood::store {
namespace {

absl::Status CheckItem(std::size_t index, const DatasetItem& item, std::size_t classes) {
  // The text of `what` is made only when it is needed: there may be a million items.
  if (const absl::Status legal = CheckText("its name", item.name, kMaxLine); !legal.ok()) {
    return Annotate(legal, fmt::format("item {}", index));
  }
  if (item.label < 0 || static_cast<std::size_t>(item.label) >= classes) {
    return InvalidArgument("item {} ({}) has label {}; there are {} classes, counted from 0", index,
                           item.name, item.label, classes);
  }
  if (static_cast<int>(item.split) >= kSplits) {
    return InvalidArgument("item {} ({}) is in no split", index, item.name);
  }
  return absl::OkStatus();
}

absl::Status CheckProblems(const NewDataset& dataset) {
  if (dataset.problem_count < static_cast<std::int64_t>(dataset.problems.size())) {
    return InvalidArgument("problem_count is {}, but {} problems are listed", dataset.problem_count,
                           dataset.problems.size());
  }
  for (const DatasetProblem& problem : dataset.problems) {
    ZOOD_RETURN_IF_ERROR(CheckText("a problem's item", problem.item, kMaxLine));
    ZOOD_RETURN_IF_ERROR(CheckText("a problem's reason", problem.reason, kMaxLine));
    if (problem.item.empty()) return InvalidArgument("a problem names no item");
  }
  for (const std::string& warning : dataset.warnings) {
    ZOOD_RETURN_IF_ERROR(CheckText("a warning", warning, kMaxLine));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckNewDataset(const NewDataset& dataset) {
  ZOOD_RETURN_IF_ERROR(CheckDatasetName(dataset.name));
  ZOOD_RETURN_IF_ERROR(CheckCount("classes", dataset.classes.size(), kMaxLabels));
  ZOOD_RETURN_IF_ERROR(CheckCount("items", dataset.items.size(), kMaxItems));
  ZOOD_RETURN_IF_ERROR(CheckCount("problems", dataset.problems.size(), kMaxDatasetProblems));
  ZOOD_RETURN_IF_ERROR(CheckCount("warnings", dataset.warnings.size(), kMaxDatasetProblems));
  for (std::size_t i = 0; i < dataset.classes.size(); ++i) {
    ZOOD_RETURN_IF_ERROR(CheckText(fmt::format("class {}", i), dataset.classes[i], kMaxLine));
  }
  ZOOD_RETURN_IF_ERROR(CheckProvenance(dataset.provenance));
  ZOOD_RETURN_IF_ERROR(CheckProblems(dataset));
  for (std::size_t i = 0; i < dataset.items.size(); ++i) {
    ZOOD_RETURN_IF_ERROR(CheckItem(i, dataset.items[i], dataset.classes.size()));
  }
  return absl::OkStatus();
}

DatasetCounts CountItems(const std::vector<StoredItem>& items, std::size_t classes) {
  DatasetCounts counts;
  counts.class_items.resize(classes);
  for (const StoredItem& item : items) {
    const auto split = static_cast<std::size_t>(item.split);
    ++counts.items[split];
    counts.bytes += item.tensor.ref.bytes;
    // A damaged catalogue may hold any label.
    const auto label = static_cast<std::size_t>(item.label);
    if (item.label >= 0 && label < classes) ++counts.class_items[label][split];
  }
  return counts;
}

std::string DatasetDigest(const std::vector<std::string>& classes,
                          const std::vector<StoredItem>& items) {
  Sha256 sha;
  sha.Update(AsBytes("zood dataset 1\n"));
  std::string record;
  AppendCount(record, classes.size());
  for (const std::string& name : classes) AppendText(record, name);
  AppendCount(record, items.size());
  for (const StoredItem& item : items) {
    AppendText(record, item.name);
    AppendLittleEndian<std::int32_t>(record, item.label);
    AppendLittleEndian<std::uint8_t>(record, static_cast<std::uint8_t>(item.split));
    AppendText(record, item.tensor.ref.digest);
    sha.Update(AsBytes(record));
    record.clear();
  }
  sha.Update(AsBytes(record));
  return sha.HexDigest();
}

StoredDataset Describe(const NewDataset& dataset, const std::vector<TensorRef>& tensors) {
  StoredDataset stored;
  stored.items.reserve(dataset.items.size());
  for (std::size_t i = 0; i < dataset.items.size(); ++i) {
    const DatasetItem& item = dataset.items[i];
    stored.items.push_back({.name = item.name,
                            .label = item.label,
                            .split = item.split,
                            .tensor = {.ref = tensors[i], .location = {}}});
  }
  DatasetCounts counts = CountItems(stored.items, dataset.classes.size());
  stored.manifest = {.summary = {.name = dataset.name,
                                 .digest = DatasetDigest(dataset.classes, stored.items),
                                 .classes = static_cast<std::int64_t>(dataset.classes.size()),
                                 .items = counts.items,
                                 .bytes = counts.bytes,
                                 .problem_count = dataset.problem_count,
                                 .note = dataset.provenance.note},
                     .classes = dataset.classes,
                     .class_items = std::move(counts.class_items),
                     .provenance = dataset.provenance,
                     .problems = dataset.problems,
                     .warnings = dataset.warnings};
  return stored;
}

}  // namespace zood::store
