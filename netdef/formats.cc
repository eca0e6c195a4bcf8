#include "netdef/formats.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "base/unicode.h"
#include "checkpoint/onnx/reader.h"
#include "netdef/caffe/definition.h"
#include "netdef/onnx/definition.h"
#include "netdef/onnx/model.h"
#include "netdef/zoo_definition.h"

namespace zood::netdef {
namespace {

absl::StatusOr<std::string> DescribeText(std::string_view file, const std::string& where,
                                         std::uint64_t most_bytes) {
  if (file.size() > most_bytes) {
    return ResourceExhausted("{} has {} bytes; {} are allowed", where, file.size(), most_bytes);
  }
  return DecodeText(file, where).value_or(std::string(file));
}

bool IsOnnx(std::string_view file) {
  return checkpoint::LooksLikeOnnx(std::as_bytes(std::span(file)));
}

absl::StatusOr<std::string> DescribeOnnx(std::string_view file, const std::string& where,
                                         std::uint64_t most_bytes) {
  auto description = OnnxDescription(std::as_bytes(std::span(file)), most_bytes);
  if (!description.ok()) return Annotate(description.status(), where);
  return description;
}

constexpr DescriptionFormat kFormats[] = {
    {.name = kOnnxFormat,
     .title = "ONNX",
     .matches = IsOnnx,
     .describe = DescribeOnnx,
     .has_weights = true,
     .build = BuildOnnxDefinition},
    {.name = kCaffeFormat,
     .title = "Caffe's .prototxt",
     .matches = IsCaffeText,
     .describe = DescribeText,
     .build = BuildCaffeDefinition},
};

std::string Titles() {
  std::vector<std::string_view> titles;
  for (const DescriptionFormat& format : kFormats) titles.push_back(format.title);
  return fmt::format("{}", fmt::join(titles, ", "));
}

}  // namespace

std::span<const DescriptionFormat> DescriptionFormats() { return kFormats; }

const DescriptionFormat* FormatOf(std::string_view file) {
  const auto found = std::ranges::find_if(
      kFormats, [&](const DescriptionFormat& format) { return format.matches(file); });
  return found == std::end(kFormats) ? nullptr : &*found;
}

absl::StatusOr<NetworkSpec> Describe(std::string_view file, const std::string& where,
                                     std::uint64_t most_bytes) {
  const DescriptionFormat* format = FormatOf(file);
  if (format == nullptr) {
    return InvalidArgument("{} is not a description of a network that zood reads: {}", where,
                           Titles());
  }
  ZOOD_ASSIGN_OR_RETURN(std::string source, format->describe(file, where, most_bytes));
  return NetworkSpec{.format = std::string(format->name), .source = std::move(source)};
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
