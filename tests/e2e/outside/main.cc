// A network that zood does not have, with an activation and an initializer that zood does not have,
// published to a store and served: with no edit to zood.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graph/net.h"
#include "image/preprocess.h"
#include "image/presets.h"
#include "models/zoo.h"
#include "netdef/formats.h"
#include "runtime/runtime.h"

namespace {

using zood::graph::Activation;
using zood::graph::Conv2dArgs;
using zood::graph::FullyConnectedArgs;
using zood::graph::Initializer;
using zood::graph::Net;
using zood::graph::Value;

// x * sigmoid(x); Ramachandran, Zoph and Le, 2017.
class Swish : public Activation {
 public:
  std::string name() const override { return "swish"; }
  void Forward(std::span<const float> x, std::span<float> y) const override {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] / (1 + std::exp(-x[i]));
  }
  void Backward(std::span<const float> x, std::span<const float> y, std::span<const float> dy,
                std::span<float> dx) const override {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float sigmoid = 1 / (1 + std::exp(-x[i]));
      dx[i] = dy[i] * (y[i] + sigmoid * (1 - y[i]));
    }
  }
};

// 1 where the input and output channel agree, else 0.
class Identity : public Initializer {
 public:
  std::string name() const override { return "identity"; }
  void Fill(const zood::Shape& shape, std::uint64_t, std::span<float> values) const override {
    const auto out = static_cast<std::size_t>(shape.back());
    const auto in = static_cast<std::size_t>(shape[shape.rank() - 2]);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = i / out % in == i % out ? 1 : 0;
  }
};

zood::models::Architecture ColorNet() {
  return {
      .name = "color_net",
      .family = "outside",
      .description = "Answers which color an image has most of.",
      .scope = "ColorNet",
      .defaults = {.num_classes = 3, .height = 8, .width = 8},
      .build =
          [](Net& net, const zood::models::NetworkArgs& args) {
            const auto scope = net.Scope("ColorNet");
            Value x = net.Conv2d(net.input(), 3, {1, 1},
                                 {.activation = std::make_shared<Swish>(),
                                  .weights_initializer = std::make_shared<Identity>(),
                                  .scope = "conv"});
            x = net.Squeeze(net.GlobalAvgPool(x));
            x = net.FullyConnected(x, args.num_classes,
                                   {.activation = nullptr,
                                    .weights_initializer = std::make_shared<Identity>(),
                                    .scope = "logits"});
            return zood::models::Architecture::Outputs{.logits = x};
          },
      .preprocess =
          [](const zood::models::NetworkArgs& args) {
            return zood::image::InceptionEval(args.height);
          },
  };
}

template <typename T>
T Must(absl::StatusOr<T> value, const char* what) {
  if (value.ok()) return std::move(value).value();
  std::fprintf(stderr, "%s: %s\n", what, std::string(value.status().message()).c_str());
  std::exit(1);
}

zood::TensorMap InitialWeights(const zood::graph::Graph& graph) {
  zood::TensorMap weights;
  for (const auto& variable : graph.variables()) {
    std::vector<float> values(static_cast<std::size_t>(variable.shape.num_elements()));
    variable.initializer->Fill(variable.shape, 1, values);
    weights[variable.name] =
        Must(zood::Tensor::FromVector(variable.shape, std::move(values)), "weights");
  }
  return weights;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string directory = argc > 1 ? argv[1] : "outside.store";
  std::filesystem::remove_all(directory);

  zood::models::Zoo zoo = zood::models::Zoo::Standard();
  if (!zoo.Add(ColorNet()).ok()) return 1;
  zood::serving::Observer observer;
  auto runtime = Must(zood::runtime::Runtime::Open({.data_dir = directory}, zoo, observer), "open");

  const auto network = Must(
      zood::netdef::BuildNetwork(
          zood::netdef::ZooSpec("color_net", {.num_classes = 3, .height = 8, .width = 8}), zoo),
      "build");
  Must(runtime->catalogue().Publish(
           {.model = "colors",
            .network = zood::netdef::ToJson(network->spec()),
            .preprocess = zood::image::ToJson(zood::image::InceptionEval(8)),
            .labels = {"red", "green", "blue"},
            .aliases = {"stable"}},
           InitialWeights(*network->graph())),
       "publish");

  // An image of one color, as the network sees it: green.
  std::vector<float> input(8 * 8 * 3, -1.0f);
  for (std::size_t i = 1; i < input.size(); i += 3) input[i] = 1.0f;
  const auto answer = Must(
      runtime->classifier().ClassifyAndWait(
          {.model = {.model = "colors"},
           .images = {zood::dataset::NetworkInput{
               .bytes = {reinterpret_cast<const char*>(input.data()), input.size() * sizeof(float)},
               .shape = {8, 8, 3}}},
           .top_k = 1}),
      "classify");
  const auto& best = answer.images.front().classes.front();
  std::printf("%s %.4f, version %lld\n", best.label.c_str(), best.probability,
              static_cast<long long>(answer.version));
  // logits: swish(1) = 0.7311 and twice swish(-1) = -0.2689; softmax of them 0.5761.
  return best.label == "green" && std::abs(best.probability - 0.5761f) < 1e-4f ? 0 : 1;
}
