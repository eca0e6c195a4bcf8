// Where in a file a network is: wrappers, prefixes, copies.
#include "models/weights/weight_part.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "models/weights/name_map.h"
#include "models/zoo.h"
#include "tests/support/status_testing.h"

namespace zood::models {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// The smallest network with PyTorch's names and batch normalization.
class WeightPartTest : public testing::Test {
 protected:
  WeightPartTest() {
    for (const graph::Variable& variable : graph_.variables()) {
      // "cifar_resnet20/block1/unit_2/conv1/BatchNorm/gamma" is "layer1.1.bn1.weight".
      ours_.push_back(variable.name);
    }
    names_ = {"conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"};
    for (int layer = 1; layer <= 3; ++layer) {
      for (int unit = 0; unit < 3; ++unit) {
        const std::string at = "layer" + std::to_string(layer) + "." + std::to_string(unit) + ".";
        for (const char* i : {"1", "2"}) {
          names_.push_back(at + "conv" + i + ".weight");
          for (const char* leaf : {"weight", "bias", "running_mean", "running_var"}) {
            names_.push_back(at + "bn" + i + "." + leaf);
          }
        }
      }
    }
    names_.push_back("linear.weight");
    names_.push_back("linear.bias");
  }

  // The shape that the variable has in PyTorch.
  static Shape ShapeOf(const std::string& name) {
    if (name == "linear.weight") return {10, 64};
    if (name == "linear.bias") return {10};
    const auto width = [](char layer) { return std::int64_t{16} << (layer - '1'); };
    const std::int64_t out = name[0] == 'l' ? width(name[5]) : 16;
    if (name.find("conv") == std::string::npos) return {out};
    if (name[0] != 'l') return {out, 3, 3, 3};
    const bool narrows = name[5] > '1' && name[7] == '0' && name.find("conv1") != std::string::npos;
    return {out, narrows ? out / 2 : out, 3, 3};
  }

  // The network behind `prefix`, every element `value`.
  void Add(const std::string& prefix, float value, TensorMap& file,
           std::string_view without = "none") const {
    for (const std::string& name : names_) {
      if (name.find(without) != std::string::npos) continue;
      const Shape shape = ShapeOf(name);
      file[prefix + name] = *Tensor::FromVector<float>(
          shape, std::vector<float>(static_cast<std::size_t>(shape.num_elements()), value));
    }
  }
  static Tensor Scalar(float value) { return *Tensor::FromVector<float>({}, {value}); }

  absl::StatusOr<MappedWeights> Map(const TensorMap& file, const MapOptions& options = {}) const {
    return MapWeights(architecture_, graph_, file, options);
  }
  static float ValueOf(const MappedWeights& mapped, const char* variable) {
    return mapped.weights.at(std::string("cifar_resnet20/") + variable).values<float>()[0];
  }

  const Zoo zoo_ = Zoo::Standard();
  const Architecture& architecture_ = **zoo_.Find("cifar_resnet20");
  const graph::Graph graph_ = *BuildGraph(architecture_, architecture_.defaults);
  std::vector<std::string> ours_;
  std::vector<std::string> names_;
};

TEST_F(WeightPartTest, IsFoundBehindAnyPrefix) {
  for (const std::string prefix :
       {"", "module.", "_orig_mod.", "model.", "state_dict.model.", "net.", "ema_state_dict.",
        "backbone.body.", "0.", "checkpoint.weights_of_anybody.module._orig_mod.", "student/"}) {
    SCOPED_TRACE(prefix);
    TensorMap file;
    Add(prefix, 2, file);
    file["epoch_loss"] = Scalar(1);
    ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file));
    EXPECT_EQ(mapped.prefix, prefix);
    EXPECT_EQ(mapped.naming, "PyTorch");
    EXPECT_THAT(mapped.choices, IsEmpty());
    ASSERT_EQ(mapped.ignored.size(), 1u);
    EXPECT_EQ(mapped.ignored[0].variable, "epoch_loss");
    EXPECT_TRUE(graph_.CheckWeights(mapped.weights).ok());
  }
}

