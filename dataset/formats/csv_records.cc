// The records of a CSV text.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/status.h"
#include "dataset/formats/readers.h"

namespace zood::dataset {

char DelimiterOf(std::string_view text) {
  constexpr int kLooked = 20;  // records
  char best = ',';
  std::size_t most = 1;
  for (const char delimiter : {',', ';', '\t', '|'}) {
    CsvRecords records(text, delimiter);
    std::vector<std::string> fields;
    std::size_t fewest = static_cast<std::size_t>(-1);
    for (int i = 0; i < kLooked; ++i) {
      const absl::StatusOr<bool> more = records.Next(fields);
      if (!more.ok()) fewest = 0;
      if (!more.ok() || !*more) break;
      if (fields.size() > 1 || !fields[0].empty()) fewest = std::min(fewest, fields.size());
    }
    if (fewest != static_cast<std::size_t>(-1) && fewest > most) {
      most = fewest;
      best = delimiter;
    }
  }
  return best;
}

absl::Status CsvRecords::Take(std::size_t count, std::string& field) {
  if (count > left_) {
    return InvalidArgument("line {}: a row of more than {} bytes is no row of an index", line_,
                           kMaxBytes);
  }
  left_ -= count;
  field += rest_.substr(0, count);
  return absl::OkStatus();
}

// After the opening quote, up to and with the closing one.
absl::Status CsvRecords::QuotedField(std::string& field) {
  for (;;) {
    const std::size_t quote = rest_.find('"');
    if (quote == std::string_view::npos) {
      return InvalidArgument("line {}: a quoted field is not closed", line_);
    }
    ZOOD_RETURN_IF_ERROR(Take(quote, field));
    next_line_ += std::ranges::count(rest_.substr(0, quote), '\n');
    rest_.remove_prefix(quote + 1);
    if (!rest_.starts_with('"')) return absl::OkStatus();
    ZOOD_RETURN_IF_ERROR(Take(1, field));
    rest_.remove_prefix(1);
  }
}

absl::StatusOr<bool> CsvRecords::Next(std::vector<std::string>& fields) {
  fields.clear();
  if (rest_.empty()) return false;
  line_ = next_line_;
  left_ = kMaxBytes;
  const char ends[] = {delimiter_, '\n', '\0'};
  for (;;) {
    if (fields.size() == kMaxFields) {
      return InvalidArgument("line {}: a row of more than {} fields is no row of an index", line_,
                             kMaxFields);
    }
    std::string& field = fields.emplace_back();
    if (rest_.starts_with('"')) {
      rest_.remove_prefix(1);
      ZOOD_RETURN_IF_ERROR(QuotedField(field));
    }
    const std::size_t end = std::min(rest_.find_first_of(ends), rest_.size());
    ZOOD_RETURN_IF_ERROR(Take(end, field));
    const bool more = end < rest_.size() && rest_[end] == delimiter_;
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    if (more) continue;
    if (field.ends_with('\r')) field.pop_back();
    ++next_line_;
    return true;
  }
}

}  // namespace zood::dataset
