#include "serving/datasets.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <new>
#include <optional>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "store/names.h"

namespace zood::serving {
namespace {

constexpr std::uint64_t kLeastHeap = std::uint64_t{16} << 20;

std::string WithoutDirectory(const std::string& directory, std::string text) {
  if (directory.empty()) return text;
  const std::string prefix = directory + "/";
  for (std::size_t at = text.find(prefix); at != std::string::npos; at = text.find(prefix, at)) {
    text.erase(at, prefix.size());
  }
  return text;
}

// What people called the source: the directory of an upload means nothing to anybody.
std::string DisplayName(const DatasetRequest& request) {
  if (request.path == request.display_directory) return "an upload";
  return WithoutDirectory(request.display_directory, request.path);
}

// Whatever of `problems` the store keeps, all of them counted.
void AddProblems(const std::vector<dataset::Problem>& problems, std::int64_t count,
                 std::int64_t limit, store::NewDataset& dataset) {
  dataset.problem_count += count;
  for (const dataset::Problem& problem : problems) {
    if (static_cast<std::int64_t>(dataset.problems.size()) == limit) return;
    dataset.problems.push_back({problem.item.empty() ? "?" : problem.item, problem.reason});
  }
}

}  // namespace

Datasets::Datasets(store::Store& store, MemoryBudget& budget, DatasetsOptions options)
    : store_(store),
      budget_(budget),
      options_(std::move(options)),
      worker_({.name = "zood-datasets", .threads = 1, .nice = 10}) {}

absl::Status Datasets::Check(const DatasetRequest& request) const {
  ZOOD_RETURN_IF_ERROR(store::CheckDatasetName(request.name));
  dataset::Dataset nothing;
  return dataset::AssignSplits(nothing, request.split);
}

absl::StatusOr<store::PublishedDataset> Datasets::CreateNow(
    const DatasetRequest& request, const DatasetProgress& progress,
    const std::function<bool()>& cancelled) {
  const auto gone = [&] {
    return cancelled && cancelled() ? Cancelled("the caller has gone") : absl::OkStatus();
  };
  dataset::DatasetOptions options{.classes = request.classes,
                                  .follow_links = false,
                                  .layout = request.layout,
                                  .limits = options_.limits,
                                  .cancelled = cancelled};
  // Half of what is left may hold what cannot be viewed in the files themselves.
  const std::uint64_t left = budget_.total() - std::min(budget_.used(), budget_.total());
  options.limits.max_heap_bytes =
      std::max(kLeastHeap, std::min(options.limits.max_heap_bytes, left / 2));
  ZOOD_ASSIGN_OR_RETURN(const MemoryClaim claim,
                        budget_.Claim(options.limits.max_heap_bytes, "the dataset " + request.name,
                                      ClaimLife::kPassing));
  progress(DatasetStage::kReading, 0, 0);
  ZOOD_ASSIGN_OR_RETURN(dataset::DatasetScan scan, dataset::ReadDataset(request.path, options));
  ZOOD_RETURN_IF_ERROR(gone());
  const auto items = static_cast<std::int64_t>(scan.dataset.items.size());
  progress(DatasetStage::kChecking, 0, items);
  const std::int64_t max_problems = options.limits.max_problems;
  const dataset::DatasetCheck check =
      dataset::CheckDataset(scan.dataset, {.decode = options_.decode,
                                           .threads = 2,
                                           .max_problems = max_problems,
                                           .progress = [&](std::int64_t done) {
                                             progress(DatasetStage::kChecking, done, items);
                                             return !cancelled || !cancelled();
                                           }});
  ZOOD_RETURN_IF_ERROR(gone());
  dataset::RemoveItems(scan.dataset, check.unusable);

  store::NewDataset dataset{.name = request.name, .classes = scan.dataset.classes};
  AddProblems(scan.problems, scan.problem_count, max_problems, dataset);
  AddProblems(check.problems, static_cast<std::int64_t>(check.unusable.size()), max_problems,
              dataset);
  dataset.warnings = std::move(scan.warnings);
  std::ranges::copy(check.warnings, std::back_inserter(dataset.warnings));
  if (scan.dataset.items.empty()) {
    return InvalidArgument("none of its {} images can be used; the first: {}: {}", items,
                           dataset.problems.empty() ? "" : dataset.problems.front().item,
                           dataset.problems.empty() ? "" : dataset.problems.front().reason);
  }
  ZOOD_RETURN_IF_ERROR(dataset::AssignSplits(scan.dataset, request.split));
  std::ranges::move(dataset::ClassWarnings(scan.dataset), std::back_inserter(dataset.warnings));
  for (dataset::Item& item : scan.dataset.items) {
    dataset.items.push_back({.name = std::move(item.name),
                             .label = item.label,
                             .split = static_cast<store::Split>(item.split),
                             .data = std::move(item.image)});
  }
  dataset.provenance = {
      .sources = {{.uri = DisplayName(request), .sha256 = {}, .bytes = 0, .format = scan.format}},
      .build = options_.build,
      .note = request.note};
  progress(DatasetStage::kPublishing, 0, static_cast<std::int64_t>(dataset.items.size()));
  return store_.PublishDataset(dataset);
}

absl::StatusOr<store::PublishedDataset> Datasets::Create(const DatasetRequest& request,
                                                         const DatasetProgress& progress,
                                                         const std::function<bool()>& cancelled) {
  ZOOD_RETURN_IF_ERROR(Check(request));
  Mutex mutex;
  CondVar changed;
  std::optional<absl::StatusOr<store::PublishedDataset>> result;
  worker_.Post([&] {
    absl::StatusOr<store::PublishedDataset> published = absl::UnknownError("");
    try {
      published = CreateNow(request, progress, cancelled);
    } catch (const std::bad_alloc&) {
      published = ResourceExhausted(
          "there is no memory left to read it; unload a model, or import fewer images at once");
    }
    MutexLock lock(mutex);
    result = std::move(published);
    changed.NotifyAll();
  });
  MutexLock lock(mutex);
  while (!result) changed.Wait(mutex);
  if (result->ok()) return *std::move(result);
  const std::string message(result->status().message());
  return Annotate(
      absl::Status(result->status().code(), WithoutDirectory(request.display_directory, message)),
      "the dataset " + request.name);
}

}  // namespace zood::serving
