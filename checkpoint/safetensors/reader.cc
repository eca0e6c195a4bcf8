#include "checkpoint/safetensors/reader.h"

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/wire.h"
#include "checkpoint/elements.h"
#include "checkpoint/safetensors/header.h"

namespace zood::checkpoint {
namespace {

class SafetensorsReader : public Reader {
 public:
  static absl::StatusOr<std::unique_ptr<Reader>> Open(NamedFile file, const Limits& limits) {
    ZOOD_ASSIGN_OR_RETURN(SafetensorsHeader header,
                          ParseSafetensorsHeader(file.contents->bytes(), limits));
    std::vector<VariableInfo> infos;
    std::vector<UnreadEntry> unread;
    std::vector<std::span<const std::byte>> elements;
    for (SafetensorsEntry& entry : header.entries) {
      if (!entry.type.dtype) {
        unread.push_back({std::move(entry.name), ReasonOf(entry.type)});
        continue;
      }
      elements.push_back(
          header.elements.subspan(static_cast<std::size_t>(entry.begin),
                                  static_cast<std::size_t>(entry.end - entry.begin)));
      infos.push_back({std::move(entry.name), *entry.type.dtype, std::move(entry.shape)});
    }
    ZOOD_RETURN_IF_ERROR(CheckVariables(infos, limits));
    return std::unique_ptr<Reader>(new SafetensorsReader(
        std::move(file), std::move(infos), std::move(elements), limits, std::move(unread)));
  }

 private:
  SafetensorsReader(NamedFile file, std::vector<VariableInfo> infos,
                    std::vector<std::span<const std::byte>> elements, const Limits& limits,
                    std::vector<UnreadEntry> unread)
      : Reader(Format::kSafetensors, {file.path}, std::move(infos), limits, std::move(unread)),
        contents_(std::move(file.contents)),
        elements_(std::move(elements)) {}

  static std::string ReasonOf(const SafetensorsType& type) {
    return type.name.empty() ? "its dtype is one of which zood does not know"
                             : fmt::format("zood has no numbers of dtype {}", type.name);
  }

  absl::StatusOr<Tensor> ReadVariable(std::size_t index) const override {
    const VariableInfo& info = variables()[index];
    if (info.dtype == DType::kBool) ZOOD_RETURN_IF_ERROR(CheckBools(elements_[index]));
    return Tensor::View(info.dtype, info.shape, elements_[index], contents_);
  }

  const std::shared_ptr<const FileContents> contents_;
  const std::vector<std::span<const std::byte>> elements_;  // in the order of variables()
};

}  // namespace

bool LooksLikeSafetensors(std::span<const std::byte> bytes) {
  constexpr std::uint64_t kBeyondAnyHeader = std::uint64_t{1} << 40;
  return bytes.size() > sizeof(std::uint64_t) && bytes[sizeof(std::uint64_t)] == std::byte{'{'} &&
         LoadLittleEndian<std::uint64_t>(bytes) < kBeyondAnyHeader;
}

absl::StatusOr<std::unique_ptr<Reader>> OpenSafetensors(NamedFile file, const Limits& limits) {
  const std::string path = file.path;
  auto reader = SafetensorsReader::Open(std::move(file), limits);
  if (!reader.ok()) return Annotate(reader.status(), path);
  return reader;
}

}  // namespace zood::checkpoint
