// docs/zoo.md is what the zoo says of itself. ZOOD_WRITE_DOCS=1 writes the page anew.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "models/zoo.h"

namespace zood::models {
namespace {

constexpr const char* kPath = ZOOD_SOURCE_DIR "/docs/zoo.md";

std::string Accuracy(const Published& published) {
  std::string text;
  if (published.top1) text += fmt::format("{:.1f}", *published.top1);
  if (published.top5) text += fmt::format(" / {:.1f}", *published.top5);
  return text;
}

std::string Row(const Architecture& architecture) {
  const NetworkArgs& args = architecture.defaults;
  const auto graph = BuildGraph(architecture, args);
  EXPECT_TRUE(graph.ok()) << architecture.name << ": " << graph.status();
  std::int64_t parameters = 0;
  if (graph.ok()) {
    for (const graph::Variable& variable : graph->variables()) {
      parameters += variable.shape.num_elements();
    }
  }
  std::string archives, accuracies;
  for (const Published& published : architecture.published) {
    const char* line = archives.empty() && accuracies.empty() ? "" : "<br>";
    archives += line + (published.archive.empty() ? "" : "`" + published.archive + "`");
    accuracies += line + Accuracy(published);
  }
  return fmt::format("| `{}` | {}×{}×{} | {} | {:.2f} | {} | {} |\n", architecture.name,
                     args.height, args.width, args.channels, args.num_classes,
                     static_cast<double>(parameters) / 1e6, archives, accuracies);
}

std::string Page() {
  std::map<std::string, std::string> rows;
  const Zoo zoo = Zoo::Standard();
  for (const Architecture* architecture : zoo.List()) {
    rows[architecture->family] += Row(*architecture);
  }
  std::string page =
      "# The zoo\n\n"
      "Every network that zood builds by name, as it was published. Input is height × width × "
      "channels; "
      "variables\ncount every number of the file, in millions; accuracy is top-1 / top-5 in per "
      "cent on "
      "ImageNet's validation\nimages (CIFAR-10's test images for the CIFAR ResNets), single crop. "
      "Any "
      "other number of classes and any\nlegal input size may be asked for at import.\n\n"
      "MobileNet v1 and Inception v2 and v3 pool what slim pools before the classifier: a window "
      "of 7×7 "
      "(8×8 in v3), or\nthe map where that is smaller. A map that is one larger loses its last row "
      "or "
      "column, as it does in slim; on maps\nlarger still, for which slim has no answer, and in all "
      "other networks the mean is over the whole map.\n";
  for (const auto& [family, lines] : rows) {
    page += fmt::format(
        "\n## {}\n\n| name | input | classes | variables | published as | accuracy |\n"
        "| --- | --- | --- | --- | --- | --- |\n{}",
        family, lines);
  }
  return page;
}

TEST(ZooTableTest, ThePageSaysWhatTheZooSays) {
  const std::string page = Page();
  if (std::getenv("ZOOD_WRITE_DOCS") != nullptr) std::ofstream(kPath) << page;
  std::ifstream file(kPath);
  const std::string written(std::istreambuf_iterator<char>(file), {});
  EXPECT_TRUE(page == written) << "docs/zoo.md is stale: run zoo_table_test with ZOOD_WRITE_DOCS=1";
}

}  // namespace
}  // namespace zood::models
