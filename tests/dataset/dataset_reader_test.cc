// Every format is read as another program wrote it (make_datasets), and nothing bad comes of bad
// bytes.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <zlib.h>
#include <array>

#include <nlohmann/json.hpp>

#include "dataset/builder.h"
#include "dataset/formats/readers.h"
#include "tests/dataset/dataset_testing.h"

namespace zood::dataset {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const nlohmann::json& Expected() {
  static const auto* expected =
      new nlohmann::json(nlohmann::json::parse(ReadFile(Fixture("expected.json"))));
  return *expected;
}

void ExpectAsMade(const absl::StatusOr<DatasetScan>& scan, const std::string& name) {
  SCOPED_TRACE(name);
  const nlohmann::json& expected = Expected().at(name);
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_EQ(scan->format, expected["format"].get<std::string>());
  EXPECT_EQ(scan->dataset.classes, expected["classes"].get<std::vector<std::string>>());
  std::string problems;
  for (const Problem& problem : scan->problems)
    problems += problem.item + ": " + problem.reason + "\n";
  EXPECT_EQ(scan->problem_count, expected["problems"]) << problems;
  ASSERT_EQ(scan->dataset.items.size(), expected["items"].size());
  std::size_t i = 0;
  for (const nlohmann::json& item : expected["items"]) {
    const Item& found = scan->dataset.items[i++];
    EXPECT_EQ(found.name, item["name"].get<std::string>());
    EXPECT_EQ(found.label, item["label"]) << found.name;
    EXPECT_EQ(SplitName(found.split), item["split"].get<std::string>()) << found.name;
    EXPECT_EQ(ItemDigest(found.image), item["sha256"].get<std::string>()) << found.name;
  }
}

// A folder of some of the fixtures.
void Copy(const std::string& beginning, const Scratch& to) {
  for (const auto& entry : fs::directory_iterator(Fixture(""))) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(beginning)) to.Write(name, ReadFile(entry.path().string()));
  }
}

std::string Gunzip(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  std::string bytes(1 << 20, '\0');
  bytes.resize(
      static_cast<std::size_t>(gzread(file, bytes.data(), static_cast<unsigned>(bytes.size()))));
  gzclose(file);
  return bytes;
}

// What reading a file of these bytes says.
absl::StatusOr<DatasetScan> ReadBytes(const std::string& bytes, const DatasetOptions& options = {},
                                      const std::string& name = "file") {
  const Scratch scratch;
  scratch.Write(name, bytes);
  return ReadDataset(scratch / name, options);
}

TEST(DatasetReaderTest, Archives) {
  for (const char* name : {"photos.tar", "photos.tar.gz", "photos.tar.xz", "photos.zip",
                           "photos_stored.zip", "splits.tar.gz", "index.zip", "cifar.tar.gz",
                           "names_pax.tar", "names_gnu.tar.gz", "names.zip"}) {
    ExpectAsMade(ReadDataset(Fixture(name)), name);
  }
}

TEST(DatasetReaderTest, WhatLiesInAnArchiveAsItIsIsNotCopied) {
  DatasetOptions options;
  // Names take about 3,400 and items a constant each; the photos have 2,187 bytes.
  const std::size_t items = ReadDataset(Fixture("photos.tar"))->dataset.items.size();
  options.limits.max_heap_bytes = 3600 + items * (ReadBudget::kItemBytes + 20);
  EXPECT_TRUE(ReadDataset(Fixture("photos.tar"), options).ok());
  EXPECT_TRUE(ReadDataset(Fixture("photos_stored.zip"), options).ok());
  EXPECT_EQ(ReadDataset(Fixture("photos.zip"), options).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(DatasetReaderTest, EntriesOfAHostileArchiveAreRefusedOneByOne) {
  const auto scan = ReadDataset(Fixture("hostile.tar"));
  ExpectAsMade(scan, "hostile.tar");
  std::string all;
  for (const Problem& problem : scan->problems) all += problem.item + " " + problem.reason + "\n";
  for (const char* words :
       {"../evil.png its name leads out", "rose/../../evil.png its name leads out",
        "/tmp/evil.png its name leads out", "rose/hard.png is a link", "deeper than 8 folders",
        "longer than 1024 bytes", "rose/link.png is a symbolic link", "rose/empty.png is empty"}) {
    EXPECT_THAT(all, HasSubstr(words));
  }
  EXPECT_THAT(scan->warnings, ::testing::Contains(HasSubstr("notes.txt")));
}

TEST(DatasetReaderTest, BombsEndAtTheLimits) {
  DatasetOptions options;
  options.limits.max_total_bytes = 1 << 20;
  EXPECT_EQ(ReadDataset(Fixture("bomb.tar.gz"), options).status().code(),
            absl::StatusCode::kResourceExhausted);
  options = {};
  options.limits.max_heap_bytes = 1 << 20;
  EXPECT_EQ(ReadDataset(Fixture("bomb.tar.gz"), options).status().code(),
            absl::StatusCode::kResourceExhausted);
  options = {};
  options.limits.max_item_bytes = options.limits.max_text_bytes = 1 << 20;
  const absl::Status large = ReadDataset(Fixture("bomb.tar.gz"), options).status();
  EXPECT_THAT(std::string(large.message()), HasSubstr("has more than 1048576 bytes"));
  options = {};
  options.limits.max_files = 5;
  EXPECT_EQ(ReadDataset(Fixture("photos.tar"), options).status().code(),
            absl::StatusCode::kResourceExhausted);
}

std::string IdxHeader(const std::vector<std::uint32_t>& extents) {
  std::string bytes = {0, 0, 8, static_cast<char>(extents.size())};
  for (const std::uint32_t extent : extents) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(extent >> shift);
  }
  return bytes;
}

void WriteGzip(const std::string& path, const std::string& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
}

// A million images of a pixel are a few KiB on disk, and as many names, tensors and digests.
TEST(DatasetReaderTest, ManySmallItemsEndAtTheLimits) {
  constexpr std::uint32_t kItems = 20'000;
  const Scratch scratch;
  WriteGzip(scratch / "images.gz", IdxHeader({kItems, 1, 1}) + std::string(kItems, '\x40'));
  WriteGzip(scratch / "labels.gz", IdxHeader({kItems}) + std::string(kItems, '\x01'));
  const auto read = [&](std::uint64_t max_heap_bytes) {
    DatasetOptions options;
    options.limits.max_heap_bytes = max_heap_bytes;
    return ReadIdx(scratch / "images.gz", scratch / "labels.gz", Split::kTrain, options).status();
  };
  EXPECT_TRUE(read((ReadBudget::kItemBytes + 100) * kItems).ok());
  EXPECT_EQ(read(ReadBudget::kItemBytes * kItems).code(), absl::StatusCode::kResourceExhausted);
}

// A file of a tar: its header, and its bytes up to a whole block.
std::string TarEntry(const std::string& name, const std::string& bytes) {
  std::string header(512, '\0');
  const auto put = [&](std::size_t at, const std::string& text) {
    header.replace(at, text.size(), text);
  };
  put(0, name);
  put(100, "0000644");
  put(124, fmt::format("{:011o}", bytes.size()));
  put(148, "        0");
  put(257, "ustar");
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put(148, fmt::format("{:06o}", sum));
  header[154] = '\0';
  return header + bytes + std::string((512 - bytes.size() % 512) % 512, '\0');
}

// What a test of archives makes itself, by libarchive's writer.
std::string Packed(int (*format)(archive*), int (*filter)(archive*), const char* options,
                   const std::vector<std::pair<std::string, std::string>>& files) {
  const std::unique_ptr<archive, int (*)(archive*)> a(archive_write_new(), archive_write_free);
  EXPECT_EQ(format(a.get()), ARCHIVE_OK);
  EXPECT_EQ(filter(a.get()), ARCHIVE_OK);
  EXPECT_EQ(archive_write_set_options(a.get(), options), ARCHIVE_OK)
      << archive_error_string(a.get());
  std::string bytes;
  const auto write = [](archive*, void* to, const void* block, std::size_t size) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(block), size);
    return static_cast<la_ssize_t>(size);
  };
  archive_write_open(a.get(), &bytes, nullptr, write, nullptr);
  for (const auto& [name, contents] : files) {
    const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(),
                                                                         archive_entry_free);
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(contents.size()));
    archive_write_header(a.get(), entry.get());
    archive_write_data(a.get(), contents.data(), contents.size());
  }
  archive_write_close(a.get());
  return bytes;
}

