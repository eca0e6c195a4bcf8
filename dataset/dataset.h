// Labeled photos to train and evaluate on: a folder per class, a CSV index, an archive, TFRecord,
// IDX or CIFAR-10 files, read into one form. docs/datasets.md has the exact rules of each format.
//
//   ReadDataset(path) -> DatasetScan -> AssignSplits -> CheckDataset -> what an InputPipeline reads
//
// What is read is hostile until checked: every size is held against the bytes that are there and
// against DatasetLimits before memory is reserved, nothing is ever written to disk, names are never
// used as paths, links are passed over.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "image/decode.h"

namespace zood::dataset {

// What an item is used for.
enum class Split { kTrain, kValidation, kTest };
std::string_view SplitName(Split split);  // "train", "validation", "test"

// One photo.
struct Item {
  std::string name;        // where it stood: a path in the folder or archive, or "<file>#<number>"
  std::int32_t label = 0;  // an index into Dataset::classes
  Split split = Split::kTrain;
  // uint8: [n] is a file as it was (see image/decode.h), [height, width, 1 or 3] are pixels (gray
  // or RGB). May view a mapped file (base/mapping.h).
  Tensor image;
};

// A value type; copying it copies no photo. Items stand in the order of the source: by name in
// folders and archives, by file and position elsewhere.
struct Dataset {
  std::vector<std::string> classes;  // names, without duplicates
  std::vector<Item> items;
};

// Something that a source holds and that could not become an item, or an item that is no use.
struct Problem {
  std::string item;
  std::string reason;
};

struct DatasetScan {
  Dataset dataset;
  std::vector<Problem> problems;  // the first DatasetLimits::max_problems
  std::int64_t problem_count = 0;
  // What is no item's problem: files that are no photos and were left aside, tables that are no
  // index.
  std::vector<std::string> warnings;
  std::string format;  // "folder", "csv", "tfrecord", "idx", "cifar10"; with "tar " and the like in
                       // front of what stood in an archive
};

// What reading may cost. A source over one of these is ResourceExhausted, unless said otherwise.
struct DatasetLimits {
  std::int64_t max_files = 4'000'000;  // of a folder or archive, and records of a TFRecord
  std::int64_t max_classes = 100'000;
  int max_depth = 8;            // of folders
  std::size_t max_name = 1024;  // bytes of a path; a longer one is a problem of that item
  // Of one photo; a larger one is a problem of that item.
  std::uint64_t max_item_bytes = std::uint64_t{64} << 20;
  // Of everything that is read, uncompressed.
  std::uint64_t max_total_bytes = std::uint64_t{256} << 30;
  // Of that, what has to be kept on the heap since it cannot be viewed in a mapped file: compressed
  // archives and IDX files, and small files of folders. Also names, and about 1 KiB for each item
  // (ReadBudget::kItemBytes), whatever the size of its photo.
  std::uint64_t max_heap_bytes = std::uint64_t{4} << 30;
  // What decompressing a stream may take, dictionary included; from max_heap_bytes.
  std::uint64_t max_unpacking_bytes = std::uint64_t{128} << 20;
  // How many bytes may come out of one that is compressed, once more than `ratio_floor` came out:
  // photos hardly compress, bombs do.
  std::uint64_t max_ratio = 100;
  std::uint64_t ratio_floor = std::uint64_t{256} << 20;
  std::uint64_t max_text_bytes = std::uint64_t{256} << 20;  // of a CSV index or a file of labels
  std::int64_t max_problems = 1000;                         // that are listed; all are counted

