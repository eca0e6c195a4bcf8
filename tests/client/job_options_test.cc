// From a command line to the job that it asks for.
#include "client/cli/job_options.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <string>

#include "client/cli/choice.h"

namespace zood::client::cli {
namespace {

using testing::HasSubstr;

// Parses as `zoo finetune create` does; "DATASET" where the line names no dataset.
absl::StatusOr<v1::JobSpec> Spec(const std::string& line) {
  CLI::App app;
  JobOptions options{.dataset = "flowers"};
  AddJobOptions(app, options);
  try {
    app.parse(line);
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  return ToJobSpec(options);
}

void ExpectSpec(const std::string& line, const std::string& text) {
  v1::JobSpec expected;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &expected)) << text;
  const absl::StatusOr<v1::JobSpec> spec = Spec(line);
  ASSERT_TRUE(spec.ok()) << line << ": " << spec.status();
  google::protobuf::util::MessageDifferencer differencer;
  std::string difference;
  differencer.ReportDifferencesToString(&difference);
  EXPECT_TRUE(differencer.Compare(expected, *spec)) << line << ":\n" << difference;
}

void ExpectRefused(const std::string& line, const std::string& words) {
  EXPECT_THAT(std::string(Spec(line).status().message()), HasSubstr(words)) << line;
}

TEST(JobOptionsTest, WhatIsNotGivenIsLeftToTheDaemon) {
  ExpectSpec("--base resnet@3",
             "base { name: 'resnet' version: 3 } dataset: 'flowers' model: 'resnet-flowers'");
}

TEST(JobOptionsTest, FromScratch) {
  ExpectSpec("--arch lenet --size 28x32 --channels 1 --model digits",
             "network { architecture: 'lenet' height: 28 width: 32 channels: 1 } "
             "dataset: 'flowers' model: 'digits'");
}

TEST(JobOptionsTest, Method) {
  ExpectSpec(
      "-b a -m m -u all -o momentum:momentum=0.8,nesterov=true -l 0.5 --loss softmax "
      "--label-smoothing 0.125 --weight-decay 0 --keep-probability 0.5 --batch-norm-decay 0.75 "
      "--moving-average-decay 0.5 --aux-loss-weight 0.25 --augmentation inception:fast=true "
      "--clip-norm 2 --gradient-rule noise:scale=0.5 --seed 7 --batch 8 --accumulate 2",
      "base { name: 'a' } model: 'm' dataset: 'flowers' update { preset: ALL } "
      "optimizer { momentum { momentum: 0.8 nesterov: true } } "
      "learning_rate { constant { learning_rate: 0.5 } } "
      "loss { softmax_cross_entropy { label_smoothing: 0.125 } } weight_decay: 0 "
      "keep_probability: 0.5 batch_norm_decay: 0.75 moving_average_decay: 0.5 "
      "aux_loss_weight: 0.25 augmentation { inception { fast: true } } "
      "gradient_rules { noise { scale: 0.5 } } "
      "gradient_rules { clip_by_global_norm { max_norm: 2 } } "
      "seed: 7 batch_size: 8 accumulate: 2");
}

TEST(JobOptionsTest, PatternsOfVariables) {
  ExpectSpec("-b a -m m -u a/block4/ -u a/logits/",
             "base { name: 'a' } model: 'm' dataset: 'flowers' "
             "update { patterns { patterns: 'a/block4/' patterns: 'a/logits/' } }");
}

TEST(JobOptionsTest, Schedules) {
  ExpectSpec(
      "-b a -m m --schedule exponential:decay_rate=0.5,decay_length={epochs=2} -l 0.25 "
      "--warm-up 100steps",
      "base { name: 'a' } model: 'm' dataset: 'flowers' learning_rate { exponential { "
      "learning_rate: 0.25 decay_rate: 0.5 decay_length { epochs: 2 } } "
      "warm_up { steps: 100 } }");
  ExpectSpec("-b a -m m --schedule cosine",
             "base { name: 'a' } model: 'm' dataset: 'flowers' "
             "learning_rate { cosine { learning_rate: 0.01 } }");
}

TEST(JobOptionsTest, LengthsGatesAndResources) {
  ExpectSpec(
      "-b a -m m --epochs 2.5 --checkpoint-every 500steps --keep 2 --evaluate-every 50steps "
      "--evaluate-on test --patience 3 --min-improvement 0.25 --min-accuracy 0.5 --better-than "
      "stable --margin 0.125 --alias stable --threads 2 --memory 2GiB --feature-cache 1MiB",
      "base { name: 'a' } model: 'm' dataset: 'flowers' length { epochs: 2.5 } "
      "checkpoints { every_steps: 500 keep: 2 } evaluation { every { steps: 50 } split: TEST "
      "early_stop { patience: 3 min_improvement: 0.25 } } promotion { alias: 'stable' "
      "gates { minimum_accuracy { accuracy: 0.5 } } "
      "gates { better_than_alias { alias: 'stable' margin: 0.125 } } } "
      "resources { threads: 2 memory_bytes: 2147483648 feature_cache_bytes: 1048576 }");
  ExpectSpec("-b a -m m --steps 9 --checkpoint-every 10m --deadline 2026-11-24T18:00:00Z",
             "base { name: 'a' } model: 'm' dataset: 'flowers' length { steps: 9 } "
             "checkpoints { every { seconds: 600 } } deadline { seconds: 1795543200 }");
}

TEST(JobOptionsTest, OptionsCountMoreThanTheFile) {
  const std::string path = testing::TempDir() + "/job_options_test_spec";
  const std::string name = " --spec " + path;
  std::ofstream(path) << "base { name: 'b' } seed: 3 batch_size: 4\n"
                         "optimizer { adam { beta1: 0.5 epsilon: 0.25 } }";
  ExpectSpec("--batch 8 -m m --optimizer adam:beta1=0.75" + name,
             "base { name: 'b' } seed: 3 batch_size: 8 model: 'm' dataset: 'flowers' "
             "optimizer { adam { beta1: 0.75 epsilon: 0.25 } }");
  std::ofstream(path) << "\n {\"network\": {\"architecture\": \"lenet\"}, \"seed\": \"3\"}";
  ExpectSpec("-m m" + name,
             "network { architecture: 'lenet' } seed: 3 model: 'm' dataset: 'flowers'");
  std::ofstream(path) << "seeds: 3";
  ExpectRefused("-b a" + name, path + ": line 1");
  std::ofstream(path) << "{\"seeds\": 3}";
  ExpectRefused("-b a" + name, path);
  ExpectRefused("-b a --spec " + path + ".gone", "gone");
}

TEST(JobOptionsTest, SaysWhatIsWrong) {
  ExpectRefused("", "--base");
  ExpectRefused("--base a --arch b", "--arch");
  ExpectRefused("--base a@", "names no model");
  ExpectRefused("-b a --steps 3 --epochs 3", "--epochs");
  ExpectRefused("-b a -o ada", "expected sgd, momentum, adagrad, adadelta, adam");
  ExpectRefused("-b a -o adam:beta9=1", "beta9");
  ExpectRefused("-b a --schedule piecewise -l 0.5", "no learning_rate");
  ExpectRefused("-b a --loss hinge --label-smoothing 0.5", "no label_smoothing");
  ExpectRefused("-b a --warm-up 3x", "100steps");
  ExpectRefused("-b a --warm-up 1.5steps", "100steps");
  ExpectRefused("-b a --checkpoint-every 2epochs", "500steps");
  ExpectRefused("-b a --deadline soon", "2h");
  ExpectRefused("-b a --min-accuracy 90", "--min-accuracy");
  ExpectRefused("-b a --size big", "--size");
  ExpectRefused("-b a --batch 1.5", "--batch: '1.5' is no int32");
  ExpectRefused("-b a --seed -1", "--seed: '-1' is no uint64");
  ExpectRefused("-b a --learning-rate fast", "--learning-rate");
  ExpectRefused("-b a --batch 3 --batch 4", "--batch");
}

TEST(JobOptionsTest, ErrorsOfTheDaemonNameTheOption) {
  const auto named = [](const std::string& message) {
    return std::string(NameOptions(absl::InvalidArgumentError(message)).message());
  };
  EXPECT_EQ(named("4 of 20 ... allows (max_problem_share)"), "4 of 20 ... allows (--max-problems)");
  EXPECT_EQ(named("every class needs 2 (min_class_images)"),
            "every class needs 2 (--min-class-images)");
  EXPECT_EQ(named("a smaller batch_size or feature_cache_bytes needs less"),
            "a smaller --batch or --feature-cache needs less");
  EXPECT_EQ(named("checkpoints.keep is 0; expected 1 or more"), "--keep is 0; expected 1 or more");
  EXPECT_EQ(named("the variable 'net/batch_size_1' and my_batch_size"),
            "the variable 'net/batch_size_1' and my_batch_size");
  EXPECT_TRUE(NameOptions(absl::OkStatus()).ok());
}

TEST(ChoiceTest, NamesMayLackUnderscoresAndTheirEnd) {
  v1::Optimizer optimizer;
  EXPECT_TRUE(Choose("rmsprop:centered=true", "optimizer", optimizer).ok());
  EXPECT_TRUE(optimizer.rms_prop().centered());
  v1::LearningRate rate;
  // The whole name of one is the beginning of another.
  EXPECT_TRUE(Choose("cosine", "schedule", rate).ok());
  EXPECT_TRUE(rate.has_cosine());
  EXPECT_TRUE(Choose("natural", "schedule", rate).ok());
  EXPECT_TRUE(rate.has_natural_exponential());
  EXPECT_FALSE(Choose("", "schedule", rate).ok());
  EXPECT_FALSE(Choose("schedule", "schedule", rate).ok());
}

TEST(ChoiceTest, Durations) {
  EXPECT_EQ(ParseDuration("90s")->count(), 90);
  EXPECT_EQ(ParseDuration("1.5h")->count(), 5400);
  EXPECT_EQ(ParseDuration("1d")->count(), 86400);
  for (const char* text : {"", "h", "-1h", "3", "3 h", "nan s", "1e300d"}) {
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
  }
}

}  // namespace
}  // namespace zood::client::cli
