// A model on labeled images: how often it is right.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dataset/labeled_images.h"
#include "serving/classifier.h"

namespace zood::serving {

struct EvaluationRequest {
  ModelRef model;  // resolved once, at the beginning
  // Added to the class that the model answers before it is compared with an image's label.
  int labels_offset = 0;
  bool skip_bad_images = false;
  std::int64_t max_images = 0;  // 0: all
  std::function<bool()> cancelled;
};

struct ClassCounts {
  std::int64_t images = 0;        // with this label
  std::int64_t top1_correct = 0;  // of those
  std::int64_t top5_correct = 0;
  std::int64_t answered = 0;  // images of any label that were answered with this class
};

struct BadImage {
  std::string id;
  std::string error;
};

// Beyond, a confusion matrix takes more memory than an evaluation may, and more bytes than a
// message.
inline constexpr std::int64_t kMaxConfusionClasses = 4096;

struct EvaluationReport {
  std::string model;
  std::int64_t version = 0;
  std::string digest;
  std::vector<std::string> labels;  // may be empty
  graph::OutputKind output_kind = graph::OutputKind::kLogits;

  std::int64_t images = 0;
  std::int64_t top1_correct = 0;
  std::int64_t top5_correct = 0;
  double loss_sum = 0;  // of NegativeLogProbability()
  std::vector<ClassCounts> classes;
  // [label, answer], row-major. Empty for more classes than kMaxConfusionClasses.
  std::vector<std::int64_t> confusion;

  std::int64_t bad_images = 0;
  std::vector<BadImage> first_bad_images;  // at most 100
  double seconds = 0;

  // Counts one image. `label` is an index of the model's, or out of its range: then the image
  // counts as wrong and appears in no class, as TF-slim has it.
  void Count(std::span<const float> logits, std::int64_t label);
};

struct EvaluationProgress {
  std::int64_t done = 0;
  std::int64_t total = 0;  // 0: unknown
  std::int64_t top1_correct = 0;
  std::int64_t top5_correct = 0;
};

// Makes the images once the model is known: a folder's classes are called by its labels.
using ImagesFactory = std::function<absl::StatusOr<std::unique_ptr<dataset::LabeledImages>>(
    const Servable& servable)>;

// Runs on the calling thread; the images take the way of everybody's, behind interactive ones.
// Where those leave no room, it waits. `progress` is called there too, at most a few times a
// second. Errors: the classifier's; that of the first bad image, with its id, unless bad ones are
// skipped; Cancelled.
absl::StatusOr<EvaluationReport> Evaluate(
    ModelManager& manager, Classifier& classifier, const EvaluationRequest& request,
    const ImagesFactory& images, const std::function<void(const EvaluationProgress&)>& progress);

}  // namespace zood::serving
