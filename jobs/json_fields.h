// JSON of structs, each described by one list of its fields.
//
// A struct says once what it consists of, beside its definition:
//
//   template <typename V>
//   void Fields(V& v, MomentumOptions& o) {
//     v("momentum", o.momentum);
//     v("nesterov", o.nesterov);
//   }
//
// That list writes it, reads it, and maps it to the API: names and forms are those of protobuf's
// JSON (the member of a oneof that is set, enums by name, 64-bit numbers also as text), so that
// protobuf's own reflection does the rest. A field that is absent keeps its default; one that is
// not in the list is ignored.
//
// Enums have an EnumNames<E>, variants an Alternatives<V>; nullptr names an alternative that stands
// for "none is set".
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/status.h"

namespace zood::jobs {

using Json = nlohmann::json;

template <typename E>
struct EnumNames;  // static constexpr std::pair<E, const char*> kNames[]
template <typename V>
struct Alternatives;  // static constexpr const char* kNames[], by index

template <typename T>
inline constexpr bool kIsOptional = false;
template <typename T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <typename T>
inline constexpr bool kIsVector = false;
template <typename T>
inline constexpr bool kIsVector<std::vector<T>> = true;
template <typename T>
inline constexpr bool kIsVariant = false;
template <typename... T>
inline constexpr bool kIsVariant<std::variant<T...>> = true;
template <typename T>
inline constexpr bool kIsMap = false;
template <typename T, typename C>
inline constexpr bool kIsMap<std::map<std::string, T, C>> = true;

class JsonWriter {
 public:
  static constexpr bool kReads = false;

  template <typename T>
  void operator()(const char* name, const T& value) {
    if constexpr (kIsOptional<T>) {
      if (value) json_[name] = Put(*value);
    } else {
      json_[name] = Put(value);
    }
  }
  // Of an object that is a oneof and perhaps more.
  template <typename T>
  void OneOf(const T& value) {
    const char* name = Alternatives<T>::kNames[value.index()];
    if (name != nullptr) std::visit([&](const auto& held) { json_[name] = Put(held); }, value);
  }
  // Left out where it is 0 or empty.
  template <typename T>
  void Unless0(const char* name, const T& value) {
    if (value != T()) json_[name] = Put(value);
  }
  // Microseconds since 1970 UTC; 0 for none.
  void Time(const char* name, std::int64_t us) {
    if (us != 0)
      json_[name] =
          absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", absl::FromUnixMicros(us), absl::UTCTimeZone());
  }
  void Duration(const char* name, std::chrono::milliseconds time) {
    json_[name] = fmt::format("{}.{:03}s", time.count() / 1000, time.count() % 1000);
  }
  bool Has(const char*) const { return true; }

  template <typename T>
  static Json Put(const T& value) {
    if constexpr (std::is_enum_v<T>) {
      for (const auto& [held, name] : EnumNames<T>::kNames) {
        if (held == value) return name;
      }
      return nullptr;
    } else if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(value)) return "NaN";
      if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
      return Json::parse(fmt::format("{}", value));  // as few digits as tell it
    } else if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
      return value;
    } else if constexpr (kIsVector<T>) {
      Json array = Json::array();
      for (const auto& element : value) array.push_back(Put(element));
      return array;
    } else if constexpr (kIsMap<T>) {
      Json object = Json::object();
      for (const auto& [key, element] : value) object[key] = Put(element);
      return object;
    } else if constexpr (std::is_same_v<T, std::monostate>) {
      return nullptr;
    } else {
      JsonWriter writer;
      if constexpr (kIsVariant<T>) {
        writer.OneOf(value);
      } else {
        Fields(writer, const_cast<T&>(value));  // a writer changes nothing
      }
      return std::move(writer.json_);
    }
  }

 private:
  Json json_ = Json::object();
};

class JsonReader {
 public:
  static constexpr bool kReads = true;

  // The first error goes to `status`; both outlive the reader.
  JsonReader(const Json& json, std::string path, absl::Status& status)
      : json_(json), path_(std::move(path)), status_(status) {
    if (!json.is_object()) Refuse(path_, json, "an object");
  }

  bool Has(const char* name) const { return json_.is_object() && json_.contains(name); }

