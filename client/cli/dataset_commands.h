// What `zoo dataset` and `zoo finetune create` share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/invocation.h"

namespace zood::client::cli {

struct DatasetOptions {
  std::string name;
  std::vector<std::string> paths;
  bool remote = false;  // the one path is on the daemon's machine
  std::string layout;   // "auto", "classes" or "splits"; empty: "auto"
  std::string labels;   // a file with class names, one a line
  std::optional<double> validation;
  std::optional<double> test;
  std::uint64_t split_seed = 0;
  std::string note;
};

// Everything but name, paths and note; `group` is their heading in the help.
void AddDatasetOptions(CLI::App& command, DatasetOptions& options,
                       const std::string& group = "Options");

// Sends the files, or has the daemon read them, with a bar for how far it is.
absl::StatusOr<v1::Dataset> MakeDataset(const DatasetOptions& options, Client& client);

// What a path is called as a dataset: "Photos/My Flowers.tar.gz" becomes "my_flowers". Empty where
// nothing of it can be kept.
std::string DatasetNameOf(const std::string& path);

// For people.
std::string DescribeDatasets(const v1::ListDatasetsResponse& answer);
std::string DescribeDataset(const v1::Dataset& dataset);
std::string DescribeItems(const v1::ListDatasetItemsResponse& answer);

}  // namespace zood::client::cli
