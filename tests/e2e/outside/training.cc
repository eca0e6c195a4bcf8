// A loss and an optimizer that zood does not have train a network that zood does not have on photos
// that this program draws; the result is published to a store and served: with no edit to zood.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataset/dataset.h"
#include "graph/net.h"
#include "image/presets.h"
#include "models/zoo.h"
#include "netdef/formats.h"
#include "runtime/runtime.h"
#include "train/math/loss.h"
#include "train/math/optimizer.h"
#include "train/restore.h"
#include "train/trainer.h"

namespace {

using zood::graph::Net;
using zood::graph::Value;

constexpr int kSide = 12;

// (1 - p)^2 * -log p of the label's probability p: what is answered well already counts little
// (focal loss; Lin et al., 2017).
class FocalLoss : public zood::train::Loss {
 public:
  std::string name() const override { return "focal"; }

 private:
  double Evaluate(const zood::train::LossInput& input, std::span<float> gradient) const override {
    const auto width = static_cast<std::size_t>(input.classes);
    const auto examples = static_cast<double>(input.examples);
    double total = 0;
    for (std::size_t row = 0; row < static_cast<std::size_t>(input.examples); ++row) {
      const auto logits = input.logits.subspan(row * width, width);
      double sum = 0;
      for (const float logit : logits) sum += std::exp(double{logit});
      const auto label = static_cast<std::size_t>(input.labels[row]);
      const double p = std::exp(double{logits[label]}) / sum;
      const double q = 1 - p;
      total += q * q * -std::log(p);
      // d loss / d logit k = p * (d loss / d p) * ([k is the label] - p of k).
      const double slope = 2 * q * p * std::log(p) - q * q;
      for (std::size_t k = 0; k < width; ++k) {
        const double of_k = std::exp(double{logits[k]}) / sum;
        gradient[row * width + k] =
            static_cast<float>(slope * ((k == label ? 1 : 0) - of_k) / examples);
      }
    }
    return total / examples;
  }
};

// The sign of the gradient's running mean says where to go, the learning rate how far (signum;
// Bernstein et al., 2018).
class Signum : public zood::train::Optimizer {
 public:
  std::string name() const override { return "signum"; }
  std::vector<zood::train::StateSpec> slots() const override { return {{"Signum", 0}}; }
  void Apply(const zood::train::Update& update) const override {
    for (std::size_t i = 0; i < update.variable.size(); ++i) {
      float& mean = update.slots[0][i];
      mean += 0.1f * (update.gradient[i] - mean);
      update.variable[i] -= update.learning_rate * static_cast<float>((mean > 0) - (mean < 0));
    }
  }
};

zood::models::Architecture StripeNet() {
  return {
      .name = "stripe_net",
      .family = "outside",
      .description = "Answers which way the stripes of an image run.",
      .scope = "StripeNet",
      .defaults = {.num_classes = 3, .height = kSide, .width = kSide, .channels = 1},
      .build =
          [](Net& net, const zood::models::NetworkArgs& args) {
            const auto scope = net.Scope("StripeNet");
            Value x = net.Conv2d(net.input(), 8, {3, 3}, {.scope = "conv1"});
            x = net.MaxPool2d(x, {2, 2}, {.scope = "pool1"});
            x = net.Conv2d(x, 8, {3, 3}, {.scope = "conv2"});
            x = net.Dropout(net.Flatten(x), 0.9f);
            x = net.FullyConnected(x, args.num_classes, {.activation = nullptr, .scope = "logits"});
            return zood::models::Architecture::Outputs{.logits = x};
          },
      .preprocess =
          [](const zood::models::NetworkArgs& args) { return zood::image::LenetEval(args.height); },
  };
}

// Stripes that run across, down or aslant, at any place, in any pair of grays, with noise.
zood::Tensor Draw(int label, unsigned& random) {
  const auto below = [&](int limit) {
    random = random * 1664525u + 1013904223u;
    return static_cast<int>((random >> 16) % static_cast<unsigned>(limit));
  };
  const int shift = below(4), dark = below(80), light = 130 + below(80);
  std::vector<std::uint8_t> pixels;
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const int along = label == 0 ? y : label == 1 ? x : x + y;
      const bool is_light = (along + shift) / 2 % 2 == 0;
      pixels.push_back(static_cast<std::uint8_t>((is_light ? light : dark) + below(40)));
    }
  }
  return *zood::Tensor::FromVector<std::uint8_t>({kSide, kSide, 1}, std::move(pixels));
}

