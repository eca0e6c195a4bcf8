// A mapped file that loses bytes costs an error, not the process; any other SIGBUS still ends it.
#include "base/mapping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "base/file.h"
#include "tests/support/status_testing.h"

namespace zood {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kSize = 1 << 20;

class MappingTest : public ::testing::Test {
 protected:
  MappingTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = ::testing::TempDir() + "zood_mapping_" + test->name() + std::to_string(::getpid());
    std::ofstream(path_) << std::string(kSize, 'x');
  }
  ~MappingTest() override { std::filesystem::remove(path_); }

  std::shared_ptr<const FileContents> Open() {
    return zood::ValueOf(FileSystem::Native().Open(path_));
  }
  static std::ptrdiff_t Count(const FileContents& contents, char byte) {
    return std::ranges::count(contents.bytes(), static_cast<std::byte>(byte));
  }

  std::string path_;
};

TEST_F(MappingTest, ReadsWhatIsThere) {
  const MappingWatch watch;
  EXPECT_EQ(Count(*Open(), 'x'), static_cast<std::ptrdiff_t>(kSize));
  EXPECT_TRUE(watch.Check().ok());
}

TEST_F(MappingTest, LostBytesAreZerosAndAreTold) {
  const MappingWatch watch;
  const auto contents = Open();
  std::filesystem::resize_file(path_, kSize / 4);
  EXPECT_TRUE(watch.Check().ok());  // nothing has read it yet
  EXPECT_EQ(Count(*contents, 'x'), static_cast<std::ptrdiff_t>(kSize / 4));
  EXPECT_EQ(Count(*contents, '\0'), static_cast<std::ptrdiff_t>(kSize - kSize / 4));
  const absl::Status lost = watch.Check();
  EXPECT_TRUE(absl::IsDataLoss(lost)) << lost;
  EXPECT_THAT(std::string(lost.message()), HasSubstr(path_ + " became shorter"));
  EXPECT_TRUE(MappingWatch().Check().ok());  // it is over: a watch that begins now is not concerned
}

TEST_F(MappingTest, ALossIsToldEvenWhenTheMappingIsGone) {
  const MappingWatch watch;
  auto contents = Open();
  std::filesystem::resize_file(path_, 0);
  EXPECT_EQ(Count(*contents, 'x'), 0);
  contents.reset();
  EXPECT_TRUE(absl::IsDataLoss(watch.Check()));
}

TEST_F(MappingTest, OtherMappingsStayWhole) {
  const auto kept = Open();
  const std::string other = path_ + "-other";
  std::filesystem::copy_file(path_, other);
  const auto lost = FileSystem::Native().Open(other);
  std::filesystem::resize_file(other, 0);
  EXPECT_EQ(Count(**lost, 'x'), 0);
  EXPECT_EQ(Count(*kept, 'x'), static_cast<std::ptrdiff_t>(kSize));
  std::filesystem::remove(other);
}

TEST_F(MappingTest, ManyThreadsMayLoseAndMapAtOnce) {
  std::atomic<bool> done = false;
  std::thread others([&] {
    while (!done) EXPECT_GT(Count(*Open(), '\0') + Count(*Open(), 'x'), 0);
  });
  for (int round = 0; round < 20; ++round) {
    std::filesystem::resize_file(path_, kSize);
    const auto contents = Open();
    std::filesystem::resize_file(path_, 100'000);
    std::vector<std::thread> readers;
    for (int i = 0; i < 4; ++i) {
      readers.emplace_back([&] { EXPECT_LE(Count(*contents, 'x'), 103'000); });
    }
    for (std::thread& reader : readers) reader.join();
  }
  done = true;
  others.join();
}

TEST_F(MappingTest, SmallFilesAreCopies) {
  std::filesystem::resize_file(path_, 1000);
  const auto contents = Open();
  std::filesystem::resize_file(path_, 0);
  EXPECT_EQ(Count(*contents, 'x'), 1000);
}

// A mapping of a truncated file that is none of ours.
void TouchAnothersMapping(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "r");
  const volatile char* bytes =
      static_cast<const char*>(::mmap(nullptr, kSize, PROT_READ, MAP_PRIVATE, ::fileno(file), 0));
  std::filesystem::resize_file(path, 0);
  const char byte = bytes[kSize / 2];
  static_cast<void>(byte);
  std::_Exit(0);
}

// By the signal; under a sanitizer, by the sanitizer's report.
bool Dies(int status) { return !WIFEXITED(status) || WEXITSTATUS(status) != 0; }

TEST_F(MappingTest, AnotherBusErrorStillKills) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto contents = Open();  // the handler is in place
  EXPECT_EXIT(TouchAnothersMapping(path_), Dies, "");
  EXPECT_EXIT(
      {
        Open();
        ::raise(SIGBUS);
        std::_Exit(0);
      },
      Dies, "");
}

void ExitWith7(int) { std::_Exit(7); }

TEST_F(MappingTest, TheHandlerBeforeStillHearsOfOthers) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        std::signal(SIGBUS, ExitWith7);
        Open();
        TouchAnothersMapping(path_);
      },
      ::testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace zood
