#include "base/name_pattern.h"

#include <re2/re2.h>
#include <re2/stringpiece.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "base/status.h"

namespace zood {
namespace {

// What one compiled expression may hold; RE2's own default is 8 MiB.
constexpr std::int64_t kMaxCompiledBytes = std::int64_t{1} << 18;

re2::StringPiece Piece(std::string_view text) { return {text.data(), text.size()}; }

absl::Status CheckLength(std::string_view what, std::string_view text) {
  if (text.size() <= NamePatterns::kMaxLength) return absl::OkStatus();
  return InvalidArgument("{}: '{}...' has {} characters, at most {} are allowed", what,
                         text.substr(0, 40), text.size(), NamePatterns::kMaxLength);
}

absl::Status CheckCount(std::string_view what, std::size_t count) {
  if (count <= NamePatterns::kMaxPatterns) return absl::OkStatus();
  return InvalidArgument("{}: found {} patterns, at most {} are allowed", what, count,
                         NamePatterns::kMaxPatterns);
}

absl::StatusOr<std::unique_ptr<RE2>> Compile(std::string_view what, const std::string& pattern) {
  if (pattern.empty()) return InvalidArgument("{}: a pattern is empty", what);
  ZOOD_RETURN_IF_ERROR(CheckLength(what, pattern));
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kMaxCompiledBytes);
  auto compiled = std::make_unique<RE2>(pattern, options);
  if (!compiled->ok()) {
    return InvalidArgument("{}: '{}' is not a regular expression: {}", what, pattern,
                           compiled->error());
  }
  return compiled;
}

bool MatchesStart(const RE2& expression, std::string_view name) {
  return expression.Match(Piece(name), 0, name.size(), RE2::ANCHOR_START, nullptr, 0);
}

}  // namespace

struct NamePatterns::Compiled {
  std::vector<std::unique_ptr<RE2>> expressions;
};

absl::StatusOr<NamePatterns> NamePatterns::Create(std::string_view what,
                                                  std::span<const std::string> patterns) {
  ZOOD_RETURN_IF_ERROR(CheckCount(what, patterns.size()));
  auto compiled = std::make_shared<Compiled>();
  for (const std::string& pattern : patterns) {
    ZOOD_ASSIGN_OR_RETURN(compiled->expressions.emplace_back(), Compile(what, pattern));
  }
  return NamePatterns(std::move(compiled));
}

bool NamePatterns::empty() const { return compiled_->expressions.empty(); }

bool NamePatterns::Match(std::string_view name) const {
  return std::ranges::any_of(compiled_->expressions, [&](const std::unique_ptr<RE2>& expression) {
    return MatchesStart(*expression, name);
  });
}

std::optional<std::string> NamePatterns::FirstWithoutMatch(
    std::span<const std::string> names) const {
  for (const std::unique_ptr<RE2>& expression : compiled_->expressions) {
    if (std::ranges::none_of(
            names, [&](const std::string& name) { return MatchesStart(*expression, name); })) {
      return expression->pattern();
    }
  }
  return std::nullopt;
}

struct NameRenamings::Compiled {
  struct Rule {
    std::unique_ptr<RE2> expression;
    std::string replacement;
  };
  std::vector<Rule> rules;
};

absl::StatusOr<NameRenamings> NameRenamings::Create(std::string_view what,
                                                    std::span<const Renaming> renamings) {
  ZOOD_RETURN_IF_ERROR(CheckCount(what, renamings.size()));
  auto compiled = std::make_shared<Compiled>();
  for (const Renaming& renaming : renamings) {
    ZOOD_RETURN_IF_ERROR(CheckLength(what, renaming.replacement));
    ZOOD_ASSIGN_OR_RETURN(std::unique_ptr<RE2> expression, Compile(what, renaming.pattern));
    std::string error;
    if (!expression->CheckRewriteString(renaming.replacement, &error)) {
      return InvalidArgument("{}: '{}' cannot replace '{}': {}", what, renaming.replacement,
                             renaming.pattern, error);
    }
    compiled->rules.push_back({std::move(expression), renaming.replacement});
  }
  return NameRenamings(std::move(compiled));
}

std::optional<std::string> NameRenamings::Rename(std::string_view name) const {
  std::array<re2::StringPiece, 10> groups;  // the whole, and \1 to \9
  for (const Compiled::Rule& rule : compiled_->rules) {
    const int count = std::min(1 + rule.expression->NumberOfCapturingGroups(), 10);
    if (!rule.expression->Match(Piece(name), 0, name.size(), RE2::ANCHOR_BOTH, groups.data(),
                                count)) {
      continue;
    }
    std::string renamed;
    rule.expression->Rewrite(&renamed, rule.replacement, groups.data(), count);
    return renamed;
  }
  return std::nullopt;
}

std::string PrefixPattern(std::string_view prefix) { return RE2::QuoteMeta(Piece(prefix)); }

std::string NearestNames(std::string_view name, std::span<const std::string> names) {
  constexpr std::size_t kShown = 3;
  // What both ends have in common: names differ in the middle or in a scope at an end.
  const auto likeness = [&](std::string_view other) {
    const std::size_t shorter = std::min(name.size(), other.size());
    std::size_t front = 0, back = 0;
    while (front < shorter && name[front] == other[front]) ++front;
    while (front + back < shorter && name[name.size() - 1 - back] == other[other.size() - 1 - back])
      ++back;
    return front + back;
  };
  std::vector<std::size_t> scores(names.size());
  std::ranges::transform(names, scores.begin(), likeness);
  std::vector<std::size_t> order(names.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto last = order.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, order.size()));
  std::partial_sort(order.begin(), last, order.end(), [&](std::size_t a, std::size_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  });
  std::string text;
  for (auto i = order.begin(); i != last; ++i) {
    text += fmt::format("{}'{}'", text.empty() ? "" : ", ", names[*i]);
  }
  return text;
}

}  // namespace zood
