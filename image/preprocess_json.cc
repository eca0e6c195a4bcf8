// PreprocessSpec as JSON: what VisitFields() names, read, written and searched for unknown fields.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>

#include "base/status.h"
#include "image/preprocess.h"
#include "image/preprocess_plan.h"

namespace zood::image {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;
constexpr std::size_t kMaxJsonBytes = 1 << 16;
constexpr int kMaxDepth = 8;

// Writing.

Json Written(int value) { return value; }
Json Written(bool value) { return value; }
Json Written(double value) { return value; }
// The shortest decimal that is this float32: 123.68 rather than 123.68000030517578.
Json Written(float value) { return std::strtod(fmt::format("{}", value).c_str(), nullptr); }
Json Written(const std::vector<float>& values) {
  Json array = Json::array();
  for (const float value : values) array.push_back(Written(value));
  return array;
}
template <typename E>
  requires std::is_enum_v<E>
Json Written(E value) {
  return NamesOf(value)[static_cast<std::size_t>(value)];
}

struct Writer {
  Json& object;
  template <typename T>
  void operator()(const char* name, const T& value) {
    object[name] = Written(value);
  }
  template <typename T>
  void Optional(const char* name, const T& value) {
    if (value != T{}) object[name] = Written(value);
  }
};

// Reading.

// What was found instead, short enough for a message.
std::string Found(const Json& json) {
  const std::string text = json.dump();
  return text.size() <= 80 ? text : text.substr(0, 80) + "...";
}

// Each Read says what was expected when it returns an error.

absl::Status Read(const Json& json, int& value) {
  if (!json.is_number_integer())
    return InvalidArgument("expected an integer, found {}", Found(json));
  const double number = json.get<double>();  // an integer of 64 bits, of either sign
  if (std::abs(number) > std::numeric_limits<int>::max()) {
    return InvalidArgument("{} is out of range", Found(json));
  }
  value = static_cast<int>(number);
  return absl::OkStatus();
}

absl::Status Read(const Json& json, bool& value) {
  if (!json.is_boolean()) return InvalidArgument("expected true or false, found {}", Found(json));
  value = json.get<bool>();
  return absl::OkStatus();
}

absl::Status Read(const Json& json, double& value) {
  if (!json.is_number()) return InvalidArgument("expected a number, found {}", Found(json));
  value = json.get<double>();
  return absl::OkStatus();
}

absl::Status Read(const Json& json, float& value) {
  double wide = 0;
  ZOOD_RETURN_IF_ERROR(Read(json, wide));
  if (std::abs(wide) > std::numeric_limits<float>::max()) {
    return InvalidArgument("{} is too large for a float32", Found(json));
  }
  value = static_cast<float>(wide);
  return absl::OkStatus();
}

absl::Status Read(const Json& json, std::vector<float>& values) {
  if (!json.is_array()) return InvalidArgument("expected a list of numbers, found {}", Found(json));
  values.assign(json.size(), 0);
  for (std::size_t i = 0; i < json.size(); ++i) {
    ZOOD_RETURN_IF_ERROR(Annotate(Read(json[i], values[i]), fmt::format("[{}]", i)));
  }
  return absl::OkStatus();
}

template <typename E>
  requires std::is_enum_v<E>
absl::Status Read(const Json& json, E& value) {
  const auto names = NamesOf(E{});
  const std::string name = json.is_string() ? json.get<std::string>() : std::string();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    return InvalidArgument("expected one of {}, found {}", fmt::join(names, ", "), Found(json));
  }
  value = static_cast<E>(found - names.begin());
  return absl::OkStatus();
}

// Reads the named fields of one object, then refuses all others. Keeps the first error.
class Reader {
 public:
  Reader(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
    if (!object.is_object()) {
      status_ = InvalidArgument("{}: expected an object, found {}", path_, object.type_name());
    }
  }

  template <typename T>
  void operator()(const char* name, T& value) {
    if (const Json* json = Find(name)) status_ = Annotate(Read(*json, value), PathOf(name));
  }

  // Leaves a missing field as it is.
  template <typename T>
  void Optional(const char* name, T& value) {
    if (status_.ok() && object_.contains(name)) return (*this)(name, value);
    known_.emplace_back(name);
  }