const std::vector<std::pair<std::string, std::string>> kTwoPhotos = {{"rose/a.bmp", Photo(1)},
                                                                     {"daisy/b.bmp", Photo(2)}};

// The memory that a stream wants to be unpacked with is the file's to say, and so is how much comes
// of a byte.
TEST(ArchiveLimitsTest, AnXzStreamThatWantsTooMuchMemoryIsRefused) {
  const auto xz = [](const char* options) {
    return Packed(archive_write_set_format_pax_restricted, archive_write_add_filter_xz, options,
                  kTwoPhotos);
  };
  const std::string usual = xz("xz:compression-level=6");
  ASSERT_TRUE(ReadBytes(usual).ok()) << ReadBytes(usual).status();
  // The dictionary's size is a byte of the block's header, behind the stream's of 12 bytes.
  std::string greedy = usual;
  ASSERT_EQ(greedy[14], 0x21);  // LZMA2
  greedy[16] = 40;              // 4 GiB - 1
  const uLong crc = crc32(0, reinterpret_cast<const Bytef*>(greedy.data() + 12),
                          static_cast<uInt>((static_cast<unsigned char>(greedy[12]) + 1) * 4 - 4));
  const std::size_t at = 12 + (static_cast<unsigned char>(greedy[12]) + 1) * 4 - 4;
  for (int i = 0; i < 4; ++i)
    greedy[at + static_cast<std::size_t>(i)] = static_cast<char>(crc >> (8 * i));
  const absl::Status status = ReadBytes(greedy).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("needs 4.0 GiB of memory"));
  DatasetOptions options;
  options.limits.max_unpacking_bytes = 8 << 20;  // level 6 needs 9 MiB
  EXPECT_EQ(ReadBytes(usual, options).status().code(), absl::StatusCode::kResourceExhausted);
  options = {};
  options.limits.max_heap_bytes = 8 << 20;  // which its memory is part of
  EXPECT_EQ(ReadBytes(usual, options).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(ArchiveLimitsTest, WhatUnpacksToTooManyTimesItsSizeIsRefused) {
  DatasetOptions options;
  options.limits.ratio_floor = 4 << 20;
  const std::string zeros(16 << 20, '\0');
  for (const auto& [name, packed] : std::map<std::string, std::string>{
           {"tar.xz", Packed(archive_write_set_format_pax_restricted, archive_write_add_filter_xz,
                             "", {{"rose/a.bmp", Photo(1)}, {"rose/zeros", zeros}})},
           {"tar.gz", Packed(archive_write_set_format_pax_restricted, archive_write_add_filter_gzip,
                             "", {{"rose/a.bmp", Photo(1)}, {"rose/zeros", zeros}})},
           {"zip", Packed(archive_write_set_format_zip, archive_write_add_filter_none, "",
                          {{"rose/a.bmp", Photo(1)}, {"rose/zeros", zeros}})}}) {
    SCOPED_TRACE(name);
    EXPECT_TRUE(ReadBytes(packed).ok()) << ReadBytes(packed).status();  // below the usual floor
    const absl::Status status = ReadBytes(packed, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("at most 100 times as many"));
  }
}

// A petabyte of zeros could not be asked for whether anybody still waits.
TEST(ArchiveLimitsTest, UnpackingEndsWhenNobodyWaits) {
  const std::string packed =
      Packed(archive_write_set_format_pax_restricted, archive_write_add_filter_xz, "",
             {{"rose/zeros", std::string(64 << 20, '\0')}});
  int asked = 0;
  const absl::Status status = ReadDataset(
                                  [&] {
                                    static const Scratch scratch;
                                    scratch.Write("zeros.tar.xz", packed);
                                    return scratch / "zeros.tar.xz";
                                  }(),
                                  {.cancelled = [&] { return ++asked > 3; }})
                                  .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
  EXPECT_EQ(asked, 4);
}

// What makes a zip's reader take gigabytes is in the entry's own header, where no limit reaches.
TEST(ArchiveLimitsTest, EntriesOfAZipThatTakeMemoryAreNamed) {
  const std::string zip =
      Packed(archive_write_set_format_zip, archive_write_add_filter_none, "", kTwoPhotos);
  ASSERT_TRUE(ReadBytes(zip).ok());
  for (const auto& [method, name] :
       std::map<int, std::string>{{14, "lzma"}, {95, "xz"}, {98, "ppmd"}, {93, "zstd"}}) {
    std::string changed = zip;
    changed[8] = static_cast<char>(method);  // of the first entry
    const std::size_t listed = changed.find("PK\1\2");
    changed[listed + 10] = static_cast<char>(method);
    const auto scan = ReadBytes(changed);
    ASSERT_TRUE(scan.ok()) << scan.status();
    ASSERT_EQ(scan->problem_count, 1);
    EXPECT_EQ(scan->problems[0].item, "rose/a.bmp");
    EXPECT_THAT(scan->problems[0].reason, HasSubstr("expected deflate, or none"));
    EXPECT_THAT(scan->problems[0].reason, HasSubstr(name));
  }
}

TEST(DamagedArchiveTest, WhatWasCutShortSaysSo) {
  std::map<std::string, std::string> whole;
  for (const char* name :
       {"photos.tar", "photos.tar.gz", "photos.tar.xz", "photos.zip", "photos_stored.zip"}) {
    whole[name] = ReadFile(Fixture(name));
  }
  for (const auto& [name, bytes] : whole) {
    for (const double part : {0.02, 0.3, 0.5, 0.8, 0.97}) {
      const auto size = static_cast<std::size_t>(part * static_cast<double>(bytes.size()));
      // What is padding behind the end of a tar is no loss.
      if (name == "photos.tar" && bytes.find_first_not_of('\0', size) == std::string::npos)
        continue;
      const absl::Status status = ReadBytes(bytes.substr(0, size), {}, name).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << name << " " << part << status;
      EXPECT_THAT(std::string(status.message()),
                  ::testing::AnyOf(HasSubstr("damaged"), HasSubstr("cut short")));
      EXPECT_THAT(std::string(status.message()), Not(HasSubstr("known kind")));
    }
  }
}

// Such a file is a whole tar to many programs, with fewer photos.
TEST(DamagedArchiveTest, ATarThatEndsBetweenTwoEntriesIsNotWhole) {
  const std::string first = TarEntry("rose/a.bmp", Photo(1));
  const std::string both = first + TarEntry("daisy/b.bmp", Photo(2));
  EXPECT_TRUE(ReadBytes(both + std::string(1024, '\0')).ok());
  for (const std::string& cut : {first, both}) {
    const absl::Status status = ReadBytes(cut).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("was cut short"));
  }
}

