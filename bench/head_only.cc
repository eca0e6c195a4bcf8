// What an epoch of head-only fine-tuning costs: the first, which computes the features of the
// frozen backbone, and the later ones.  usage: head_only [NETWORK [PHOTOS [EPOCHS]]]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/zoo.h"
#include "tests/support/oracle_fill.h"
#include "train/restore.h"
#include "train/trainer.h"

namespace {

constexpr int kClasses = 10;
// What the first epoch costs, in later ones, at least.
constexpr double kLeastTimes = 100;

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "head_only: %s\n", value.status().ToString().c_str());
  std::exit(1);
}

std::shared_ptr<const zood::dataset::Dataset> Photos(int count, int height, int width) {
  zood::dataset::Dataset dataset;
  dataset.classes.resize(kClasses);
  for (int i = 0; i < count; ++i) {
    dataset.items.push_back(
        {.name = std::to_string(i),
         .label = i % kClasses,
         .image = Must(zood::Tensor::FromVector<std::uint8_t>(
             {height, width, 3}, zood::testing::ImageU8(i, height, width, 3)))});
  }
  return std::make_shared<const zood::dataset::Dataset>(std::move(dataset));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string network = argc > 1 ? argv[1] : "resnet_v1_50";
  const int photos = argc > 2 ? std::atoi(argv[2]) : 512;
  const int epochs = argc > 3 ? std::atoi(argv[3]) : 20;
  const zood::models::Zoo zoo = zood::models::Zoo::Standard();
  const zood::models::Architecture* architecture = Must(zoo.Find(network));
  zood::models::NetworkArgs args = architecture->defaults;
  args.num_classes = kClasses;
  const auto graph = std::make_shared<const zood::graph::Graph>(
      Must(zood::models::BuildGraph(*architecture, args)));

  zood::train::TrainerOptions options = {.optimizer = Must(zood::train::Momentum({})),
                                         .learning_rate = Must(zood::train::ConstantRate(0.001f)),
                                         .loss = Must(zood::train::SoftmaxCrossEntropy())};
  for (const std::string& scope : architecture->head_scopes) {
    options.update.push_back(zood::PrefixPattern(scope));
  }
  const auto trainer = Must(zood::train::Trainer::Create(
      graph, Must(zood::train::Restore(*graph, {})).weights,
      Photos(photos, args.height, args.width), architecture->preprocess(args), options));

  const int steps = static_cast<int>(std::ceil(trainer->steps_per_epoch()));
  double first = 0, later = 0;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    for (int step = 0; step < steps; ++step) {
      (epoch == 0 ? first : later) += Must(trainer->Step()).seconds;
    }
  }
  later /= epochs - 1;
  std::printf(
      "%s, %d photos, batches of %d: first epoch %.2f s (%.1f ms a photo), later ones %.2f ms each "
      "(%.1f us a photo): %.0f times less\n",
      network.c_str(), photos, options.batch_size, first, 1e3 * first / photos, 1e3 * later,
      1e6 * later / photos, first / later);
  if (first / later > kLeastTimes) return 0;
  std::fprintf(stderr, "head_only: an epoch after the first is to cost less than 1/%.0f of it\n",
               kLeastTimes);
  return 1;
}
