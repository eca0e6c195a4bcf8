// The definition of a network of the zoo. For netdef/formats.cc only.
#pragma once

#include "absl/status/statusor.h"
#include "models/zoo.h"
#include "netdef/network_definition.h"

namespace zood::netdef {

// Errors as of BuildNetwork().
absl::StatusOr<NetworkPtr> BuildZooDefinition(const NetworkSpec& spec, const models::Zoo& zoo);

}  // namespace zood::netdef
