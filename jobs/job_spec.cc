#include "jobs/job_spec.h"
#include "base/fields.h"

#include <memory>
#include <utility>

#include "jobs/json_fields.h"

namespace zood::jobs {
namespace {

constexpr int kFormat = 1;

// Where the bytes of one value belong.
struct StoredValue {
  std::size_t source = 0;
  std::string name;
  std::vector<std::int64_t> shape;
};
ZOOD_FIELDS(StoredValue, source, name, shape)

struct StoredSpec {
  int format = 0;
  JobSpec spec;
  std::vector<StoredValue> values;
};
ZOOD_FIELDS(StoredSpec, format, spec, values)

absl::Status TakeValue(const StoredValue& value, std::string_view& bytes, JobSpec& spec) {
  const Shape shape(value.shape);
  const auto elements = shape.CheckedNumElements();
  const std::size_t size = static_cast<std::size_t>(elements.value_or(0)) * sizeof(float);
  if (!elements || !spec.restore || value.source >= spec.restore->sources.size() ||
      size > bytes.size()) {
    return DataLoss("the value of '{}' has no place or no bytes", value.name);
  }
  auto owner = std::make_shared<const std::string>(bytes.substr(0, size));
  bytes.remove_prefix(size);
  ZOOD_ASSIGN_OR_RETURN(
      Tensor tensor, Tensor::View(DType::kFloat32, shape, std::as_bytes(std::span(*owner)), owner));
  auto* given = std::get_if<GivenValues>(&spec.restore->sources[value.source].from);
  if (given == nullptr) return DataLoss("the value of '{}' belongs to no source", value.name);
  given->tensors.emplace(value.name, std::move(tensor));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<serving::ModelRef> VersionChoice::ToRef() const {
  if (version && *version < 1) {
    return InvalidArgument("version is {}; versions are numbered from 1", *version);
  }
  if (alias && alias->empty()) return InvalidArgument("the alias is empty");
  return serving::ModelRef{name, version ? std::to_string(*version) : alias.value_or("")};
}

std::string ToJson(const JobSpec& spec) { return Dump(JsonWriter::Put(spec)); }

absl::StatusOr<JobSpec> JobSpecFromJson(const std::string& json) {
  const Json parsed = Json::parse(json, nullptr, false);
  JobSpec spec;
  ZOOD_RETURN_IF_ERROR(ReadJson(parsed, spec));
  return spec;
}

std::string Encode(const JobSpec& spec) {
  StoredSpec stored{.format = kFormat, .spec = spec, .values = {}};
  std::string bytes;
  const auto sources = spec.restore.value_or(RestoreList()).sources;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto* given = std::get_if<GivenValues>(&sources[i].from);
    if (given == nullptr) continue;
    for (const auto& [name, tensor] : given->tensors) {
      const auto dims = tensor.shape().dims();
      stored.values.push_back({i, name, {dims.begin(), dims.end()}});
      const auto data = tensor.bytes();
      bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
    }
  }
  return Dump(JsonWriter::Put(stored)) + '\n' + bytes;
}

absl::StatusOr<JobSpec> DecodeJobSpec(std::string_view encoded) {
  const std::size_t end = encoded.find('\n');
  if (end == std::string_view::npos) return DataLoss("the job's spec cannot be read");
  StoredSpec stored;
  const absl::Status read = ReadJson(Json::parse(encoded.substr(0, end), nullptr, false), stored);
  if (!read.ok()) return DataLoss("the job's spec cannot be read: {}", std::string(read.message()));
  if (stored.format != kFormat) {
    return DataLoss("the job's spec has the form {}, of a newer zood", stored.format);
  }
  std::string_view bytes = encoded.substr(end + 1);
  for (const StoredValue& value : stored.values) {
    ZOOD_RETURN_IF_ERROR(TakeValue(value, bytes, stored.spec));
  }
  return std::move(stored.spec);
}

}  // namespace zood::jobs
