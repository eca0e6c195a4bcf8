#include "dataset/dataset.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
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

// A photo of the training split, with all its equals.
struct Photo {
  double fate = 0;  // in [0, 1)
  std::optional<Split> split;
};

// How many of `count` different photos a share of them is, given that `drawn` were drawn by chance:
// at least half of it and one, at most twice of it.
std::size_t Clamped(double share, std::size_t count, std::size_t drawn) {
  if (share == 0) return 0;
  const double exact = share * static_cast<double>(count);
  const auto least = static_cast<std::size_t>(std::max(1.0, std::floor(exact / 2)));
  const auto most = static_cast<std::size_t>(std::max(1.0, std::ceil(exact * 2)));
  return std::clamp(drawn, least, most);
}

class Splitter {
 public:
  Splitter(Dataset& dataset, const SplitOptions& options)
      : dataset_(dataset),
        validation_(Has(Split::kValidation) ? 0 : options.validation),
        test_(Has(Split::kTest) ? 0 : options.test),
        seed_(options.seed) {}

  void Move() {
    if (validation_ + test_ == 0) return;
    Draw();
    for (const std::vector<Photo*>& photos : by_class_) SplitClass(photos);
    KeepOneOfEachClass();
    for (std::size_t i = 0; i < dataset_.items.size(); ++i) {
      if (photo_of_[i] != nullptr) dataset_.items[i].split = *photo_of_[i]->split;
    }
  }

 private:
  bool Has(Split split) const {
    return std::ranges::find(dataset_.items, split, &Item::split) != dataset_.items.end();
  }

  void Draw() {
    photo_of_.resize(dataset_.items.size());
    by_class_.resize(dataset_.classes.size());
    for (std::size_t i = 0; i < dataset_.items.size(); ++i) {
      const Item& item = dataset_.items[i];
      if (item.split != Split::kTrain) continue;
      const auto [at, fresh] = photos_.try_emplace(ItemDigest(item.image));
      if (fresh) at->second.fate = Fate(seed_, at->first);
      photo_of_[i] = &at->second;
      const auto label = static_cast<std::size_t>(item.label);
      if (label < by_class_.size()) by_class_[label].push_back(&at->second);
    }
    for (std::vector<Photo*>& photos : by_class_) {
      std::ranges::sort(photos, {},
                        [](const Photo* photo) { return std::pair(photo->fate, photo); });
      photos.erase(std::ranges::unique(photos).begin(), photos.end());
    }
  }

  // `photos` in order of fate, each once. Those of another class, too, may be decided.
  void SplitClass(const std::vector<Photo*>& photos) const {
    const std::size_t count = photos.size();
    const auto below = [&](double bound) {
      return static_cast<std::size_t>(
          std::ranges::count_if(photos, [&](const Photo* photo) { return photo->fate < bound; }));
    };
    const std::size_t room = count == 0 ? 0 : count - 1;  // one stays to train on
    std::size_t validation =
        std::min(room, Clamped(validation_, count, below(test_ + validation_) - below(test_)));
    std::size_t test = std::min(room, Clamped(test_, count, below(test_)));
    while (validation + test > room) --(test >= validation && test > 0 ? test : validation);
    for (std::size_t i = 0; i < count; ++i) {
      if (photos[i]->split) continue;
      photos[i]->split = i < test                ? Split::kTest
                         : i < test + validation ? Split::kValidation
                                                 : Split::kTrain;
    }
  }

  // Photos that are in several classes may have left one of them without any.
  void KeepOneOfEachClass() {
    for (const std::vector<Photo*>& photos : by_class_) {
      const auto trains = [](const Photo* photo) { return photo->split == Split::kTrain; };
      if (!photos.empty() && std::ranges::none_of(photos, trains)) {
        photos.back()->split = Split::kTrain;
      }
    }
    for (Photo* photo : photo_of_) {
      if (photo != nullptr && !photo->split) photo->split = Split::kTrain;
    }
  }

  Dataset& dataset_;
  const double validation_;  // shares
  const double test_;
  const std::uint64_t seed_;
  std::map<std::string, Photo> photos_;        // by digest
  std::vector<Photo*> photo_of_;               // by item; null for those of other splits
  std::vector<std::vector<Photo*>> by_class_;  // different ones, in order of fate
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
