// What the classes of a model may be called.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

namespace zood {

// The one rule by which the name of a folder, of a dataset's class or of a label is found among a
// model's classes, in the daemon and in its clients.
class ClassNames {
 public:
  // Both by class index; each may be empty. `ids` are second names, such as ImageNet's WordNet ids.
  ClassNames(std::span<const std::string> labels, std::span<const std::string> ids);

  // The class whose label `name` is, or else the one whose id it is; of several, the first. Names
  // that are the same in normalization form C are the same.
  std::optional<std::int64_t> Find(std::string_view name) const;

 private:
  std::unordered_map<std::string, std::int64_t> index_of_;
};

// SHA-256 over labels in their order, in hexadecimal: equal digests mean the same class by every
// index. Empty where there are none.
std::string LabelsDigest(std::span<const std::string> labels);

// The number that the name of a class is, in decimal, where it is none of Find()'s.
std::optional<std::int64_t> ClassNumber(std::string_view name);

}  // namespace zood
