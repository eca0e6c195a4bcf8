// Choices among typed messages as words: "momentum", "adam:beta1=0.8,epsilon=0.1".
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace google::protobuf {
class FieldDescriptor;
class Message;
}  // namespace google::protobuf

namespace zood::client::cli {

// The fields of the oneof `name` of a message, as their names are in the .proto file.
std::vector<std::string> Choices(const google::protobuf::Message& message, const std::string& name);

// "NAME" or "NAME:FIELD=VALUE,...": makes the field NAME of the oneof `oneof` the one that is set,
// and sets fields of it; one that is set already keeps its other fields. NAME may lack underscores,
// and its end where no other begins so ("rmsprop", "softmax"). VALUE is protobuf's text format:
// "0.5", "true", "{epochs=2}". InvalidArgument, with what there is, for what does not fit.
absl::Status Choose(std::string_view text, const std::string& oneof,
                    google::protobuf::Message& message);

// The message of the field of the oneof that is set; null where none is.
google::protobuf::Message* Chosen(const std::string& oneof, google::protobuf::Message& message);

// Sets a float field by its name. InvalidArgument where the message has none of that name.
absl::Status SetFloat(const std::string& field, float value, google::protobuf::Message& message);

// Sets a field that is not repeated to what the text says: a string as it is, a number, true or
// false. InvalidArgument for what is none of the field's type.
absl::Status SetField(const google::protobuf::FieldDescriptor& field, const std::string& text,
                      google::protobuf::Message& message);

// Whole text as protobuf JSON (begins with '{') or text format. `where` is named in errors.
absl::Status ParseMessage(const std::string& text, const std::string& where,
                          google::protobuf::Message& message);

// "2.5epochs", "100steps"; a number alone counts epochs.
struct ParsedLength {
  double count = 0;
  bool steps = false;
};
absl::StatusOr<ParsedLength> ParseLength(const std::string& text);

// "90s", "10m", "2h", "1d".
absl::StatusOr<std::chrono::seconds> ParseDuration(const std::string& text);

}  // namespace zood::client::cli