// Wrappers of single layers: DataParallel around the features, compiled blocks, FSDP everywhere.
TEST_F(WeightPartTest, IsFoundWhereLayersAreWrapped) {
  for (const std::string wrapper : {"module", "_orig_mod", "_fsdp_wrapped_module"}) {
    for (const std::string prefix : {"", "state_dict.module."}) {
      TensorMap plain, file;
      Add("", 2, plain);
      for (const auto& [name, tensor] : plain) {
        const bool wrapped = name.starts_with("layer");
        file[prefix + (wrapped ? name.substr(0, 7) + wrapper + "." + name.substr(7) : name)] =
            tensor;
      }
      ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file));
      EXPECT_EQ(mapped.prefix, prefix);
      EXPECT_THAT(mapped.choices, ElementsAre(HasSubstr("'" + wrapper + "' was left out")));
      file.erase(prefix + "conv1.weight");
      EXPECT_FALSE(Map(file).ok());
    }
  }
}

TEST_F(WeightPartTest, OptimizersAndProfilersAreLeftAside) {
  TensorMap file;
  Add("state_dict.", 2, file);
  Add("optimizer.momentum_of.", 3, file);
  for (const char* name : {"optimizer.state.0.exp_avg", "criterion.weight"}) {
    file[name] = *Tensor::FromVector<float>({4}, {1, 2, 3, 4});
  }
  for (const char* name : {"conv1.total_ops", "layer1.0.bn1.total_params", "total_ops"}) {
    file[std::string("state_dict.") + name] = *Tensor::FromVector<double>({1}, {5});
  }
  file["state_dict.bn1.num_batches_tracked"] = *Tensor::FromVector<std::int64_t>({}, {5});
  ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file));
  EXPECT_EQ(mapped.prefix, "state_dict.");
  EXPECT_EQ(ValueOf(mapped, "conv1/weights"), 2);
  EXPECT_EQ(mapped.ignored.size(), names_.size() + 6);
}

// {**model.state_dict(), "optimizer": ..., "ema": ...}
TEST_F(WeightPartTest, WhatLiesBesideANetworkWithoutAWrapperIsLeftAside) {
  TensorMap file;
  Add("", 1, file);
  Add("ema.", 2, file);
  file["optimizer.state.0.exp_avg"] = *Tensor::FromVector<float>({4}, {1, 2, 3, 4});
  file["SGD_1.velocity"] = *Tensor::FromVector<float>({4}, {1, 2, 3, 4});
  for (const bool prefer : {true, false}) {
    ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file, {.prefer_moving_averages = prefer}));
    EXPECT_EQ(ValueOf(mapped, "conv1/weights"), prefer ? 2 : 1);
    EXPECT_EQ(mapped.ignored.size(), names_.size() + 2);
  }
}

// A momentum encoder is a network, no optimizer.
TEST_F(WeightPartTest, NamesOfNetworksAreNoOptimizers) {
  TensorMap file;
  Add("encoder.", 1, file);
  Add("momentum_encoder.", 2, file);
  EXPECT_FALSE(Map(file).ok());
}

TEST_F(WeightPartTest, AveragesAreTakenAsWishedAndToldOf) {
  for (const auto& [plain, average] :
       {std::pair("state_dict.", "state_dict_ema."), std::pair("model.", "model_ema.module."),
        std::pair("net.", "averaged_net."), std::pair("a.", "b.module.")}) {
    SCOPED_TRACE(average);
    TensorMap file;
    Add(plain, 1, file);
    Add(average, 2, file);
    file["b.n_averaged"] = *Tensor::FromVector<std::int64_t>({}, {9});
    ASSERT_OK_AND_ASSIGN(const auto preferred, Map(file));
    EXPECT_EQ(ValueOf(preferred, "logits/weights"), 2);
    EXPECT_EQ(preferred.prefix, average);
    ASSERT_EQ(preferred.choices.size(), 1u);
    EXPECT_THAT(preferred.choices[0],
                AllOf(HasSubstr(std::string(plain, std::string(plain).size() - 1)),
                      HasSubstr("--no-moving-averages")));
    ASSERT_OK_AND_ASSIGN(const auto others, Map(file, {.prefer_moving_averages = false}));
    EXPECT_EQ(ValueOf(others, "logits/weights"), 1);
    EXPECT_EQ(others.choices.size(), 1u);
  }
}

