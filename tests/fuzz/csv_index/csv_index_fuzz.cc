// Any text as a CSV index, and as a file of labels.
#include "base/labels_text.h"
#include "dataset/formats/readers.h"
#include "tests/fuzz/dataset_fuzz.h"

namespace {

using namespace zood::dataset;

// An index and two photos.
class Tree final : public FileTree {
 public:
  explicit Tree(std::string_view index) : FileTree("memory", "", 10), index_(index) {
    files_ = {"a.bmp", "index.csv", "sub/b.bmp"};
    directories_ = {"sub"};
  }
  absl::StatusOr<FileBytes> Open(std::size_t file, std::uint64_t) override {
    const std::string_view text = file == 1 ? index_ : "BM photo";
    return FileBytes{std::as_bytes(std::span(text)), nullptr};
  }

 private:
  const std::string_view index_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = AsText(data, size);
  Tree tree(text);
  const DatasetOptions options = SmallLimits();
  ReadBudget budget(options.limits);
  Judge(ReadCsvIndex(tree, "", 1, options, budget));
  zood::ParseLabels(text, "labels").status().IgnoreError();
  return 0;
}
