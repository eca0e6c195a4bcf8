#include "client/cli/choice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "base/status.h"

namespace zood::client::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;

const OneofDescriptor* Oneof(const Message& message, const std::string& name) {
  return message.GetDescriptor()->FindOneofByName(name);
}

std::string WithoutUnderscores(std::string_view text) {
  std::string result(text);
  std::erase_if(result, [](char c) { return c == '_' || c == '-'; });
  return result;
}

// The one that is called so or, alone, begins so; null for none and for several.
const FieldDescriptor* Find(const OneofDescriptor& oneof, std::string_view text) {
  const std::string wanted = WithoutUnderscores(text);
  if (wanted.empty()) return nullptr;
  const FieldDescriptor* found = nullptr;
  int count = 0;
  for (int i = 0; i < oneof.field_count(); ++i) {
    const std::string name = WithoutUnderscores(std::string(oneof.field(i)->name()));
    if (name == wanted) return oneof.field(i);
    if (!name.starts_with(wanted)) continue;
    found = oneof.field(i);
    ++count;
  }
  return count == 1 ? found : nullptr;
}

// Keeps the first error.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (text_.empty()) text_ = fmt::format("line {}, column {}: {}", line + 1, column + 1, message);
  }
  void AddWarning(int, google::protobuf::io::ColumnNumber, const std::string&) override {}
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

absl::Status MergeText(const std::string& text, const std::string& where, Message& message) {
  FirstError errors;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  if (parser.MergeFromString(text, &message)) return absl::OkStatus();
  return InvalidArgument("{}: {}", where, errors.text());
}

// A number in front, and what follows it.
absl::StatusOr<double> TakeNumber(const std::string& text, std::string& rest) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number) || number < 0) {
    return InvalidArgument("'{}' does not begin with a number", text);
  }
  rest.assign(end, text.data() + text.size());
  return number;
}

}  // namespace

std::vector<std::string> Choices(const Message& message, const std::string& name) {
  std::vector<std::string> names;
  const OneofDescriptor* oneof = Oneof(message, name);
  for (int i = 0; i < oneof->field_count(); ++i) names.emplace_back(oneof->field(i)->name());
  return names;
}

absl::Status Choose(std::string_view text, const std::string& oneof, Message& message) {
  const std::size_t colon = text.find(':');
  const FieldDescriptor* field = Find(*Oneof(message, oneof), text.substr(0, colon));
  if (field == nullptr) {
    return InvalidArgument("'{}' is no {}, or not only one: expected {}", text.substr(0, colon),
                           oneof, fmt::join(Choices(message, oneof), ", "));
  }
  Message* chosen = message.GetReflection()->MutableMessage(&message, field);
  if (colon == std::string_view::npos) return absl::OkStatus();
  std::string fields(text.substr(colon + 1));
  std::replace(fields.begin(), fields.end(), '=', ':');
  return MergeText(fields, fmt::format("'{}'", text), *chosen);
}

Message* Chosen(const std::string& oneof, Message& message) {
  const FieldDescriptor* field =
      message.GetReflection()->GetOneofFieldDescriptor(message, Oneof(message, oneof));
  return field == nullptr ? nullptr : message.GetReflection()->MutableMessage(&message, field);
}

absl::Status SetFloat(const std::string& name, float value, Message& message) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || field->cpp_type() != FieldDescriptor::CPPTYPE_FLOAT ||
      field->is_repeated()) {
    return InvalidArgument("{} has no {}", std::string(message.GetDescriptor()->name()), name);
  }
  message.GetReflection()->SetFloat(&message, field, value);
  return absl::OkStatus();
}

absl::Status SetField(const FieldDescriptor& field, const std::string& text, Message& message) {
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    message.GetReflection()->SetString(&message, &field, text);
    return absl::OkStatus();
  }
  FirstError errors;  // in place of protobuf's log
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  if (parser.ParseFieldValueFromString(text, &field, &message)) return absl::OkStatus();
  return InvalidArgument("'{}' is no {}", text, field.cpp_type_name());
}

absl::Status ParseMessage(const std::string& text, const std::string& where, Message& message) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos || text[first] != '{') return MergeText(text, where, message);
  const auto parsed = google::protobuf::util::JsonStringToMessage(text, &message);
  if (parsed.ok()) return absl::OkStatus();
  return InvalidArgument("{}: not a {} as JSON: {}", where,
                         std::string(message.GetDescriptor()->full_name()),
                         std::string(parsed.message()));
}

absl::StatusOr<ParsedLength> ParseLength(const std::string& text) {
  std::string unit;
  const absl::StatusOr<double> count = TakeNumber(text, unit);
  const bool steps = unit == "steps" || unit == "step";
  const bool epochs = unit.empty() || unit == "epochs" || unit == "epoch";
  if (!count.ok() || (!steps && !epochs) || (steps && *count != std::floor(*count)) ||
      *count > 1e15) {
    return InvalidArgument("'{}' is no length: expected one like 2.5epochs or 100steps", text);
  }
  return ParsedLength{.count = *count, .steps = steps};
}

absl::StatusOr<std::chrono::seconds> ParseDuration(const std::string& text) {
  static const std::map<std::string, double> kUnits = {
      {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
  std::string unit;
  const absl::StatusOr<double> count = TakeNumber(text, unit);
  const auto seconds = kUnits.find(unit);
  if (!count.ok() || seconds == kUnits.end() || *count * seconds->second > 1e10) {
    return InvalidArgument("'{}' is no duration: expected one like 90s, 10m, 2h or 1d", text);
  }
  return std::chrono::seconds(static_cast<std::int64_t>(std::ceil(*count * seconds->second)));
}

}  // namespace zood::client::cli
