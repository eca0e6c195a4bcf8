#include "base/labels_text.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/unicode.h"

namespace zood {
namespace {

constexpr std::string_view kSpace = " \t\r\f\v";

std::string_view Trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

// Lines end with "\n", "\r\n" or "\r".
std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
    lines.push_back(Trimmed(text.substr(0, end)));
    const std::size_t mark = text.substr(end).starts_with("\r\n") ? 2 : 1;
    text.remove_prefix(std::min(end + mark, text.size()));
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

struct Indexed {
  std::int64_t index = 0;
  std::string_view name;
};

// "3:roses", "3 roses", "3,roses": an index, one separator, a name.
std::optional<Indexed> SplitIndex(std::string_view line) {
  Indexed split;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), split.index);
  if (error != std::errc() || split.index < 0) return std::nullopt;
  line.remove_prefix(static_cast<std::size_t>(end - line.data()));
  if (line.empty() || std::string_view(":,; \t").find(line.front()) == std::string_view::npos) {
    return std::nullopt;
  }
  split.name = Trimmed(line.substr(1));
  return split.name.empty() ? std::nullopt : std::optional(split);
}

// The names in the order of their indices; nothing when the lines have no indices. Names that
// begin with numbers of their own ("7 up", "66 model") do not count the classes.
std::optional<absl::StatusOr<std::vector<std::string_view>>> ByIndex(
    const std::vector<std::string_view>& lines, std::string_view where) {
  std::vector<Indexed> all;
  bool colons = true;
  for (const std::string_view line : lines) {
    const auto split = SplitIndex(line);
    if (!split) return std::nullopt;
    colons = colons && line[line.find_first_not_of("0123456789")] == ':';
    all.push_back(*split);
  }
  std::ranges::stable_sort(all, {}, &Indexed::index);
  const std::int64_t first = all.empty() ? 0 : all.front().index;
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto expected = first + static_cast<std::int64_t>(i);
    const bool counted = first <= 1 && all[i].index == expected;
    if (!colons && (!counted || all.size() < 2)) return std::nullopt;
    if (!counted) {
      return InvalidArgument(
          "{}: the classes are not counted from 0: index {} is {}", where, first > 1 ? 0 : expected,
          all[i].index < expected ? "followed by another of the same number" : "missing");
    }
    names.push_back(all[i].name);
  }
  return names;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseLabels(std::string_view file,
                                                     std::string_view where) {
  ZOOD_ASSIGN_OR_RETURN(const std::string text, DecodeText(file, where));
  std::vector<std::string_view> lines = Lines(text);
  if (const auto empty = std::ranges::find(lines, std::string_view()); empty != lines.end()) {
    return InvalidArgument("{}, line {}: expected the name of a class, found an empty line", where,
                           empty - lines.begin() + 1);
  }
  if (auto indexed = ByIndex(lines, where)) {
    ZOOD_ASSIGN_OR_RETURN(lines, *std::move(indexed));
  }
  std::vector<std::string> labels;
  labels.reserve(lines.size());
  for (const std::string_view line : lines) labels.push_back(ToNfc(line));
  return labels;
}

}  // namespace zood
