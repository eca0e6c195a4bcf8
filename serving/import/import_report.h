// What an import made of its files: kept with the version, and shown to whoever asked for it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/weights/mapped_weights.h"

namespace zood::serving {

struct ImportReport {
  // Entries of the files that the network has no use for, by reason.
  struct LeftAside {
    std::string reason;
    std::int64_t entries = 0;
    std::vector<std::string> examples;  // up to three names

    friend bool operator==(const LeftAside&, const LeftAside&) = default;
  };

  std::string format;                             // "pytorch", as in store::Source
  std::string naming;                             // whose names the variables have: "PyTorch"
  std::string prefix;                             // taken off every name: "state_dict.module."
  std::int64_t variables = 0;                     // of the network, from the files
  std::map<std::string, std::int64_t> converted;  // to float32, by the name of their type
  std::vector<LeftAside> left_aside;              // most entries first, at most kMostReasons
  std::vector<std::string> initialized;           // what only training uses, and the files lack
  // What was chosen where the files left a choice, and what was assumed where nobody said, a
  // sentence each.
  std::vector<std::string> choices;
  std::vector<std::string> assumptions;

  static constexpr std::size_t kMostReasons = 20;

  friend bool operator==(const ImportReport&, const ImportReport&) = default;
};

// `format` is checkpoint::Id() of the reader.
ImportReport ReportOf(const models::MappedWeights& mapped, std::string format);

// As the store keeps it.
std::string ToJson(const ImportReport& report);
// DataLoss for what ToJson() does not write.
absl::StatusOr<ImportReport> ImportReportFromJson(const std::string& text);

}  // namespace zood::serving
