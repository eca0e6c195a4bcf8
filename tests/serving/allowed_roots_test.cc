#include "serving/import/allowed_roots.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "serving/import/confined_files.h"
#include "tests/serving/serving_fixture.h"

namespace zood::serving {
namespace {

namespace fs = std::filesystem;

class AllowedRootsTest : public ::testing::Test {
 protected:
  AllowedRootsTest() {
    fs::create_directories(Path("open/deep"));
    fs::create_directories(Path("open-not"));
    fs::create_directories(Path("closed"));
    for (const char* file : {"open/weights", "open/deep/v2.index", "closed/secret", "open-not/x"}) {
      std::ofstream(Path(file)) << "bytes";
    }
    fs::create_symlink(Path("closed/secret"), Path("open/link"));
    fs::create_symlink(Path("closed"), Path("open/directory"));
    fs::create_symlink(Path("open/weights"), Path("open/inner"));
    fs::create_symlink(Path("closed/secret"), Path("open/bundle.index"));
    roots_ = *AllowedRoots::Create({Path("open")});
  }

  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }
  absl::StatusCode CodeOf(const std::string& path) { return roots_.Resolve(path).status().code(); }

  TemporaryDirectory directory_;
  AllowedRoots roots_;
};

TEST_F(AllowedRootsTest, ResolvesWhatIsInside) {
  EXPECT_EQ(*roots_.Resolve(Path("open/weights")), fs::canonical(Path("open/weights")));
  EXPECT_EQ(*roots_.Resolve("weights"), fs::canonical(Path("open/weights")));
  EXPECT_EQ(*roots_.Resolve("deep/../weights"), fs::canonical(Path("open/weights")));
  EXPECT_EQ(*roots_.Resolve("inner"), fs::canonical(Path("open/weights")));
  EXPECT_TRUE(roots_.Resolve("deep/v2").ok()) << "a TensorFlow prefix";
  EXPECT_TRUE(roots_.Resolve("deep").ok());
}

TEST_F(AllowedRootsTest, RefusesWhatLeadsOutside) {
  for (const std::string& path :
       {std::string("../closed/secret"), std::string("deep/../../closed/secret"),
        std::string("link"), std::string("directory/secret"), Path("closed/secret"),
        Path("open-not/x"), std::string("/etc/passwd"), std::string("/no/such/file"),
        Path("open/deep/../../closed/secret")}) {
    EXPECT_EQ(CodeOf(path), absl::StatusCode::kPermissionDenied) << path;
    EXPECT_NE(roots_.Resolve(path).status().message().find(path), std::string::npos);
  }
}

TEST_F(AllowedRootsTest, ALinkUnderTheSecondOfTwoRootsIsJudgedToo) {
  fs::create_directories(Path("second"));
  fs::create_symlink(Path("closed/secret"), Path("second/other"));
  const AllowedRoots two = *AllowedRoots::Create({Path("open"), Path("second")});
  EXPECT_EQ(two.Resolve("other").status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(two.Resolve("nothing").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(AllowedRootsTest, TellsWhatIsMissingInsideOnly) {
  EXPECT_EQ(CodeOf("missing"), absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(""), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(std::string("weights\0.png", 12)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(AllowedRoots().Resolve("weights").status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(AllowedRoots::Create({Path("nowhere")}).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(AllowedRootsTest, FilesThatAWeightFileLeadsToAreJudgedToo) {
  ConfinedFiles files(FileSystem::NativeWithoutLinks(), roots_);
  EXPECT_TRUE(files.Open(Path("open/weights")).ok());
  EXPECT_EQ(files.Open(Path("open/bundle.index")).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(files.Size(Path("open/link")).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(files.Remove(Path("open/weights")).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_FALSE(*files.Exists(Path("open/missing")));
}

// Between the judgment of a path and its opening, a directory becomes a link that leads outside.
TEST_F(AllowedRootsTest, ALinkThatComesAfterTheJudgmentIsNotFollowed) {
  fs::create_directories(Path("open/turn"));
  fs::create_directories(Path("away"));
  std::ofstream(Path("open/turn/secret")) << "inside";
  ConfinedFiles files(FileSystem::NativeWithoutLinks(), roots_);
  std::atomic<bool> done = false;
  std::thread turner([&] {
    while (!done) {
      fs::rename(Path("open/turn"), Path("away/turn"));
      fs::create_symlink(Path("closed"), Path("open/turn"));
      fs::remove(Path("open/turn"));
      fs::rename(Path("away/turn"), Path("open/turn"));
    }
  });
  int opened = 0;
  for (int i = 0; i < 20'000; ++i) {
    const auto contents = files.Open(Path("open/turn/secret"));
    if (!contents.ok()) continue;
    ++opened;
    EXPECT_EQ((*contents)->bytes().size(), 6u) << "the file outside has 5 bytes";
    if (HasFailure()) break;
  }
  done = true;
  turner.join();
  EXPECT_GT(opened, 0);
}

}  // namespace
}  // namespace zood::serving
