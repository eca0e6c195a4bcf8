// The options of `zoo finetune create` and their help.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <string>

#include "client/cli/choice.h"
#include "client/cli/job_options.h"

namespace zood::client::cli {
namespace {

std::string OneOf(const google::protobuf::Message& message, const std::string& oneof) {
  return fmt::format("{}", fmt::join(Choices(message, oneof), ", "));
}

void AddStart(CLI::App& command, JobOptions& options) {
  command
      .add_option("--spec", options.spec_file,
                  "The whole job as a zood.v1.JobSpec, JSON or protobuf's text format; options "
                  "count more")
      ->group("What to learn from");
  CLI::Option* base = command.add_option("-b,--base", options.base, "The model to start from")
                          ->check(IsModelSpec())
                          ->group("What to learn from");
  command
      .add_option("-a,--arch", options.architecture,
                  "Instead: a network of the zoo with initial values, to train from scratch")
      ->excludes(base)
      ->group("What to learn from");
  command.add_option("--size", options.size, "With --arch: input in pixels, 224 or HEIGHTxWIDTH")
      ->excludes(base)
      ->group("What to learn from");
  command.add_option("--channels", options.channels, "With --arch: input channels, 1 or 3")
      ->check(CLI::IsMember({1, 3}))
      ->excludes(base)
      ->group("What to learn from");
  command
      .add_option("--restore-from", options.restore_from,
                  "Take variables from this model, where it has them; may be given several times. "
                  "--spec can say more")
      ->check(IsModelSpec())
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("What to learn from");
  command
      .add_option("--max-problems", options.max_problems,
                  "Share of unreadable pictures to put up with (default: 0.01)")
      ->check(CLI::Range(0.0, 1.0))
      ->group("What to learn from");
  command
      .add_option("--min-class-images", options.min_class_images,
                  "Pictures to learn from that every class must have (default: 2)")
      ->check(CLI::PositiveNumber)
      ->group("What to learn from");
}

void AddMethod(CLI::App& command, JobOptions& options) {
  const std::string group = "How to learn";
  const auto add = [&](const std::string& name, auto& value, const std::string& help) {
    return command.add_option(name, value, help)->group(group);
  };
  add("-u,--update", options.update,
      "What changes: head, all, or patterns of variables' names; may be given several times "
      "(default: head, with --arch all)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add("-o,--optimizer", options.optimizer,
      OneOf(v1::Optimizer(), "optimizer") +
          " (default: momentum); with settings: adam:beta1=0.8,epsilon=0.1");
  add("-l,--learning-rate", options.learning_rate, "Of the first step (default: 0.01)")
      ->check(CLI::PositiveNumber);
  add("--schedule", options.schedule,
      OneOf(v1::LearningRate(), "schedule") +
          " (default: constant); with settings: exponential:decay_length={epochs=2}");
  add("--warm-up", options.warm_up, "Rise from zero over this length: 1epochs, 100steps");
  add("--loss", options.loss, OneOf(v1::Loss(), "loss") + " (default: softmax_cross_entropy)");
  add("--label-smoothing", options.label_smoothing, "Of a cross entropy")
      ->check(CLI::Range(0.0, 1.0));
  add("--aux-loss-weight", options.aux_loss_weight,
      "Of the auxiliary classifier's loss (default: 0.4)");
  add("--clip-norm", options.clip_norm, "Clip all gradients to this global norm")
      ->check(CLI::PositiveNumber);
  add("--gradient-rule", options.gradient_rules,
      OneOf(v1::GradientRule(), "rule") +
          ", in the order given: noise:scale=0.01. May be given several times")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add("--weight-decay", options.weight_decay, "L2 scale (default: the network's own)")
      ->check(CLI::NonNegativeNumber);
  add("--keep-probability", options.keep_probability,
      "Share that dropouts keep (default: the network's own)")
      ->check(CLI::Range(0.0, 1.0));
  add("--batch-norm-decay", options.batch_norm_decay,
      "Of moving statistics (default: the network's own)")
      ->check(CLI::Range(0.0, 1.0));
  add("--moving-average-decay", options.moving_average_decay,
      "Keep moving averages of the variables; they become the result")
      ->check(CLI::Range(0.0, 1.0));
  add("--augmentation", options.augmentation,
      OneOf(v1::Augmentation(), "augmentation") + " (default: none); inception:fast=true");
  add("--seed", options.seed, "Decides everything random (default: 0)");
}

void AddLength(CLI::App& command, JobOptions& options) {
  const std::string group = "How long";
  CLI::Option* epochs =
      command.add_option("-e,--epochs", options.epochs, "Passes over the pictures (default: 10)")
          ->check(CLI::PositiveNumber)
          ->group(group);
  command.add_option("--steps", options.steps, "Instead: steps")
      ->check(CLI::PositiveNumber)
      ->excludes(epochs)
      ->group(group);
  const auto add = [&](const std::string& name, auto& value, const std::string& help) {
    return command.add_option(name, value, help)->group(group);
  };
  add("--batch", options.batch, "Pictures computed together (default: 32)")
      ->check(CLI::PositiveNumber);
  add("--accumulate", options.accumulate, "Batches that make one step (default: 1)")
      ->check(CLI::PositiveNumber);
  add("--patience", options.patience,
      "Stop after so many evaluations without improvement, and take the best")
      ->check(CLI::PositiveNumber);
  add("--min-improvement", options.min_improvement, "Of the accuracy that counts as one");
  add("--deadline", options.deadline, "A job not done by then fails: 2h, 2026-11-24T18:00:00Z");
  add("--checkpoint-every", options.checkpoint_every, "500steps, or 10m (default: 10m)");
  add("--keep", options.keep, "Checkpoints to keep (default: 3)")->check(CLI::PositiveNumber);
  add("--threads", options.threads, "Cores to use (default: all)")->check(CLI::PositiveNumber);
  add("--memory", options.memory, "Memory the job may take: 4GiB")
      ->transform(CLI::AsSizeValue(false));
  add("--feature-cache", options.feature_cache,
      "Part of it for what is computed once for each picture (default: 1GiB)")
      ->transform(CLI::AsSizeValue(false));
}

void AddResult(CLI::App& command, JobOptions& options) {
  const std::string group = "What becomes of it";
  const auto add = [&](const std::string& name, auto& value, const std::string& help) {
    return command.add_option(name, value, help)->group(group);
  };
  add("-m,--model", options.model,
      "The model that the result is a version of (default: BASE-DATA)");
  add("--alias", options.alias, "Point this alias at the result when it passes its gates");
  add("--min-accuracy", options.min_accuracy, "Gate: top-1 on held-out pictures, 0 to 1")
      ->check(CLI::Range(0.0, 1.0));
  CLI::Option* better =
      add("--better-than", options.better_than,
          "Gate: as good as the version that this alias names, on the same pictures");
  add("--margin", options.margin, "Better by so much")->check(CLI::Range(-1.0, 1.0))->needs(better);
  add("--evaluate-every", options.evaluate_every, "1epochs, 100steps (default: 1epochs)");
  add("--evaluate-on", options.evaluate_on, "validation or test (default: validation, if there)")
      ->check(CLI::IsMember({"validation", "test"}));
  add("--note", options.note, "Words to keep with the versions");
}

}  // namespace

void AddJobOptions(CLI::App& command, JobOptions& options) {
  AddStart(command, options);
  AddMethod(command, options);
  AddLength(command, options);
  AddResult(command, options);
}

}  // namespace zood::client::cli
