// Patterns over variable names.
//
// A pattern is a regular expression in RE2's syntax (linear time, whatever is written) that must
// match at the start of a name, as tf.get_collection matches a scope: "InceptionV3/Logits" and
// "resnet_v1_50/(block4|logits)/" name every variable that begins so. End with '$' for whole names.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace zood {

// A union of patterns. Immutable, hence thread-safe; cheap to copy.
class NamePatterns {
 public:
  // At most this many patterns, of at most this many characters each.
  static constexpr std::size_t kMaxPatterns = 1000;
  static constexpr std::size_t kMaxLength = 500;

  // InvalidArgument for too many, too long or unsound ones; the message begins with `what`, the
  // name of the option they come from.
  static absl::StatusOr<NamePatterns> Create(std::string_view what,
                                             std::span<const std::string> patterns);

  bool empty() const;
  bool Match(std::string_view name) const;
  // The first pattern that matches none of `names`, if any: a misspelled one.
  std::optional<std::string> FirstWithoutMatch(std::span<const std::string> names) const;

 private:
  struct Compiled;
  explicit NamePatterns(std::shared_ptr<const Compiled> compiled)
      : compiled_(std::move(compiled)) {}
  std::shared_ptr<const Compiled> compiled_;
};

// Variables whose whole name `pattern` matches (RE2's syntax) are called `replacement` elsewhere,
// in which \1 ... \9 stand for what the groups matched and \0 for the whole name.
struct Renaming {
  std::string pattern;
  std::string replacement;
};

// A list of renamings, of which the first that matches counts. Immutable, hence thread-safe.
class NameRenamings {
 public:
  // Errors as NamePatterns::Create(); also for a replacement that refers to a missing group.
  static absl::StatusOr<NameRenamings> Create(std::string_view what,
                                              std::span<const Renaming> renamings);

  // nullopt where none matches.
  std::optional<std::string> Rename(std::string_view name) const;

 private:
  struct Compiled;
  explicit NameRenamings(std::shared_ptr<const Compiled> compiled)
      : compiled_(std::move(compiled)) {}
  std::shared_ptr<const Compiled> compiled_;
};

// The pattern for "begins with these very characters", which is what slim's
// --checkpoint_exclude_scopes mean.
std::string PrefixPattern(std::string_view prefix);

// Those of `names` that look most like `name`, best first, for messages: "'a', 'b', 'c'".
std::string NearestNames(std::string_view name, std::span<const std::string> names);

}  // namespace zood
