#include "train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "tests/support/status_testing.h"
#include "tiny_training.h"
#include "train/math/moving_average.h"

namespace zood::train {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

StepReport MustStep(Trainer& trainer) { return zood::ValueOf(trainer.Step()); }

void MustSteps(Trainer& trainer, int count) {
  for (int i = 0; i < count; ++i) MustStep(trainer);
}

TensorMap MustSave(const Trainer& trainer) { return zood::ValueOf(trainer.Save()); }

// Everything that has a state, or is random.
TrainerOptions EverythingOn() {
  TrainerOptions options = TinyOptions();
  options.moving_average_decay = 0.9;
  options.augmentation = CifarnetTrain{.padding = 2};
  options.gradient_rules = {*GradientNoise(0.01f, 5), *AdaptiveClipping({})};
  options.optimizer = *Adam({});
  options.accumulate = 2;
  return options;
}

TEST(TrainerTest, LearnsColors) {
  for (const bool auxiliary : {false, true}) {
    const auto trainer = TinyTrainer(TinyOptions(), TinyNetwork(auxiliary));
    ASSERT_TRUE(trainer);
    const double before = MustStep(*trainer).loss;
    MustSteps(*trainer, 60);
    const StepReport report = MustStep(*trainer);
    EXPECT_LT(report.loss, before / 3);
    EXPECT_EQ(report.step, 62);
    EXPECT_EQ(trainer->step(), 62);
    EXPECT_EQ(report.learning_rate, 0.02f);
    EXPECT_EQ(report.auxiliary > 0, auxiliary);
    EXPECT_EQ(report.total, report.loss + report.auxiliary + report.regularization);
    EXPECT_NEAR(trainer->steps_per_epoch(), 6, 1e-12);
    ASSERT_OK_AND_ASSIGN(const auto evaluation,
                         trainer->Evaluate(dataset::Split::kValidation, {}, false));
    EXPECT_EQ(evaluation.items, 9);
    EXPECT_GE(evaluation.top1, 0.8);
  }
}

// 20 steps at once, against 8, a new trainer, and 12 more: every bit of the state is equal.
TEST(TrainerTest, ResumesBitForBit) {
  const auto graph = TinyNetwork();
  const std::pair<const char*, TrainerOptions> cases[] = {{"momentum", TinyOptions()},
                                                          {"everything on", EverythingOn()},
                                                          {"features", [] {
                                                             TrainerOptions options = TinyOptions();
                                                             options.update = {"tiny/logits"};
                                                             return options;
                                                           }()}};
  for (const auto& [what, options] : cases) {
    SCOPED_TRACE(what);
    const auto whole = TinyTrainer(options, graph);
    const auto first = TinyTrainer(options, graph);
    const auto second = TinyTrainer(options, graph);
    ASSERT_TRUE(whole && first && second);
    MustSteps(*whole, 20);
    MustSteps(*first, 8);
    const TensorMap saved = MustSave(*first);
    MustSteps(*second, 3);  // what Restore() replaces
    ASSERT_TRUE(second->Restore(saved).ok());
    EXPECT_EQ(second->step(), 8);
    EXPECT_THAT(Changed(MustSave(*second), saved), IsEmpty());
    MustSteps(*second, 12);
    EXPECT_THAT(Changed(MustSave(*second), MustSave(*whole)), IsEmpty());
    MustSteps(*first, 12);  // Save() has no part in it
    EXPECT_THAT(Changed(MustSave(*first), MustSave(*whole)), IsEmpty());
  }
}

TEST(TrainerTest, TheSeedDecides) {
  TrainerOptions options = TinyOptions();
  const auto graph = TinyNetwork();
  const auto a = TinyTrainer(options, graph);
  options.seed = 12;
  const auto b = TinyTrainer(options, graph);
  MustStep(*a);
  MustStep(*b);
  EXPECT_EQ(Changed(MustSave(*a), MustSave(*b)).size(), MustSave(*a).size() - 1);  // the step
}

TEST(TrainerTest, ChangesExactlyWhatThePatternsName) {
  const auto graph = TinyNetwork();
  const TensorMap before = InitialWeights(*graph);
  const std::pair<std::vector<std::string>, std::vector<std::string>> cases[] = {
      {{},
       {"tiny/conv1/BatchNorm/beta", "tiny/conv1/BatchNorm/gamma",
        "tiny/conv1/BatchNorm/moving_mean", "tiny/conv1/BatchNorm/moving_variance",
        "tiny/conv1/weights", "tiny/conv2/BatchNorm/beta", "tiny/conv2/BatchNorm/gamma",
        "tiny/conv2/BatchNorm/moving_mean", "tiny/conv2/BatchNorm/moving_variance",
        "tiny/conv2/weights", "tiny/logits/biases", "tiny/logits/weights"}},
      {{"tiny/logits"}, {"tiny/logits/biases", "tiny/logits/weights"}},
      {{"tiny/conv2/BatchNorm"},
       {"tiny/conv2/BatchNorm/beta", "tiny/conv2/BatchNorm/gamma",
        "tiny/conv2/BatchNorm/moving_mean", "tiny/conv2/BatchNorm/moving_variance"}},
      {{"tiny/conv1/weights", "tiny/logits/biases"}, {"tiny/conv1/weights", "tiny/logits/biases"}},
      {{".*/BatchNorm/moving", ".*biases"},
       {"tiny/conv1/BatchNorm/moving_mean", "tiny/conv1/BatchNorm/moving_variance",
        "tiny/conv2/BatchNorm/moving_mean", "tiny/conv2/BatchNorm/moving_variance",
        "tiny/logits/biases"}}};
  for (const auto& [patterns, expected] : cases) {
    TrainerOptions options = TinyOptions();
    options.update = patterns;
    const auto trainer = TinyTrainer(options, graph);
    ASSERT_TRUE(trainer);
    MustSteps(*trainer, 2);
    EXPECT_EQ(Changed(before, *trainer->Weights()), expected);
    std::vector<std::string> updated = trainer->updated_variables();
    std::ranges::sort(updated);
    EXPECT_EQ(updated, expected);
  }
}

// Gradients as the optimizer gets them; this rule changes nothing.
class Recorder : public GradientRule {
 public:
  std::string name() const override { return "recorder"; }
  absl::Status Apply(std::int64_t, std::span<const Gradient> gradients,
                     std::span<float>) const override {
    seen.clear();
    for (const Gradient& gradient : gradients) {
      seen[std::string(gradient.variable)].assign(gradient.values.begin(), gradient.values.end());
    }
    norm = *GlobalNorm(gradients);
    return absl::OkStatus();
  }
  mutable std::map<std::string, std::vector<float>> seen;
  mutable double norm = 0;
};

TEST(TrainerTest, AppliesRulesThenTheOptimizer) {
  const auto before_clip = std::make_shared<Recorder>(), after_clip = std::make_shared<Recorder>();
  TrainerOptions options = TinyOptions();
  options.optimizer = Sgd();
  options.gradient_rules = {before_clip, *ClipByGlobalNorm(0.01f), after_clip};
  const auto graph = TinyNetwork();
  const auto trainer = TinyTrainer(options, graph);
  ASSERT_TRUE(trainer);
  TensorMap weights = *trainer->Weights();
  const StepReport report = MustStep(*trainer);
  EXPECT_NEAR(report.gradient_norm, before_clip->norm, 1e-9 * before_clip->norm);
  EXPECT_NEAR(after_clip->norm, 0.01, 1e-6);
  const TensorMap moved = *trainer->Weights();
  EXPECT_EQ(after_clip->seen.size(), 8u);  // the trainable ones
  for (const auto& [name, gradient] : after_clip->seen) {
    const auto from = weights.at(name).values<float>(), to = moved.at(name).values<float>();
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      ASSERT_EQ(to[i], from[i] - 0.02f * gradient[i]) << name << " " << i;
    }
  }
}

