#include "store/version.h"

#include "base/checksum.h"
#include "store/packs/bytes.h"

namespace zood::store {
std::string ManifestDigest(const VersionManifest& manifest) {
  std::string record = "zood version 1\n";
  AppendText(record, manifest.network);
  AppendText(record, manifest.preprocess);
  AppendCount(record, manifest.labels.size());
  for (const std::string& label : manifest.labels) AppendText(record, label);
  AppendCount(record, manifest.tensors.size());
  for (const auto& [name, tensor] : manifest.tensors) {
    AppendText(record, name);
    AppendText(record, tensor.digest);
  }
  return Sha256Hex(AsBytes(record));
}

}  // namespace zood::store
