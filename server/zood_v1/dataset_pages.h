// Pages of datasets and of their items.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "store/store.h"
#include "zood/v1/datasets.pb.h"

namespace zood::server {

// A page token is the number of things already listed.
absl::StatusOr<std::size_t> PageStart(const std::string& token);
absl::StatusOr<std::size_t> PageSize(int asked, std::size_t most);

// Takes as long as the page; with a filter as the items up to its end, of which it reads no photo
// but the page's own.
absl::Status ListItems(store::Store& store, const v1::ListDatasetItemsRequest& request,
                       const std::function<bool()>& cancelled,
                       v1::ListDatasetItemsResponse& response);

}  // namespace zood::server