// optimize_loss's order: noise, multipliers, the norm that is reported, clipping.
TEST(TrainerTest, ReportsTheNormBeforeClipping) {
  const auto after_noise = std::make_shared<Recorder>(), at_the_end = std::make_shared<Recorder>();
  TrainerOptions options = TinyOptions();
  const GradientRulePtr noise = *GradientNoise(0.1f, 3),
                        multipliers = *GradientMultipliers({{"tiny/logits/*", 10}});
  const std::vector<GradientRulePtr> cases[] = {
      {noise, multipliers, after_noise, *ClipByValue(-0.1f, 0.1f), *ClipByGlobalNorm(0.01f),
       at_the_end},
      {noise, multipliers, after_noise, *ClipByNorm(0.01f), multipliers, at_the_end},
      {noise, multipliers, after_noise, *AdaptiveClipping({.static_max_norm = 0.01f}), at_the_end},
      {noise, multipliers, after_noise}};
  for (const auto& rules : cases) {
    options.gradient_rules = rules;
    const auto trainer = TinyTrainer(options, TinyNetwork());
    ASSERT_TRUE(trainer);
    const StepReport report = MustStep(*trainer);
    EXPECT_NEAR(report.gradient_norm, after_noise->norm, 1e-9 * after_noise->norm);
    const std::vector<VariableNorm> norms = trainer->gradient_norms();
    EXPECT_EQ(norms.size(), after_noise->seen.size());
    double squares = 0;
    for (const auto& [name, norm] : norms) {
      std::vector<float> values = after_noise->seen.at(name);
      const Gradient gradient = {name, values};
      EXPECT_NEAR(norm, *GlobalNorm(std::span(&gradient, 1)), 1e-9 * norm) << name;
      squares += norm * norm;
    }
    EXPECT_NEAR(std::sqrt(squares), report.gradient_norm, 1e-9 * report.gradient_norm);
  }
  EXPECT_THAT(TinyTrainer(TinyOptions(), TinyNetwork())->gradient_norms(), IsEmpty());
}

