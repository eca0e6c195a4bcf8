// From a spec to everything that training needs, every part checked against what there is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "dataset/dataset.h"
#include "graph/graph.h"
#include "image/preprocess.h"
#include "jobs/job.h"
#include "jobs/job_spec.h"
#include "models/zoo.h"
#include "netdef/network_definition.h"
#include "serving/catalogue.h"
#include "serving/memory_budget.h"
#include "store/dataset.h"
#include "train/trainer.h"

namespace zood::jobs {

// All but weights and images.
struct JobPlan {
  std::optional<VersionName> base;
  netdef::NetworkPtr network;  // with the dataset's number of classes
  std::shared_ptr<const graph::Graph> graph;
  image::PreprocessSpec preprocess;
  std::vector<std::string> labels;
  // Variables that belong to the classifier, and whether it is another one than the base's.
  std::vector<std::string> head;
  bool new_head = false;

  store::DatasetManifest dataset;
  std::optional<dataset::Split> evaluate_on;  // nothing: no held-out images

  train::TrainerOptions options;
  std::int64_t steps = 0;
  std::int64_t evaluate_every = 0;  // steps
  double steps_per_epoch = 0;
  std::uint64_t bytes = 0;  // an estimate of what training takes
};

// `pinned` is the base that was found when the job was created, later the only one that counts.
//
// Reads manifests only. NotFound for a base, architecture or dataset that does not exist;
// FailedPrecondition for a dataset with too many problems, for another dataset than `spec` or
// `digest` says, and for another version under the number of `pinned`;
// InvalidArgument for what does not fit together; ResourceExhausted for more memory than the spec
// allows.
absl::StatusOr<JobPlan> MakePlan(const JobSpec& spec, const std::optional<VersionName>& pinned,
                                 const std::string& digest, serving::Catalogue& catalogue,
                                 const models::Zoo& zoo);

// What can be said of a job before there is a dataset: numbers, names, base or architecture, and
// the parts of the method. Errors as MakePlan()'s.
absl::Status CheckWithoutDataset(const JobSpec& spec, serving::Catalogue& catalogue,
                                 const models::Zoo& zoo);

// The images; they lie in mapped files. FailedPrecondition when it is not the dataset of `plan`.
absl::StatusOr<std::shared_ptr<const dataset::Dataset>> LoadImages(const JobPlan& plan,
                                                                   serving::Catalogue& catalogue);

// Patterns that match these variables and no others.
std::vector<std::string> WholeNames(const std::vector<std::string>& variables);

}  // namespace zood::jobs
