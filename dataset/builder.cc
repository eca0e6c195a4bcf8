#include "dataset/builder.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <span>
#include <utility>

#include "base/status.h"
#include "base/unicode.h"
#include "image/format.h"

namespace zood::dataset {
namespace {

// Why the bytes are no photo of a known format; empty when they may be one.
std::string WhyNoPhoto(std::string_view bytes) {
  const auto file = std::as_bytes(std::span(bytes));
  if (bytes.empty()) return "is empty";
  if (image::FormatOf(file)) return "";
  if (const std::string name = image::NameOfForeign(file); !name.empty()) {
    return fmt::format("is {}; {} can be read", name, image::kFormatNames);
  }
  std::string begin;
  for (const char c : bytes.substr(0, 4))
    begin += fmt::format(" {:02x}", static_cast<unsigned char>(c));
  return fmt::format("is no {} file: it begins with{}", image::kFormatNames, begin);
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
  // "Training_set", "val2017", "test-images": what is around the word says nothing.
  std::string word;
  for (const char c : Lower(name)) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) word += c;
  }
  if (word != "t10k") {
    while (!word.empty() && std::isdigit(static_cast<unsigned char>(word.back())) != 0) {
      word.pop_back();
    }
  }
  for (const std::string_view about : {"data", "set", "images", "image", "imgs", "img", "photos",
                                       "split", "data", "pictures"}) {  // words: theirs
    if (word.size() > about.size() && word.ends_with(about)) {
      word.resize(word.size() - about.size());
    }
  }
  for (const std::string_view train : {"train", "training"}) {
    if (word == train) return Split::kTrain;
  }
  for (const std::string_view validation :
       {"validation", "val", "valid", "validate", "dev", "eval", "evaluation"}) {
    if (word == validation) return Split::kValidation;
  }
  for (const std::string_view test : {"test", "testing", "t10k", "holdout", "heldout"}) {
    if (word == test) return Split::kTest;
  }
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

bool BeginsAsPhoto(std::string_view bytes) { return WhyNoPhoto(bytes).empty(); }

void DatasetBuilder::AddWarning(std::string warning) {
  if (static_cast<std::int64_t>(warnings_.size()) < options_.limits.max_problems) {
    warnings_.push_back(std::move(warning));
  }
}

absl::Status DatasetBuilder::Index(const std::vector<std::string>& names) {
  if (static_cast<std::int64_t>(names.size()) > options_.limits.max_classes) {
    return ResourceExhausted("there are {} classes; at most {} are allowed", names.size(),
                             options_.limits.max_classes);
  }
  by_name_.clear();
  for (const std::string& name : names) {
    if (!by_name_.emplace(ToNfc(name), static_cast<std::int32_t>(by_name_.size())).second) {
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
  std::string printable = Escaped(name.substr(0, options_.limits.max_name));
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
  // One character may be spelled in two ways (macOS and Linux do): that is one class.
  const std::string name = ToNfc(Escaped(class_name));
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
  std::string printable = Escaped(name);
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
    if (problems_.first.empty()) {
      std::optional<std::string> others = left_aside_.Describe();
      if (!others && !warnings_.empty()) others = warnings_.front();
      return InvalidArgument("{} ({}) holds no photos{}", source, format,
                             others ? "; " + *others : "");
    }
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
  if (auto left_aside = left_aside_.Describe()) AddWarning(*std::move(left_aside));
  return DatasetScan{.dataset = std::move(dataset_),
                     .problems = std::move(problems_.first),
                     .problem_count = problems_.count,
                     .warnings = std::move(warnings_),
                     .format = std::move(format)};
}

}  // namespace zood::dataset