// The auxiliary head's own gradient is its weight times that of its loss, and what lies below both
// heads gets the sum.
TEST(TrainerTest, WeighsTheAuxiliaryLossAndItsGradient) {
  const auto graph = TinyNetwork(/*auxiliary=*/true);
  TrainerOptions options = TinyOptions();
  options.weight_decay = 0;
  std::map<float, std::map<std::string, std::vector<float>>> gradients;
  std::map<float, StepReport> reports;
  for (const float weight : {0.0f, 0.4f, 1.0f}) {
    const auto recorder = std::make_shared<Recorder>();
    options.gradient_rules = {recorder};
    if (weight != 0.4f) options.aux_loss_weight = weight;  // 0.4 is slim's and the default
    if (weight == 0.4f) options.aux_loss_weight = TrainerOptions().aux_loss_weight;
    const auto trainer = TinyTrainer(options, graph);
    ASSERT_TRUE(trainer);
    reports[weight] = MustStep(*trainer);
    gradients[weight] = recorder->seen;
  }
  EXPECT_EQ(reports[0].auxiliary, 0);
  EXPECT_GT(reports[1].auxiliary, 0.1);
  EXPECT_NEAR(reports[0.4f].auxiliary, 0.4 * reports[1].auxiliary, 1e-6);
  EXPECT_NEAR(reports[0.4f].total, reports[0].total + 0.4 * reports[1].auxiliary, 1e-6);
  for (const auto& [name, weighted] : gradients[0.4f]) {
    const std::vector<float>&none = gradients[0].at(name), &whole = gradients[1].at(name);
    double largest = 0;
    for (std::size_t i = 0; i < weighted.size(); ++i) {
      largest = std::max<double>(largest, std::abs(whole[i]));
      ASSERT_NEAR(weighted[i], none[i] + 0.4 * (whole[i] - none[i]), 1e-6) << name << " " << i;
    }
    EXPECT_GT(largest, 1e-4) << name;
    if (name.starts_with("tiny/aux")) {
      EXPECT_THAT(none, ::testing::Each(0));
    }
  }
}

