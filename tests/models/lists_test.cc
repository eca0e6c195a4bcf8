// Networks of the zoo against lists of what the original framework makes of them.
//
// data/zoo/variables/<network>.txt: every variable of the checkpoint, its shape and type.
// data/zoo/endpoints/<network>.txt: every end point and its shape for two images.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "models/zoo.h"
#include "tests/support/status_testing.h"

namespace zood::models {
namespace {

std::string Join(const Shape& shape) { return fmt::format("{}", fmt::join(shape.dims(), ",")); }

// The first `columns` columns of a list, in order.
std::vector<std::string> List(const std::string& path, int columns) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string joined;
    std::string field;
    for (int i = 0; i < columns && std::getline(fields, field, '\t'); ++i) joined += field + "\t";
    lines.push_back(joined);
  }
  std::ranges::sort(lines);
  return lines;
}

std::vector<std::string> NetworksListedIn(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().stem().string());
  }
  std::ranges::sort(names);
  return names;
}

const std::string kVariables = ZOOD_TEST_DATA "/zoo/variables";
const std::string kEndPoints = ZOOD_TEST_DATA "/zoo/endpoints";

absl::StatusOr<graph::Graph> Build(std::string name) {
  NetworkArgs small;
  if (name == "lenet12") {  // LeNet for images of 12x12, so that its checkpoints are small
    name = "lenet";
    small = {.height = 12, .width = 12};
  }
  static const Zoo* const zoo = new Zoo(Zoo::Standard());
  const auto architecture = zoo->Find(name);
  if (!architecture.ok()) return architecture.status();
  NetworkArgs args = (*architecture)->defaults;
  if (small.height > 0) {
    args.height = small.height;
    args.width = small.width;
  }
  return BuildGraph(**architecture, args);
}

class VariablesTest : public testing::TestWithParam<std::string> {};

TEST_P(VariablesTest, AreTheCheckpoints) {
  const auto graph = Build(GetParam());
  ASSERT_TRUE(graph.ok()) << graph.status();
  std::vector<std::string> ours;
  for (const graph::Variable& variable : graph->variables()) {
    ours.push_back(fmt::format("{}\t{}\tfloat32\t", variable.name, Join(variable.shape)));
  }
  std::ranges::sort(ours);
  EXPECT_EQ(ours, List(fmt::format("{}/{}.txt", kVariables, GetParam()), 3));
}

INSTANTIATE_TEST_SUITE_P(Zoo, VariablesTest, testing::ValuesIn(NetworksListedIn(kVariables)),
                         [](const auto& network) { return network.param; });

class EndPointsTest : public testing::TestWithParam<std::string> {};

TEST_P(EndPointsTest, AreTheOriginals) {
  ASSERT_OK_AND_ASSIGN(const auto graph, Build(GetParam()));
  std::vector<std::string> ours;
  for (const auto& [name, id] : graph.end_points()) {
    ours.push_back(fmt::format("{}\t{}\t", name, Join(graph.node(id).shape.WithBatch(2))));
  }
  std::ranges::sort(ours);
  EXPECT_EQ(ours, List(fmt::format("{}/{}.txt", kEndPoints, GetParam()), 2));
}

INSTANTIATE_TEST_SUITE_P(Zoo, EndPointsTest, testing::ValuesIn(NetworksListedIn(kEndPoints)),
                         [](const auto& network) { return network.param; });

}  // namespace
}  // namespace zood::models
