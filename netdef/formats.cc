#include "netdef/formats.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "netdef/caffe/definition.h"
#include "netdef/zoo_definition.h"

namespace zood::netdef {
namespace {

constexpr DescriptionFormat kFormats[] = {
    {.name = kCaffeFormat,
     .title = "Caffe's .prototxt",
     .matches = IsCaffeText,
     .build = BuildCaffeDefinition},
};

std::string Titles() {
  std::vector<std::string_view> titles;
  for (const DescriptionFormat& format : kFormats) titles.push_back(format.title);
  return fmt::format("{}", fmt::join(titles, ", "));
}

}  // namespace

std::span<const DescriptionFormat> DescriptionFormats() { return kFormats; }

absl::StatusOr<std::string> FormatOf(std::string_view file, const std::string& where) {
  const auto found = std::ranges::find_if(
      kFormats, [&](const DescriptionFormat& format) { return format.matches(file); });
  if (found != std::end(kFormats)) return std::string(found->name);
  return InvalidArgument("{} is not a description of a network that zood reads: {}", where,
                         Titles());
}

absl::StatusOr<NetworkPtr> BuildNetwork(const NetworkSpec& spec, const models::Zoo& zoo,
                                        const std::string& where) {
  if (spec.format == kZooFormat) return BuildZooDefinition(spec, zoo);
  const auto found = std::ranges::find(kFormats, spec.format, &DescriptionFormat::name);
  if (found != std::end(kFormats)) return found->build(spec, where);
  return Unimplemented("{} is described in the format '{}', which this build of zood does not read",
                       where, Printable(spec.format));
}

absl::StatusOr<NetworkPtr> BuildNetwork(const std::string& json, const models::Zoo& zoo) {
  ZOOD_ASSIGN_OR_RETURN(const NetworkSpec spec, NetworkSpecFromJson(json));
  return BuildNetwork(spec, zoo);
}

absl::StatusOr<NetworkPtr> WithClasses(const NetworkDefinition& base, int num_classes,
                                       graph::OutputKind kind, const models::Zoo& zoo) {
  if (!graph::AreLogits(base.output_kind())) {
    return InvalidArgument(
        "the network answers probabilities that no softmax or sigmoid makes last, so it has no "
        "logits to train; choose an output that has, when the network is imported");
  }
  NetworkSpec spec = base.spec();
  if (base.num_classes() != num_classes) spec.args.num_classes = num_classes;
  if (base.output_kind() != kind) spec.output_kind = kind;
  return BuildNetwork(spec, zoo);
}

}  // namespace zood::netdef