TEST(TrainerTest, RegularizationIsOfAllVariablesAndDecaysTheTrainedOnes) {
  const auto recorder = std::make_shared<Recorder>();
  TrainerOptions options = TinyOptions();
  options.update = {"tiny/logits"};
  options.gradient_rules = {recorder};
  const auto graph = TinyNetwork();
  const TensorMap weights = InitialWeights(*graph);
  double squares = 0;
  for (const char* name : {"tiny/conv1/weights", "tiny/conv2/weights", "tiny/logits/weights"}) {
    for (const float w : weights.at(name).values<float>()) squares += double{w} * w;
  }
  std::map<std::string, std::vector<float>> without;
  for (const std::optional<float> decay : {std::optional<float>(0), {}, {0.5f}}) {
    options.weight_decay = decay;
    const auto trainer = TinyTrainer(options, graph);
    ASSERT_TRUE(trainer);
    const double scale = decay.value_or(0.001f);
    EXPECT_NEAR(MustStep(*trainer).regularization, 0.5 * scale * squares, 1e-6 * scale * squares);
    if (without.empty()) without = recorder->seen;
    const auto values = weights.at("tiny/logits/weights").values<float>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(recorder->seen["tiny/logits/weights"][i],
                  without["tiny/logits/weights"][i] + scale * values[i], 1e-6);
    }
    EXPECT_EQ(recorder->seen["tiny/logits/biases"], without["tiny/logits/biases"]);
  }
}

// Without dropout and batch statistics, two micro-batches are one batch of twice the size.
TEST(TrainerTest, AccumulatesGradients) {
  const auto graph = TinyNetwork();
  TrainerOptions options = TinyOptions();
  options.update = {"tiny/.*weights"};
  options.keep_probability = 1;
  const auto whole = std::make_shared<Recorder>(), parts = std::make_shared<Recorder>();
  options.gradient_rules = {whole};
  const auto at_once = TinyTrainer(options, graph);
  options.batch_size = 3;
  options.accumulate = 2;
  options.gradient_rules = {parts};
  const auto accumulated = TinyTrainer(options, graph);
  ASSERT_TRUE(at_once && accumulated);
  const StepReport a = MustStep(*at_once), b = MustStep(*accumulated);
  EXPECT_NEAR(a.loss, b.loss, 1e-5 * a.loss);
  EXPECT_NEAR(a.accuracy, b.accuracy, 1e-12);
  EXPECT_NEAR(a.regularization, b.regularization, 1e-9);
  EXPECT_EQ(accumulated->steps_per_epoch(), at_once->steps_per_epoch());
  for (const auto& [name, gradient] : whole->seen) {
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      ASSERT_NEAR(parts->seen[name][i], gradient[i], 1e-5) << name;
    }
  }
}

// Shadows follow the variables that the step has updated, with the new step as num_updates.
TEST(TrainerTest, KeepsMovingAverages) {
  TrainerOptions options = TinyOptions();
  options.moving_average_decay = 0.99;
  options.update = {"tiny/logits", "tiny/conv2"};
  const auto graph = TinyNetwork();
  const auto trainer = TinyTrainer(options, graph);
  ASSERT_TRUE(trainer);
  const TensorMap initial = *trainer->Weights();
  EXPECT_THAT(Changed(initial, *trainer->Weights(true)), IsEmpty());
  const std::string name = "tiny/conv2/BatchNorm/moving_mean";
  std::vector<float> shadow(initial.at(name).values<float>().begin(),
                            initial.at(name).values<float>().end());
  for (int step = 1; step <= 4; ++step) {
    MustStep(*trainer);
    const TensorMap weights = *trainer->Weights();
    const auto values = weights.at(name).values<float>();
    const double decay = std::min(0.99, (1.0 + step) / (10.0 + step));
    for (std::size_t i = 0; i < shadow.size(); ++i) {
      shadow[i] -= (shadow[i] - values[i]) * static_cast<float>(1 - decay);
    }
  }
  const TensorMap averaged = *trainer->Weights(true), saved = MustSave(*trainer);
  for (const TensorMap& map :
       {averaged, TensorMap{{name, saved.at(MovingAverage::NameFor(name))}}}) {
    const auto kept = map.at(name).values<float>();
    EXPECT_EQ(std::vector<float>(kept.begin(), kept.end()), shadow);
  }
  // Of what never changes too, so that TensorFlow finds an average of every variable.
  EXPECT_THAT(Changed({{"x", saved.at("tiny/conv1/weights")}},
                      {{"x", saved.at("tiny/conv1/weights/ExponentialMovingAverage")}}),
              IsEmpty());
  const auto evaluation = trainer->Evaluate(dataset::Split::kValidation, {}, true);
  EXPECT_TRUE(evaluation.ok());
  EXPECT_FALSE(TinyTrainer(TinyOptions(), graph)->Weights(true).ok());
}

