#include "serving/catalogue.h"

#include <gtest/gtest.h>

#include <future>

#include "base/status.h"
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
  EXPECT_TRUE(catalogue.List()->empty());
}

TEST_F(CatalogueTest, SeesAndTellsWhatOthersDoToTheStore) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Catalogue& catalogue = runtime_->catalogue();
  PublishFilled(catalogue, "digits", SmallLeNet());
  PublishFilled(catalogue, "digits", SmallLeNet(11));
  std::vector<std::string> told;
  auto handle = catalogue.Listen([&](const std::string& model) {
    const auto now = catalogue.Peek(model);
    told.push_back(now.ok() ? model + " " + std::to_string(now->aliases.at("stable")) : "gone");
  });
  ASSERT_TRUE(catalogue.store().SetAlias("digits", "stable", 2).ok());
  EXPECT_EQ(catalogue.Resolve({"digits", ""})->version, 2);
  ASSERT_TRUE(catalogue.store()
                  .Commit({.aliases = {{.model = "digits", .alias = "stable", .version = 1}}})
                  .ok());
  EXPECT_EQ(catalogue.Resolve({"digits", ""})->version, 1);
  ASSERT_TRUE(catalogue.store().DeleteModel("digits").ok());
  EXPECT_TRUE(absl::IsNotFound(catalogue.Find("digits").status()));
  EXPECT_EQ(told, (std::vector<std::string>{"digits 2", "digits 1", "gone"}));
  handle.reset();
  PublishFilled(catalogue, "digits", SmallLeNet());
  EXPECT_EQ(told.size(), 3);
}

// A refresh that fails leaves no old answer behind: the next question reads again.
TEST_F(CatalogueTest, ReadsAgainWhatItCouldNotRead) {
  ASSERT_NO_FATAL_FAILURE(Open());
  store::Store& store = runtime_->catalogue().store();
  PublishFilled(runtime_->catalogue(), "digits", SmallLeNet());
  PublishFilled(runtime_->catalogue(), "digits", SmallLeNet(11));
  bool fails = false;
  const auto catalogue = *Catalogue::Open(
      store, [&](const std::string& model) -> absl::StatusOr<std::optional<ModelEntry>> {
        if (fails) return Unavailable("the disk does not answer");
        ZOOD_ASSIGN_OR_RETURN(const std::int64_t stable, store.Resolve(model, "stable"));
        return ModelEntry{.versions = {1, 2}, .aliases = {{"stable", stable}}};
      });
  int told = 0;
  const auto handle = catalogue->Listen([&](const std::string&) { ++told; });
  fails = true;
  ASSERT_TRUE(store.SetAlias("digits", "stable", 2).ok());
  EXPECT_TRUE(absl::IsUnavailable(catalogue->Resolve({"digits", ""}).status()));
  EXPECT_TRUE(absl::IsUnavailable(catalogue->Find("digits").status()));
  EXPECT_TRUE(absl::IsUnavailable(catalogue->Peek("digits").status()));
  EXPECT_TRUE(absl::IsUnavailable(catalogue->List().status()));
  told = 0;
  fails = false;
  EXPECT_EQ(catalogue->Resolve({"digits", ""})->version, 2);
  EXPECT_EQ(told, 1) << "whoever could not read it then has to hear of it";
  EXPECT_EQ(catalogue->List()->size(), 1);
}

// Commits of many threads: what is read first must not replace what is read last.
TEST_F(CatalogueTest, IsNeverOlderThanTheLastChange) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Catalogue& catalogue = runtime_->catalogue();
  PublishFilled(catalogue, "digits", SmallLeNet());
  std::vector<std::future<void>> writers;
  for (int writer = 0; writer < 4; ++writer) {
    writers.push_back(std::async(std::launch::async, [&, writer] {
      const std::string alias = "alias" + std::to_string(writer);
      for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(catalogue.store().SetAlias("digits", alias, 1).ok());
        EXPECT_TRUE(catalogue.Resolve({"digits", alias}).ok());
        EXPECT_TRUE(catalogue.store().DeleteAlias("digits", alias).ok());
        EXPECT_TRUE(absl::IsNotFound(catalogue.Resolve({"digits", alias}).status()));
      }
    }));
  }
  for (auto& writer : writers) writer.get();
  EXPECT_EQ(catalogue.Find("digits")->aliases.size(), 2) << "stable and latest";
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
