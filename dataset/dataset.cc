#include "dataset/dataset.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/checksum.h"
#include "base/option_check.h"
#include "base/status.h"

namespace zood::dataset {
namespace {

// Lengths go before texts, so that no two lists of texts make the same bytes.
void Update(Sha256& digest, std::string_view text) {
  const std::uint64_t size = text.size();
  char length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(size >> (8 * i));
  digest.Update(AsBytes({length, 8}));
  digest.Update(AsBytes(text));
}

// A number in [0, 1) that depends on the seed and the photo alone.
double Fate(std::uint64_t seed, const std::string& item_digest) {
  const std::string hash = Sha256Hex(AsBytes(fmt::format("split {} {}", seed, item_digest)));
  return static_cast<double>(std::stoull(hash.substr(0, 13), nullptr, 16)) * 0x1p-52;
}

class Splitter {
 public:
  Splitter(Dataset& dataset, const SplitOptions& options)
      : dataset_(dataset),
        validation_(Has(Split::kValidation) ? 0 : options.validation),
        test_(Has(Split::kTest) ? 0 : options.test) {
    if (validation_ + test_ > 0) Draw(options.seed);
  }

  void Move() {
    for (std::size_t i = 0; i < dataset_.items.size(); ++i) {
      if (moved_.empty() || !moved_[i]) continue;
      dataset_.items[i].split = fates_[i] < test_ ? Split::kTest : Split::kValidation;
    }
    if (!moved_.empty()) ReturnOneToEachClass();
  }

 private:
  bool Has(Split split) const { return !ItemsOf(dataset_, split).empty(); }

  void Draw(std::uint64_t seed) {
    const std::size_t count = dataset_.items.size();
    fates_.resize(count);
    digests_.resize(count);
    moved_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      if (dataset_.items[i].split != Split::kTrain) continue;
      digests_[i] = ItemDigest(dataset_.items[i].image);
      fates_[i] = Fate(seed, digests_[i]);
      moved_[i] = fates_[i] < test_ + validation_;
    }
  }

  // Of a class's photos that were moved, the one with the largest number was nearest to staying.
  void ReturnOneToEachClass() {
    constexpr std::size_t kNone = static_cast<std::size_t>(-1);
    std::vector<bool> trained(dataset_.classes.size());
    std::vector<std::size_t> nearest(dataset_.classes.size(), kNone);
    for (std::size_t i = 0; i < moved_.size(); ++i) {
      const auto label = static_cast<std::size_t>(dataset_.items[i].label);
      if (label >= trained.size()) continue;
      if (dataset_.items[i].split == Split::kTrain) trained[label] = true;
      if (!moved_[i]) continue;
      std::size_t& best = nearest[label];
      if (best == kNone || fates_[i] > fates_[best]) best = i;
    }
    std::vector<std::string> returned;
    for (std::size_t label = 0; label < trained.size(); ++label) {
      if (!trained[label] && nearest[label] != kNone) returned.push_back(digests_[nearest[label]]);
    }
    std::ranges::sort(returned);
    for (std::size_t i = 0; i < moved_.size(); ++i) {
      if (moved_[i] && std::ranges::binary_search(returned, digests_[i])) {
        dataset_.items[i].split = Split::kTrain;
      }
    }
  }

  Dataset& dataset_;
  const double validation_;  // fractions
  const double test_;
  // By item; those of the training split before anything moves.
  std::vector<double> fates_;
  std::vector<std::string> digests_;
  std::vector<bool> moved_;
};

}  // namespace

std::string_view SplitName(Split split) {
  switch (split) {
    case Split::kTrain:
      return "train";
    case Split::kValidation:
      return "validation";
    case Split::kTest:
      return "test";
  }
  return "unknown";
}

std::string ItemDigest(const Tensor& image) { return Sha256Hex(image.bytes()); }

std::string DatasetDigest(const Dataset& dataset) {
  Sha256 digest;
  Update(digest, fmt::format("zood dataset: {} classes, {} items", dataset.classes.size(),
                             dataset.items.size()));
  for (const std::string& name : dataset.classes) Update(digest, name);
  for (const Item& item : dataset.items) {
    Update(digest, item.name);
    Update(digest, fmt::format("{} {} {}", item.label, SplitName(item.split),
                               item.image.shape().ToString()));
    Update(digest, ItemDigest(item.image));
  }
  return digest.HexDigest();
}

absl::Status AssignSplits(Dataset& dataset, const SplitOptions& options) {
  ZOOD_RETURN_IF_ERROR(CheckOption("splits", "validation", options.validation, kBelowOne));
  ZOOD_RETURN_IF_ERROR(CheckOption("splits", "test", options.test, kBelowOne));
  if (options.validation + options.test >= 1) {
    return InvalidArgument("splits: validation {} and test {} leave nothing to train on",
                           options.validation, options.test);
  }
  Splitter(dataset, options).Move();
  return absl::OkStatus();
}

std::vector<std::int32_t> ItemsOf(const Dataset& dataset, Split split) {
  std::vector<std::int32_t> indices;
  for (std::size_t i = 0; i < dataset.items.size(); ++i) {
    if (dataset.items[i].split == split) indices.push_back(static_cast<std::int32_t>(i));
  }
  return indices;
}

void RemoveItems(Dataset& dataset, std::span<const std::int32_t> indices) {
  std::vector<Item> kept;
  kept.reserve(dataset.items.size() - std::min(dataset.items.size(), indices.size()));
  for (std::size_t i = 0; i < dataset.items.size(); ++i) {
    if (!indices.empty() && static_cast<std::size_t>(indices.front()) == i) {
      indices = indices.subspan(1);
    } else {
      kept.push_back(std::move(dataset.items[i]));
    }
  }
  dataset.items = std::move(kept);
}

}  // namespace zood::dataset
