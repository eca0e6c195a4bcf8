#include <map>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/wire.h"
#include "checkpoint/pytorch/source.h"

namespace zood::checkpoint {
namespace {

using Kind = PickleValue::Kind;

// 0x1950a86a20f9469cfc6c as a pickle holds it.
constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr std::int64_t kProtocolVersion = 1001;

class StreamSource : public TorchStorageSource {
 public:
  StreamSource(std::shared_ptr<const FileContents> contents,
               std::vector<std::span<const std::byte>> storages)
      : contents_(std::move(contents)), storages_(std::move(storages)) {}

  absl::StatusOr<ZipBytes> Get(std::size_t storage) override {
    return ZipBytes{.bytes = storages_[storage], .owner = contents_};
  }

 private:
  const std::shared_ptr<const FileContents> contents_;
  const std::vector<std::span<const std::byte>> storages_;
};

// The pickles of a file, one after another.
class PickleSequence {
 public:
  PickleSequence(std::span<const std::byte> bytes, Budget& budget)
      : rest_(bytes), budget_(budget) {}

  absl::StatusOr<PickleDocument> Next(const char* what) {
    auto document = Unpickle(rest_, TorchNames(), budget_);
    if (!document.ok()) return Annotate(document.status(), what);
    rest_ = rest_.subspan(document->size);
    return document;
  }

  std::span<const std::byte> rest() const { return rest_; }

 private:
  std::span<const std::byte> rest_;
  Budget& budget_;
};

absl::Status CheckPreamble(PickleSequence& pickles) {
  ZOOD_ASSIGN_OR_RETURN(const PickleDocument magic, pickles.Next("first pickle"));
  if (magic[magic.root].kind != Kind::kLong || magic[magic.root].text != kMagic) {
    return InvalidArgument("the file is a pickle, but none of torch.save");
  }
  ZOOD_ASSIGN_OR_RETURN(const PickleDocument version, pickles.Next("protocol version"));
  const PickleValue& number = version[version.root];
  if (number.kind != Kind::kInteger || number.integer != kProtocolVersion) {
    return Unimplemented("protocol version {} of torch.save is unknown, only {} is read",
                         number.integer, kProtocolVersion);
  }
  // Sizes of C's types and the byte order of the machine that wrote the file. Storages are
  // little-endian whatever it says.
  return pickles.Next("facts of the machine").status();
}

// The spans of the storages, in the order of `storages`. `keys` says in which order they lie.
absl::StatusOr<std::vector<std::span<const std::byte>>> LocateStorages(
    const PickleDocument& keys, const std::vector<TorchStorage>& storages,
    std::span<const std::byte> rest) {
  std::map<std::string_view, std::size_t> index_of;
  for (std::size_t i = 0; i < storages.size(); ++i) index_of.emplace(storages[i].key, i);
  if (keys[keys.root].kind != Kind::kList)
    return DataLoss("the keys of the storages are not a list");
  std::vector<std::span<const std::byte>> spans(storages.size());
  for (const PickleRef ref : keys[keys.root].items) {
    const auto at = index_of.find(keys[ref].text);
    if (at == index_of.end()) {
      return DataLoss(
          "storage '{}' follows the pickle, which does not refer to it (or it is there "
          "twice)",
          Printable(keys[ref].text));
    }
    const TorchStorage& storage = storages[at->second];
    if (rest.size() < sizeof(std::int64_t)) {
      return DataLoss("the file ends before storage '{}'", Printable(storage.key));
    }
    const auto elements = LoadLittleEndian<std::int64_t>(rest);
    rest = rest.subspan(sizeof(elements));
    if (elements != storage.elements || storage.bytes() > rest.size()) {
      return DataLoss(
          "storage '{}' should have {} elements of {} but has {}, with {} bytes left in "
          "the file",
          Printable(storage.key), storage.elements, Name(storage.dtype), elements, rest.size());
    }
    spans[at->second] = rest.first(static_cast<std::size_t>(storage.bytes()));
    rest = rest.subspan(spans[at->second].size());
    index_of.erase(at);
  }
  if (!index_of.empty()) {
    return DataLoss("{} storages are missing from the file, '{}' among them", index_of.size(),
                    Printable(index_of.begin()->first));
  }
  return spans;
}

}  // namespace

absl::StatusOr<TorchFile> OpenTorchStream(std::shared_ptr<const FileContents> contents,
                                          const Limits& limits) {
  Budget budget(limits.max_metadata_bytes);
  PickleSequence pickles(contents->bytes(), budget);
  ZOOD_RETURN_IF_ERROR(CheckPreamble(pickles));
  ZOOD_ASSIGN_OR_RETURN(const PickleDocument object, pickles.Next("saved object"));
  ZOOD_ASSIGN_OR_RETURN(TorchState state, ReadTorchState(object, limits, budget));
  ZOOD_ASSIGN_OR_RETURN(const PickleDocument keys, pickles.Next("keys of the storages"));
  ZOOD_ASSIGN_OR_RETURN(auto spans, LocateStorages(keys, state.storages, pickles.rest()));
  auto source = std::make_unique<StreamSource>(std::move(contents), std::move(spans));
  return TorchFile{.state = std::move(state), .source = std::move(source)};
}

}  // namespace zood::checkpoint