  // The field, which is then a known one; null, and an error, when there is none.
  const Json* Find(const char* name) {
    known_.emplace_back(name);
    if (!status_.ok()) return nullptr;
    const auto found = object_.find(name);
    if (found == object_.end()) {
      status_ = InvalidArgument("{}: the field is missing", PathOf(name));
      return nullptr;
    }
    return &*found;
  }

  absl::Status Finish() {
    if (!status_.ok()) return status_;
    for (const auto& [name, value] : object_.items()) {
      if (std::find(known_.begin(), known_.end(), name) == known_.end()) {
        return InvalidArgument("{}: unknown field; known here are {}", PathOf(name),
                               fmt::join(known_, ", "));
      }
    }
    return absl::OkStatus();
  }

  std::string PathOf(const std::string& name) const {
    return path_.empty() ? name : path_ + "." + name;
  }

 private:
  const Json& object_;
  const std::string path_;
  std::vector<std::string> known_;
  absl::Status status_;
};

absl::StatusOr<PreprocessStep> ReadStep(const Json& json, const std::string& path) {
  Reader reader(json, path);
  const Json* type = reader.Find("type");
  if (type == nullptr) return reader.Finish();
  if (!type->is_string()) {
    return InvalidArgument("{}: expected a string, found {}", reader.PathOf("type"), Found(*type));
  }
  auto step = StepNamed(type->get<std::string>());
  if (!step.ok()) return Annotate(step.status(), reader.PathOf("type"));
  std::visit([&reader](auto& s) { s.VisitFields(reader, s); }, *step);
  ZOOD_RETURN_IF_ERROR(reader.Finish());
  return step;
}

absl::StatusOr<std::vector<PreprocessStep>> ReadSteps(const Json& json) {
  if (!json.is_array())
    return InvalidArgument("steps: expected a list, found {}", json.type_name());
  std::vector<PreprocessStep> steps;
  for (std::size_t i = 0; i < json.size(); ++i) {
    ZOOD_ASSIGN_OR_RETURN(PreprocessStep step, ReadStep(json[i], fmt::format("steps[{}]", i)));
    steps.push_back(std::move(step));
  }
  return steps;
}

// Bounds the depth, because what prints a value for a message calls itself for what is inside.
absl::StatusOr<Json> Parse(std::string_view text) {
  if (text.size() > kMaxJsonBytes) {
    return InvalidArgument("the preprocessing has {} bytes of JSON, at most {} are allowed",
                           text.size(), kMaxJsonBytes);
  }
  bool too_deep = false;
  const auto check_depth = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  Json json = Json::parse(text, check_depth, /*allow_exceptions=*/false);
  if (too_deep) return InvalidArgument("the preprocessing nests deeper than {} levels", kMaxDepth);
  if (json.is_discarded()) return InvalidArgument("the preprocessing is not JSON");
  return json;
}

}  // namespace

std::string ToJson(const PreprocessSpec& spec) {
  Json json = {{"version", kVersion}};
  Writer decode{json["decode"]};
  DecodeOptions::VisitFields(decode, spec.decode);
  json["channel_order"] = Written(spec.channel_order);
  json["steps"] = Json::array();
  for (const PreprocessStep& step : spec.steps) {
    Json object = {{"type", NameOf(step)}};
    Writer writer{object};
    std::visit([&writer](const auto& s) { s.VisitFields(writer, s); }, step);
    json["steps"].push_back(std::move(object));
  }
  return json.dump();
}

absl::StatusOr<PreprocessSpec> PreprocessSpecFromJson(std::string_view text) {
  ZOOD_ASSIGN_OR_RETURN(const Json json, Parse(text));
  PreprocessSpec spec;
  Reader reader(json, "");
  int version = kVersion;
  reader("version", version);
  if (version != kVersion) {
    return InvalidArgument("version: {} is not known, this build reads {}", version, kVersion);
  }
  reader("channel_order", spec.channel_order);
  const Json* decode = reader.Find("decode");
  const Json* steps = reader.Find("steps");
  ZOOD_RETURN_IF_ERROR(reader.Finish());

  Reader decode_reader(*decode, "decode");
  DecodeOptions::VisitFields(decode_reader, spec.decode);
  ZOOD_RETURN_IF_ERROR(decode_reader.Finish());
  ZOOD_ASSIGN_OR_RETURN(spec.steps, ReadSteps(*steps));
  ZOOD_RETURN_IF_ERROR(OutputShape(spec).status());
  return spec;
}

}  // namespace zood::image
