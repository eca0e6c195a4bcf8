// A network and a dataset that are small enough to train within a test.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/checksum.h"
#include "dataset/dataset.h"
#include "graph/net.h"
#include "image/presets.h"
#include "tests/support/oracle_fill.h"
#include "tests/support/status_testing.h"
#include "train/restore.h"
#include "train/trainer.h"

namespace zood::train {

inline constexpr int kTinySide = 8;
inline constexpr int kTinyClasses = 3;

// Two convolutions with batch norm, dropout, an auxiliary head if wanted: "tiny/conv1",
// "tiny/conv2", "tiny/aux", "tiny/logits", all with an L2 term on their weights.
inline std::shared_ptr<const graph::Graph> TinyNetwork(bool auxiliary = false) {
  graph::Net net({.height = kTinySide, .width = kTinySide, .channels = 3});
  const auto scope = net.Scope("tiny");
  const auto norms = net.Defaults(graph::BatchNormArgs{.decay = 0.9f, .scale = true});
  const auto convs = net.Defaults(graph::Conv2dArgs{.normalizer = graph::BatchNorm(),
                                                    .weights_regularizer = graph::L2(0.001f)});
  const auto fcs = net.Defaults(
      graph::FullyConnectedArgs{.activation = nullptr, .weights_regularizer = graph::L2(0.001f)});
  graph::Value x = net.Conv2d(net.input(), 8, {3, 3}, {.stride = {{2, 2}}, .scope = "conv1"});
  std::optional<graph::Value> aux;
  if (auxiliary) aux = net.FullyConnected(net.Flatten(x), kTinyClasses, {.scope = "aux"});
  x = net.Conv2d(x, 12, {3, 3}, {.scope = "conv2"});
  x = net.Dropout(net.Flatten(x), 0.8f);
  x = net.FullyConnected(x, kTinyClasses, {.scope = "logits"});
  return std::make_shared<const graph::Graph>(*net.Finish(x, aux));
}

// Each class is bright in another color, with noise. Every fifth item is for validation.
inline std::shared_ptr<const dataset::Dataset> TinyDataset(int items = 45) {
  dataset::Dataset dataset = {.classes = {"red", "green", "blue"}};
  for (int i = 0; i < items; ++i) {
    const int label = i % kTinyClasses;
    std::vector<std::uint8_t> pixels = zood::testing::ImageU8(i, kTinySide + 2, kTinySide + 2, 3);
    for (std::size_t p = 0; p < pixels.size(); ++p) {
      const bool bright = static_cast<int>(p % 3) == label;
      pixels[p] = static_cast<std::uint8_t>(pixels[p] / 3 * 2 + (bright ? 80 : 0));
    }
    dataset.items.push_back(
        {.name = "item " + std::to_string(i),
         .label = label,
         .split = i % 5 == 4 ? dataset::Split::kValidation : dataset::Split::kTrain,
         .image = *Tensor::FromVector<std::uint8_t>({kTinySide + 2, kTinySide + 2, 3},
                                                    std::move(pixels))});
  }
  return std::make_shared<const dataset::Dataset>(std::move(dataset));
}

inline image::PreprocessSpec TinySpec() { return image::LenetEval(kTinySide, 3); }

inline TensorMap InitialWeights(const graph::Graph& graph, std::uint64_t seed = 1) {
  return Restore(graph, {.seed = seed})->weights;
}

inline TrainerOptions TinyOptions() {
  return {.optimizer = *Momentum({.momentum = 0.9f}),
          .learning_rate = *ConstantRate(0.02f),
          .loss = *SoftmaxCrossEntropy(),
          .batch_size = 6,
          .seed = 11,
          .threads = 2};
}

inline std::unique_ptr<Trainer> TinyTrainer(const TrainerOptions& options,
                                            std::shared_ptr<const graph::Graph> graph) {
  return zood::ValueOf(
      Trainer::Create(graph, InitialWeights(*graph), TinyDataset(), TinySpec(), options));
}

// The names of what differs, by SHA-256 of the bytes; what only one has counts as different.
inline std::vector<std::string> Changed(const TensorMap& a, const TensorMap& b) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : a) {
    const auto found = b.find(name);
    if (found == b.end() || Sha256Hex(tensor.bytes()) != Sha256Hex(found->second.bytes())) {
      names.push_back(name);
    }
  }
  for (const auto& [name, tensor] : b) {
    if (!a.contains(name)) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace zood::train
