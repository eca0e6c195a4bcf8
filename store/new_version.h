// The rules that a version must obey before it is written.
#pragma once

#include "absl/status/status.h"
#include "base/tensor.h"
#include "store/version.h"

namespace zood::store {

// InvalidArgument, naming the part and the rule, for names and texts that the store does not take
// or for more of anything than it keeps.
absl::Status CheckNewVersion(const NewVersion& version, const TensorMap& weights);

// The same for the part that datasets have, too.
absl::Status CheckProvenance(const Provenance& provenance);

// The manifest of `version`, without number, time, digest and tensors.
VersionManifest ManifestOf(const NewVersion& version);

}  // namespace zood::store