  template <typename T>
  void operator()(const char* name, T& value) {
    if (const Json* found = Find(name)) Get(*found, Path(name), value);
  }
  template <typename T>
  void OneOf(T& value) {
    OneOf(value, std::make_index_sequence<std::variant_size_v<T>>());
  }
  template <typename T>
  void Unless0(const char* name, T& value) {
    (*this)(name, value);
  }
  void Time(const char* name, std::int64_t& us) {
    const Json* found = Find(name);
    absl::Time time;
    if (found == nullptr) return;
    if (!found->is_string() ||
        !absl::ParseTime(absl::RFC3339_full, found->get<std::string>(), &time, nullptr)) {
      return Refuse(Path(name), *found, "a time");
    }
    us = std::max<std::int64_t>(1, absl::ToUnixMicros(time));  // all of before is long past
  }
  void Duration(const char* name, std::chrono::milliseconds& value) {
    const Json* found = Find(name);
    absl::Duration duration;
    if (found == nullptr) return;
    if (!found->is_string() || !absl::ParseDuration(found->get<std::string>(), &duration)) {
      return Refuse(Path(name), *found, "a duration");
    }
    value = absl::ToChronoMilliseconds(duration);
  }
  void Refuse(const std::string& path, const Json& found, const std::string& expected) {
    if (!status_.ok()) return;
    std::string text = found.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > 60) text = text.substr(0, 60) + "...";
    status_ = InvalidArgument("{}: expected {}, found {}", path.empty() ? "the whole" : path,
                              expected, text);
  }

 private:
  std::string Path(const std::string& name) const {
    return path_.empty() ? name : path_ + "." + name;
  }
  const Json* Find(const char* name) const {
    if (!json_.is_object()) return nullptr;
    const auto found = json_.find(name);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }

  template <typename T, std::size_t... I>
  void OneOf(T& value, std::index_sequence<I...>) {
    const auto take = [&]<std::size_t Index>() {
      const char* name = Alternatives<T>::kNames[Index];
      const Json* found = name == nullptr ? nullptr : Find(name);
      if (found != nullptr) Get(*found, Path(name), value.template emplace<Index>());
    };
    (take.template operator()<I>(), ...);
  }

  template <typename T>
  void GetNumber(const Json& json, const std::string& path, T& value) {
    if constexpr (std::is_floating_point_v<T>) {
      const std::string text = json.is_string() ? json.get<std::string>() : "";
      if (json.is_number()) {
        value = json.get<T>();
      } else if (text == "NaN") {
        value = std::numeric_limits<T>::quiet_NaN();
      } else if (text == "Infinity" || text == "-Infinity") {
        value = std::numeric_limits<T>::infinity() * (text[0] == '-' ? -1 : 1);
      } else {
        Refuse(path, json, "a number");
      }
    } else {
      const Json number =
          json.is_string() ? Json::parse(json.get<std::string>(), nullptr, false) : json;
      if (number.is_number_unsigned() && std::in_range<T>(number.get<std::uint64_t>())) {
        value = static_cast<T>(number.get<std::uint64_t>());
      } else if (number.is_number_integer() && !number.is_number_unsigned() &&
                 std::in_range<T>(number.get<std::int64_t>())) {
        value = static_cast<T>(number.get<std::int64_t>());
      } else {
        Refuse(path, json, std::is_unsigned_v<T> ? "a whole number, 0 or above" : "a whole number");
      }
    }
  }

  template <typename T>
  void GetEnum(const Json& json, const std::string& path, T& value) {
    for (const auto& [held, name] : EnumNames<T>::kNames) {
      if (json.is_string() && json.get_ref<const std::string&>() == name) {
        value = held;
        return;
      }
    }
    Refuse(path, json, "one of the names that there are");
  }

  template <typename T>
  void Get(const Json& json, const std::string& path, T& value) {
    if constexpr (kIsOptional<T>) {
      Get(json, path, value.emplace());
    } else if constexpr (std::is_enum_v<T>) {
      GetEnum(json, path, value);
    } else if constexpr (std::is_same_v<T, bool>) {
      json.is_boolean() ? void(value = json.get<bool>()) : Refuse(path, json, "true or false");
    } else if constexpr (std::is_arithmetic_v<T>) {
      GetNumber(json, path, value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      json.is_string() ? void(value = json.get<std::string>()) : Refuse(path, json, "a text");
    } else if constexpr (kIsVector<T>) {
      if (!json.is_array()) return Refuse(path, json, "a list");
      value.clear();
      for (std::size_t i = 0; i < json.size(); ++i) {
        typename T::value_type element{};
        Get(json[i], fmt::format("{}[{}]", path, i), element);
        value.push_back(std::move(element));
      }
    } else if constexpr (kIsMap<T>) {
      if (!json.is_object()) return Refuse(path, json, "names and values");
      value.clear();
      for (const auto& [key, element] : json.items()) Get(element, path + "." + key, value[key]);
    } else if constexpr (std::is_same_v<T, std::monostate>) {
      return;
    } else {
      JsonReader reader(json, path, status_);
      if constexpr (kIsVariant<T>) {
        reader.OneOf(value);
      } else {
        Fields(reader, value);
      }
    }
  }

  const Json& json_;
  const std::string path_;
  absl::Status& status_;
};

template <typename T>
Json ToJson(const T& value) {
  return JsonWriter::Put(value);
}

// InvalidArgument, naming the field, for a value of another type or out of its range.
template <typename T>
absl::Status ReadJson(const Json& json, T& value) {
  absl::Status status;
  JsonReader reader(json, "", status);
  if constexpr (kIsVariant<T>) {
    reader.OneOf(value);
  } else {
    Fields(reader, value);
  }
  return status;
}

inline std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace zood::jobs