TEST(DamagedArchiveTest, ChecksumsOfStreamsAreHeld) {
  for (const char* name : {"photos.tar.gz", "photos.tar.xz"}) {
    std::string bytes = ReadFile(Fixture(name));
    bytes[bytes.size() - (name[8] == 't' && name[11] == 'g' ? 6 : 30)] ^= 1;
    EXPECT_EQ(ReadBytes(bytes).status().code(), absl::StatusCode::kDataLoss) << name;
  }
}

TEST(DatasetReaderTest, TheFoldersOfAnArchiveEndAtTheLimits) {
  std::string tar;
  for (int i = 0; i < 1000; ++i) tar += TarEntry(fmt::format("rose/{}/a/b/c/d/e/f/x.txt", i), "x");
  tar += TarEntry("daisy/a.bmp", Photo(1)) + std::string(1024, '\0');
  DatasetOptions options;
  const auto scan = ReadBytes(tar, options, "photos.tar");
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_EQ(scan->problem_count, 0);
  EXPECT_THAT(scan->warnings, ElementsAre(HasSubstr("the folder 'rose' was left aside")));
  options.limits.max_heap_bytes = 600'000;  // files take 150,000, each in 8 folders of its own
  EXPECT_EQ(ReadBytes(tar, options, "photos.tar").status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(DatasetReaderTest, ReadingStopsWhenNobodyWaits) {
  const Scratch idx;
  WriteGzip(idx / "images-idx3-ubyte.gz", IdxHeader({9000, 32, 32}) + std::string(9000 << 10, 'x'));
  WriteGzip(idx / "labels-idx1-ubyte.gz", IdxHeader({9000}) + std::string(9000, '\x01'));
  const Scratch folder;
  for (int i = 0; i < 600; ++i) folder.Write(fmt::format("rose/{}.txt", i), "words");
  const Scratch csv;
  csv.Write("a.bmp", Photo(1));
  csv.Write(
      "index.csv", "a.bmp,rose\n" + std::string(3000, 'x') + ",rose\n" + [] {
        std::string rows;
        for (int i = 0; i < 600; ++i) rows += "none.bmp,rose\n";
        return rows;
      }());
  for (const std::string& path :
       {Fixture("bomb.tar.gz"), Fixture("photos.tar"), idx.path(), folder.path(), csv.path()}) {
    const bool small = path == Fixture("photos.tar");
    for (const int answers : small ? std::vector{0} : std::vector{0, 1}) {
      int asked = 0;
      const absl::Status status =
          ReadDataset(path, {.cancelled = [&] { return asked++ >= answers; }}).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << path << ": " << status;
      EXPECT_EQ(asked, answers + 1) << path;
    }
    EXPECT_NE(ReadDataset(path, {.cancelled = [] { return false; }}).status().code(),
              absl::StatusCode::kCancelled);
  }
}

TEST(DatasetReaderTest, FolderForEachClass) {
  const Scratch scratch;
  for (const char* file : {"rose/b.bmp", "rose/a.bmp", "daisy/sub/c.bmp"}) {
    scratch.Write(file, Photo(file[0]));
  }
  scratch.Write("daisy/broken.jpg", "no photo");
  scratch.Write("daisy/scan.tif", std::string("II*\0\x08\0\0\0", 8));
  scratch.Write("daisy/.DS_Store", "x");
  scratch.Write("README.md", "words");
  scratch.Write("stray.jpg", Photo(3));
  fs::create_directories(scratch / "empty");
  fs::create_symlink(scratch / "stray.jpg", scratch / "rose/link.bmp");
  fs::create_directory_symlink(scratch / "rose", scratch / "linked");
  ASSERT_EQ(::mkfifo((scratch / "rose/fifo.bmp").c_str(), 0600), 0);
  const auto scan = ReadDataset(scratch.path());
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_EQ(scan->format, "folder");
  EXPECT_THAT(scan->dataset.classes, ElementsAre("daisy", "empty", "rose"));
  ASSERT_EQ(scan->dataset.items.size(), 3u);
  EXPECT_EQ(scan->dataset.items[0].name, "daisy/sub/c.bmp");
  EXPECT_EQ(scan->dataset.items[1].name, "rose/a.bmp");
  EXPECT_EQ(scan->dataset.items[2].label, 2);
  std::string all;
  for (const Problem& problem : scan->problems) all += problem.item + " " + problem.reason + "\n";
  EXPECT_EQ(scan->problem_count, 6) << all;
  for (const char* words :
       {"daisy/broken.jpg is no JPEG", "begins with 6e 6f 20 70",
        "is TIFF; JPEG, PNG, GIF, WebP or BMP can be read", "stray.jpg lies in no class",
        "rose/link.bmp is a symbolic link", "linked is a symbolic link",
        "rose/fifo.bmp is neither a file nor a folder"}) {
    EXPECT_THAT(all, HasSubstr(words));
  }
  EXPECT_THAT(scan->warnings, ElementsAre(HasSubstr(".DS_Store, README.md")));
}

TEST(DatasetReaderTest, NoLinkIsFollowedWhenever) {
  const Scratch scratch;
  scratch.Write("secret", Photo(1));
  scratch.Write("data/rose/a.bmp", Photo(2));
  scratch.Write("data/tulip/b.bmp", Photo(3));
  DatasetOptions options;
  ReadBudget budget(options.limits);
  const auto tree = OpenDirectoryTree(scratch / "data", options, budget);
  ASSERT_TRUE(tree.ok()) << tree.status();
  ASSERT_THAT((*tree)->files(), ElementsAre("rose/a.bmp", "tulip/b.bmp"));
  // After the listing, links take the places of a file and of a folder.
  fs::remove(scratch / "data/rose/a.bmp");
  fs::create_symlink(scratch / "secret", scratch / "data/rose/a.bmp");
  fs::rename(scratch / "data/tulip", scratch / "elsewhere");
  fs::create_directory_symlink(scratch / "elsewhere", scratch / "data/tulip");
  EXPECT_FALSE((*tree)->Open(0, 1 << 20).ok());
  EXPECT_FALSE((*tree)->Open(1, 1 << 20).ok());

  fs::create_directory_symlink(scratch / "data", scratch / "link");
  scratch.Write("data/daisy/c.bmp", Photo(4));
  EXPECT_TRUE(ReadDataset(scratch / "link").ok());
  EXPECT_TRUE(ReadDataset(scratch / "data", {.follow_links = false}).ok());
  EXPECT_FALSE(ReadDataset(scratch / "link", {.follow_links = false}).ok());
}

TEST(DatasetReaderTest, NumbersAreClassesInOrderOfNumber) {
  const Scratch scratch;
  for (const char* name : {"10", "9", "2"}) scratch.Write(std::string(name) + "/a.bmp", Photo(1));
  EXPECT_THAT(ReadDataset(scratch.path())->dataset.classes, ElementsAre("2", "9", "10"));
}

TEST(DatasetReaderTest, GivenClassesAreNamesOrIndices) {
  const Scratch scratch;
  for (const char* name : {"rose", "1", "7"}) scratch.Write(std::string(name) + "/a.bmp", Photo(1));
  const auto scan = ReadDataset(scratch.path(), {.classes = {"tulip", "daisy", "rose"}});
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_THAT(scan->dataset.classes, ElementsAre("tulip", "daisy", "rose"));
  ASSERT_EQ(scan->dataset.items.size(), 2u);
  EXPECT_EQ(scan->dataset.items[0].label, 1);
  EXPECT_EQ(scan->dataset.items[1].label, 2);
  ASSERT_EQ(scan->problem_count, 1);
  EXPECT_THAT(scan->problems[0].reason, HasSubstr("'7' is none of the 3"));
}

TEST(DatasetReaderTest, CsvBesidePhotos) {
  const Scratch scratch;
  scratch.Write("a.bmp", Photo(1));
  scratch.Write("sub/b.bmp", Photo(2));
  scratch.Write("c.bmp", Photo(3));
  scratch.Write("index.csv", "a.bmp,rose\n./sub/b.bmp,daisy,val\na.bmp,daisy\nc.bmp,rose,later\n");
  for (const std::string& path : {scratch.path(), scratch / "index.csv"}) {
    const auto scan = ReadDataset(path);
    ASSERT_TRUE(scan.ok()) << scan.status();
    EXPECT_EQ(scan->format, "csv");
    EXPECT_THAT(scan->dataset.classes, ElementsAre("daisy", "rose"));
    ASSERT_EQ(scan->dataset.items.size(), 2u);
    EXPECT_EQ(scan->dataset.items[0].label, 1);
    EXPECT_EQ(scan->dataset.items[1].name, "sub/b.bmp");
    EXPECT_EQ(scan->dataset.items[1].split, Split::kValidation);
    ASSERT_EQ(scan->problem_count, 2);
    EXPECT_EQ(scan->problems[0].item, "index.csv:3");
    EXPECT_THAT(scan->problems[0].reason, HasSubstr("listed twice"));
    EXPECT_THAT(scan->problems[1].reason, HasSubstr("split is 'later'"));
  }
}

TEST(DatasetReaderTest, OneCsvForEachSplit) {
  const Scratch scratch;
  scratch.Write("a.bmp", Photo(1));
  scratch.Write("b.bmp", Photo(2));
  scratch.Write("train.csv", "file,label\na.bmp,rose\n");
  scratch.Write("test.csv", "file,label\nb.bmp,rose\n");
  const auto scan = ReadDataset(scratch.path());
  ASSERT_TRUE(scan.ok()) << scan.status();
  ASSERT_EQ(scan->dataset.items.size(), 2u);
  EXPECT_EQ(scan->dataset.items[0].split, Split::kTest);
  EXPECT_EQ(scan->dataset.items[1].split, Split::kTrain);
  scratch.Write("more.csv", "file,label\nb.bmp,rose\n");
  EXPECT_THAT(std::string(ReadDataset(scratch.path()).status().message()),
              HasSubstr("3 CSV files"));
}

// "label/split path" of each item, in order.
std::vector<std::string> Told(const absl::StatusOr<DatasetScan>& scan) {
  EXPECT_TRUE(scan.ok()) << scan.status();
  std::vector<std::string> told;
  if (!scan.ok()) return told;
  for (const Item& item : scan->dataset.items) {
    told.push_back(fmt::format("{}/{} {}",
                               scan->dataset.classes[static_cast<std::size_t>(item.label)],
                               SplitName(item.split), item.name));
  }
  return told;
}

// A folder with a photo at each path; of other files the name is the text.
absl::StatusOr<DatasetScan> ReadFiles(const std::vector<std::string>& paths,
                                      const DatasetOptions& options = {}) {
  const Scratch scratch;
  int fill = 0;
  for (const std::string& path : paths) {
    if (path.ends_with('/')) {
      fs::create_directories(scratch / path);
    } else {
      scratch.Write(path, KindOfName(path) == FileKind::kImage ? Photo(++fill) : path);
    }
  }
  return ReadDataset(scratch.path(), options);
}

TEST(FolderLayoutTest, SplitsAreKnownByNameAndContents) {
  for (const auto& [train, held, split] : std::vector<std::array<std::string, 3>>{
           {"train", "eval", "validation"},
           {"training_set", "test_set", "test"},
           {"images/train", "images/val", "validation"},
           {"Train", "Valid", "validation"},
           {"TRAINING", "Dev", "validation"},
           {"train2017", "val2017", "validation"},
           {"train_images", "test-images", "test"},
           {"flowers/Training Data", "flowers/holdout", "test"}}) {
    EXPECT_THAT(Told(ReadFiles({train + "/rose/1.bmp", train + "/tulip/2.bmp", held + "/rose/3.bmp",
                                "README.md", "LICENSE"})),
                ::testing::UnorderedElementsAre("rose/train " + train + "/rose/1.bmp",
                                                "tulip/train " + train + "/tulip/2.bmp",
                                                "rose/" + split + " " + held + "/rose/3.bmp"));
  }
  EXPECT_THAT(Told(ReadFiles({"rose/train/1.bmp", "rose/val/2.bmp", "tulip/train/3.bmp"})),
              ElementsAre("rose/train rose/train/1.bmp", "rose/validation rose/val/2.bmp",
                          "tulip/train tulip/train/3.bmp"));
}

TEST(FolderLayoutTest, WhatCanBeReadInTwoWaysIsRefusedUntilItIsSaid) {
  for (const std::vector<std::string>& paths : std::vector<std::vector<std::string>>{
           {"train/1.bmp", "eval/2.bmp"},                             // no classes below
           {"train/steam/1.bmp", "test/pit/2.bmp"},                   // none in common
           {"train/rose/1.bmp", "val/rose/2.bmp", "bus/3.bmp"},       // a class beside splits
           {"train/rose/1.bmp", "train/0.bmp", "val/rose/2.bmp"}}) {  // photos beside classes
    const absl::Status status = ReadFiles(paths).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("can be read in two ways"));
    EXPECT_THAT(std::string(status.message()), HasSubstr("--layout splits"));
    EXPECT_TRUE(ReadFiles(paths, {.layout = Layout::kClasses}).ok());
  }
  EXPECT_THAT(Told(ReadFiles({"train/steam/1.bmp", "test/pit/2.bmp", "x/y/3.bmp"},
                             {.layout = Layout::kSplits})),
              ElementsAre("pit/test test/pit/2.bmp", "steam/train train/steam/1.bmp"));
  // One class that is called like a split, among others.
  EXPECT_THAT(ReadFiles({"bus/1.bmp", "car/2.bmp", "train/3.bmp"})->dataset.classes,
              ElementsAre("bus", "car", "train"));
}

TEST(FolderLayoutTest, WhatIsNoPhotoDecidesNothingAndIsListed) {
  const auto scan =
      ReadFiles({"flowers/rose/1.bmp", "flowers/tulip/2.bmp", "flowers/tulip/Thumbs.db",
                 "flowers/rose/desktop.ini", "flowers/rose/.ipynb_checkpoints/3.bmp",
                 "__MACOSX/flowers/rose/._1.bmp", "README.md", "LICENSE", "docs/how.txt",
                 "flowers/nothing/"});
  EXPECT_THAT(Told(scan),
              ElementsAre("rose/train flowers/rose/1.bmp", "tulip/train flowers/tulip/2.bmp"));
  EXPECT_THAT(scan->dataset.classes, ElementsAre("nothing", "rose", "tulip"));
  EXPECT_EQ(scan->problem_count, 0);
  ASSERT_EQ(scan->warnings.size(), 1u);
  for (const char* name : {"Thumbs.db", "desktop.ini", ".ipynb_checkpoints", "__MACOSX",
                           "README.md", "LICENSE", "how.txt"}) {
    EXPECT_THAT(scan->warnings[0], HasSubstr(name));
  }
}

TEST(FolderLayoutTest, OneNameInTwoSpellingsIsOneClass) {
  const auto scan = ReadFiles(
      {"train/caf\xc3\xa9/1.bmp", "val/cafe\xcc\x81/2.bmp", "train/tea/3.bmp", "val/tea/4.bmp"});
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_THAT(scan->dataset.classes, ElementsAre("caf\xc3\xa9", "tea"));
}

struct CsvCase {
  const char* what;
  std::string text;
};

TEST(CsvIndexTest, IsReadHoweverItIsWritten) {
  std::string utf16 = "\xff\xfe";
  for (const char c : std::string("image,label\nimages/a.bmp,rose\nimages/b.bmp,tulip\n")) {
    utf16 += std::string{c, '\0'};
  }
  for (const CsvCase& csv : std::vector<CsvCase>{
           {"semicolons", "path;label\nimages/a.bmp;rose\nimages/b.bmp;tulip\n"},
           {"tabs", "path\tlabel\nimages/a.bmp\trose\nimages/b.bmp\ttulip\n"},
           {"bars, no header", "images/a.bmp|rose\nimages/b.bmp|tulip\n"},
           {"UTF-16", utf16},
           {"a mark", "\xef\xbb\xbfimages/a.bmp,rose\nimages/b.bmp,tulip\n"},
           {"row numbers", ",filename,label\n0,images/a.bmp,rose\n1,images/b.bmp,tulip\n"},
           {"row numbers, no header", "0,images/a.bmp,rose\n1,images/b.bmp,tulip\n"},
           {"label first", "Class Name,Image Path\nrose,images/a.bmp\ntulip,images/b.bmp\n"},
           {"backslashes", "path,label\nimages\\a.bmp,rose\n.\\images\\b.bmp,tulip\n"},
           {"ids", "id,breed\na,rose\nb,tulip\n"},
           {"absolute",
            "path,label\n/home/me/data/images/a.bmp,rose\nC:\\x\\images\\b.bmp,tulip\n"},
           {"names alone", "file_name,category\na.bmp,rose\nb.bmp,tulip\n"},
           {"unknown columns", "what,kind\nimages/a.bmp,rose\nimages/b.bmp,tulip\n"},
           {"one-hot", "filename,rose,tulip\na.bmp,1,0\nb.bmp,0,1\n"},
           {"one-hot of fractions", "image_id,rose,tulip\na,1.0,0.0\nb,0.0,1.0\n"}}) {
    const Scratch scratch;
    scratch.Write("images/a.bmp", Photo(1));
    scratch.Write("images/b.bmp", Photo(2));
    scratch.Write("index.csv", csv.text);
    EXPECT_THAT(Told(ReadDataset(scratch.path())),
                ElementsAre("rose/train images/a.bmp", "tulip/train images/b.bmp"))
        << csv.what;
  }
}

TEST(CsvIndexTest, KagglesFilesAreRead) {
  const Scratch scratch;
  scratch.Write("train_images/1.bmp", Photo(1));
  scratch.Write("train_images/2.bmp", Photo(2));
  scratch.Write("test_images/1.bmp", Photo(3));
  scratch.Write("train.csv", "image_id,label\n1.bmp,rose\n2.bmp,tulip\n");
  scratch.Write("sample_submission.csv", "image_id,label\n1.bmp,rose\n");
  const auto scan = ReadDataset(scratch.path());
  EXPECT_THAT(Told(scan),
              ElementsAre("rose/train train_images/1.bmp", "tulip/train train_images/2.bmp"));
  EXPECT_EQ(scan->problem_count, 1);  // the photo without a label
}

TEST(CsvIndexTest, WhatIsWrongWithAnIndexIsSaid) {
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
           {"path,label\nrose/gone.bmp,rose\n", "none of its rows names a photo that is there"},
           {"gone.bmp,rose\n", "none of its rows names a photo"},
           {"path,width,height\nrose/a.bmp,4,5\n", "columns are path, width, height"},
           {"path,label\n", "a header and no rows"}}) {
    const Scratch scratch;
    scratch.Write("rose/a.bmp", Photo(1));
    scratch.Write("tulip/b.bmp", Photo(2));
    scratch.Write("index.csv", text);
    const absl::Status status = ReadDataset(scratch.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    EXPECT_THAT(std::string(status.message()), HasSubstr("index.csv"));
    const auto folders = ReadDataset(scratch.path(), {.layout = Layout::kClasses});
    ASSERT_TRUE(folders.ok()) << folders.status();
    EXPECT_THAT(folders->warnings, ::testing::Contains(HasSubstr("index.csv was left aside")));
  }
  const Scratch scratch;
  for (const char* path : {"x/a.bmp", "y/a.bmp", "b.bmp"}) scratch.Write(path, Photo(path[0]));
  scratch.Write("index.csv", "path,one,two\nb.bmp,0,1\na.bmp,1,0\nx/a.bmp,1,1\n");
  const auto scan = ReadDataset(scratch.path());
  EXPECT_THAT(Told(scan), ElementsAre("two/train b.bmp"));
  ASSERT_GE(scan->problems.size(), 2u);
  EXPECT_THAT(scan->problems[0].reason, HasSubstr("may be 'x/a.bmp' or 'y/a.bmp'"));
  EXPECT_THAT(scan->problems[1].reason, HasSubstr("is of 2 classes"));
}

