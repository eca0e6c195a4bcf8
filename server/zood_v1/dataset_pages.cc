#include "server/zood_v1/dataset_pages.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "base/status.h"
#include "dataset/dataset.h"
#include "server/zood_v1/convert_fine_tuning.h"

namespace zood::server {

absl::StatusOr<std::size_t> PageStart(const std::string& token) {
  if (token.empty()) return 0;
  std::size_t start = 0;
  for (const char c : token) {
    if (c < '0' || c > '9' || token.size() > 12) {
      return InvalidArgument("'{}' is no page token that this daemon gave", token);
    }
    start = start * 10 + static_cast<std::size_t>(c - '0');
  }
  return start;
}

absl::StatusOr<std::size_t> PageSize(int asked, std::size_t most) {
  if (asked < 0) return InvalidArgument("page_size is {}", asked);
  return asked == 0 ? 100 : std::min(static_cast<std::size_t>(asked), most);
}

namespace {

void Fill(const store::DatasetItem& item, const std::string& class_name, v1::DatasetItem* message) {
  message->set_name(item.name);
  message->set_label(item.label);
  message->set_class_name(class_name);
  message->set_split(ToProto(static_cast<dataset::Split>(item.split)));
  message->set_digest(dataset::ItemDigest(item.data));
  message->set_bytes(static_cast<std::int64_t>(item.data.bytes().size()));
}

// One page of a dataset's items: runs of (first, count), and where the next page begins.
struct ItemPage {
  std::vector<std::pair<std::int64_t, std::int64_t>> runs;
  std::int64_t next = 0;
};

// Takes as long as the page, and with a filter as the items up to its end; reads no photo.
absl::StatusOr<ItemPage> FindItems(store::Store& store, const store::DatasetManifest& manifest,
                                   const v1::ListDatasetItemsRequest& request, std::int64_t start,
                                   std::int64_t size, const std::function<bool()>& cancelled) {
  constexpr std::int64_t kScan = 4096;
  const std::int64_t all = manifest.summary.item_count();
  ItemPage page{.runs = {}, .next = std::min(start, all)};
  if (request.split() == v1::SPLIT_UNSPECIFIED && !request.has_label()) {
    page.next = std::min(all, page.next + size);
    if (page.next > start) page.runs.emplace_back(start, page.next - start);
    return page;
  }
  for (std::int64_t found = 0; page.next < all && found < size;) {
    if (cancelled()) return Cancelled("client disconnected");
    ZOOD_ASSIGN_OR_RETURN(
        const auto items,
        store.LoadDatasetItems(request.dataset(), page.next, kScan, {.verify_digests = false}));
    if (items.empty()) break;
    for (const store::DatasetItem& item : items) {
      const std::int64_t at = page.next++;
      const v1::Split split = ToProto(static_cast<dataset::Split>(item.split));
      if (request.split() != v1::SPLIT_UNSPECIFIED && request.split() != split) continue;
      if (request.has_label() && request.label() != item.label) continue;
      if (!page.runs.empty() && page.runs.back().first + page.runs.back().second == at) {
        ++page.runs.back().second;
      } else {
        page.runs.emplace_back(at, 1);
      }
      if (++found == size) break;
    }
  }
  return page;
}

}  // namespace

absl::Status ListItems(store::Store& store, const v1::ListDatasetItemsRequest& request,
                       const std::function<bool()>& cancelled,
                       v1::ListDatasetItemsResponse& response) {
  ZOOD_ASSIGN_OR_RETURN(const store::DatasetManifest manifest, store.GetDataset(request.dataset()));
  ZOOD_ASSIGN_OR_RETURN(const std::size_t start, PageStart(request.page_token()));
  ZOOD_ASSIGN_OR_RETURN(const std::size_t size, PageSize(request.page_size(), 10'000));
  ZOOD_ASSIGN_OR_RETURN(const ItemPage page,
                        FindItems(store, manifest, request, static_cast<std::int64_t>(start),
                                  static_cast<std::int64_t>(size), cancelled));
  std::vector<store::DatasetItem> items;
  for (const auto& [first, count] : page.runs) {
    ZOOD_ASSIGN_OR_RETURN(auto run, store.LoadDatasetItems(request.dataset(), first, count));
    std::ranges::move(run, std::back_inserter(items));
  }
  ZOOD_ASSIGN_OR_RETURN(const store::DatasetManifest now, store.GetDataset(request.dataset()));
  if (now.summary.digest != manifest.summary.digest) {
    return Aborted("the dataset '{}' was replaced while it was listed; list it again",
                   request.dataset());
  }
  for (const store::DatasetItem& item : items) {
    const auto label = static_cast<std::size_t>(item.label);
    if (label >= manifest.classes.size()) {
      return DataLoss("dataset '{}', item '{}': there is no class {}; run fsck", request.dataset(),
                      item.name, item.label);
    }
    Fill(item, manifest.classes[label], response.add_items());
  }
  if (page.next < manifest.summary.item_count()) {
    response.set_next_page_token(std::to_string(page.next));
  }
  return absl::OkStatus();
}

}  // namespace zood::server
