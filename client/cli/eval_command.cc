// zoo eval: how good a model is on labeled images.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "base/text.h"
#include "client/cli/class_folders.h"
#include "client/cli/idx_file.h"
#include "client/cli/invocation.h"
#include "client/cli/progress.h"
#include "client/cli/tables/table.h"

namespace zood::client::cli {
namespace {

struct Options {
  std::string model;
  std::string folder;
  std::string dataset;  // of the daemon's
  std::string split;    // of it; empty: all
  std::string images;
  std::string labels;
  bool remote = false;
  int labels_offset = 0;
  bool skip_bad = false;
  bool confusion = false;
  std::int64_t max = 0;
};

constexpr int kConfusionClasses = 20;  // more do not fit on a screen

v1::EvaluationSpec ToSpec(const Options& options, const v1::ModelSpec& model) {
  v1::EvaluationSpec spec;
  *spec.mutable_model() = model;
  spec.set_labels_offset(options.labels_offset);
  spec.set_skip_bad_images(true);  // the others are measured; Evaluate() tells of the bad ones
  return spec;
}

std::size_t Limit(std::size_t count, std::int64_t max) {
  return max > 0 ? std::min(count, static_cast<std::size_t>(max)) : count;
}

using ProgressFn = Client::EvaluationProgressFn;

absl::StatusOr<v1::EvaluationReport> EvaluateFolder(const Options& options,
                                                    const v1::ModelSpec& model, Client& client,
                                                    const ProgressFn& progress) {
  ZOOD_ASSIGN_OR_RETURN(const v1::Version version, client.GetVersion(model));
  v1::ModelSpec pinned = model;
  pinned.set_version(version.version());  // the labels below are this version's
  ZOOD_ASSIGN_OR_RETURN(const std::vector<ClassImage> images,
                        ListClassFolders(options.folder, version, options.labels_offset));
  const std::size_t count = Limit(images.size(), options.max);
  const auto next = [&,
                     at = std::size_t{0}](v1::LabeledImage& image) mutable -> absl::StatusOr<bool> {
    if (at == count) return false;
    ZOOD_ASSIGN_OR_RETURN(const auto contents, FileSystem::Native().Open(images[at].path));
    image.mutable_image()->set_encoded(contents->bytes().data(), contents->bytes().size());
    image.set_name(images[at].name);
    image.set_id(Escaped(images[at].path));
    ++at;
    return true;
  };
  return client.EvaluateImages(ToSpec(options, pinned), next, static_cast<std::int64_t>(count),
                               progress);
}

absl::StatusOr<v1::EvaluationReport> EvaluateIdx(const Options& options, const v1::ModelSpec& model,
                                                 Client& client, const ProgressFn& progress) {
  ZOOD_ASSIGN_OR_RETURN(const IdxFile images, ReadIdxFile(options.images, 3));
  ZOOD_ASSIGN_OR_RETURN(const IdxFile labels, ReadIdxFile(options.labels, 1));
  if (images.shape[0] != labels.shape[0]) {
    return InvalidArgument("{} holds {} images, {} holds {} labels", options.images,
                           images.shape[0], options.labels, labels.shape[0]);
  }
  const std::size_t bytes = static_cast<std::size_t>(images.shape[1] * images.shape[2]);
  const std::size_t count = Limit(labels.data.size(), options.max);
  const auto next = [&,
                     at = std::size_t{0}](v1::LabeledImage& image) mutable -> absl::StatusOr<bool> {
    if (at == count) return false;
    v1::Tensor* pixels = image.mutable_image()->mutable_pixels();
    pixels->set_dtype(v1::DATA_TYPE_UINT8);
    for (const std::int64_t extent : {images.shape[1], images.shape[2], std::int64_t{1}}) {
      pixels->add_shape(extent);
    }
    pixels->set_data(images.data.data() + at * bytes, bytes);
    image.set_index(labels.data[at]);
    image.set_id(fmt::format("{}", at));
    ++at;
    return true;
  };
  return client.EvaluateImages(ToSpec(options, model), next, static_cast<std::int64_t>(count),
                               progress);
}

absl::StatusOr<v1::EvaluationReport> EvaluateRemote(const Options& options,
                                                    const v1::ModelSpec& model, Client& client,
                                                    const ProgressFn& progress) {
  v1::EvaluateRequest request;
  *request.mutable_spec() = ToSpec(options, model);
  request.set_max_images(options.max);
  if (!options.dataset.empty()) {
    request.mutable_stored()->set_name(options.dataset);
    if (options.split == "train") request.mutable_stored()->set_split(v1::TRAIN);
    if (options.split == "validation") request.mutable_stored()->set_split(v1::VALIDATION);
    if (options.split == "test") request.mutable_stored()->set_split(v1::TEST);
  } else if (!options.folder.empty()) {
    request.set_image_folder(options.folder);
  } else {
    request.mutable_idx()->set_images(options.images);
    request.mutable_idx()->set_labels(options.labels);
  }
  return client.Evaluate(request, progress);
}

std::string DescribeConfusion(const v1::EvaluationReport& report) {
  const int classes = report.classes_size();
  std::vector<Table::Column> columns = {{"LABEL \\ ANSWER"}};
  for (int c = 0; c < classes; ++c) columns.push_back({fmt::format("{}", c), Table::Align::kRight});
  Table table(std::move(columns));
  for (int r = 0; r < classes; ++r) {
    std::vector<std::string> row = {fmt::format("{} {}", r, report.classes(r).label())};
    for (int c = 0; c < classes; ++c)
      row.push_back(fmt::format("{}", report.confusion(r * classes + c)));
    table.Add(row);
  }
  return table.ToString();
}

std::string Describe(const v1::EvaluationReport& report, bool confusion) {
  std::string text = fmt::format(
      "{}, version {}, on {}\n  top-1 {} ({} correct)\n  top-5 {} ({} correct)\n  mean loss "
      "{:.4f}\n"
      "  {:.2f} s, {:.1f} images a second\n",
      report.model().model(), report.model().version(), FormatCount(report.images(), "image"),
      FormatPercent(report.top1()), report.top1_correct(), FormatPercent(report.top5()),
      report.top5_correct(), report.mean_loss(), report.seconds(), report.images_per_second());
  if (report.bad_images() > 0) {
    text += fmt::format("\n{} left out:\n", FormatCount(report.bad_images(), "bad image"));
    for (const v1::BadImage& bad : report.first_bad_images()) {
      text += fmt::format("  {}: {}\n", Printable(bad.id()), Printable(bad.error()));
    }
  }
  if (confusion && report.classes_size() <= kConfusionClasses) {
    text += "\n" + DescribeConfusion(report);
  } else if (confusion) {
    text += fmt::format("\nThe confusion of {} classes is too wide for a screen: use --json.\n",
                        report.classes_size());
  }
  return text;
}

absl::Status Evaluate(const Options& options, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const v1::ModelSpec model, ParseModelSpec(options.model));
  v1::EvaluationReport report;
  {
    Progress progress;
    const auto show = [&](const v1::EvaluationProgress& at) {
      progress.Update("evaluating", at.done(), at.total(),
                      fmt::format("{}{} images, top-1 {}", at.done(),
                                  at.total() > 0 ? fmt::format(" of {}", at.total()) : "",
                                  FormatPercent(at.top1())));
    };
    const bool there = options.remote || !options.dataset.empty();
    const auto evaluate = there                     ? EvaluateRemote
                          : !options.folder.empty() ? EvaluateFolder
                                                    : EvaluateIdx;
    ZOOD_ASSIGN_OR_RETURN(report, evaluate(options, model, session.client, show));
  }
  Print(session, report, Describe(report, options.confusion));
  if (report.bad_images() == 0 || options.skip_bad) return absl::OkStatus();
  return InvalidArgument("{} of {} cannot be used, the first '{}': {} (--skip-bad allows for it)",
                         FormatCount(report.bad_images(), "image"),
                         report.bad_images() + report.images(), report.first_bad_images(0).id(),
                         report.first_bad_images(0).error());
}

}  // namespace

void AddEvalCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand(
      "eval",
      "How good a model is on labeled images: a folder with one subdirectory for each class, a "
      "dataset of the daemon's, or MNIST's files.\nThe images are sent to the daemon unless "
      "--remote says that they lie on its "
      "machine.");
  const auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "The model")->required()->check(IsModelSpec());
  CLI::Option* folder =
      command->add_option("--folder", options->folder,
                          "A subdirectory for each class, called by its label or its number");
  CLI::Option* images =
      command->add_option("--images", options->images, "Images in MNIST's format");
  CLI::Option* labels =
      command->add_option("--labels", options->labels, "Labels in MNIST's format");
  CLI::Option* dataset =
      command->add_option("--dataset", options->dataset, "A dataset that the daemon keeps");
  command->add_option("--split", options->split, "Of the dataset: train, validation or test")
      ->check(CLI::IsMember({"train", "validation", "test"}))
      ->needs(dataset);
  folder->excludes(images)->excludes(labels)->excludes(dataset);
  dataset->excludes(images)->excludes(labels);
  images->needs(labels);
  labels->needs(images);
  command->add_flag("--remote", options->remote,
                    "Paths are on the daemon's machine, under its --model-root");
  command->add_option("--max", options->max, "Only the first so many images")
      ->check(CLI::PositiveNumber);
  command->add_option("--labels-offset", options->labels_offset,
                      "Added to the model's answer before it is compared");
  command->add_flag("--skip-bad", options->skip_bad,
                    "Bad images, which are left out and named, are no failure");
  command->add_flag("--confusion", options->confusion, "Print the confusion matrix too");
  command->callback([options, &invocation] {
    if (options->folder.empty() && options->images.empty() && options->dataset.empty()) {
      throw CLI::ValidationError("eval",
                                 "the images are missing: give --folder, --dataset, or --images "
                                 "and --labels");
    }
    invocation.action = [options](Session& session) { return Evaluate(*options, session); };
  });
}

}  // namespace zood::client::cli
