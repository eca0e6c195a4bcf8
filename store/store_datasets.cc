// Datasets: published and loaded as versions are.
#include <utility>

#include "base/status.h"
#include "store/names.h"
#include "store/new_dataset.h"
#include "store/store.h"

namespace zood::store {
namespace {

absl::StatusOr<std::vector<EncodedTensor>> Encode(const std::vector<DatasetItem>& items) {
  std::vector<EncodedTensor> encoded;
  encoded.reserve(items.size());
  for (const DatasetItem& item : items) {
    auto one = EncodeTensor(item.data);
    if (!one.ok()) return Annotate(one.status(), "item " + item.name);
    encoded.push_back(*std::move(one));
  }
  return encoded;
}

std::vector<TensorRef> RefsOf(const std::vector<EncodedTensor>& encoded) {
  std::vector<TensorRef> refs;
  refs.reserve(encoded.size());
  for (const EncodedTensor& tensor : encoded) refs.push_back(tensor.ref);
  return refs;
}

}  // namespace

absl::StatusOr<PublishedDataset> Store::PublishDataset(const NewDataset& dataset) {
  ZOOD_RETURN_IF_ERROR(CheckNewDataset(dataset));
  const std::string what = "publish dataset " + dataset.name;
  const MappingWatch watch;  // over the files that the items lie in
  const auto encoded = Encode(dataset.items);
  if (!encoded.ok()) return Annotate(encoded.status(), what);
  StoredDataset stored = Describe(dataset, RefsOf(*encoded));
  DatasetSummary& summary = stored.manifest.summary;

  const MutexLock lock(writing_);
  auto there = catalogue_->FindDataset(dataset.name);
  if (there.ok() && there->summary.digest != summary.digest) {
    return AlreadyExists(
        "dataset {} exists with other items or classes (digest {}, not {}): choose another name, "
        "or delete it first",
        dataset.name, there->summary.digest, summary.digest);
  }
  if (!there.ok() && !absl::IsNotFound(there.status())) return there.status();
  summary.created_at_us = clock_();
  auto written = WriteMissing(*encoded, watch);
  if (!written.ok()) return Annotate(written.status(), what);
  PublishedDataset published{.summary = there.ok() ? there->summary : summary,
                             .created = !there.ok(),
                             .new_items = written->tensors,
                             .new_bytes = written->bytes};
  absl::Status added;
  if (!there.ok()) {
    added = catalogue_->PublishDataset(stored, written->pack);
  } else if (written->pack) {
    added = catalogue_->Move(*written->pack);  // it was there, but its packs were damaged
  }
  if (!added.ok()) {
    if (written->pack) DiscardPack(written->pack->name);
    return Annotate(added, what);
  }
  return published;
}

absl::StatusOr<LoadedDataset> Store::LoadDataset(const std::string& name,
                                                 const LoadOptions& options) {
  LoadedDataset loaded;
  const auto find = [&]() -> absl::StatusOr<std::vector<StoredItem>> {
    ZOOD_ASSIGN_OR_RETURN(StoredDataset stored, catalogue_->FindDatasetItems(name));
    loaded.manifest = std::move(stored.manifest);
    return std::move(stored.items);
  };
  ZOOD_ASSIGN_OR_RETURN(loaded.items, ReadItems(name, find, options));
  return loaded;
}

absl::StatusOr<std::vector<DatasetItem>> Store::LoadDatasetItems(const std::string& name,
                                                                 std::int64_t first,
                                                                 std::int64_t count,
                                                                 const LoadOptions& options) {
  if (first < 0 || count < 0) {
    return InvalidArgument("{} items from {} on: neither may be below 0", count, first);
  }
  return ReadItems(name, [&] { return catalogue_->FindItems(name, first, count); }, options);
}

absl::StatusOr<std::vector<DatasetItem>> Store::ReadItems(
    const std::string& name, const std::function<absl::StatusOr<std::vector<StoredItem>>()>& find,
    const LoadOptions& options) {
  ZOOD_RETURN_IF_ERROR(CheckDatasetName(name));
  const MappingWatch watch;
  std::vector<StoredItem> stored;
  PackFiles files;
  {
    const MutexLock lock(unlinking_);
    ZOOD_ASSIGN_OR_RETURN(stored, find());
    for (const StoredItem& item : stored) {
      const absl::Status opened = OpenPack(item.tensor.location.pack, files);
      if (!opened.ok()) return Annotate(opened, "dataset " + name);
    }
  }
  std::vector<DatasetItem> items;
  items.reserve(stored.size());
  for (StoredItem& item : stored) {
    auto tensor = ReadTensor(item.tensor, files, options);
    if (!tensor.ok()) {
      return Annotate(tensor.status(), fmt::format("dataset {}, item {}", name, item.name));
    }
    items.push_back({.name = std::move(item.name),
                     .label = item.label,
                     .split = item.split,
                     .data = *std::move(tensor)});
  }
  ZOOD_RETURN_IF_ERROR(watch.Check());
  return items;
}

absl::StatusOr<DatasetManifest> Store::GetDataset(const std::string& name) {
  ZOOD_RETURN_IF_ERROR(CheckDatasetName(name));
  return catalogue_->FindDataset(name);
}

absl::StatusOr<std::vector<DatasetSummary>> Store::ListDatasets() {
  return catalogue_->ListDatasets();
}

}  // namespace zood::store
