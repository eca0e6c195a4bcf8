#include "serving/catalogue.h"

#include <gtest/gtest.h>

#include <future>

#include "tests/serving/serving_fixture.h"
#include "tests/support/native_files.h"

namespace zood::serving {
namespace {

using CatalogueTest = ServingTest;

// The machine's files; the writing of large ones can be held.
class HeldFiles final : public testing::NativeFiles {
 public:
  absl::Status WriteNew(const std::string& path,
                        std::span<const std::span<const std::byte>> pieces) override {
    {
      MutexLock lock(mutex_);
      waits_ = held_;
      changed_.NotifyAll();
      while (held_) changed_.Wait(mutex_);
    }
    return NativeFiles::WriteNew(path, pieces);
  }

  void Hold(bool held) {
    MutexLock lock(mutex_);
    held_ = held;
    changed_.NotifyAll();
  }
  void WaitUntilSomebodyWrites() {
    MutexLock lock(mutex_);
    while (!waits_) changed_.Wait(mutex_);
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool held_ = false;
  bool waits_ = false;
};

TEST_F(CatalogueTest, OtherChangesGoOnWhileAVersionIsWritten) {
  HeldFiles files;
  runtime::RuntimeOptions options = Options();
  options.files = &files;
  ASSERT_NO_FATAL_FAILURE(Open(std::move(options)));
  Catalogue& catalogue = runtime_->catalogue();
  PublishFilled(catalogue, "digits", SmallLeNet());
  files.Hold(true);
  auto published = std::async(std::launch::async, [&] {
    return PublishFilled(catalogue, "others", SmallLeNet(11), {"canary"});
  });
  files.WaitUntilSomebodyWrites();
  auto changed = std::async(std::launch::async, [&] {
    return catalogue.SetAlias("digits", "canary", 1, std::nullopt).ok() &&
           catalogue.DeleteAlias("digits", "canary", 1).ok();
  });
  const auto state = changed.wait_for(std::chrono::seconds(60));
  files.Hold(false);
  EXPECT_EQ(state, std::future_status::ready) << "a change waited for a version to be written";
  EXPECT_TRUE(changed.get());
  EXPECT_EQ(published.get(), 1);
  EXPECT_EQ(catalogue.Resolve({"others", "canary"})->version, 1);
  runtime_.reset();  // before the files
}

TEST_F(CatalogueTest, ResolvesVersionsAndAliases) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Catalogue& catalogue = runtime_->catalogue();
  EXPECT_EQ(catalogue.Resolve({"digits", ""}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(catalogue.Resolve({"", ""}).status().code(), absl::StatusCode::kInvalidArgument);
  PublishFilled(catalogue, "digits", SmallLeNet());
  PublishFilled(catalogue, "digits", SmallLeNet(11), {"canary"});

  EXPECT_EQ(catalogue.Resolve({"digits", ""})->version, 1) << "stable is the first";
  EXPECT_EQ(catalogue.Resolve({"digits", "latest"})->version, 2);
  EXPECT_EQ(catalogue.Resolve({"digits", "canary"})->version, 2);
  EXPECT_EQ(catalogue.Resolve({"digits", "1"})->version, 1);
  EXPECT_EQ(catalogue.Resolve({"digits", "1"})->alias, "");
  const auto missing = catalogue.Resolve({"digits", "3"});
  EXPECT_EQ(missing.status().message(), "model 'digits' has no version 3; it has 1, 2");
  EXPECT_EQ(catalogue.Resolve({"digits", "nightly"}).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(CatalogueTest, FollowsChanges) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Catalogue& catalogue = runtime_->catalogue();
  PublishFilled(catalogue, "digits", SmallLeNet());
  PublishFilled(catalogue, "digits", SmallLeNet(11));
  EXPECT_EQ(*catalogue.SetAlias("digits", "stable", 2, 1), 1);
  EXPECT_EQ(catalogue.Resolve({"digits", ""})->version, 2);
  EXPECT_EQ(catalogue.SetAlias("digits", "stable", 1, 1).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(*catalogue.DeleteAlias("digits", "stable", std::nullopt), 2);
  EXPECT_TRUE(catalogue.DeleteVersion("digits", 2, false).ok());
  EXPECT_EQ(catalogue.Resolve({"digits", "latest"})->version, 1);
  EXPECT_TRUE(catalogue.DeleteModel("digits").ok());
  EXPECT_EQ(catalogue.Find("digits").status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(catalogue.List().empty());
}

TEST_F(CatalogueTest, KnowsWhatTheStoreKept) {
  ASSERT_NO_FATAL_FAILURE(Open());
  PublishFilled(runtime_->catalogue(), "digits", SmallLeNet());
  runtime_.reset();
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(runtime_->catalogue().Resolve({"digits", "latest"})->version, 1);
}

}  // namespace
}  // namespace zood::serving
