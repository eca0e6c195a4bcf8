#include "netdef/network_spec.h"

#include <nlohmann/json.hpp>

#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace zood::netdef {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxClasses = 1'000'000;
constexpr std::pair<const char*, int models::NetworkArgs::*> kArgs[] = {
    {"num_classes", &models::NetworkArgs::num_classes},
    {"height", &models::NetworkArgs::height},
    {"width", &models::NetworkArgs::width},
    {"channels", &models::NetworkArgs::channels}};

absl::Status ReadArgs(const Json& json, NetworkSpec& spec) {
  for (const auto& [name, member] : kArgs) {
    const auto found = json.find(name);
    if (spec.format != kZooFormat) {
      if (found == json.end()) continue;
      if (!found->is_number_integer() || *found < 1 || *found > kMaxClasses) {
        return InvalidArgument("a version's network has no sound number '{}'", name);
      }
    } else if (found == json.end() || !found->is_number_integer()) {
      return InvalidArgument("a version's network has no number '{}'", name);
    }
    spec.args.*member = found->get<int>();
  }
  return absl::OkStatus();
}

}  // namespace

NetworkSpec ZooSpec(std::string architecture, models::NetworkArgs args) {
  return {.format = kZooFormat, .source = std::move(architecture), .args = args};
}

NetworkSpec CaffeSpec(std::string prototxt) {
  return {.format = kCaffeFormat, .source = std::move(prototxt)};
}

std::string ToJson(const NetworkSpec& spec) {
  Json json;
  json[spec.format] = spec.source;
  for (const auto& [name, member] : kArgs) {
    if (spec.format == kZooFormat || spec.args.*member > 0) json[name] = spec.args.*member;
  }
  if (!spec.output.empty()) json["output"] = spec.output;
  if (spec.output_kind) json["output_kind"] = graph::Name(*spec.output_kind);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<NetworkSpec> NetworkSpecFromJson(const std::string& text) {
  const auto json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.empty()) {
    return InvalidArgument("a version's network is not a JSON object");
  }
  // What comes first names the format; everything else has a name of its own.
  const auto source = json.begin();
  if (!source->is_string()) {
    return InvalidArgument("a version's network does not begin with its source");
  }
  NetworkSpec spec = {.format = source.key(), .source = source->get<std::string>()};
  ZOOD_RETURN_IF_ERROR(ReadArgs(json, spec));
  if (const auto output = json.find("output"); output != json.end()) {
    if (!output->is_string()) return InvalidArgument("a version's network has no sound 'output'");
    spec.output = output->get<std::string>();
  }
  if (const auto kind = json.find("output_kind"); kind != json.end()) {
    if (kind->is_string()) spec.output_kind = graph::OutputKindNamed(kind->get<std::string>());
    if (!spec.output_kind) {
      return InvalidArgument("a version's network has no sound 'output_kind', found {}",
                             Printable(kind->dump(-1, ' ', true, Json::error_handler_t::replace)));
    }
  }
  return spec;
}

}  // namespace zood::netdef