// Some keep averages of what is trained only.
TEST_F(WeightPartTest, AveragesMayLackVariables) {
  TensorMap file;
  Add("model.", 1, file);
  Add("ema.", 2, file, "running_");
  ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file));
  EXPECT_EQ(ValueOf(mapped, "conv1/weights"), 2);
  EXPECT_EQ(ValueOf(mapped, "conv1/BatchNorm/moving_mean"), 1);
  ASSERT_EQ(mapped.choices.size(), 1u);
  EXPECT_THAT(mapped.choices[0], HasSubstr("59 variables are the moving averages in 'ema'"));
  EXPECT_EQ(ValueOf(*Map(file, {.prefer_moving_averages = false}), "conv1/weights"), 1);
}

TEST_F(WeightPartTest, AFileOfAveragesAloneIsTaken) {
  TensorMap file;
  Add("module.", 2, file);
  file["n_averaged"] = *Tensor::FromVector<std::int64_t>({}, {9});
  for (const bool prefer : {true, false}) {
    ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file, {.prefer_moving_averages = prefer}));
    EXPECT_EQ(mapped.prefix, "module.");
  }
}

TEST_F(WeightPartTest, NothingIsChosenSilently) {
  TensorMap file;
  Add("student.", 1, file);
  Add("teacher.module.", 2, file);
  const auto refused = Map(file);
  ASSERT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr("'student'"), HasSubstr("'teacher.module'"),
                    HasSubstr("--weights-in teacher.module")));
  for (const std::string asked : {"teacher", "teacher.module", "teacher.module."}) {
    ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file, {.weights_in = asked}));
    EXPECT_EQ(ValueOf(mapped, "conv1/weights"), 2);
  }
  const auto mistaken = Map(file, {.weights_in = "pupil"});
  EXPECT_THAT(std::string(mistaken.status().message()),
              AllOf(HasSubstr("'pupil'"), HasSubstr("'student'")));
  Add("", 3, file);
  EXPECT_FALSE(Map(file).ok());
  EXPECT_EQ(ValueOf(*Map(file, {.weights_in = "."}), "conv1/weights"), 3);
}

TEST_F(WeightPartTest, EqualCopiesAreOne) {
  TensorMap file;
  Add("model.", 1, file);
  Add("best.", 1, file);
  ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file));
  ASSERT_EQ(mapped.choices.size(), 1u);
  EXPECT_THAT(mapped.choices[0], HasSubstr("same values"));
}

// All that the smaller network needs is there, in its shapes.
TEST_F(WeightPartTest, AFileOfADeeperNetworkIsRefused) {
  TensorMap file;
  Add("state_dict.", 1, file);
  for (const char* name : {"layer1.3.conv1.weight", "layer1.3.bn1.weight"}) {
    const Shape shape = ShapeOf(name);
    file[std::string("state_dict.") + name] = *Tensor::FromVector<float>(
        shape, std::vector<float>(static_cast<std::size_t>(shape.num_elements()), 1));
  }
  const auto mapped = Map(file);
  EXPECT_THAT(std::string(mapped.status().message()),
              AllOf(HasSubstr("2 unknown"), HasSubstr("state_dict.layer1.3.conv1.weight")));
}