TEST(DatasetReaderTest, DirectoryThatHoldsAnArchiveAlone) {
  const Scratch scratch;
  scratch.Write("upload", ReadFile(Fixture("photos.zip")));
  ExpectAsMade(ReadDataset(scratch.path()), "photos.zip");
}

TEST(DatasetReaderTest, CsvThatNamesNoPhotoIsNoIndex) {
  const Scratch scratch;
  scratch.Write("rose/a.bmp", Photo(1));
  scratch.Write("prices.csv", "rose,3\n");
  scratch.Write("broken.csv", "rose,\"3\n");
  EXPECT_EQ(ReadDataset(scratch.path())->format, "folder");
}

TEST(DatasetReaderTest, CsvRecordsFollowRfc4180) {
  CsvRecords records("a,\"b \"\"c\"\",\n d\",\r\n,\nlast");
  std::vector<std::string> fields;
  ASSERT_TRUE(*records.Next(fields));
  EXPECT_THAT(fields, ElementsAre("a", "b \"c\",\n d", ""));
  ASSERT_TRUE(*records.Next(fields));
  EXPECT_THAT(fields, ElementsAre("", ""));
  EXPECT_EQ(records.line(), 3);
  ASSERT_TRUE(*records.Next(fields));
  EXPECT_THAT(fields, ElementsAre("last"));
  EXPECT_FALSE(*records.Next(fields));
  CsvRecords open("a\nb,\"c\n");
  ASSERT_TRUE(*open.Next(fields));
  EXPECT_THAT(std::string(open.Next(fields).status().message()), HasSubstr("line 2"));
}

