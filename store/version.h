// What the store says about a version: values without behavior. All text is UTF-8 without NUL.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/shape.h"

namespace zood::store {

// One tensor's content. `digest` is SHA-256 over dtype, shape and elements (tensor_codec.h), so
// equal digests are equal tensors.
struct TensorRef {
  std::string digest;  // 64 lower-case hexadecimal digits
  DType dtype = DType::kFloat32;
  Shape shape;
  std::uint64_t bytes = 0;  // of the encoded elements

  friend bool operator==(const TensorRef&, const TensorRef&) = default;
};

// A file that a version was made from.
struct Source {
  std::string uri;     // a path or an address
  std::string sha256;  // of the file; empty when unknown
  std::uint64_t bytes = 0;
  std::string format;  // "tensorflow_v2", "caffe", "pytorch"

  friend bool operator==(const Source&, const Source&) = default;
};

struct Provenance {
  std::vector<Source> sources;
  std::string build;  // which zood wrote it
  std::string note;   // a person's words

  friend bool operator==(const Provenance&, const Provenance&) = default;
};

// What a fine-tuned version grew from. Names, not references: they outlive the versions named.
struct Lineage {
  std::string base_model;
  std::int64_t base_version = 0;
  std::string base_digest;  // VersionManifest::digest of the base
  std::string dataset_digest;
  std::string job_id;
  std::uint64_t seed = 0;
  std::string plan;  // JSON, opaque to the store

  friend bool operator==(const Lineage&, const Lineage&) = default;
};

// A checkpoint is a version that a job wrote on its way: complete and servable, but never what
// the alias `latest` means.
enum class VersionKind { kModel, kCheckpoint };

// What a person or a job gives the store to publish, beside the weights.
struct NewVersion {
  std::string model;
  VersionKind kind = VersionKind::kModel;
  std::string network;              // how to build the network; opaque to the store, usually JSON
  std::string preprocess;           // how an image becomes its input; opaque, usually JSON
  std::vector<std::string> labels;  // by class index; empty when unknown
  Provenance provenance;
  std::string import_report;  // what its files were taken for; opaque, usually JSON; empty for none
  std::optional<Lineage> lineage;
  std::map<std::string, std::string> tags;
  std::map<std::string, double> metrics;
  std::vector<std::string> aliases;  // moved to the new version in the same transaction
};

// A version as the store keeps it. It never changes.
struct VersionManifest {
  std::string model;
  std::int64_t version = 0;  // 1, 2, 3, ...; never given twice, not even after a deletion
  VersionKind kind = VersionKind::kModel;
  std::string digest;  // ManifestDigest() of what follows
  std::string network;
  std::string preprocess;
  std::vector<std::string> labels;
  std::map<std::string, TensorRef> tensors;
  std::int64_t created_at_us = 0;  // microseconds since 1970-01-01 UTC
  Provenance provenance;
  std::string import_report;
  std::optional<Lineage> lineage;
  std::map<std::string, std::string> tags;
  std::map<std::string, double> metrics;

  friend bool operator==(const VersionManifest&, const VersionManifest&) = default;
};

// SHA-256 over everything that decides a version's answers: network, preprocessing, labels and
// tensors; not over its number, provenance or tags. Equal digests answer alike.
std::string ManifestDigest(const VersionManifest& manifest);

struct PublishedVersion {
  std::int64_t version = 0;
  std::string digest;            // ManifestDigest()
  std::int64_t new_tensors = 0;  // that the store did not have yet
  std::uint64_t new_bytes = 0;
};

// One line of a list of versions.
struct VersionSummary {
  std::int64_t version = 0;
  VersionKind kind = VersionKind::kModel;
  std::string digest;
  std::int64_t created_at_us = 0;
  std::int64_t tensors = 0;
  std::uint64_t bytes = 0;           // of its tensors, shared ones included
  std::vector<std::string> aliases;  // sorted; "latest" among them
  std::string build;
  std::string note;
};

// One line of a list of models. A model is there as long as it has a version.
struct ModelSummary {
  std::string name;
  std::int64_t versions = 0;
  std::map<std::string, std::int64_t> aliases;  // "latest" among them when it means something
};

}  // namespace zood::store