  // ResourceExhausted, with the figures, where `out` bytes are too many from `in` compressed ones.
  absl::Status CheckRatio(std::uint64_t in, std::uint64_t out) const;
};

// What the outermost folders of a folder are.
enum class Layout {
  kAuto,     // told by their names and contents; InvalidArgument for what can be read both ways
  kClasses,  // one for each class; an index beside them is passed over, with a warning
  kSplits,   // one for each split, with those of the classes in it
};

struct DatasetOptions {
  // The names of the classes, in order. Empty: those of the source. Where given, a label is the
  // name of one of them or else an index, and anything else is a problem of that item.
  std::vector<std::string> classes;
  // False: also none of the folders that lead to the dataset may be a link (for a path that was
  // resolved and judged before). Within it links are problems in any case.
  bool follow_links = true;
  Layout layout = Layout::kAuto;
  DatasetLimits limits;
  // Asked on the calling thread each few megabytes; true ends the reading with Cancelled. Empty:
  // no.
  std::function<bool()> cancelled;
};

// Reads a dataset of any format, told by content, never by a promise:
//   a directory          a folder per class, under train/ validation/ test/ or not; or the one that
//                        holds a CSV index, TFRecord shards, IDX or CIFAR-10 files
//   tar, tar.gz, tar.xz, zip   the same in an archive
//   a CSV index          with photos beside it
//   TFRecord             of tf.Example
//   IDX                  the images; the labels are found by name beside them
//   CIFAR-10             one of its binary files
// One bad photo is a problem of that photo; a container that cannot be read is an error:
// InvalidArgument naming the place for an unknown format or broken structure, DataLoss for one that
// ends early or fails its checksum, NotFound, PermissionDenied, ResourceExhausted over a limit,
// Cancelled where options.cancelled says so.
// An empty dataset is InvalidArgument that names the first problem.
//
// `path` is the caller's to have checked; nothing outside of it is read, but the files beside an
// index or an IDX file. Mapped files stay open as long as an item that views them; one that becomes
// shorter meanwhile reads as zeros (base/mapping.h), which is DataLoss if it happens in here.
absl::StatusOr<DatasetScan> ReadDataset(const std::string& path,
                                        const DatasetOptions& options = {});

// An IDX file of images (unsigned bytes, [n, height, width] or [n, height, width, 1 or 3]) and one
// of labels ([n]), plain or compressed with gzip: the form of MNIST (LeCun, 1998). All in `split`.
absl::StatusOr<DatasetScan> ReadIdx(const std::string& images, const std::string& labels,
                                    Split split, const DatasetOptions& options = {});

// SHA-256 of an item's bytes, in hexadecimal: of a file, what sha256sum says.
std::string ItemDigest(const Tensor& image);

// SHA-256 over the classes and each item's name, label, split, shape and bytes, in order.
std::string DatasetDigest(const Dataset& dataset);

// How the items of the training split are shared out.
struct SplitOptions {
  double validation = 0.1;  // a fraction of the items
  double test = 0;
  std::uint64_t seed = 0;
};

// Moves items of the training split to the others, each class by itself, by a hash of (seed, bytes
// of the item): whatever the order of items, and equal photos of the training split go the same
// way. Where the hash alone gives a class less than half or more than twice its share, the photos
// nearest to it make up for that; so a class of two different photos or more has one in the
// validation split, one of three or more has one in the test split too, and each keeps one to train
// on. A split that the source itself has stays as it is, and its fraction counts for nothing; a
// photo that the source has in two splits stays in both, which CheckDataset() warns of.
// InvalidArgument unless both fractions are in [0, 1) and their sum is below 1.
absl::Status AssignSplits(Dataset& dataset, const SplitOptions& options);

// Indices into dataset.items, ascending.
std::vector<std::int32_t> ItemsOf(const Dataset& dataset, Split split);

struct CheckOptions {
  image::DecodeLimits decode;
  int threads = 2;
  std::int64_t max_problems = 1000;
  // Called on the calling thread now and then and at the end, with the number of items that are
  // done; false stops.
  std::function<bool(std::int64_t done)> progress;
};

struct DatasetCheck {
  bool complete = true;  // false when progress() stopped it; then nothing else counts
  // Items that no job can use: undecodable, too large, with a label out of range.
  std::vector<std::int32_t> unusable;  // ascending
  std::vector<Problem> problems;       // the first of them, with the reason
  // What is no error of an item: equal photos under several labels or in several splits. At most
  // max_problems.
  std::vector<std::string> warnings;
  // Usable items of each class: [class][split].
  std::vector<std::array<std::int64_t, 3>> counts;
};

// Decodes every item as image::Decode does, on `threads` threads; each holds one decoded photo.
DatasetCheck CheckDataset(const Dataset& dataset, const CheckOptions& options = {});

// What is to be said of the classes once the items are split: those without a photo, with one or
// none to train on, with none to measure them by while others have some, with too few for the
// figure to mean much; each with what would do. At most `most`.
std::vector<std::string> ClassWarnings(const Dataset& dataset, std::size_t most = 1000);

// Takes the items at `indices` (ascending) out; classes stay.
void RemoveItems(Dataset& dataset, std::span<const std::int32_t> indices);

}  // namespace zood::dataset
