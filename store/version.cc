#include "store/version.h"

#include <string_view>

#include "base/checksum.h"
#include "store/bytes.h"

namespace zood::store {
namespace {

void UpdateWithText(Sha256& sha, std::string_view text) {
  std::string length;
  AppendLittleEndian<std::uint64_t>(length, text.size());
  sha.Update(AsBytes(length));
  sha.Update(AsBytes(text));
}

void UpdateWithCount(Sha256& sha, std::size_t count) {
  std::string bytes;
  AppendLittleEndian<std::uint64_t>(bytes, count);
  sha.Update(AsBytes(bytes));
}

}  // namespace

std::string ManifestDigest(const VersionManifest& manifest) {
  Sha256 sha;
  sha.Update(AsBytes("zood version 1\n"));
  UpdateWithText(sha, manifest.network);
  UpdateWithText(sha, manifest.preprocess);
  UpdateWithCount(sha, manifest.labels.size());
  for (const std::string& label : manifest.labels) UpdateWithText(sha, label);
  UpdateWithCount(sha, manifest.tensors.size());
  for (const auto& [name, tensor] : manifest.tensors) {
    UpdateWithText(sha, name);
    UpdateWithText(sha, tensor.digest);
  }
  return sha.HexDigest();
}

}  // namespace zood::store