TEST(DatasetReaderTest, CsvRowsThatNoIndexHasAreRefusedWithTheirLine) {
  const Scratch scratch;
  scratch.Write("a.bmp", Photo(1));
  const std::string good = "a.bmp,rose\n", long_field(CsvRecords::kMaxBytes, 'x');
  const std::pair<std::string, const char*> cases[] = {
      {std::string(CsvRecords::kMaxFields, ',') + "\n", "fields"},
      {long_field + "x\n", "bytes"},
      {"a,\"" + long_field + "\",b\n", "bytes"},
      {"\"\",\"x\"\"" + long_field + "\"\n", "bytes"},
      {std::string(2 * CsvRecords::kMaxBytes + 4, '"') + "\n", "bytes"}};
  for (const auto& [row, what] : cases) {
    scratch.Write("index.csv", good + row);
    const absl::Status status = ReadDataset(scratch / "index.csv").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("index.csv: line 2: a row of more than"));
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }
  scratch.Write("index.csv",
                good + std::string(CsvRecords::kMaxFields - 1, ',') + "\n" + long_field + "\n");
  EXPECT_TRUE(ReadDataset(scratch / "index.csv").ok());
}

TEST(DatasetReaderTest, TfRecordShards) {
  const Scratch scratch;
  Copy("flowers_", scratch);
  scratch.Write("labels.txt", ReadFile(Fixture("labels.txt")));
  ExpectAsMade(ReadDataset(scratch.path()), "tfrecord");
  const auto one = ReadDataset(Fixture("flowers_validation_00000-of-00001.tfrecord"));
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_THAT(one->dataset.classes, ElementsAre("0", "1"));
  EXPECT_EQ(one->dataset.items[1].split, Split::kValidation);
}

