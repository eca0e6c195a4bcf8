// Datasets as tables.
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "client/cli/dataset_commands.h"
#include "client/cli/tables/table.h"

namespace zood::client::cli {
namespace {

constexpr Table::Align kRight = Table::Align::kRight;
constexpr int kShownProblems = 20;  // the rest is in --json

std::string Count(std::int64_t count) { return fmt::format("{}", count); }

std::string DescribeProblems(const v1::Dataset& dataset) {
  if (dataset.num_problems() == 0) return "";
  const int shown = std::min(dataset.problems_size(), kShownProblems);
  std::string text = fmt::format("\n{} left out:\n", FormatCount(dataset.num_problems(), "image"));
  for (int i = 0; i < shown; ++i) {
    const v1::DatasetProblem& problem = dataset.problems(i);
    text += fmt::format("  {}: {}\n", Printable(problem.item()), Printable(problem.reason()));
  }
  if (dataset.num_problems() > shown) {
    text += fmt::format("  and {} more{}\n", dataset.num_problems() - shown,
                        dataset.problems_size() > shown ? " (--json lists the first 1000)" : "");
  }
  return text;
}

std::string DescribeWarnings(const v1::Dataset& dataset) {
  const int shown = std::min(dataset.warnings_size(), kShownProblems);
  std::string text = shown > 0 ? "\nTo look at:\n" : "";
  for (int i = 0; i < shown; ++i) text += fmt::format("  {}\n", Printable(dataset.warnings(i)));
  if (dataset.warnings_size() > shown) {
    text += fmt::format("  and {} more (--json lists them)\n", dataset.warnings_size() - shown);
  }
  return text;
}

}  // namespace

std::string DescribeDatasets(const v1::ListDatasetsResponse& answer) {
  if (answer.datasets().empty()) {
    return "There is no dataset yet. `zoo dataset create NAME FOLDER` makes one.\n";
  }
  Table table({{"DATASET"},
               {"IMAGES", kRight},
               {"TRAIN", kRight},
               {"VALIDATION", kRight},
               {"TEST", kRight},
               {"LEFT OUT", kRight},
               {"SIZE", kRight},
               {"CREATED"},
               {"NOTE"}});
  for (const v1::Dataset& dataset : answer.datasets()) {
    table.Add({dataset.name(), Count(dataset.num_items()), Count(dataset.counts().train()),
               Count(dataset.counts().validation()), Count(dataset.counts().test()),
               Count(dataset.num_problems()), FormatBytes(dataset.bytes()),
               FormatTime(dataset.created_at().seconds()), dataset.note()});
  }
  return table.ToString();
}

std::string DescribeDataset(const v1::Dataset& dataset) {
  Table facts({{dataset.name()}, {""}});
  facts.Add({"digest", dataset.digest()});
  facts.Add({"created", FormatTime(dataset.created_at().seconds())});
  facts.Add({"images", fmt::format("{} in {}, {}", dataset.num_items(),
                                   dataset.classes_size() == 1
                                       ? std::string("1 class")
                                       : fmt::format("{} classes", dataset.classes_size()),
                                   FormatBytes(dataset.bytes()))});
  if (!dataset.source().empty()) facts.Add({"from", dataset.source()});
  if (!dataset.note().empty()) facts.Add({"note", dataset.note()});
  Table classes(
      {{"LABEL", kRight}, {"CLASS"}, {"TRAIN", kRight}, {"VALIDATION", kRight}, {"TEST", kRight}});
  for (int i = 0; i < dataset.classes_size(); ++i) {
    const v1::SplitCounts& counts = dataset.classes(i).counts();
    classes.Add({Count(i), dataset.classes(i).name(), Count(counts.train()),
                 Count(counts.validation()), Count(counts.test())});
  }
  classes.Add({"", "all", Count(dataset.counts().train()), Count(dataset.counts().validation()),
               Count(dataset.counts().test())});
  return facts.ToString() + "\n" + classes.ToString() + DescribeProblems(dataset) +
         DescribeWarnings(dataset);
}

std::string DescribeItems(const v1::ListDatasetItemsResponse& answer) {
  if (answer.items().empty()) return "There is no such image.\n";
  Table table({{"IMAGE"}, {"LABEL", kRight}, {"CLASS"}, {"SPLIT"}, {"SIZE", kRight}, {"SHA-256"}});
  for (const v1::DatasetItem& item : answer.items()) {
    table.Add({item.name(), Count(item.label()), item.class_name(), v1::Split_Name(item.split()),
               FormatBytes(item.bytes()), item.digest()});
  }
  return table.ToString();
}

}  // namespace zood::client::cli
