#include "train/restore.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/name_pattern.h"
#include "graph/net.h"
#include "tests/support/status_testing.h"

namespace zood::train {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Origin = RestoredVariable::Origin;

// Variables: body/conv1/{weights,biases}, body/conv2/{weights,biases}, head/fc/{weights,biases}.
graph::Graph Network() {
  graph::Net net({.height = 4, .width = 4, .channels = 2});
  graph::Value x = net.input();
  {
    const auto scope = net.Scope("body");
    x = net.Conv2d(x, 2, {3, 3}, {.scope = "conv1"});
    x = net.Conv2d(x, 2, {3, 3}, {.scope = "conv2"});
  }
  const auto scope = net.Scope("head");
  x = net.FullyConnected(net.Flatten(x), 5, {.activation = nullptr, .scope = "fc"});
  return *net.Finish(x);
}

// Of that shape; every element is `value`.
Tensor Filled(const Shape& shape, float value) {
  return *Tensor::FromVector(
      shape, std::vector<float>(static_cast<std::size_t>(shape.num_elements()), value));
}

// Every variable of the network as 1, 2, 3, ...
TensorMap Checkpoint(const graph::Graph& network) {
  TensorMap tensors;
  float value = 0;
  for (const auto& variable : network.variables()) {
    tensors[variable.name] = Filled(variable.shape, value += 1);
  }
  return tensors;
}

float First(const Restored& restored, const std::string& name) {
  return restored.weights.at(name).values<float>().front();
}

const RestoredVariable& Of(const Restored& restored, const std::string& name) {
  return *std::ranges::find(restored.report, name, &RestoredVariable::variable);
}

class RestoreTest : public ::testing::Test {
 protected:
  const graph::Graph network_ = Network();
  CheckpointSource source_ = {.label = "base.ckpt", .tensors = Checkpoint(network_)};

