#include "dataset/builder.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include "base/status.h"

namespace zood::dataset {
namespace {

struct Magic {
  std::string_view bytes;
  std::size_t at;
  const char* kind;  // null for what can be decoded
};

constexpr Magic kMagics[] = {
    {"\xff\xd8\xff", 0, nullptr},
    {std::string_view("\x89PNG\r\n\x1a\n", 8), 0, nullptr},
    {"BM", 0, nullptr},
    {"GIF8", 0, "a GIF"},
    {"WEBP", 8, "a WebP"},
    {std::string_view("II*\0", 4), 0, "a TIFF"},
    {std::string_view("MM\0*", 4), 0, "a TIFF"},
    {"ftypheic", 4, "a HEIC"},
    {"ftypavif", 4, "an AVIF"},
};

// Why the bytes are no photo of a known format; empty when they may be one.
std::string WhyNoPhoto(std::string_view bytes) {
  if (bytes.empty()) return "is empty";
  for (const Magic& magic : kMagics) {
    if (bytes.substr(std::min(magic.at, bytes.size()), magic.bytes.size()) != magic.bytes) continue;
    if (magic.kind == nullptr) return "";
    return fmt::format("is {} file; JPEG, PNG and BMP can be read", magic.kind);
  }
  std::string begin;
  for (const char c : bytes.substr(0, 4))
    begin += fmt::format(" {:02x}", static_cast<unsigned char>(c));
  return fmt::format("is no JPEG, PNG or BMP file: it begins with{}", begin);
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// Items keep their label's row; order is by number where every name is one.
std::vector<std::int32_t> Order(const std::vector<std::string>& names) {
  std::vector<std::int32_t> order(names.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
  const bool numbers =
      std::ranges::all_of(names, [](const auto& name) { return ParseIndex(name).has_value(); });
  std::ranges::stable_sort(order, [&](std::int32_t a, std::int32_t b) {
    const std::string& left = names[static_cast<std::size_t>(a)];
    const std::string& right = names[static_cast<std::size_t>(b)];
    if (numbers && *ParseIndex(left) != *ParseIndex(right)) {
      return *ParseIndex(left) < *ParseIndex(right);
    }
    return left < right;
  });
  return order;
}

}  // namespace

std::optional<Split> ParseSplit(std::string_view name) {
  const std::string lower = Lower(name);
  if (lower == "train" || lower == "training") return Split::kTrain;
  if (lower == "validation" || lower == "val" || lower == "valid") return Split::kValidation;
  if (lower == "test" || lower == "testing" || lower == "t10k") return Split::kTest;
  return std::nullopt;
}

std::optional<Split> SplitOfName(std::string_view name) {
  while (!name.empty()) {
    const auto is_letter = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
    const auto end = std::ranges::find_if_not(name, is_letter);
    const std::string_view word = name.substr(0, static_cast<std::size_t>(end - name.begin()));
    if (const auto split = ParseSplit(word)) return split;
    name.remove_prefix(std::min(word.size() + 1, name.size()));
  }
  return std::nullopt;
}

absl::StatusOr<std::vector<std::string>> ParseLabels(std::string_view text,
                                                     const DatasetLimits& limits) {
  std::vector<std::string> names;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? "" : text.substr(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (static_cast<std::int64_t>(names.size()) == limits.max_classes) {
      return ResourceExhausted("there are more than {} classes", limits.max_classes);
    }
    if (line.size() > limits.max_name) {
      return InvalidArgument(
          "line {} is no name of a class: it has {} bytes; at most {} are allowed",
          names.size() + 1, line.size(), limits.max_name);
    }
    names.push_back(Printable(line));
  }
  while (!names.empty() && names.back().empty()) names.pop_back();
  const auto index_of = [](const std::string& name) {
    const std::size_t colon = name.find(':');
    return colon == std::string::npos ? std::nullopt
                                      : ParseIndex(std::string_view(name).substr(0, colon));
  };
  if (names.empty() ||
      !std::ranges::all_of(names, [&](const auto& n) { return index_of(n).has_value(); })) {
    return names;
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (*index_of(names[i]) != static_cast<std::int64_t>(i)) {
      return InvalidArgument("line {} names class {}, expected {}: classes are numbered from 0",
                             i + 1, *index_of(names[i]), i);
    }
    names[i] = names[i].substr(names[i].find(':') + 1);
  }
  return names;
}

absl::Status DatasetBuilder::Index(const std::vector<std::string>& names) {
  if (static_cast<std::int64_t>(names.size()) > options_.limits.max_classes) {
    return ResourceExhausted("there are {} classes; at most {} are allowed", names.size(),
                             options_.limits.max_classes);
  }
  by_name_.clear();
  for (const std::string& name : names) {
    if (!by_name_.emplace(name, static_cast<std::int32_t>(by_name_.size())).second) {
      return InvalidArgument("two classes are called '{}'", Shown(name));
    }
  }
  return absl::OkStatus();
}

absl::Status DatasetBuilder::SetClasses(std::vector<std::string> names) {
  if (!options_.classes.empty()) return absl::OkStatus();
  classes_ = std::move(names);
  return Index(classes_);
}

absl::Status DatasetBuilder::NameIndex(std::int64_t index, std::string_view name) {
  if (!given().empty() || name.empty() || index < 0 || index >= options_.limits.max_classes ||
      index_names_.contains(index)) {
    return absl::OkStatus();
  }
  std::string printable = Printable(name.substr(0, options_.limits.max_name));
  ZOOD_RETURN_IF_ERROR(budget_.TakeName(printable));
  index_names_.emplace(index, std::move(printable));
  return absl::OkStatus();
}

absl::Status DatasetBuilder::AddClass(std::string_view name) {
  if (!given().empty()) return absl::OkStatus();
  return LabelOf("", name).status();
}

absl::StatusOr<std::optional<std::int32_t>> DatasetBuilder::LabelOf(std::string_view item,
                                                                    std::string_view class_name) {
  if (by_name_.empty() && !given().empty()) ZOOD_RETURN_IF_ERROR(Index(given()));
  const std::string name = Printable(class_name);
  const auto found = by_name_.find(name);
  if (found != by_name_.end()) return found->second;
  if (!given().empty()) {
    const auto index = ParseIndex(class_name);
    if (index && *index < static_cast<std::int64_t>(given().size())) {
      return static_cast<std::int32_t>(*index);
    }
    problems_.Add(item, fmt::format("its class '{}' is none of the {} that are given", Shown(name),
                                    given().size()));
    return std::nullopt;
  }
  if (static_cast<std::int64_t>(found_.size()) == options_.limits.max_classes) {
    return ResourceExhausted("there are more than {} classes", options_.limits.max_classes);
  }
  ZOOD_RETURN_IF_ERROR(budget_.TakeName(name));  // twice: in a list and in a table
  ZOOD_RETURN_IF_ERROR(budget_.TakeName(name));
  found_.push_back(name);
  return by_name_.emplace(name, static_cast<std::int32_t>(by_name_.size())).first->second;
}

bool DatasetBuilder::CheckFile(std::string_view item, const FileBytes& bytes) {
  std::string reason;
  if (bytes.bytes.size() > options_.limits.max_item_bytes) {
    reason = fmt::format("has {} bytes; at most {} are allowed", bytes.bytes.size(),
                         options_.limits.max_item_bytes);
  } else {
    reason = WhyNoPhoto(bytes.text());
  }
  if (reason.empty()) return true;
  problems_.Add(item, std::move(reason));
  return false;
}

bool DatasetBuilder::CheckIndex(std::string_view item, std::int64_t label) {
  const std::int64_t classes =
      given().empty() ? options_.limits.max_classes : static_cast<std::int64_t>(given().size());
  if (label >= 0 && label < classes) return true;
  problems_.Add(item, fmt::format("has label {}, expected 0 to {}", label, classes - 1));
  return false;
}

absl::Status DatasetBuilder::Add(std::string_view name, std::int32_t label, Split split,
                                 const Shape& shape, const FileBytes& bytes) {
  absl::StatusOr<Tensor> image = Tensor::View(DType::kUInt8, shape, bytes.bytes, bytes.owner);
  if (!image.ok()) {
    problems_.Add(name, std::string(image.status().message()));
    return absl::OkStatus();
  }
  std::string printable = Printable(name);
  ZOOD_RETURN_IF_ERROR(budget_.TakeItem(printable));
  dataset_.items.push_back(
      {.name = std::move(printable), .label = label, .split = split, .image = *std::move(image)});
  return absl::OkStatus();
}

absl::Status DatasetBuilder::AddFile(std::string_view name, std::string_view class_name,
                                     Split split, const FileBytes& bytes) {
  if (!CheckFile(name, bytes)) return absl::OkStatus();
  ZOOD_ASSIGN_OR_RETURN(const std::optional<std::int32_t> label, LabelOf(name, class_name));
  if (!label) return absl::OkStatus();
  return Add(name, *label, split, {static_cast<std::int64_t>(bytes.bytes.size())}, bytes);
}

absl::Status DatasetBuilder::AddFile(std::string_view name, std::int64_t label, Split split,
                                     const FileBytes& bytes) {
  if (!CheckIndex(name, label) || !CheckFile(name, bytes)) return absl::OkStatus();
  largest_ = std::max(largest_, static_cast<std::int32_t>(label));
  return Add(name, static_cast<std::int32_t>(label), split,
             {static_cast<std::int64_t>(bytes.bytes.size())}, bytes);
}

absl::Status DatasetBuilder::AddPixels(std::string_view name, std::int64_t label, Split split,
                                       const Shape& shape, const FileBytes& bytes) {
  if (!CheckIndex(name, label)) return absl::OkStatus();
  largest_ = std::max(largest_, static_cast<std::int32_t>(label));
  return Add(name, static_cast<std::int32_t>(label), split, shape, bytes);
}

// Classes were found by name, in the order in which items came.
void DatasetBuilder::SortClasses() {
  const std::vector<std::int32_t> order = Order(found_);
  std::vector<std::int32_t> rank(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto from = static_cast<std::size_t>(order[i]);
    rank[from] = static_cast<std::int32_t>(i);
    dataset_.classes.push_back(std::move(found_[from]));
  }
  for (Item& item : dataset_.items) item.label = rank[static_cast<std::size_t>(item.label)];
}

// Labels are indices; names come from the items, if from anywhere.
void DatasetBuilder::NumberClasses() {
  const auto count = static_cast<std::size_t>(largest_ + 1);
  dataset_.classes.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto named = index_names_.find(static_cast<std::int64_t>(i));
    dataset_.classes.push_back(named == index_names_.end() ? std::to_string(i) : named->second);
  }
  if (std::set<std::string_view>(dataset_.classes.begin(), dataset_.classes.end()).size() ==
      count) {
    return;
  }
  for (std::size_t i = 0; i < count; ++i) dataset_.classes[i] = std::to_string(i);
}

absl::StatusOr<DatasetScan> DatasetBuilder::Finish(const std::string& source, std::string format) {
  if (dataset_.items.empty()) {
    if (problems_.first.empty()) return InvalidArgument("{} ({}) holds no photos", source, format);
    return InvalidArgument(
        "{} ({}) holds no photo that can be used; the first of {} problems: {} {}", source, format,
        problems_.count, problems_.first[0].item, problems_.first[0].reason);
  }
  if (!given().empty()) {
    dataset_.classes = given();
  } else if (!found_.empty()) {
    SortClasses();
  } else {
    NumberClasses();
  }
  return DatasetScan{.dataset = std::move(dataset_),
                     .problems = std::move(problems_.first),
                     .problem_count = problems_.count,
                     .format = std::move(format)};
}

}  // namespace zood::dataset