TEST(DatasetReaderTest, DamagedTfRecords) {
  const std::string sound = ReadFile(Fixture("flowers_train_00000-of-00002.tfrecord"));
  const auto read = [](const std::string& bytes) { return ReadBytes(bytes); };
  ASSERT_TRUE(read(sound).ok());
  EXPECT_EQ(read(sound.substr(0, sound.size() - 1)).status().code(), absl::StatusCode::kDataLoss);

  std::string wrong = sound;  // a byte of the first photo
  wrong[100] = static_cast<char>(wrong[100] ^ 1);
  const auto scan = read(wrong);
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_EQ(scan->dataset.items.size(), 1u);
  EXPECT_THAT(scan->problems.at(0).reason, HasSubstr("checksum is wrong"));

  wrong = sound;  // a byte of the second record's length
  wrong[sound.size() / 2 + 2] = 1;
  EXPECT_THAT(std::string(read(wrong).status().message()), HasSubstr("#1: the checksum of its"));
}

TEST(DatasetReaderTest, TfExampleThatLacksSomething) {
  EXPECT_FALSE(ParseTfExample("\x0a\xff").ok());
  EXPECT_FALSE(ParseTfExample("").value().encoded);
  // features { feature { key: "image/class/label" value { int64_list { value: 7 } } } }, unpacked.
  const std::string label = std::string("\x1a\x02\x08\x07", 4);
  const std::string entry = "\x0a\x11image/class/label\x12\x04" + label;
  const auto frame = [](char tag, const std::string& bytes) {
    return std::string({tag, static_cast<char>(bytes.size())}) + bytes;
  };
  EXPECT_EQ(ParseTfExample(frame(0x0a, frame(0x0a, entry))).value().label, 7);
}

