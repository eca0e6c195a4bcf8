// What a job shall do, from a command line: options over a file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/invocation.h"

namespace zood::client::cli {

// What is not given leaves what the file says, and otherwise the daemon's default
// (zood/v1/fine_tuning.proto).
struct JobOptions {
  std::string spec_file;
  std::string dataset;                                                 // its name
  std::map<std::string, std::vector<std::string>, std::less<>> given;  // by "--batch"
};

// `options` must outlive the parsing of the command line.
void AddJobOptions(CLI::App& command, JobOptions& options);

// The file, where one is named, and the options over it; with names for what can be guessed: the
// model is called "BASE-DATASET" unless it has a name. InvalidArgument, naming the option, for a
// value that makes no sense, and for what is missing.
absl::StatusOr<v1::JobSpec> ToJobSpec(const JobOptions& options);

// An error of the daemon about a job, with the options of the command line instead of the fields of
// the JobSpec that they stand for.
absl::Status NameOptions(const absl::Status& error);

}  // namespace zood::client::cli
