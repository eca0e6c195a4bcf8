// TFRecord: length (uint64), masked CRC-32C of the length, bytes, masked CRC-32C of the bytes; all
// little-endian. Each record is a tf.Example.
#include <string>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/status.h"
#include "dataset/formats/readers.h"

namespace zood::dataset {
namespace {

constexpr std::size_t kHeader = 12;
constexpr std::size_t kFooter = 4;

template <typename T>
T LittleEndian(std::span<const std::byte> bytes) {
  T value = 0;
  for (std::size_t i = sizeof(T); i-- > 0;)
    value = static_cast<T>(value << 8 | static_cast<T>(bytes[i]));
  return value;
}

bool ChecksumFits(std::span<const std::byte> bytes, std::span<const std::byte> stored) {
  return MaskCrc32c(Crc32c(bytes)) == LittleEndian<std::uint32_t>(stored);
}

class TfRecordReader {
 public:
  TfRecordReader(const DatasetOptions& options, ReadBudget& budget)
      : options_(options), budget_(budget), builder_(options, budget) {}

  DatasetBuilder& builder() { return builder_; }

  absl::Status ReadShard(const std::string& name, const FileBytes& file) {
    const Split split = SplitOfName(BaseName(name)).value_or(Split::kTrain);
    std::span<const std::byte> rest = file.bytes;
    for (std::int64_t number = 0; !rest.empty(); ++number) {
      const std::string item = fmt::format("{}#{}", name, number);
      if (rest.size() < kHeader + kFooter) return CutOff(item);
      if (!ChecksumFits(rest.first(8), rest.subspan(8, 4))) {
        return DataLoss("{}: the checksum of its length is wrong; nothing after it can be read",
                        item);
      }
      const auto length = LittleEndian<std::uint64_t>(rest);
      if (length > rest.size() - kHeader - kFooter) return CutOff(item);
      if (++records_ > options_.limits.max_files) {
        return ResourceExhausted("there are more than {} records", options_.limits.max_files);
      }
      ZOOD_RETURN_IF_ERROR(budget_.GoOn(length));
      const auto bytes = rest.subspan(kHeader, static_cast<std::size_t>(length));
      rest = rest.subspan(kHeader + static_cast<std::size_t>(length));
      ZOOD_RETURN_IF_ERROR(AddRecord(item, {bytes, file.owner}, rest.first(kFooter), split));
      rest = rest.subspan(kFooter);
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status CutOff(const std::string& item) {
    return DataLoss("{}: the file ends in the middle of this record", item);
  }

  absl::Status AddRecord(const std::string& item, const FileBytes& record,
                         std::span<const std::byte> checksum, Split split) {
    const auto problem = [&](std::string reason) {
      builder_.AddProblem(item, std::move(reason));
      return absl::OkStatus();
    };
    if (!ChecksumFits(record.bytes, checksum)) return problem("its checksum is wrong");
    const absl::StatusOr<TfExample> example = ParseTfExample(record.text());
    if (!example.ok()) return problem(std::string(example.status().message()));
    if (!example->encoded) return problem("has no image/encoded");
    if (!example->label) return problem("has no image/class/label");
    return Add(item, *example, record.owner, split);
  }

  absl::Status Add(const std::string& item, const TfExample& example,
                   const std::shared_ptr<const void>& owner, Split split) {
    if (example.text) ZOOD_RETURN_IF_ERROR(builder_.NameIndex(*example.label, *example.text));
    // The number keeps names distinct, the file name is for people.
    std::string name = item;
    if (example.filename && !example.filename->empty()) {
      name += " " + Shown(*example.filename);
    }
    return builder_.AddFile(name, *example.label, split,
                            {std::as_bytes(std::span(*example.encoded)), owner});
  }

  const DatasetOptions& options_;
  ReadBudget& budget_;
  DatasetBuilder builder_;
  std::int64_t records_ = 0;
};

}  // namespace

bool IsTfRecord(const FileBytes& file) {
  return file.bytes.size() >= kHeader + kFooter &&
         ChecksumFits(file.bytes.first(8), file.bytes.subspan(8, 4));
}

// "flowers_train_00000-of-00005.tfrecord", "train-00000-of-01024"
bool IsTfRecordName(std::string_view name) {
  if (name.find("tfrecord") != std::string_view::npos) return true;
  const std::size_t of = name.rfind("-of-");
  if (of == std::string_view::npos || of == 0) return false;
  constexpr std::string_view kDigits = "0123456789";
  const std::string_view count = name.substr(of + 4);
  return !count.empty() && count.find_first_not_of(kDigits) == std::string_view::npos &&
         kDigits.find(name[of - 1]) != std::string_view::npos;
}

absl::StatusOr<DatasetScan> ReadTfRecords(FileTree& tree, std::string_view folder,
                                          const std::vector<std::size_t>& shards,
                                          const DatasetOptions& options, ReadBudget& budget) {
  TfRecordReader reader(options, budget);
  reader.builder().AddTree(tree);
  ZOOD_RETURN_IF_ERROR(
      ReadLabelsFile(tree, folder, {"labels.txt", "classes.txt"}, options, reader.builder()));
  for (const std::size_t shard : shards) {
    const absl::StatusOr<FileBytes> file = tree.Open(shard, options.limits.max_total_bytes);
    if (!file.ok()) return Annotate(file.status(), tree.files()[shard]);
    ZOOD_RETURN_IF_ERROR(Annotate(reader.ReadShard(tree.files()[shard], *file), tree.name()));
  }
  return reader.builder().Finish(tree.name(), tree.kind() + "tfrecord");
}

}  // namespace zood::dataset