TEST(DatasetReaderTest, IdxWithAndWithoutGzip) {
  const Scratch zipped;
  for (const char* name : {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
                           "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"}) {
    zipped.Write(name, ReadFile(Fixture(name)));
  }
  ExpectAsMade(ReadDataset(zipped.path()), "idx");

  const Scratch plain;
  plain.Write("images-idx3-ubyte", Gunzip(Fixture("train-images-idx3-ubyte.gz")));
  plain.Write("labels-idx1-ubyte.gz", ReadFile(Fixture("train-labels-idx1-ubyte.gz")));
  const auto scan = ReadDataset(plain / "images-idx3-ubyte", {.classes = {"shirt", "shoe", "bag"}});
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_EQ(scan->dataset.items.size(), 5u);
  EXPECT_EQ(scan->dataset.items[0].image.shape(), (Shape{4, 5, 1}));
  EXPECT_THAT(scan->problems.at(0).reason, HasSubstr("label 3, expected 0 to 2"));
  fs::remove(plain / "labels-idx1-ubyte.gz");
  EXPECT_EQ(ReadDataset(plain / "images-idx3-ubyte").status().code(), absl::StatusCode::kNotFound);
}

TEST(DatasetReaderTest, IdxHeadersPromiseNothing) {
  const Scratch scratch;
  scratch.Write("labels", IdxHeader({1000000}));
  scratch.Write("images", IdxHeader({1000000, 60000, 60000}) + "few");
  EXPECT_EQ(ReadIdx(scratch / "images", scratch / "labels", Split::kTrain).status().code(),
            absl::StatusCode::kDataLoss);
  WriteGzip(scratch / "images", IdxHeader({1000000, 60000, 60000}) + std::string(1000, 'x'));
  EXPECT_EQ(ReadIdx(scratch / "images", scratch / "labels", Split::kTrain).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(DatasetReaderTest, Cifar10FileByItself) {
  std::string batch = std::string(1, '\x03') + std::string(3072, '\x40');
  const auto scan = ReadBytes(batch + batch, {}, "test_batch.bin");
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_EQ(scan->format, "cifar10");
  EXPECT_EQ(scan->dataset.items.size(), 2u);
  EXPECT_EQ(scan->dataset.items[0].split, Split::kTest);
  EXPECT_EQ(scan->dataset.classes.size(), 4u);
}

TEST(DatasetReaderTest, Cifar10HasTenClasses) {
  const Scratch scratch;
  const std::string planes(3072, '\x40');
  scratch.Write("data_batch_1.bin", '\x09' + planes + '\xc8' + planes + '\x0a' + planes);
  const auto scan = ReadDataset(scratch.path());
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_EQ(scan->dataset.items.size(), 1u);
  EXPECT_EQ(scan->dataset.classes.size(), 10u);
  ASSERT_EQ(scan->problem_count, 2);
  EXPECT_EQ(scan->problems[0].item, "data_batch_1.bin#1");
  EXPECT_THAT(scan->problems[0].reason, HasSubstr("label 200, expected 0 to 9"));
}

TEST(DatasetReaderTest, WhatIsNoDatasetSaysSo) {
  EXPECT_EQ(ReadDataset("/nowhere/at/all").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(ReadBytes("").status().message()), HasSubstr("is empty"));
  const absl::Status unknown = ReadBytes(std::string(1000, '\xab')).status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("no dataset of a known kind"));
  const Scratch empty;
  EXPECT_EQ(ReadDataset(empty.path()).status().code(), absl::StatusCode::kInvalidArgument);
  empty.Write("rose/notes.txt", "words");
  EXPECT_THAT(std::string(ReadDataset(empty.path()).status().message()),
              HasSubstr("holds no photos; the folder 'rose' was left aside"));
  const std::string tar = ReadFile(Fixture("photos.tar.gz"));
  EXPECT_EQ(ReadBytes(tar.substr(0, tar.size() / 2)).status().code(), absl::StatusCode::kDataLoss);
}

TEST(DatasetReaderTest, ProblemsAreCountedAndTheFirstListed) {
  const Scratch scratch;
  scratch.Write("rose/a.bmp", Photo(1));
  for (int i = 0; i < 20; ++i) scratch.Write(fmt::format("rose/{}.jpg", i), "words");
  DatasetOptions options;
  options.limits.max_problems = 7;
  const auto scan = ReadDataset(scratch.path(), options);
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_EQ(scan->problem_count, 20);
  EXPECT_EQ(scan->problems.size(), 7u);
}

TEST(DatasetReaderTest, NamesAreMadePrintable) {
  const Scratch scratch;
  scratch.Write("r\xf6se/a\x01.bmp", Photo(1));
  const auto scan = ReadDataset(scratch.path());
  ASSERT_TRUE(scan.ok()) << scan.status();
  EXPECT_EQ(scan->dataset.classes[0], "r\\xf6se");
  EXPECT_EQ(scan->dataset.items[0].name, "r\\xf6se/a\\x01.bmp");
}

// A hundred random changes of each fixture end in a dataset or an error, soon.
TEST(DatasetReaderTest, MutationsEndInAClearResult) {
  DatasetOptions options;
  options.limits.max_total_bytes = 64 << 20;
  options.limits.max_heap_bytes = 16 << 20;
  std::map<std::string, std::string> fixtures;
  for (const auto& entry : fs::directory_iterator(Fixture(""))) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".json") && name != "bomb.tar.gz") {
      fixtures[name] = ReadFile(entry.path().string());
    }
  }
  fixtures["train-images-idx3-ubyte"] = Gunzip(Fixture("train-images-idx3-ubyte.gz"));
  fixtures["index.csv"] = "photo.bmp,rose,train\n\"photo.bmp\",\"ro\"\"se\"\n";
  fixtures["data_batch_1.bin"] = std::string(2 * 3073, '\x05');
  ASSERT_GE(fixtures.size(), 18u);
  const Scratch scratch;
  scratch.Write("photo.bmp", Photo(1));
  scratch.Write("train-labels-idx1-ubyte", Gunzip(Fixture("train-labels-idx1-ubyte.gz")));
  for (const auto& [name, bytes] : fixtures) {
    SCOPED_TRACE(name);
    train::Random random({9, bytes.size()});
    for (int i = 0; i < 100; ++i) {
      std::string changed = bytes;
      for (int k = random.Below(8); k >= 0; --k) {
        const auto at = static_cast<std::size_t>(random.Below(static_cast<int>(bytes.size())));
        changed[std::min(at, changed.size() - 1)] = static_cast<char>(random.Next());
        if (k == 0 && random.Below(4) == 0) changed.resize(at + 1);
      }
      fs::remove(scratch / name);  // to write over it would wait for the disk
      scratch.Write(name, changed);
      const auto scan = ReadDataset(scratch / name, options);
      if (scan.ok()) {
        EXPECT_FALSE(scan->dataset.items.empty());
        for (const Item& item : scan->dataset.items) {
          ASSERT_LT(static_cast<std::size_t>(item.label), scan->dataset.classes.size());
        }
      } else {
        EXPECT_FALSE(scan.status().message().empty());
        EXPECT_NE(scan.status().code(), absl::StatusCode::kInternal);
      }
    }
    fs::remove(scratch / name);
  }
}

}  // namespace
}  // namespace zood::dataset