TEST(TrainerTest, SavesUnderTensorFlowsNames) {
  TrainerOptions options = TinyOptions();
  options.optimizer = *Adam({});
  options.update = {"tiny/logits/biases"};
  options.gradient_rules = {*AdaptiveClipping({})};
  const auto graph = TinyNetwork();
  const auto trainer = TinyTrainer(options, graph);
  ASSERT_TRUE(trainer);
  MustSteps(*trainer, 2);
  TensorMap saved = MustSave(*trainer);
  EXPECT_EQ(saved.at("global_step").dtype(), DType::kInt64);
  EXPECT_EQ(saved.at("global_step").shape(), Shape());
  EXPECT_EQ(saved.at("global_step").values<std::int64_t>().front(), 2);
  EXPECT_NEAR(saved.at("beta1_power").values<float>().front(), 0.9 * 0.9 * 0.9, 1e-6);
  const TensorMap weights = *trainer->Weights();
  for (const auto& [name, tensor] : weights) saved.erase(name);
  std::vector<std::string> rest;
  for (const auto& [name, tensor] : saved) rest.push_back(name);
  EXPECT_THAT(
      rest, ::testing::UnorderedElementsAre(
                "global_step", "beta1_power", "beta2_power", "AdaptiveMaxNorm/mean",
                "AdaptiveMaxNorm/sq_mean", "tiny/logits/biases/Adam", "tiny/logits/biases/Adam_1"));
}

// A schedule that is sound until a step, and then makes everything infinite.
class Explosion : public Schedule {
 public:
  Explosion(std::int64_t step, float rate) : step_(step), rate_(rate) {}
  std::string name() const override { return "explosion"; }
  float LearningRate(std::int64_t step) const override { return step < step_ ? 0.01f : rate_; }

 private:
  std::int64_t step_;
  float rate_;
};

