// The rules that a dataset must obey before it is written, and what follows from its items.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "store/catalogue.h"
#include "store/dataset.h"

namespace zood::store {

// InvalidArgument, naming the part and the rule.
absl::Status CheckNewDataset(const NewDataset& dataset);

// `dataset` as the catalogue takes it, its items' tensors in the same order being `tensors`:
// counted, with its digest, still without time and without the tensors' locations.
StoredDataset Describe(const NewDataset& dataset, const std::vector<TensorRef>& tensors);

// What the manifest says of its items, from the items themselves.
struct DatasetCounts {
  SplitCounts items = {};
  std::vector<SplitCounts> class_items;
  std::uint64_t bytes = 0;

  friend bool operator==(const DatasetCounts&, const DatasetCounts&) = default;
};
DatasetCounts CountItems(const std::vector<StoredItem>& items, std::size_t classes);

// SHA-256 over "zood dataset 1\n", the count of classes and each, the count of items and, of each,
// name, label (int32), split (uint8) and tensor digest; as ManifestDigest() writes them.
std::string DatasetDigest(const std::vector<std::string>& classes,
                          const std::vector<StoredItem>& items);

}  // namespace zood::store
