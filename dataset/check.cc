#include <algorithm>
#include <atomic>
#include <optional>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/status.h"
#include "dataset/dataset.h"
#include "dataset/decode_item.h"

namespace zood::dataset {
namespace {

// What one item turned out to be.
struct Finding {
  std::string reason;  // empty for one that can be used
  std::string digest;
};

Finding Examine(const Dataset& dataset, const Item& item, const CheckOptions& options) {
  const auto classes = static_cast<std::int64_t>(dataset.classes.size());
  if (item.label < 0 || item.label >= classes) {
    return {fmt::format("has label {}, expected 0 to {}", item.label, classes - 1), ""};
  }
  const auto photo = DecodeItem(item, {}, options.decode);
  if (!photo.ok()) {
    // The item is named beside the reason.
    std::string reason(photo.status().message());
    const std::string prefix = item.name + ": ";
    if (reason.starts_with(prefix)) reason.erase(0, prefix.size());
    return {std::move(reason), ""};
  }
  return {"", ItemDigest(item.image)};
}

// In order of the items, whichever thread looks at them. Nothing when it was stopped.
std::optional<std::vector<Finding>> ExamineAll(const Dataset& dataset,
                                               const CheckOptions& options) {
  std::vector<Finding> findings(dataset.items.size());
  std::atomic<std::size_t> next = 0;
  std::atomic<std::int64_t> done = 0;
  std::atomic<bool> stopped = false;
  const auto work = [&](bool reports) {
    for (std::size_t i; !stopped && (i = next.fetch_add(1)) < findings.size();) {
      findings[i] = Examine(dataset, dataset.items[i], options);
      ++done;
      if (reports && options.progress && !options.progress(done)) stopped = true;
    }
  };
  {
    std::vector<std::jthread> threads;
    const std::size_t most = static_cast<std::size_t>(std::clamp(options.threads, 1, 256));
    try {
      for (std::size_t i = 1; i < std::min(most, findings.size()); ++i) {
        threads.emplace_back(work, false);
      }
    } catch (const std::system_error&) {  // fewer do as well
    }
    work(true);
  }
  // The others may have looked at most of the items, or at all.
  if (!stopped && options.progress && !options.progress(done)) stopped = true;
  if (stopped) return std::nullopt;
  return findings;
}

class Warnings {
 public:
  Warnings(const Dataset& dataset, DatasetCheck& check, std::int64_t most)
      : dataset_(dataset), check_(check), most_(most) {}

  void AboutEquals(const std::vector<Finding>& findings) {
    std::unordered_map<std::string_view, std::size_t> first;
    for (std::size_t i = 0; i < findings.size(); ++i) {
      if (findings[i].digest.empty()) continue;
      const auto [at, fresh] = first.try_emplace(findings[i].digest, i);
      if (fresh) continue;
      const Item& a = dataset_.items[at->second];
      const Item& b = dataset_.items[i];
      if (a.label != b.label) {
        Add(fmt::format("'{}' and '{}' are the same photo, of classes '{}' and '{}'", a.name,
                        b.name, NameOf(a), NameOf(b)));
      } else if (a.split != b.split) {
        Add(fmt::format("'{}' and '{}' are the same photo, in splits {} and {}", a.name, b.name,
                        SplitName(a.split), SplitName(b.split)));
      }
    }
  }

 private:
  const std::string& NameOf(const Item& item) const {
    return dataset_.classes[static_cast<std::size_t>(item.label)];
  }
  void Add(std::string warning) {
    if (static_cast<std::int64_t>(check_.warnings.size()) < most_) {
      check_.warnings.push_back(std::move(warning));
    }
  }

  const Dataset& dataset_;
  DatasetCheck& check_;
  const std::int64_t most_;
};

}  // namespace

DatasetCheck CheckDataset(const Dataset& dataset, const CheckOptions& options) {
  DatasetCheck check;
  check.counts.resize(dataset.classes.size());
  std::optional<std::vector<Finding>> examined = ExamineAll(dataset, options);
  if (!examined) {
    check.complete = false;
    return check;
  }
  std::vector<Finding>& findings = *examined;
  for (std::size_t i = 0; i < findings.size(); ++i) {
    const Item& item = dataset.items[i];
    if (findings[i].reason.empty()) {
      ++check.counts[static_cast<std::size_t>(item.label)][static_cast<std::size_t>(item.split)];
      continue;
    }
    check.unusable.push_back(static_cast<std::int32_t>(i));
    if (static_cast<std::int64_t>(check.problems.size()) < options.max_problems) {
      check.problems.push_back({item.name, std::move(findings[i].reason)});
    }
  }
  Warnings warnings(dataset, check, options.max_problems);
  warnings.AboutEquals(findings);
  return check;
}

std::vector<std::string> ClassWarnings(const Dataset& dataset, std::size_t most) {
  constexpr std::int64_t kFew = 10;
  std::vector<std::array<std::int64_t, 3>> counts(dataset.classes.size());
  std::array<std::int64_t, 3> all = {};
  for (const Item& item : dataset.items) {
    ++counts[static_cast<std::size_t>(item.label)][static_cast<std::size_t>(item.split)];
    ++all[static_cast<std::size_t>(item.split)];
  }
  std::vector<std::string> warnings;
  for (std::size_t i = 0; i < counts.size() && warnings.size() < most; ++i) {
    const auto& [train, validation, test] = counts[i];
    const std::int64_t total = train + validation + test;
    const std::string name = fmt::format("class '{}'", dataset.classes[i]);
    if (total == 0) {
      warnings.push_back(name + " has no photo; add some, or take it out");
    } else if (train == 0) {
      warnings.push_back(name + " has no photo to train on");
    } else if (all[1] + all[2] > 0 && validation + test == 0) {
      warnings.push_back(fmt::format(
          "{} has {} to train on and none held out: nothing will say how well it is told; add "
          "different photos of it ({} or more are a good start)",
          name, train == 1 ? "one photo" : fmt::format("{} photos", train), kFew));
    } else if (train == 1) {
      warnings.push_back(name + " has one photo to train on");
    } else if (all[1] + all[2] > 0 && total < kFew) {
      warnings.push_back(fmt::format(
          "{} has {} photos, {} of them held out: its accuracy will say little; {} or more do",
          name, total, validation + test, kFew));
    }
  }
  return warnings;
}

}  // namespace zood::dataset