zood::dataset::Dataset Stripes() {
  zood::dataset::Dataset dataset = {.classes = {"across", "down", "aslant"}};
  unsigned random = 1;
  for (int i = 0; i < 300; ++i) {
    dataset.items.push_back(
        {.name = std::to_string(i),
         .label = i % 3,
         .split = i < 240 ? zood::dataset::Split::kTrain : zood::dataset::Split::kValidation,
         .image = Draw(i % 3, random)});
  }
  return dataset;
}

template <typename T>
T Must(absl::StatusOr<T> value, const char* what) {
  if (value.ok()) return std::move(value).value();
  std::fprintf(stderr, "%s: %s\n", what, std::string(value.status().message()).c_str());
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string directory = argc > 1 ? argv[1] : "outside_training.store";
  std::filesystem::remove_all(directory);
  zood::models::Zoo zoo = zood::models::Zoo::Standard();
  if (!zoo.Add(StripeNet()).ok()) return 1;
  const auto network = Must(
      zood::netdef::BuildNetwork(
          zood::netdef::ZooSpec("stripe_net",
                                {.num_classes = 3, .height = kSide, .width = kSide, .channels = 1}),
          zoo),
      "build");
  const auto graph = network->graph();
  const auto spec = zood::image::LenetEval(kSide);

  auto restored = Must(zood::train::Restore(*graph, {.seed = 1}), "initialize");
  const auto dataset = std::make_shared<const zood::dataset::Dataset>(Stripes());
  const auto trainer =
      Must(zood::train::Trainer::Create(
               graph, std::move(restored.weights), dataset, spec,
               {.optimizer = std::make_shared<Signum>(),
                .learning_rate = Must(zood::train::ConstantRate(0.002f), "schedule"),
                .loss = std::make_shared<FocalLoss>(),
                .batch_size = 24}),
           "trainer");
  const double before = Must(trainer->Step(), "step").loss;
  double after = before;
  for (int i = 0; i < 100; ++i) after = Must(trainer->Step(), "step").loss;
  const auto evaluation =
      Must(trainer->Evaluate(zood::dataset::Split::kValidation, {}), "evaluate");
  std::printf("loss %.4f, after %lld steps %.4f; accuracy %.3f\n", before,
              static_cast<long long>(trainer->step()), after, evaluation.top1);

  zood::serving::Observer observer;
  auto runtime = Must(zood::runtime::Runtime::Open({.data_dir = directory}, zoo, observer), "open");
  Must(runtime->catalogue().Publish({.model = "stripes",
                                     .network = zood::netdef::ToJson(network->spec()),
                                     .preprocess = zood::image::ToJson(spec),
                                     .labels = dataset->classes,
                                     .aliases = {"stable"}},
                                    Must(trainer->Weights(), "weights")),
       "publish");
  int right = 0;
  for (std::size_t i = 240; i < dataset->items.size(); ++i) {
    const zood::dataset::Item& item = dataset->items[i];
    std::vector<float> input;
    for (const std::uint8_t pixel : item.image.values<std::uint8_t>()) {
      input.push_back((static_cast<float>(pixel) - 128) / 128);
    }
    const auto answer = Must(runtime->classifier().ClassifyAndWait(
                                 {.model = {.model = "stripes"},
                                  .images = {zood::dataset::NetworkInput{
                                      .bytes = {reinterpret_cast<const char*>(input.data()),
                                                input.size() * sizeof(float)},
                                      .shape = {kSide, kSide, 1}}},
                                  .top_k = 1}),
                             "classify");
    right += answer.images.front().classes.front().label ==
             dataset->classes[static_cast<std::size_t>(item.label)];
  }
  std::printf("served: %d of 60 right\n", right);
  return after < before / 4 && right >= 57 && std::abs(right / 60.0 - evaluation.top1) < 0.03 ? 0
                                                                                              : 1;
}
