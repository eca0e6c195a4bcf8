#include "checkpoint/variable_role.h"

#include <gtest/gtest.h>

#include <map>

#include "checkpoint/tensorflow/v2_writer.h"
#include "tests/checkpoint/support/fixtures.h"
#include "tests/checkpoint/support/memory_file_system.h"
#include "tests/support/status_testing.h"

namespace zood::checkpoint {
namespace {

TEST(VariableRoleTest, TellsByTheName) {
  using Role = VariableRole;
  const std::vector<std::tuple<std::string, Role, std::string>> cases = {
      {"a/weights", Role::kModel, "a/weights"},
      {"a/weights/Momentum", Role::kSlot, "a/weights"},
      {"a/weights/Adam", Role::kSlot, "a/weights"},
      {"a/weights/Adam_1", Role::kSlot, "a/weights"},
      {"a/weights/RMSProp_2", Role::kSlot, "a/weights"},
      {"a/weights/Adagrad", Role::kSlot, "a/weights"},
      {"a/weights/Adadelta_1", Role::kSlot, "a/weights"},
      {"a/weights/Ftrl_1", Role::kSlot, "a/weights"},
      {"a/moving_mean/biased", Role::kSlot, "a/moving_mean"},
      {"a/moving_mean/local_step", Role::kSlot, "a/moving_mean"},
      {"a/weights/ExponentialMovingAverage", Role::kMovingAverage, "a/weights"},
      {"beta1_power", Role::kOptimizerState, "beta1_power"},
      {"OptimizeLoss/beta2_power_1", Role::kOptimizerState, "OptimizeLoss/beta2_power_1"},
      {"global_step", Role::kGlobalStep, "global_step"},
      {"Momentum", Role::kModel, "Momentum"},
      {"Adam_1/weights", Role::kModel, "Adam_1/weights"},
      {"a/Adamant", Role::kModel, "a/Adamant"},
      {"a/Adam_", Role::kModel, "a/Adam_"},
      {"a/mean_rgb", Role::kModel, "a/mean_rgb"},
      {"", Role::kModel, ""},
      {"1", Role::kModel, "1"},
      {"/", Role::kModel, "/"}};
  for (const auto& [name, role, variable] : cases) {
    EXPECT_EQ(ClassifyVariable(name).role, role) << name;
    EXPECT_EQ(ClassifyVariable(name).variable, variable) << name;
  }
}

// TinyNet has seven variables; five are trained, and all seven have averages.
TEST(VariableRoleTest, AccountsForEveryVariableOfTrainedCheckpoints) {
  struct Case {
    std::string name;
    int slots_each = 0;
    int optimizer_state = 0;
  };
  for (const Case& c : std::vector<Case>{{"trained_adadelta_v2.ckpt", 2},
                                         {"trained_adagrad_v2.ckpt", 1},
                                         {"trained_adam_v1.ckpt", 2, 2},
                                         {"trained_adam_v2.ckpt", 2, 2},
                                         {"trained_ftrl_v2.ckpt", 2},
                                         {"trained_momentum_v2.ckpt", 1},
                                         {"trained_rmsprop_v1.ckpt", 2},
                                         {"trained_rmsprop_v2.ckpt", 2}}) {
    SCOPED_TRACE(c.name);
    ASSERT_OK_AND_ASSIGN(auto reader, Open(FileSystem::Native(), CheckpointPath(c.name)));
    std::map<VariableRole, int> counts;
    for (const VariableInfo& variable : reader->variables()) {
      const ClassifiedVariable classified = ClassifyVariable(variable.name);
      ++counts[classified.role];
      EXPECT_NE(reader->Find(classified.variable), nullptr) << variable.name;
    }
    EXPECT_EQ(counts[VariableRole::kModel], 7);
    EXPECT_EQ(counts[VariableRole::kMovingAverage], 7);
    EXPECT_EQ(counts[VariableRole::kSlot], 5 * c.slots_each);
    EXPECT_EQ(counts[VariableRole::kOptimizerState], c.optimizer_state);
    EXPECT_EQ(counts[VariableRole::kGlobalStep], 1);
  }
}

TEST(ReadAllTest, PrefersMovingAverages) {
  ASSERT_OK_AND_ASSIGN(auto reader,
                       Open(FileSystem::Native(), CheckpointPath("trained_adam_v1.ckpt")));
  const auto averaged = ReadAll(*reader, {});
  const auto raw = ReadAll(*reader, {.prefer_moving_averages = false});
  const auto model = ReadAll(*reader, {.training_state = false});
  const auto raw_model =
      ReadAll(*reader, {.prefer_moving_averages = false, .training_state = false});
  ASSERT_TRUE(averaged.ok() && raw.ok() && model.ok() && raw_model.ok());
  EXPECT_EQ(raw->size(), reader->variables().size());
  EXPECT_EQ(averaged->size(), raw->size() - 7);
  EXPECT_EQ(model->size(), 7u);
  EXPECT_EQ(raw_model->size(), 7u);
  for (const auto& [name, tensor] : *model) {
    EXPECT_TRUE(SameTensor(tensor, raw->at(name + "/ExponentialMovingAverage"))) << name;
    EXPECT_TRUE(SameTensor(tensor, averaged->at(name))) << name;
    EXPECT_FALSE(SameTensor(tensor, raw->at(name))) << name;
    EXPECT_TRUE(SameTensor(raw_model->at(name), raw->at(name))) << name;
  }
}

TEST(ReadAllTest, TakesAnAverageWithoutItsVariableButNotOfAnotherShape) {
  MemoryFileSystem files;
  const Tensor two = *Tensor::FromVector<float>({2}, {1, 2});
  const Tensor three = *Tensor::FromVector<float>({3}, {1, 2, 3});
  ASSERT_TRUE(WriteBundle(files, "/alone", {{"w/ExponentialMovingAverage", two}}).ok());
  ASSERT_TRUE(WriteBundle(files, "/odd", {{"w", three}, {"w/ExponentialMovingAverage", two}}).ok());
  ASSERT_OK_AND_ASSIGN(const auto alone, ReadAll(**Open(files, "/alone"), {}));
  EXPECT_TRUE(SameTensor(alone.at("w"), two));
  EXPECT_EQ(ReadAll(**Open(files, "/odd"), {}).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace zood::checkpoint
