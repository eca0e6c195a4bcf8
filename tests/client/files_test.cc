// Files on the client's side: the parts of a checkpoint, MNIST's format.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/class_folders.h"
#include "client/cli/idx_file.h"
#include "client/client.h"

namespace zood::client {
namespace {

class FilesTest : public testing::Test {
 protected:
  FilesTest()
      : folder_(testing::TempDir() + "/zoo_files_" +
                testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~FilesTest() override { std::filesystem::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& bytes = "x") const {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  std::vector<std::string> Parts(const std::string& prefix) const {
    std::vector<std::string> names;
    const auto files = FilesOfCheckpoint(folder_ + "/" + prefix);
    EXPECT_TRUE(files.ok()) << files.status();
    if (!files.ok()) return names;
    for (const UploadFile& file : *files) names.push_back(file.name);
    return names;
  }

  const std::string folder_;
};

TEST_F(FilesTest, APrefixStandsForItsParts) {
  Write("m.ckpt.index");
  Write("m.ckpt.data-00000-of-00002");
  Write("m.ckpt.data-00001-of-00002");
  Write("m.ckpt.meta");
  Write("m.ckpt2.index");
  EXPECT_THAT(Parts("m.ckpt"), testing::ElementsAre("m.ckpt.data-00000-of-00002",
                                                    "m.ckpt.data-00001-of-00002", "m.ckpt.index"));
}

TEST_F(FilesTest, ShardsOfTheOldForm) {
  Write("m.ckpt-00000-of-00001");
  Write("m.ckpt-1-of-00001");
  EXPECT_THAT(Parts("m.ckpt"), testing::ElementsAre("m.ckpt-00000-of-00001"));
}

TEST_F(FilesTest, AFileIsItself) {
  Write("m.caffemodel");
  EXPECT_THAT(Parts("m.caffemodel"), testing::ElementsAre("m.caffemodel"));
}

// What people name a checkpoint by.
TEST_F(FilesTest, EachPartNamesTheCheckpoint) {
  Write("m.ckpt-1.index");
  Write("m.ckpt-1.data-00000-of-00001");
  Write("m.ckpt-1.meta");
  Write("checkpoint", "model_checkpoint_path: \"/home/me/m.ckpt-1\"\n");
  const auto found = [&](const std::string& name) {
    const auto checkpoint = FindCheckpoint(folder_ + "/" + name);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    return checkpoint.ok() ? checkpoint->path : "";
  };
  for (const std::string name : {"m.ckpt-1", "m.ckpt-1.index", "m.ckpt-1.data-00000-of-00001",
                                 "m.ckpt-1.meta", "m.ckpt-1*", "m.ckpt-1.*", "", "checkpoint"}) {
    EXPECT_EQ(found(name), folder_ + "/m.ckpt-1") << name;
  }
  Write("m.ckpt-10.index");
  EXPECT_EQ(FindCheckpoint(folder_ + "/m.ckpt-1*").status().code(),
            absl::StatusCode::kInvalidArgument);
  Write("old.ckpt");
  Write("old.ckpt.meta");
  EXPECT_EQ(found("old.ckpt.meta"), folder_ + "/old.ckpt");
  Write("weights.data");
  EXPECT_EQ(found("weights.data"), folder_ + "/weights.data") << "no part of anything";
}

TEST_F(FilesTest, NothingThere) {
  EXPECT_EQ(FilesOfCheckpoint(folder_ + "/none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(FilesOfCheckpoint(folder_).status().code(), absl::StatusCode::kInvalidArgument);
}

std::string Header(std::initializer_list<int> bytes) {
  std::string header;
  for (const int byte : bytes) header += static_cast<char>(byte);
  return header;
}

TEST_F(FilesTest, IdxReadsShapeAndBytes) {
  const std::string path =
      Write("i", Header({0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2}) + "abcd");
  const auto file = cli::ReadIdxFile(path, 3);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->shape, testing::ElementsAre(2, 1, 2));
  EXPECT_THAT(file->data, testing::ElementsAre('a', 'b', 'c', 'd'));
}

TEST_F(FilesTest, IdxOfAnotherKindOrCutShort) {
  const auto code = [&](const std::string& bytes) {
    return cli::ReadIdxFile(Write("i", bytes), 1).status().code();
  };
  EXPECT_EQ(code("not an idx file"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Header({0, 0, 8, 3, 0, 0, 0, 1})), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Header({0, 0, 8, 1, 0, 0, 0, 0})), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Header({0, 0, 8, 1, 0xff, 0xff, 0xff, 0xff})), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(Header({0, 0, 8, 1, 0, 0, 0, 9}) + "abc"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code(Header({0, 0})), absl::StatusCode::kDataLoss);
  EXPECT_EQ(cli::ReadIdxFile(folder_ + "/none", 1).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(FilesTest, ADatasetIsAllThatIsInItsFolder) {
  std::filesystem::create_directories(folder_ + "/b/deep");
  std::filesystem::create_directories(folder_ + "/.git");
  Write("b/deep/2.jpg");
  Write("b/1.jpg", "");
  Write("index.csv");
  Write("b/.hidden");
  Write(".git/config");
  std::filesystem::create_directory_symlink(folder_, folder_ + "/b/round");
  std::filesystem::create_symlink(folder_ + "/index.csv", folder_ + "/b/3.jpg");
  const auto files = FilesOfDataset(folder_);
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<std::string> names;
  for (const UploadFile& file : files->files) names.push_back(file.name);
  EXPECT_THAT(names, testing::ElementsAre("b/1.jpg", "b/3.jpg", "b/deep/2.jpg", "index.csv"));
  EXPECT_THAT(files->left_out,
              testing::UnorderedElementsAre(
                  "'" + folder_ + "/.git' is hidden", "'" + folder_ + "/b/.hidden' is hidden",
                  "'" + folder_ + "/b/round' is a link to a folder that it lies in"));
}

TEST_F(FilesTest, NamesThatAreNoUtf8AreEscapedAndEveryFileIsThere) {
  std::filesystem::create_directories(folder_ + "/b\xfcrsten");
  for (int i = 0; i < 5; ++i) Write("b\xfcrsten/" + std::to_string(i) + ".jpg");
  Write("b\xfcrsten/caf\xe9.jpg");
  Write("b\xfcrsten/\xe2\x82.jpg");     // a character of UTF-8 that is cut
  Write("b\xfcrsten/a\nb.jpg");         // a control character
  Write("b\xfcrsten/gr\xc3\xbcn.jpg");  // sound
  const auto files = FilesOfDataset(folder_);
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<std::string> names;
  for (const UploadFile& file : files->files) {
    names.push_back(file.name);
    EXPECT_TRUE(std::filesystem::exists(file.path)) << file.name;
  }
  EXPECT_THAT(
      names, testing::UnorderedElementsAre(
                 "b\\xfcrsten/0.jpg", "b\\xfcrsten/1.jpg", "b\\xfcrsten/2.jpg", "b\\xfcrsten/3.jpg",
                 "b\\xfcrsten/4.jpg", "b\\xfcrsten/caf\\xe9.jpg", "b\\xfcrsten/\\xe2\\x82.jpg",
                 "b\\xfcrsten/a\\x0ab.jpg", "b\\xfcrsten/gr\xc3\xbcn.jpg"));
}

TEST_F(FilesTest, LinksAreFollowedAndEmptyFoldersAreThere) {
  const std::string elsewhere = folder_ + "_elsewhere";
  std::filesystem::create_directories(elsewhere + "/tulips");
  std::ofstream(elsewhere + "/tulips/1.jpg") << "x";
  std::filesystem::create_directories(folder_ + "/roses");
  Write("roses/1.jpg");
  std::filesystem::create_directories(folder_ + "/nothing");
  std::filesystem::create_directory_symlink(elsewhere + "/tulips", folder_ + "/tulips");
  std::filesystem::create_symlink(elsewhere + "/tulips/1.jpg", folder_ + "/roses/2.jpg");
  std::filesystem::create_symlink(elsewhere + "/gone", folder_ + "/roses/3.jpg");
  // Round by way of two folders.
  std::filesystem::create_directory_symlink(elsewhere, folder_ + "/roses/out");
  std::filesystem::create_directory_symlink(folder_ + "/roses", elsewhere + "/back");
  const auto files = FilesOfDataset(folder_);
  std::filesystem::remove_all(elsewhere);
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<std::string> names;
  for (const UploadFile& file : files->files) names.push_back(file.name);
  EXPECT_THAT(names, testing::ElementsAre("nothing/", "roses/1.jpg", "roses/2.jpg",
                                          "roses/out/tulips/1.jpg", "tulips/1.jpg"));
  ASSERT_EQ(files->left_out.size(), 2);
  EXPECT_THAT(files->left_out,
              testing::UnorderedElementsAre(
                  testing::HasSubstr("roses/3.jpg' is a link that leads nowhere"),
                  testing::HasSubstr("roses/out/back' is a link to a folder that it lies in")));
}

TEST_F(FilesTest, ADatasetMayBeAFile) {
  const auto files = FilesOfDataset(Write("flowers.tar"));
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->files.at(0).name, "flowers.tar");
  EXPECT_EQ(FilesOfDataset(folder_ + "/gone").status().code(), absl::StatusCode::kNotFound);
  std::filesystem::create_directories(folder_ + "/empty");
  EXPECT_EQ(FilesOfDataset(folder_ + "/empty").status().code(), absl::StatusCode::kInvalidArgument);
}

class ClassFoldersTest : public FilesTest {
 protected:
  ClassFoldersTest() {
    version_.set_model("pets");
    version_.set_version(2);
    version_.set_num_classes(4);
    for (const char* label : {"tabby, tabby cat", "0", "beagle", "tiger"})
      version_.add_labels(label);
  }

  void WriteIn(const std::string& folder, const std::string& name) const {
    std::filesystem::create_directories(folder_ + "/" + folder);
    Write(folder + "/" + name);
  }

  std::string Error() const {
    return std::string(cli::ListClassFolders(folder_, version_).status().message());
  }

  v1::Version version_;
};

TEST_F(ClassFoldersTest, AreLabelsOrElseNumbers) {
  WriteIn("beagle", "b.jpg");
  WriteIn("beagle/from behind", "a.jpg");  // folders of folders are the outer one's class
  WriteIn("0", "c.jpg");                   // a label before it is a number
  WriteIn("3", "d.jpg");
  WriteIn(".thumbnails", "e.jpg");
  std::filesystem::create_directories(folder_ + "/empty");
  Write("notes.txt");
  const auto images = cli::ListClassFolders(folder_, version_);
  ASSERT_TRUE(images.ok()) << images.status();
  std::vector<std::pair<std::string, int>> found;
  for (const auto& image : *images) {
    found.emplace_back(image.path.substr(folder_.size() + 1), image.label);
  }
  EXPECT_THAT(found, testing::ElementsAre(std::pair("0/c.jpg", 1), std::pair("3/d.jpg", 3),
                                          std::pair("beagle/b.jpg", 2),
                                          std::pair("beagle/from behind/a.jpg", 2)));
}

TEST_F(ClassFoldersTest, AnythingElseIsAnErrorWithTheNearestLabels) {
  WriteIn("beagle", "a.jpg");
  WriteIn("Tabby", "b.jpg");
  EXPECT_EQ(Error(), "'" + folder_ +
                         "/Tabby' is no class of pets version 2: expected a label or a "
                         "number from 0 to 3 as the folder's name; the nearest labels are "
                         "'tabby, tabby cat', 'tiger', '0'");
  version_.clear_labels();
  EXPECT_THAT(Error(), testing::HasSubstr("/Tabby' is no class of pets"));
  EXPECT_THAT(Error(), testing::HasSubstr("has no labels"));
}

// Public data sets have WordNet's ids as the names of their folders.
TEST_F(ClassFoldersTest, SecondNamesAndTwoSpellingsAreClasses) {
  for (const char* id : {"n02123045", "", "n02088364", "n02129604"}) version_.add_class_ids(id);
  version_.set_labels(3, "caf\xc3\xa9");
  WriteIn("n02088364", "a.jpg");
  WriteIn("cafe\xcc\x81", "b.jpg");
  const auto images = cli::ListClassFolders(folder_, version_);
  ASSERT_TRUE(images.ok()) << images.status();
  ASSERT_EQ(images->size(), 2u);
  EXPECT_EQ((*images)[0].label, 3);
  EXPECT_EQ((*images)[1].label, 2);
  EXPECT_EQ((*images)[1].name, "n02088364");
  WriteIn("n02129605", "c.jpg");
  EXPECT_THAT(Error(), testing::HasSubstr("/n02129605' is no class of pets"));
}

TEST_F(ClassFoldersTest, NumbersAreClasses) {
  for (const char* none : {"4", "-1", "1.5", "+1", "1x", "99999999999999999999"}) {
    WriteIn(none, "a.jpg");
    EXPECT_THAT(Error(), testing::HasSubstr(none));
    std::filesystem::remove_all(folder_ + "/" + none);
  }
  // Labels of TF-slim begin with a background class, which some models lack: 1 is their class 0.
  WriteIn("4", "a.jpg");
  const auto images = cli::ListClassFolders(folder_, version_, 1);
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(images->front().label, 4);
}

TEST_F(ClassFoldersTest, OneImageAtLeast) {
  Write("a.jpg");
  EXPECT_THAT(Error(), testing::HasSubstr("one subdirectory for each class"));
  EXPECT_EQ(cli::ListClassFolders(folder_ + "/gone", version_).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace zood::client
