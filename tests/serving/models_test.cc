#include "serving/models.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/status.h"
#include "tests/serving/serving_fixture.h"

namespace zood::serving {
namespace {

constexpr Clock::time_point kForever = Clock::time_point::max();

class ModelsTest : public ServingTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Open());
    PublishFilled(runtime_->catalogue(), "digits", SmallLeNet());
    PublishFilled(runtime_->catalogue(), "digits", SmallLeNet(11));
    models_ = std::make_unique<Models>(runtime_->catalogue(), runtime_->manager(), zoo_);
  }

  bool Exists(const std::string& version) const {
    return runtime_->catalogue().Resolve({"digits", version}).ok();
  }

  std::unique_ptr<Models> models_;
};

TEST_F(ModelsTest, WhatSomebodyNeedsStays) {
  models_->AddUsers(
      {.of_version = [](const std::string& model, std::int64_t version) -> Users::Names {
         if (model == "digits" && version != 1) return {{"job-7", "job-9"}};
         return std::vector<std::string>();
       },
       .of_dataset = [](const std::string& dataset) -> Users::Names {
         return std::vector<std::string>{"a reader of " + dataset};
       }});
  const absl::Status version = models_->DeleteVersion("digits", 2, false, kForever);
  EXPECT_TRUE(absl::IsFailedPrecondition(version));
  EXPECT_EQ(version.message(),
            "version 2 of 'digits' is needed by job-7, job-9: cancel what needs it, or use force");
  EXPECT_TRUE(absl::IsFailedPrecondition(models_->DeleteModel("digits", kForever)));
  EXPECT_TRUE(absl::IsFailedPrecondition(models_->DeleteDataset("photos", false)));
  EXPECT_TRUE(absl::IsNotFound(models_->DeleteDataset("photos", true))) << "force does not ask";
  EXPECT_TRUE(absl::IsFailedPrecondition(models_->DeleteVersion("digits", 1, false, kForever)))
      << "an alias names it";
  EXPECT_TRUE(Exists("1") && Exists("2"));
  EXPECT_TRUE(models_->DeleteVersion("digits", 2, true, kForever).ok());
  EXPECT_FALSE(Exists("2"));
}

// Who cannot say whether he needs it has not said that he does not.
TEST_F(ModelsTest, AnErrorOfAUserRefusesTheDeletion) {
  models_->AddUsers({.of_version = [](const std::string&, std::int64_t) -> Users::Names {
                       return Unavailable("the jobs cannot be read");
                     },
                     .of_dataset = [](const std::string&) -> Users::Names {
                       return Unavailable("the jobs cannot be read");
                     }});
  EXPECT_TRUE(absl::IsUnavailable(models_->DeleteVersion("digits", 2, false, kForever)));
  EXPECT_TRUE(absl::IsUnavailable(models_->DeleteModel("digits", kForever)));
  EXPECT_TRUE(absl::IsUnavailable(models_->DeleteDataset("photos", false)));
  EXPECT_TRUE(Exists("2"));
}

TEST_F(ModelsTest, LoadsDescribesAndUnloads) {
  EXPECT_EQ(models_->Load({"digits", "2"}, kForever)->state, VersionState::kAvailable);
  EXPECT_TRUE(models_->Load({"digits", ""}, kForever).ok());
  const auto listed = models_->List();
  ASSERT_EQ(listed->size(), 1);
  EXPECT_EQ(listed->front().loaded.size(), 2);
  EXPECT_EQ(models_->Get("digits")->loaded.size(), 2);
  const auto versions = models_->Versions("digits");
  ASSERT_EQ(versions->size(), 2);
  EXPECT_EQ(versions->front().summary.version, 2) << "newest first";
  EXPECT_EQ(versions->front().status.state, VersionState::kAvailable);
  const auto described = models_->Describe({"digits", "latest"});
  EXPECT_EQ(described->manifest.version, 2);
  EXPECT_EQ(described->aliases, std::vector<std::string>{"latest"});
  ASSERT_NE(described->network, nullptr);
  EXPECT_EQ(described->network->num_classes(), 11);

  EXPECT_EQ(*models_->Unload({"digits", "1"}, kForever), std::vector<std::int64_t>{1});
  EXPECT_EQ(*models_->Unload({"digits", ""}, kForever), std::vector<std::int64_t>{2});
  EXPECT_TRUE(models_->Load({"digits", "2"}, kForever).ok());
  EXPECT_TRUE(models_->DeleteModel("digits", kForever).ok());
  EXPECT_TRUE(runtime_->manager().Statuses().empty());
  EXPECT_TRUE(absl::IsNotFound(models_->Get("digits").status()));
}

// A byte that changed on disk changes no answer, unless the operator wants to save the checking.
TEST_F(ModelsTest, AChangedByteIsFoundWhenAVersionIsLoaded) {
  std::filesystem::path pack;  // the largest file
  for (const auto& file :
       std::filesystem::recursive_directory_iterator(directory_.path() + "/data/store")) {
    if (file.path().parent_path().filename() != "packs") continue;
    if (pack.empty() || file.file_size() > std::filesystem::file_size(pack)) pack = file.path();
  }
  const auto middle = static_cast<std::streamoff>(std::filesystem::file_size(pack) / 2);
  std::fstream bytes(pack, std::ios::binary | std::ios::in | std::ios::out);
  bytes.seekg(middle);
  const int byte = bytes.get();
  bytes.seekp(middle);
  bytes.put(static_cast<char>(byte ^ 1));
  ASSERT_TRUE(bytes.flush()) << pack;

  BatchScheduler scheduler(1);
  const auto load = [&](bool verify) {
    StoreLoader loader(runtime_->catalogue().store(), zoo_,
                       {.batch_sizes = {1}, .threads_per_lane = 1}, scheduler, runtime_->budget(),
                       {.verify_digests = verify});
    return loader.Load("digits", 1).status();
  };
  EXPECT_TRUE(absl::IsDataLoss(load(true))) << load(true);
  EXPECT_TRUE(load(false).ok()) << load(false);
}

TEST_F(ModelsTest, MovesAliases) {
  EXPECT_EQ(*models_->SetAlias("digits", "canary", 2, 0, kForever), 0);
  EXPECT_TRUE(absl::IsAborted(models_->SetAlias("digits", "canary", 1, 1, kForever).status()));
  EXPECT_EQ(*models_->DeleteAlias("digits", "canary", 2), 2);
}

}  // namespace
}  // namespace zood::serving
