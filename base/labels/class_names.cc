#include "base/labels/class_names.h"

#include <charconv>
#include <system_error>

#include "base/checksum.h"
#include "base/unicode.h"

namespace zood {

ClassNames::ClassNames(std::span<const std::string> labels, std::span<const std::string> ids) {
  for (const std::span<const std::string> names : {labels, ids}) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (!names[i].empty()) index_of_.try_emplace(ToNfc(names[i]), static_cast<std::int64_t>(i));
    }
  }
}

std::optional<std::int64_t> ClassNames::Find(std::string_view name) const {
  const auto found = index_of_.find(ToNfc(name));
  if (found == index_of_.end()) return std::nullopt;
  return found->second;
}

std::string LabelsDigest(std::span<const std::string> labels) {
  if (labels.empty()) return "";
  Sha256 sha;
  for (const std::string& label : labels) {
    sha.Update(AsBytes(std::to_string(label.size()) + ":"));  // no two lists are written alike
    sha.Update(AsBytes(label));
  }
  return sha.HexDigest();
}

std::optional<std::int64_t> ClassNumber(std::string_view name) {
  std::int64_t number = 0;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return number;
}

}  // namespace zood