TEST_F(WeightPartTest, WhatCannotBeReadIsNamedWhereItIsNeeded) {
  TensorMap tensors;
  Add("model.", 1, tensors);
  tensors.erase("model.conv1.weight");
  WeightFile file = FileOf(tensors);
  file.unread = {{.name = "args", .reason = "an object made by argparse.Namespace"},
                 {.name = "model.conv1.weight", .reason = "an object made by x.Quantized"}};
  const auto refused = MapWeights(architecture_, graph_, file);
  EXPECT_THAT(
      std::string(refused.status().message()),
      AllOf(HasSubstr("1 missing"), HasSubstr("model.conv1.weight"), HasSubstr("x.Quantized")));
  Add("model.", 1, tensors);
  WeightFile whole = FileOf(tensors);
  whole.unread = {{.name = "args", .reason = "an object made by argparse.Namespace"}};
  ASSERT_OK_AND_ASSIGN(const auto mapped, MapWeights(architecture_, graph_, whole));
  EXPECT_EQ(mapped.ignored.back().variable, "args");
}

// Names decide, not the file that they came in.
TEST_F(WeightPartTest, TheNetworksOwnNamesAreFoundInAnyFile) {
  TensorMap file;
  for (const graph::Variable& variable : graph_.variables()) {
    file["state_dict." + variable.name] = *Tensor::FromVector<float>(
        variable.shape,
        std::vector<float>(static_cast<std::size_t>(variable.shape.num_elements()), 4));
  }
  ASSERT_OK_AND_ASSIGN(const auto mapped, Map(file));
  EXPECT_EQ(mapped.naming, "TensorFlow");
  EXPECT_EQ(ValueOf(mapped, "logits/weights"), 4);
}

// An auxiliary classifier takes no part in the answer.
class TrainingOnlyTest : public testing::Test {
 protected:
  TensorMap Filled() const {
    TensorMap file;
    for (const graph::Variable& variable : graph_.variables()) {
      file[variable.name] = *Tensor::FromVector<float>(
          variable.shape,
          std::vector<float>(static_cast<std::size_t>(variable.shape.num_elements()), 0.5f));
    }
    return file;
  }
  const Zoo zoo_ = Zoo::Standard();
  const Architecture& architecture_ = **zoo_.Find("inception_v3");
  const graph::Graph graph_ =
      *BuildGraph(architecture_, {.num_classes = 5, .height = 139, .width = 139});
};

TEST_F(TrainingOnlyTest, MayBeMissing) {
  TensorMap file = Filled();
  std::erase_if(
      file, [](const auto& entry) { return entry.first.find("/AuxLogits/") != std::string::npos; });
  const std::size_t missing = graph_.variables().size() - file.size();
  ASSERT_GT(missing, 5u);
  ASSERT_OK_AND_ASSIGN(const auto mapped, MapWeights(architecture_, graph_, file));
  EXPECT_EQ(mapped.initialized.size(), missing);
  EXPECT_THAT(mapped.initialized, testing::Each(HasSubstr("AuxLogits")));
  EXPECT_TRUE(graph_.CheckWeights(mapped.weights).ok());
  file.erase("InceptionV3/Conv2d_1a_3x3/weights");
  EXPECT_THAT(std::string(MapWeights(architecture_, graph_, file).status().message()),
              HasSubstr("1 missing: InceptionV3/Conv2d_1a_3x3/weights"));
}

TEST_F(TrainingOnlyTest, MayBeOfAnotherShape) {
  TensorMap file = Filled();
  const std::string odd = "InceptionV3/AuxLogits/Conv2d_2b_1x1/biases";
  ASSERT_TRUE(file.contains(odd));
  file[odd] = *Tensor::FromVector<float>({7}, std::vector<float>(7, 1));
  ASSERT_OK_AND_ASSIGN(const auto mapped, MapWeights(architecture_, graph_, file));
  EXPECT_THAT(mapped.initialized, ElementsAre(odd));
  EXPECT_THAT(mapped.ignored.back().reason, HasSubstr("only training uses it"));
}

}  // namespace
}  // namespace zood::models
