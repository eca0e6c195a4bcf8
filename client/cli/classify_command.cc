// zoo classify: what is in photos.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "client/cli/invocation.h"
#include "client/cli/progress.h"
#include "client/cli/tables/table.h"
#include "client/status.h"

namespace zood::client::cli {
namespace {

struct Options {
  std::string model;
  std::vector<std::string> photos;
  ClassifyOptions classify;
};

double Milliseconds(const v1::Timing& timing) {
  return timing.decode_ms() + timing.preprocess_ms() + timing.queue_ms() + timing.compute_ms();
}

std::string Describe(const v1::ClassifyResponse& answer, const std::vector<std::string>& photos) {
  Table table({{"IMAGE"},
               {"LABEL"},
               {"PROBABILITY", Table::Align::kRight},
               {"TIME", Table::Align::kRight}});
  double compute = 0;
  int answered = 0;
  for (int i = 0; i < answer.results_size(); ++i) {
    const v1::ImageResult& result = answer.results(i);
    if (result.has_error()) continue;
    ++answered;
    compute += result.timing().compute_ms() / std::max(1, result.batch_size());
    std::string photo = photos[static_cast<std::size_t>(i)];
    std::string time = FormatMilliseconds(Milliseconds(result.timing()));
    if (result.classes().empty()) table.Add({photo, "(none above the threshold)", "", time});
    for (const v1::Class& entry : result.classes()) {
      table.Add({photo, entry.label(), FormatPercent(entry.probability()), time});
      photo.clear();  // once for each image
      time.clear();
    }
  }
  std::string text = table.ToString();
  for (int i = 0; i < answer.results_size(); ++i) {
    for (const v1::EndPoint& point : answer.results(i).end_points()) {
      text += fmt::format("{}: {} is [{}]; --json prints its values\n",
                          Printable(photos[static_cast<std::size_t>(i)]), Printable(point.name()),
                          fmt::join(point.value().shape(), ", "));
    }
  }
  return text + fmt::format("\n{} by {}, version {}, in {} ({} computing)\n",
                            FormatCount(answered, "image"), answer.model().model(),
                            answer.model().version(), FormatMilliseconds(answer.total_ms()),
                            FormatMilliseconds(compute));
}

// Prints what was answered. An error, after naming the others on standard error, when an image has
// no answer.
absl::Status Report(const Session& session, const v1::ClassifyResponse& answer,
                    const std::vector<std::string>& photos) {
  if (answer.results_size() != static_cast<int>(photos.size())) {
    return Internal("the daemon answered {} results for {} images", answer.results_size(),
                    photos.size());
  }
  std::vector<absl::Status> errors;
  for (int i = 0; i < answer.results_size(); ++i) {
    if (!answer.results(i).has_error()) continue;
    const v1::Error& error = answer.results(i).error();
    const std::string& photo = photos[static_cast<std::size_t>(i)];
    const std::string prefix = error.message().find(photo) == std::string::npos ? photo + ": " : "";
    errors.emplace_back(static_cast<absl::StatusCode>(error.code()), prefix + error.message());
  }
  if (session.json || errors.size() < photos.size()) {
    Print(session, answer, Describe(answer, photos));
  }
  if (errors.empty()) return absl::OkStatus();
  if (errors.size() == 1) return errors.front();
  std::fflush(stdout);
  for (const absl::Status& error : errors) {
    fmt::print(stderr, "zoo: {}\n", Printable(std::string(error.message())));
  }
  return InvalidArgument("{} of {} images have no answer", errors.size(), photos.size());
}

// Of standard input, which is read up to a limit: more is no photo.
absl::StatusOr<std::string> ReadInput() {
  constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
  std::string bytes;
  std::array<char, 65536> block;
  while (const std::size_t read = std::fread(block.data(), 1, block.size(), stdin)) {
    bytes.append(block.data(), read);
    if (bytes.size() > kMaxBytes) return InvalidArgument("standard input: more than 256 MiB");
  }
  if (std::ferror(stdin) != 0) return Unavailable("standard input cannot be read");
  if (bytes.empty()) return InvalidArgument("standard input is empty: expected an image");
  return bytes;
}

absl::Status ClassifyInput(const Options& options, const v1::ModelSpec& model, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const std::string image, ReadInput());
  const auto answer = session.client.ClassifyBytes(model, {image}, options.classify);
  if (!answer.ok()) return NameImage(answer.status(), std::vector<std::string>{"standard input"});
  return Report(session, *answer, {"standard input"});
}

absl::Status Classify(const Options& options, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const v1::ModelSpec model, ParseModelSpec(options.model));
  if (options.photos == std::vector<std::string>{"-"}) {
    return ClassifyInput(options, model, session);
  }
  v1::ClassifyResponse answer;
  {
    Progress progress;
    const auto report = [&](std::int64_t done, std::int64_t total) {
      if (done < total) {
        progress.Update("classifying", done, total, fmt::format("{} of {} images", done, total));
      }
    };
    ZOOD_ASSIGN_OR_RETURN(
        answer, session.client.ClassifyFiles(model, options.photos, options.classify, report));
  }
  return Report(session, answer, options.photos);
}

}  // namespace

void AddClassifyCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand(
      "classify",
      "What is in photos (JPEG, PNG, GIF, WebP, BMP). One that cannot be classified is named, "
      "with exit code 1; the others are answered all the same");
  const auto options = std::make_shared<Options>();
  options->classify.outcome_per_image = true;
  command->add_option("model", options->model, "The model")->required()->check(IsModelSpec());
  command->add_option("photo", options->photos, "Image files, or - for standard input")->required();
  command->add_option("-k,--top", options->classify.top_k, "Classes to print for each image")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--threshold", options->classify.threshold,
                   "Leave out classes less probable than this (0 to 1)")
      ->check(CLI::Range(0.0, 1.0));
  command
      ->add_option("--end-point", options->classify.end_points,
                   "Answer this intermediate result too; may be given several times. "
                   "`zoo show MODEL` lists them")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--logits", options->classify.logits,
                    "Answer the outputs before the softmax too (in JSON)");
  command->callback([options, &invocation] {
    invocation.action = [options](Session& session) { return Classify(*options, session); };
  });
}

}  // namespace zood::client::cli