TEST(TrainerTest, AStepThatDivergesIsNamedAndNotApplied) {
  for (const int accumulate : {1, 2}) {
    TrainerOptions options = EverythingOn();
    options.optimizer = Sgd();
    options.accumulate = accumulate;
    options.learning_rate = std::make_shared<Explosion>(3, 1e30f);
    const auto trainer = TinyTrainer(options, TinyNetwork());
    ASSERT_TRUE(trainer);
    MustSteps(*trainer, 4);  // the fourth makes the variables huge: the fifth cannot be computed
    const TensorMap saved = MustSave(*trainer);
    for (int attempt = 0; attempt < 2; ++attempt) {
      const auto report = trainer->Step();
      EXPECT_EQ(report.status().code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_THAT(report.status().ToString(),
                  AllOf(HasSubstr("step 5: "), HasSubstr("not finite")));
      EXPECT_THAT(Changed(MustSave(*trainer), saved), IsEmpty());
      EXPECT_EQ(trainer->step(), 4);
    }
  }
}

// The fourth step's loss and gradient are sound, and its update is too large for float32.
TEST(TrainerTest, AnUpdateThatIsNotFiniteFailsItsOwnStepAndIsNeverSaved) {
  const float largest = std::numeric_limits<float>::max();
  for (const bool accumulates : {false, true}) {
    TrainerOptions options = accumulates ? EverythingOn() : TinyOptions();
    options.optimizer = Sgd();
    options.gradient_rules = {*GradientMultipliers({{"tiny/conv2/*", 100}})};
    options.learning_rate = std::make_shared<Explosion>(3, largest);
    const auto trainer = TinyTrainer(options, TinyNetwork());
    ASSERT_TRUE(trainer);
    MustSteps(*trainer, 3);
    const TensorMap saved = MustSave(*trainer);
    const absl::Status failed = trainer->Step().status();
    EXPECT_EQ(failed.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(failed.ToString(), AllOf(HasSubstr("step 4: variable 'tiny/conv2/"),
                                         HasSubstr("after the update is not finite")));
    EXPECT_EQ(trainer->step(), 3);
    EXPECT_EQ(trainer->Save().status(), failed);
    EXPECT_EQ(trainer->Weights().status(), failed);
    EXPECT_EQ(trainer->Step().status(), failed);
    EXPECT_EQ(trainer->Evaluate(dataset::Split::kValidation, {}, false).status(), failed);
    ASSERT_TRUE(trainer->Restore(saved).ok());
    EXPECT_THAT(Changed(MustSave(*trainer), saved), IsEmpty());
    EXPECT_EQ(trainer->Step().status(), failed) << "the same step once more";
  }
}

// A rule of another program may fail, or give what is no number.
TEST(TrainerTest, ARuleThatFailsStopsTheStep) {
  class Broken : public GradientRule {
   public:
    explicit Broken(bool refuses) : refuses_(refuses) {}
    std::string name() const override { return "broken"; }
    std::vector<StateSpec> state() const override { return {{"broken/count", 0}}; }
    absl::Status Apply(std::int64_t, std::span<const Gradient> gradients,
                       std::span<float> state) const override {
      state[0] += 1;
      gradients[0].values[0] = std::numeric_limits<float>::quiet_NaN();
      return refuses_ ? absl::InternalError("no") : absl::OkStatus();
    }

   private:
    bool refuses_;
  };
  for (const bool refuses : {false, true}) {
    TrainerOptions options = TinyOptions();
    options.gradient_rules = {std::make_shared<Broken>(refuses)};
    const auto trainer = TinyTrainer(options, TinyNetwork());
    ASSERT_TRUE(trainer);
    const TensorMap saved = MustSave(*trainer);
    const auto report = trainer->Step();
    EXPECT_THAT(report.status().ToString(),
                AllOf(HasSubstr("step 1"), HasSubstr(refuses ? "no" : "tiny/conv1/weights")));
    EXPECT_THAT(Changed(MustSave(*trainer), saved), IsEmpty());
  }
}

TEST(TrainerTest, RestoreRefusesWhatIsNotItsOwnAndChangesNothing) {
  const auto graph = TinyNetwork();
  TrainerOptions options = TinyOptions();
  options.moving_average_decay = 0.9;
  const auto trainer = TinyTrainer(options, graph);
  ASSERT_TRUE(trainer);
  MustSteps(*trainer, 2);
  const TensorMap saved = MustSave(*trainer);
  MustStep(*trainer);
  const TensorMap now = MustSave(*trainer);
  for (const auto& [name, tensor] : saved) {
    TensorMap broken = saved;
    broken.erase(name);
    EXPECT_EQ(trainer->Restore(broken).code(), absl::StatusCode::kNotFound) << name;
    broken[name] = *Tensor::FromVector<float>({0}, {});
    const absl::Status other = trainer->Restore(broken);
    EXPECT_EQ(other.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(other.ToString(), HasSubstr("'" + name + "'"));
    EXPECT_THAT(Changed(MustSave(*trainer), now), IsEmpty());
  }
  ASSERT_TRUE(trainer->Restore(saved).ok());
  EXPECT_THAT(Changed(MustSave(*trainer), saved), IsEmpty());
}

TEST(TrainerTest, RefusesWhatDoesNotFit) {
  const auto graph = TinyNetwork();
  const auto error = [&](const auto& change) {
    TrainerOptions options = TinyOptions();
    auto spec = TinySpec();
    dataset::Dataset dataset = *TinyDataset();
    TensorMap weights = InitialWeights(*graph);
    change(options, spec, dataset, weights);
    const absl::Status status =
        Trainer::Create(graph, weights,
                        std::make_shared<const dataset::Dataset>(std::move(dataset)), spec, options)
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return status.ToString();
  };
  using Options = TrainerOptions;
  using Spec = image::PreprocessSpec;
  EXPECT_THAT(
      error([](Options& o, Spec&, dataset::Dataset&, TensorMap&) { o.update = {"tiny/logit/"}; }),
      AllOf(HasSubstr("'tiny/logit/' matches none"), HasSubstr("'tiny/logits/")));
  EXPECT_THAT(
      error([](Options& o, Spec&, dataset::Dataset&, TensorMap&) { o.update = {".*moving_mean"}; }),
      HasSubstr("nothing is left to train"));
  EXPECT_THAT(error([](Options& o, Spec&, dataset::Dataset&, TensorMap&) { o.loss = nullptr; }),
              HasSubstr("a loss is required"));
  EXPECT_THAT(error([](Options& o, Spec&, dataset::Dataset&, TensorMap&) { o.batch_size = 0; }),
              HasSubstr("batch_size"));
  EXPECT_THAT(
      error([](Options& o, Spec&, dataset::Dataset&, TensorMap&) { o.keep_probability = 0; }),
      HasSubstr("keep_probability"));
  EXPECT_THAT(error([](Options& o, Spec&, dataset::Dataset&, TensorMap&) {
                o.gradient_rules = {*AdaptiveClipping({}), *AdaptiveClipping({})};
              }),
              HasSubstr("AdaptiveMaxNorm/mean"));
  EXPECT_THAT(error([](Options& o, Spec&, dataset::Dataset&, TensorMap&) {
                o.gradient_rules = {*GradientMultipliers({{"tiny/logit/*", 2}})};
              }),
              AllOf(HasSubstr("'tiny/logit/*' matches none"), HasSubstr("'tiny/logits/")));
  EXPECT_THAT(
      error([](Options&, Spec& s, dataset::Dataset&, TensorMap&) { s = image::LenetEval(9, 3); }),
      AllOf(HasSubstr("[9,9,3]"), HasSubstr("[?,8,8,3]")));
  EXPECT_THAT(error([](Options&, Spec&, dataset::Dataset& d, TensorMap&) { d.items[2].label = 3; }),
              AllOf(HasSubstr("'item 2'"), HasSubstr("label 3")));
  EXPECT_THAT(error([](Options&, Spec&, dataset::Dataset& d, TensorMap&) { d.items.clear(); }),
              HasSubstr("no item to train on"));
  EXPECT_THAT(error([](Options&, Spec&, dataset::Dataset&, TensorMap& w) {
                w.erase("tiny/conv1/weights");
              }),
              HasSubstr("tiny/conv1/weights"));
}

// A job is checked by its estimate before it is queued.
TEST(TrainerTest, TheEstimateRefusesWhatCreateRefuses) {
  const auto graph = TinyNetwork();
  const auto error = [&](const auto& change) {
    TrainerOptions options = TinyOptions();
    options.update = {"tiny/logits"};
    change(options);
    const absl::Status status = EstimateTrainerBytes(*graph, 36, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return status.ToString();
  };
  using Options = TrainerOptions;
  EXPECT_THAT(
      error([](Options& o) { o.gradient_rules = {*GradientMultipliers({{"tiny/conv1/*", 2}})}; }),
      AllOf(HasSubstr("'tiny/conv1/*' matches none of the 2 trained variables")));
  EXPECT_THAT(
      error([](Options& o) { o.gradient_rules = {*AdaptiveClipping({}), *AdaptiveClipping({})}; }),
      HasSubstr("AdaptiveMaxNorm/mean"));
  EXPECT_THAT(error([](Options& o) { o.batch_size = 1025; }),
              HasSubstr("batch_size is 1025, expected a number in [1, 1024]"));
}

TEST(TrainerTest, TheEstimateCoversWhatIsHeld) {
  const auto graph = TinyNetwork();
  for (TrainerOptions options : {TinyOptions(), EverythingOn()}) {
    for (const std::vector<std::string>& update :
         {std::vector<std::string>{}, std::vector<std::string>{"tiny/logits"}}) {
      options.update = update;
      options.batch_size = 512;
      const auto trainer = TinyTrainer(options, graph);
      ASSERT_TRUE(trainer);
      MustStep(*trainer);
      ASSERT_OK_AND_ASSIGN(const auto estimate, EstimateTrainerBytes(*graph, 36, options));
      EXPECT_GE(estimate, trainer->bytes());
      EXPECT_LE(estimate, 4 * trainer->bytes() + (std::uint64_t{1} << 20));
    }
  }
}

}  // namespace
}  // namespace zood::train
