// The stored form of a job's spec, and what one list of fields makes of each option.
#include "jobs/job_spec.h"

#include <gmock/gmock.h>

#include <limits>

namespace zood::jobs {
namespace {

using ::testing::HasSubstr;

JobSpec Full() {
  JobSpec spec;
  spec.start = VersionChoice{.name = "base", .version = 3};
  spec.dataset = "flowers";
  spec.model = "mine";
  spec.seed = std::numeric_limits<std::uint64_t>::max();
  spec.training.optimizer = train::AdamOptions{.beta1 = 0.1f, .epsilon = 1e-7f};
  spec.training.learning_rate.schedule =
      Exponential{{.learning_rate = 0.3f, .decay_length = Length{.epochs = 2.5}}};
  spec.training.learning_rate.warm_up = Length{.steps = 100};
  spec.training.loss = SigmoidCrossEntropy{.label_smoothing = 0.1f};
  spec.training.gradient_rules = {train::AdaptiveClippingOptions{.static_max_norm = 4.0f},
                                  Multipliers{{{"a/*", 2.0f}}}, ClipByGlobalNorm{1.5f}};
  spec.training.weight_decay = 0.0f;
  spec.training.update = UpdatePatterns{{"a/", "b/"}};
  spec.training.augmentation = train::VggTrain{.min_side = 256, .max_side = 512};
  spec.promotion.gates = {MinimumAccuracy{0.9}, BetterThanAlias{"stable", -0.01}};
  spec.evaluation.split = dataset::Split::kTest;
  spec.evaluation.early_stop = EarlyStop{.patience = 3, .min_improvement = 0.001};
  spec.deadline_us = 1'795'543'200'000'001;
  spec.restore.emplace();
  spec.restore->sources.push_back({.from = VersionChoice{.name = "old", .alias = "stable"},
                                   .include = {"x/"},
                                   .names = {{"a", "b"}},
                                   .renames = {{"(.*)", "\\1"}},
                                   .missing_allowed = true});
  GivenValues given;
  given.tensors.emplace("w", *Tensor::FromVector<float>(Shape{2, 1}, {1.5f, -2.0f}));
  given.tensors.emplace("v", *Tensor::FromVector<float>(Shape{1}, {7.0f}));
  spec.restore->sources.push_back({.from = std::move(given)});
  return spec;
}

TEST(JobSpecTest, TheStoredFormKeepsEverything) {
  const std::string stored = Encode(Full());
  const absl::StatusOr<JobSpec> read = DecodeJobSpec(stored);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(Encode(*read), stored);
  EXPECT_EQ(ToJson(*read), ToJson(Full()));
  EXPECT_EQ(read->seed, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(read->deadline_us, Full().deadline_us);
  const auto& adam = std::get<train::AdamOptions>(read->training.optimizer);
  EXPECT_EQ(adam.beta1, 0.1f);
  EXPECT_EQ(adam.beta2, train::AdamOptions().beta2);
  EXPECT_EQ(adam.epsilon, 1e-7f);
  const auto& given = std::get<GivenValues>(read->restore->sources[1].from);
  EXPECT_EQ(given.tensors.at("w").shape(), (Shape{2, 1}));
  EXPECT_EQ(given.tensors.at("w").values<float>()[1], -2.0f);
  EXPECT_EQ(given.tensors.at("v").values<float>()[0], 7.0f);
}

TEST(JobSpecTest, WhatIsAbsentTakesItsDefault) {
  const absl::StatusOr<JobSpec> spec = JobSpecFromJson("{}");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(ToJson(*spec), ToJson(JobSpec()));
  EXPECT_EQ(spec->training.length.epochs, 10);
  // One of a oneof takes the place of the other, defaults included.
  const auto steps = JobSpecFromJson(R"({"length": {"steps": "7"}, "checkpoints": {"keep": 2},
                                         "future_option": {"x": 1}})");
  ASSERT_TRUE(steps.ok()) << steps.status();
  EXPECT_EQ(steps->training.length.steps, 7);
  EXPECT_EQ(steps->training.length.epochs, 0);
  EXPECT_EQ(steps->checkpoints.every, std::chrono::minutes(10));
  EXPECT_EQ(JobSpecFromJson(R"({"checkpoints": {"every_steps": 5}})")->checkpoints.every.count(),
            0);
}

TEST(JobSpecTest, ErrorsNameTheField) {
  const auto message = [](const std::string& json) {
    const auto spec = JobSpecFromJson(json);
    EXPECT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument) << json;
    return std::string(spec.status().message());
  };
  EXPECT_THAT(message(R"({"batch_size": "many"})"), HasSubstr("batch_size"));
  EXPECT_THAT(message(R"({"batch_size": 3000000000})"), HasSubstr("batch_size"));
  EXPECT_THAT(message(R"({"resources": {"memory_bytes": -1}})"),
              HasSubstr("resources.memory_bytes: expected a whole number, 0 or above"));
  EXPECT_THAT(message(R"({"gradient_rules": [{"noise": {"scale": true}}]})"),
              HasSubstr("gradient_rules[0].noise.scale"));
  EXPECT_THAT(message(R"({"evaluation": {"split": "EVERY"}})"), HasSubstr("evaluation.split"));
  EXPECT_THAT(message(R"({"restore": 3})"), HasSubstr("restore: expected an object"));
  EXPECT_THAT(message(R"({"deadline": "soon"})"), HasSubstr("deadline"));
  EXPECT_THAT(message("[]"), HasSubstr("object"));
  EXPECT_THAT(message("{"), HasSubstr("object"));
}

TEST(JobSpecTest, DamagedFormsAreToldApart) {
  const std::string stored = Encode(Full());
  const auto code = [](const std::string& text) { return DecodeJobSpec(text).status().code(); };
  EXPECT_EQ(code(""), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("{}\n"), absl::StatusCode::kDataLoss) << "no format";
  EXPECT_EQ(code(stored.substr(0, stored.size() - 1)), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code(stored.substr(0, stored.find('\n'))), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code(R"({"format": 2, "spec": {}})"
                 "\n"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(code(R"({"format":1,"spec":{},"values":[{"source":9,"name":"w","shape":[1]}]})"
                 "\nabcd"),
            absl::StatusCode::kDataLoss);
}

TEST(TrainingOptionsTest, EachChoiceMakesItsObject) {
  const auto optimizer = [](const std::string& json) {
    return MakeOptimizer(JobSpecFromJson(R"({"optimizer": )" + json + "}")->training.optimizer);
  };
  for (const char* name : {"momentum", "sgd", "adagrad", "adadelta", "adam", "ftrl", "rms_prop"}) {
    const auto made = optimizer(std::string(R"({")") + name + R"(": {}})");
    EXPECT_TRUE(made.ok()) << name << ": " << made.status();
  }
  EXPECT_FALSE(optimizer(R"({"momentum": {"momentum": "NaN"}})").ok());
  EXPECT_FALSE(MakeGradientRule(GradientRule(), 0).ok());
  EXPECT_FALSE(MakeSchedule({.schedule = Exponential{}}, {.steps = 10, .steps_per_epoch = 2}).ok())
      << "its length is missing";
  const auto rate =
      MakeSchedule({.schedule = Cosine{.learning_rate = 1}}, {.steps = 10, .steps_per_epoch = 2});
  ASSERT_TRUE(rate.ok()) << rate.status();
  EXPECT_NEAR((*rate)->LearningRate(5), 0.5f, 1e-6f) << "over the whole phase";
}

}  // namespace
}  // namespace zood::jobs
