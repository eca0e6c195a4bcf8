// image::PreprocessSpec as a message. What VisitFields() names is looked up in the message's
// descriptor: a field is called there as in the spec, an enumeration's value i is i + 1, since 0
// stands for the default, and a step's message is the field of the oneof with the step's name.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/reflection.h>

#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"
#include "server/zood_v1/convert.h"

namespace zood::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The field of that name. These two are called otherwise in the API, and one means the opposite,
// so that an empty message means the default.
const FieldDescriptor* FieldOf(const Message& message, std::string_view name) {
  if (name == "dct") name = "jpeg_dct";
  if (name == "fancy_upsampling") name = "plain_upsampling";
  return message.GetDescriptor()->FindFieldByName(std::string(name));
}
bool IsOpposite(std::string_view name) { return name == "fancy_upsampling"; }

// Sets a struct's fields from a message; what is 0 there keeps an enumeration's default.
class FieldReader {
 public:
  explicit FieldReader(const Message& message) : message_(message) {}

  template <typename T>
  void operator()(const char* name, T& value) {
    const FieldDescriptor* field = FieldOf(message_, name);
    const auto& reflection = *message_.GetReflection();
    if constexpr (std::is_enum_v<T>) {
      const int number = reflection.GetEnumValue(message_, field);
      if (number < 0 || number > static_cast<int>(NamesOf(T{}).size())) {
        status_.Update(InvalidArgument("{}: {} is no value of {}", field->name(), number,
                                       field->enum_type()->full_name()));
      } else if (number > 0) {
        value = static_cast<T>(number - 1);
      }
    } else if constexpr (std::is_same_v<T, bool>) {
      value = reflection.GetBool(message_, field) != IsOpposite(name);
    } else if constexpr (std::is_same_v<T, int>) {
      value = reflection.GetInt32(message_, field);
    } else if constexpr (std::is_same_v<T, float>) {
      value = reflection.GetFloat(message_, field);
    } else if constexpr (std::is_same_v<T, double>) {
      value = reflection.GetDouble(message_, field);
    } else {
      const auto& values = reflection.GetRepeatedFieldRef<float>(message_, field);
      value.assign(values.begin(), values.end());
    }
  }
  template <typename T>
  void Optional(const char* name, T& value) {
    (*this)(name, value);
  }

  const absl::Status& status() const { return status_; }

 private:
  const Message& message_;
  absl::Status status_;
};

struct FieldWriter {
  Message& message;

  template <typename T>
  void operator()(const char* name, const T& value) {
    const FieldDescriptor* field = FieldOf(message, name);
    const auto& reflection = *message.GetReflection();
    if constexpr (std::is_enum_v<T>) {
      reflection.SetEnumValue(&message, field, static_cast<int>(value) + 1);
    } else if constexpr (std::is_same_v<T, bool>) {
      reflection.SetBool(&message, field, value != IsOpposite(name));
    } else if constexpr (std::is_same_v<T, int>) {
      reflection.SetInt32(&message, field, value);
    } else if constexpr (std::is_same_v<T, float>) {
      reflection.SetFloat(&message, field, value);
    } else if constexpr (std::is_same_v<T, double>) {
      reflection.SetDouble(&message, field, value);
    } else {
      for (const float number : value) reflection.AddFloat(&message, field, number);
    }
  }
  template <typename T>
  void Optional(const char* name, const T& value) {
    (*this)(name, value);
  }
};

absl::StatusOr<image::PreprocessStep> ToStep(const v1::PreprocessStep& message) {
  const auto& reflection = *message.GetReflection();
  const FieldDescriptor* field =
      reflection.GetOneofFieldDescriptor(message, message.GetDescriptor()->FindOneofByName("step"));
  if (field == nullptr) return InvalidArgument("the step is empty");
  ZOOD_ASSIGN_OR_RETURN(image::PreprocessStep step, image::StepNamed(field->name()));
  FieldReader reader(reflection.GetMessage(message, field));
  std::visit([&reader](auto& s) { s.VisitFields(reader, s); }, step);
  ZOOD_RETURN_IF_ERROR(reader.status());
  return step;
}

}  // namespace

absl::StatusOr<image::PreprocessSpec> ToPreprocessSpec(const v1::Preprocessing& message) {
  image::PreprocessSpec spec;
  FieldReader reader(message);
  image::DecodeOptions::VisitFields(reader, spec.decode);
  reader("channel_order", spec.channel_order);
  if (spec.decode.channels == 0) spec.decode.channels = image::DecodeOptions().channels;
  ZOOD_RETURN_IF_ERROR(Annotate(reader.status(), "preprocessing"));
  for (int i = 0; i < message.steps_size(); ++i) {
    absl::StatusOr<image::PreprocessStep> step = ToStep(message.steps(i));
    if (!step.ok()) return Annotate(step.status(), fmt::format("preprocessing: step {}", i));
    spec.steps.push_back(*std::move(step));
  }
  if (const auto shape = image::OutputShape(spec); !shape.ok()) {
    return Annotate(shape.status(), "preprocessing");
  }
  return spec;
}

void ToProto(const image::PreprocessSpec& spec, v1::Preprocessing* message) {
  FieldWriter writer{*message};
  image::DecodeOptions::VisitFields(writer, spec.decode);
  writer("channel_order", spec.channel_order);
  for (const image::PreprocessStep& step : spec.steps) {
    v1::PreprocessStep& to = *message->add_steps();
    const FieldDescriptor* field = to.GetDescriptor()->FindFieldByName(image::NameOf(step));
    FieldWriter fields{*to.GetReflection()->MutableMessage(&to, field)};
    std::visit([&fields](const auto& s) { s.VisitFields(fields, s); }, step);
  }
}

}  // namespace zood::server
