#include "dataset/formats/photo_finder.h"

#include <algorithm>

#include "base/status.h"
#include "dataset/builder.h"
#include "dataset/formats/readers.h"

namespace zood::dataset {
namespace {

std::string_view StemOf(std::string_view name) {
  const std::size_t ending = EndingOf(name).size();
  return ending == 0 ? name : name.substr(0, name.size() - ending - 1);
}

// How many parts two paths have in common at their ends, the last one aside.
std::size_t CommonFolders(std::string_view a, std::string_view b) {
  std::size_t common = 0;
  for (;;) {
    const std::size_t slash_a = a.rfind('/');
    const std::size_t slash_b = b.rfind('/');
    if (slash_a == std::string_view::npos || slash_b == std::string_view::npos) return common;
    a = a.substr(0, slash_a);
    b = b.substr(0, slash_b);
    if (BaseName(a) != BaseName(b) || BaseName(a).empty()) return common;
    ++common;
  }
}

}  // namespace

PhotoFinder::PhotoFinder(const FileTree& tree, std::string_view folder)
    : tree_(tree), folder_(folder) {
  for (std::size_t i = 0; i < tree.files().size(); ++i) {
    const std::string_view path = tree.files()[i];
    if (!path.starts_with(folder_) || KindOfName(path) == FileKind::kOther) continue;
    by_name_[std::string(BaseName(path))].push_back(i);
    by_stem_[std::string(StemOf(BaseName(path)))].push_back(i);
  }
}

absl::StatusOr<std::size_t> PhotoFinder::Choose(const std::string& path, std::string_view index,
                                                const std::vector<std::size_t>& candidates) const {
  std::vector<std::size_t> best;
  std::size_t most = 0;
  for (const std::size_t candidate : candidates) {
    const std::size_t common = CommonFolders(path, tree_.files()[candidate]);
    if (best.empty() || common > most) {
      best.clear();
      most = common;
    }
    if (common == most) best.push_back(candidate);
  }
  if (const auto split = SplitOfName(index); best.size() > 1 && split) {
    std::vector<std::size_t> of_split = best;
    std::erase_if(of_split, [&](std::size_t file) {
      const std::string_view inner = std::string_view(tree_.files()[file]).substr(folder_.size());
      return SplitOfName(inner.substr(0, inner.find('/'))) != split;
    });
    if (!of_split.empty()) best = std::move(of_split);
  }
  if (best.size() == 1) return best[0];
  return InvalidArgument("'{}' may be '{}' or '{}': give more of its path", Shown(path),
                         Shown(tree_.files()[best[0]]), Shown(tree_.files()[best[1]]));
}

absl::StatusOr<std::size_t> PhotoFinder::Find(const std::string& path,
                                              std::string_view index) const {
  if (const auto clean = CleanPath(path)) {
    if (const auto file = tree_.Find(folder_ + *clean)) return *file;
  }
  std::string slashed = path;
  std::ranges::replace(slashed, '\\', '/');
  const std::string_view name = BaseName(slashed);
  const bool leads_out =
      slashed == ".." || slashed.starts_with("../") || slashed.find("/../") != std::string::npos;
  if (name.empty() || leads_out) {
    return NotFound("its path is empty or leads out of the dataset");
  }
  if (const auto found = by_name_.find(name); found != by_name_.end()) {
    return Choose(slashed, index, found->second);
  }
  // Ids without an ending; also "0001.tif" for what was turned into "0001.jpg" is none of these.
  if (const auto found = by_stem_.find(name); found != by_stem_.end()) {
    return Choose(slashed, index, found->second);
  }
  return NotFound("'{}' is not there", Shown(path));
}

}  // namespace zood::dataset
