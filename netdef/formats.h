// From a NetworkSpec, or a file that describes a network, to its definition.
//
// Formats of descriptions are a table. Each has its parser and layers in a folder of its own and
// gives the same NetworkDefinition as the others; adding one is adding a line.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "models/zoo.h"
#include "netdef/network_definition.h"
#include "netdef/network_spec.h"

namespace zood::netdef {

struct DescriptionFormat {
  std::string_view name;   // of NetworkSpec::format: "caffe"
  std::string_view title;  // for people: "Caffe's .prototxt"
  // Whether the file may be one, by its content.
  bool (*matches)(std::string_view file);
  // What NetworkSpec::source holds of such a file, at most `most_bytes` of it. Errors say `where`.
  absl::StatusOr<std::string> (*describe)(std::string_view file, const std::string& where,
                                          std::uint64_t most_bytes);
  bool has_weights = false;  // in the same file
  // Errors say `where`.
  absl::StatusOr<NetworkPtr> (*build)(const NetworkSpec& spec, const std::string& where);
};
std::span<const DescriptionFormat> DescriptionFormats();

// The format of a file, recognized by its content; null for a file of none.
const DescriptionFormat* FormatOf(std::string_view file);
// The description in a file. InvalidArgument, listing the formats, for a file of none;
// ResourceExhausted for a description of more than `most_bytes`.
absl::StatusOr<NetworkSpec> Describe(std::string_view file, const std::string& where,
                                     std::uint64_t most_bytes);

// The network that `spec` says; members of its arguments that are 0 take the defaults, also in the
// definition's spec. `zoo` outlives it. `where` is what messages call a description.
//
// NotFound for an architecture that `zoo` does not have; InvalidArgument, naming the layer, for
// arguments or a description from which no network can be built, and for outputs among which one
// must be chosen; Unimplemented, naming all of them, for layers that zood does not have, and for a
// format that this build does not read.
absl::StatusOr<NetworkPtr> BuildNetwork(const NetworkSpec& spec, const models::Zoo& zoo,
                                        const std::string& where = "the network");
// The same of the stored form.
absl::StatusOr<NetworkPtr> BuildNetwork(const std::string& json, const models::Zoo& zoo);

// `base` for other classes: with `num_classes` outputs, above 0, of `kind`. InvalidArgument for a
// network without a layer that could have them, or one that answers no logits to train.
absl::StatusOr<NetworkPtr> WithClasses(const NetworkDefinition& base, int num_classes,
                                       graph::OutputKind kind, const models::Zoo& zoo);

}  // namespace zood::netdef
