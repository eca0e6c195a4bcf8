#include "tests/numerics/training/lenet_job.h"

#include <utility>

#include "base/status.h"
#include "image/presets.h"
#include "models/zoo.h"
#include "tests/support/oracle_fill.h"

namespace zood::testing {
namespace {

constexpr int kSide = 12;
constexpr int kItems = 40;
constexpr std::uint64_t kSeed = 3;

std::shared_ptr<const dataset::Dataset> Images() {
  dataset::Dataset dataset = {.classes = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}};
  for (int i = 0; i < kItems; ++i) {
    dataset.items.push_back({.name = std::to_string(i),
                             .label = i % 10,
                             .image = *Tensor::FromVector<std::uint8_t>(
                                 {kSide, kSide, 1}, ImageU8(i, kSide, kSide, 1))});
  }
  return std::make_shared<const dataset::Dataset>(std::move(dataset));
}

}  // namespace

std::vector<LenetJob> LenetJobs() {
  return {{"sgd", train::Sgd(), 0.01f},
          {"momentum", *train::Momentum({.momentum = 0.9f}), 0.01f},
          {"adagrad", *train::Adagrad({}), 0.01f},
          {"adadelta", *train::Adadelta({}), 0.5f},
          {"adam", *train::Adam({}), 0.001f},
          {"ftrl", *train::Ftrl({.l1 = 0.0001f, .l2 = 0.0001f}), 0.01f},
          {"rms_prop", *train::RmsProp({.momentum = 0.9f}), 0.0001f},
          {"rms_prop_centered", *train::RmsProp({.momentum = 0.9f, .centered = true}), 0.0001f}};
}

absl::StatusOr<std::unique_ptr<train::Trainer>> MakeTrainer(const LenetJob& job) {
  const models::Zoo zoo = models::Zoo::Standard();
  ZOOD_ASSIGN_OR_RETURN(const models::Architecture* lenet, zoo.Find("lenet"));
  models::NetworkArgs args = lenet->defaults;
  args.height = args.width = kSide;
  ZOOD_ASSIGN_OR_RETURN(graph::Graph graph, models::BuildGraph(*lenet, args));
  TensorMap weights;
  for (const graph::Variable& variable : graph.variables()) {
    ZOOD_ASSIGN_OR_RETURN(
        weights[variable.name],
        Tensor::FromVector(variable.shape, Fill(variable.name, variable.shape.dims())));
  }
  ZOOD_ASSIGN_OR_RETURN(train::SchedulePtr rate, train::ConstantRate(job.learning_rate));
  ZOOD_ASSIGN_OR_RETURN(train::LossPtr loss, train::SoftmaxCrossEntropy());
  return train::Trainer::Create(std::make_shared<const graph::Graph>(std::move(graph)),
                                std::move(weights), Images(), image::LenetEval(kSide),
                                {.optimizer = job.optimizer,
                                 .learning_rate = std::move(rate),
                                 .loss = std::move(loss),
                                 .moving_average_decay = kLenetAverageDecay,
                                 .keep_probability = 1.0f,
                                 .batch_size = kLenetBatch,
                                 .seed = kSeed});
}

absl::StatusOr<std::unique_ptr<train::InputPipeline>> MakeBatches() {
  const auto images = Images();
  return train::InputPipeline::Create(images, dataset::ItemsOf(*images, dataset::Split::kTrain),
                                      image::LenetEval(kSide), train::NoAugmentation(),
                                      {.batch = kLenetBatch, .seed = kSeed, .threads = 0});
}

}  // namespace zood::testing