  absl::StatusOr<Restored> Run(std::uint64_t seed = 7) {
    return Restore(network_, {.sources = {source_}, .seed = seed});
  }
  std::string Error(absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
    const absl::Status status = Run().status();
    EXPECT_EQ(status.code(), code) << status;
    return std::string(status.message());
  }
};

TEST_F(RestoreTest, TakesACheckpointAsItIs) {
  ASSERT_OK_AND_ASSIGN(const auto restored, Run());
  EXPECT_EQ(restored.restored, 6);
  EXPECT_EQ(restored.initialized, 0);
  EXPECT_TRUE(network_.CheckWeights(restored.weights).ok());
  for (const auto& [name, tensor] : source_.tensors) {
    EXPECT_EQ(restored.weights.at(name).bytes().data(), tensor.bytes().data()) << name;
    EXPECT_EQ(Of(restored, name).origin, Origin::kCheckpoint);
    EXPECT_EQ(Describe(Of(restored, name)), name + ": from base.ckpt");
  }
}

TEST_F(RestoreTest, TakesOnlyWhatIsIncludedAndNotExcluded) {
  source_.include = {"body/conv[12]"};
  source_.exclude = {"body/conv2/b"};
  ASSERT_OK_AND_ASSIGN(const auto restored, Run());
  EXPECT_EQ(restored.restored, 3);
  EXPECT_EQ(Of(restored, "body/conv2/weights").origin, Origin::kCheckpoint);
  EXPECT_EQ(Of(restored, "body/conv2/biases").origin, Origin::kInitializer);
  EXPECT_EQ(Describe(Of(restored, "body/conv2/biases")),
            "body/conv2/biases: initialized by constant(0)");
  EXPECT_EQ(Of(restored, "head/fc/weights").origin, Origin::kInitializer);
}

// tf.get_collection: re.match, which is anchored at the start alone.
TEST_F(RestoreTest, PatternsMatchAtTheStart) {
  source_.include = {"conv1"};
  EXPECT_THAT(Error(), AllOf(HasSubstr("base.ckpt: include: 'conv1'"),
                             HasSubstr("none of the network's 6 variables")));
  source_.include = {".*conv1"};
  EXPECT_EQ(Run()->restored, 2);
  source_.include = {"body/conv1/weights$", "he"};
  EXPECT_EQ(Run()->restored, 3);
}

TEST_F(RestoreTest, AMisspeltScopeNamesTheNearest) {
  source_.include = {"head/fc1/weights"};
  EXPECT_THAT(Error(), HasSubstr("the nearest are 'head/fc/weights'"));
}

TEST_F(RestoreTest, APlanThatMatchesNoVariableIsAnError) {
  source_.exclude = {""};
  EXPECT_THAT(Error(), HasSubstr("empty"));
  source_.exclude = {".*"};
  EXPECT_THAT(Error(), HasSubstr("matches no variable"));
  source_.exclude.clear();
  source_.renamings = {{"(.*)", "other/\\1"}};
  source_.allow_missing = true;
  EXPECT_THAT(Error(), AllOf(HasSubstr("matches no variable"), HasSubstr("'other/body/conv1/"),
                             HasSubstr("nearest names there are 'body/conv1/")));
  source_.tensors.clear();
  EXPECT_THAT(Error(), HasSubstr("it is empty"));
}

TEST_F(RestoreTest, FindsVariablesUnderOtherNames) {
  source_.names = {{"head/fc/weights", "body/conv1/weights"}};
  source_.renamings = {{"body/conv1/(\\w+)", "body/conv2/\\1"}, {"body/.*", "nowhere"}};
  source_.include = {"body/conv1", "head/fc/biases"};
  ASSERT_OK_AND_ASSIGN(const auto restored, Run());
  EXPECT_EQ(Of(restored, "body/conv1/biases").name, "body/conv2/biases");
  EXPECT_EQ(Describe(Of(restored, "body/conv1/biases")),
            "body/conv1/biases: from base.ckpt, 'body/conv2/biases' there");
  EXPECT_EQ(Of(restored, "head/fc/biases").name, "head/fc/biases");
  source_.names = {{"head/fc/wieghts", "x"}};
  EXPECT_THAT(Error(), AllOf(HasSubstr("'head/fc/wieghts' is not a variable"),
                             HasSubstr("'head/fc/weights'")));
}

// A renaming is of the whole name: a part that matches is not enough.
TEST_F(RestoreTest, RenamesWholeNames) {
  source_.renamings = {{"body", "x"}, {"head/fc/(biases|weights)", "\\0"}};
  EXPECT_EQ(Run()->restored, 6);
}

TEST_F(RestoreTest, MissingVariablesAreAnErrorOrLeftAlone) {
  source_.tensors.erase("body/conv2/biases");
  source_.tensors.erase("head/fc/biases");
  EXPECT_THAT(
      Error(absl::StatusCode::kNotFound),
      AllOf(HasSubstr("2 of the 6 variables"), HasSubstr("'body/conv2/biases', 'head/fc/biases'"),
            HasSubstr("nearest names there are 'body/conv1/biases'")));
  source_.allow_missing = true;
  EXPECT_EQ(Run()->restored, 4);
}

TEST_F(RestoreTest, OtherShapesAreAnErrorUnlessReshapingIsAllowed) {
  const Shape flat = {source_.tensors.at("head/fc/weights").num_elements()};
  source_.tensors["head/fc/weights"] = Filled(flat, 9);
  EXPECT_THAT(Error(),
              AllOf(HasSubstr("base.ckpt: 'head/fc/weights'"),
                    HasSubstr("expected shape [32,5], found [160]"), HasSubstr("reshape")));
  source_.allow_reshape = true;
  ASSERT_OK_AND_ASSIGN(const auto restored, Run());
  EXPECT_EQ(First(restored, "head/fc/weights"), 9);
  EXPECT_TRUE(Of(restored, "head/fc/weights").reshaped);
  EXPECT_EQ(Describe(Of(restored, "head/fc/weights")),
            "head/fc/weights: from base.ckpt, reshaped from [160]");
  source_.tensors["head/fc/weights"] = Filled({161}, 9);
  EXPECT_THAT(Error(), HasSubstr("exclude it"));
}

TEST_F(RestoreTest, ConvertsRealNumbersAndRefusesOthers) {
  source_.tensors["head/fc/biases"] = *Tensor::FromVector<double>({5}, {1.5, 2, 3, 4, 5});
  EXPECT_EQ(First(*Run(), "head/fc/biases"), 1.5f);
  source_.tensors["head/fc/biases"] = *Tensor::Strings({5}, {"a", "b", "c", "d", "e"});
  EXPECT_THAT(Error(), HasSubstr("'head/fc/biases'"));
}

TEST_F(RestoreTest, ValuesFromMemoryAndSourcesInOrder) {
  const ValueSource values = {.values = {{"body/conv1/biases", Filled({1, 2}, 40)}}};
  ASSERT_OK_AND_ASSIGN(const auto first, Restore(network_, {.sources = {values, source_}}));
  EXPECT_EQ(First(first, "body/conv1/biases"), 40);
  EXPECT_EQ(Of(first, "body/conv1/biases").origin, Origin::kValue);
  EXPECT_TRUE(Of(first, "body/conv1/biases").reshaped);
  const auto second = Restore(network_, {.sources = {source_, values}});
  EXPECT_EQ(First(*second, "body/conv1/biases"), 2);
  const ValueSource unknown = {.values = {{"body/conv3/biases", Filled({2}, 1)}}};
  EXPECT_THAT(Restore(network_, {.sources = {unknown}}).status().ToString(),
              HasSubstr("'body/conv3/biases' is not a variable"));
}

// What another source gave is not missed.
TEST_F(RestoreTest, EarlierSourcesMakeUpForWhatIsMissing) {
  source_.tensors.erase("head/fc/biases");
  const ValueSource values = {.values = {{"head/fc/biases", Filled({5}, 1)}}};
  EXPECT_TRUE(Restore(network_, {.sources = {values, source_}}).ok());
}

TEST_F(RestoreTest, InitializersDependOnSeedAndNameAlone) {
  source_.include = {"body/conv1"};
  const auto a = Run(7), b = Run(8);
  const auto nothing = Restore(network_, {.seed = 7});
  ASSERT_TRUE(a.ok() && b.ok() && nothing.ok());
  EXPECT_EQ(nothing->initialized, 6);
  const auto values = [](const Restored& restored, const char* name) {
    const auto span = restored.weights.at(name).values<float>();
    return std::vector<float>(span.begin(), span.end());
  };
  EXPECT_EQ(values(*a, "head/fc/weights"), values(*nothing, "head/fc/weights"));
  EXPECT_NE(values(*a, "head/fc/weights"), values(*b, "head/fc/weights"));
  EXPECT_NE(values(*nothing, "body/conv2/weights"), std::vector<float>(36, 0));
}

TEST(NamePatternsTest, RefusesWhatIsUnsound) {
  const auto error = [](std::string pattern) {
    const std::vector<std::string> patterns = {std::move(pattern)};
    return NamePatterns::Create("update", patterns).status().ToString();
  };
  EXPECT_THAT(error("a("), AllOf(HasSubstr("update"), HasSubstr("'a('")));
  EXPECT_THAT(error("(\\w+)\\1"), HasSubstr("not a regular expression"));  // no back references
  EXPECT_THAT(error(std::string(501, 'a')), HasSubstr("at most 500"));
  EXPECT_THAT(error("((a{100}){100}){100}"), HasSubstr("not a regular expression"));
  const std::vector<std::string> many(1001, "a");
  EXPECT_FALSE(NamePatterns::Create("update", many).ok());
  const std::vector<Renaming> renamings = {{"a(b)", "\\2"}};
  EXPECT_FALSE(NameRenamings::Create("renaming", renamings).ok());
}

// Time is linear in the name, where a backtracking matcher would take 2^40 steps.
TEST(NamePatternsTest, NoPatternTakesLong) {
  const std::vector<std::string> patterns = {"(a|aa)+$"};
  ASSERT_OK_AND_ASSIGN(const auto compiled, NamePatterns::Create("update", patterns));
  EXPECT_FALSE(compiled.Match(std::string(1000, 'a') + "b"));
}

TEST(NamePatternsTest, PrefixesMeanThemselves) {
  const std::vector<std::string> patterns = {PrefixPattern("a.b/(c)")};
  ASSERT_OK_AND_ASSIGN(const auto compiled, NamePatterns::Create("exclude", patterns));
  EXPECT_TRUE(compiled.Match("a.b/(c)/weights"));
  EXPECT_FALSE(compiled.Match("axb/(c)/weights"));
}

}  // namespace
}  // namespace zood::train
