#include "store/store.h"

#include "store_testing.h"

namespace zood::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class StoreTest : public ::testing::Test {
 protected:
  std::int64_t Publish(const std::string& model, std::uint64_t base, std::uint64_t head,
                       VersionKind kind = VersionKind::kModel) {
    const auto published =
        store_->Publish({.model = model, .kind = kind}, NetworkWeights(base, head));
    EXPECT_TRUE(published.ok()) << published.status();
    return published.ok() ? published->version : 0;
  }
  void Reopen() {
    store_.reset();
    store_ = OpenStore(root_);
  }

  ScratchDirectory scratch_;
  std::string root_ = scratch_.path() + "/store";
  std::unique_ptr<Store> store_ = OpenStore(root_);
};

TensorMap EveryDType() {
  TensorMap weights;
  for (int number = 1; number < static_cast<int>(DType::kString); ++number) {
    const auto dtype = static_cast<DType>(number);
    auto bytes = std::make_shared<std::vector<std::byte>>(6 * SizeOf(dtype));
    for (std::size_t i = 0; i < bytes->size(); ++i) {
      (*bytes)[i] = std::byte(dtype == DType::kBool ? i % 2 : i * 37 + 255);
    }
    const std::span<const std::byte> view = *bytes;
    weights[std::string(Name(dtype))] = Tensor::View(dtype, {2, 3}, view, bytes).value();
  }
  weights["string"] = Tensor::Strings({2}, {"", std::string("\0\xff", 2)}).value();
  weights["scalar"] = Tensor::FromVector<float>({}, {3.5f}).value();
  weights["empty"] = Tensor::FromVector<float>({0, 7}, {}).value();
  return weights;
}

NewVersion FullVersion() {
  return {.model = "full",
          .network = R"({"zoo": "resnet_v1_50"})",
          .preprocess = R"({"size": 224})",
          .labels = {"background", "caf\xc3\xa9", ""},
          .provenance = {.sources = {{.uri = "/ckpt/a.ckpt",
                                      .sha256 = std::string(64, 'a'),
                                      .bytes = 123456789012,
                                      .format = "tensorflow_v1"},
                                     {.uri = "b", .format = "caffe"}},
                         .build = "zood 0.1.0",
                         .note = "a person's words; -- ' \" ?"},
          .lineage = Lineage{.base_model = "base",
                             .base_version = 3,
                             .base_digest = std::string(64, 'b'),
                             .dataset_digest = std::string(64, 'c'),
                             .job_id = "job-1",
                             .seed = ~std::uint64_t{0},
                             .plan = "{}"},
          .tags = {{"team", "vision"}},
          .metrics = {{"top_1", 0.1 + 0.2}}};
}

TEST_F(StoreTest, GivesBackWhatWasPublished) {
  const NewVersion version = FullVersion();
  const TensorMap weights = EveryDType();
  const auto published = store_->Publish(version, weights);
  ASSERT_TRUE(published.ok()) << published.status();
  EXPECT_EQ(published->version, 1);
  Reopen();
  const auto loaded = store_->Load("full", "1", {.verify_digests = true});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE(SameWeights(loaded->weights, weights));
  const VersionManifest& manifest = loaded->manifest;
  EXPECT_EQ(manifest.model, "full");
  EXPECT_EQ(manifest.version, 1);
  EXPECT_EQ(manifest.digest, published->digest);
  EXPECT_EQ(manifest.network, version.network);
  EXPECT_EQ(manifest.preprocess, version.preprocess);
  EXPECT_EQ(manifest.labels, version.labels);
  EXPECT_EQ(manifest.provenance, version.provenance);
  EXPECT_EQ(manifest.lineage, version.lineage);
  EXPECT_EQ(manifest.tags, version.tags);
  EXPECT_EQ(manifest.metrics, version.metrics);
  EXPECT_GT(manifest.created_at_us, 1'700'000'000'000'000);
  EXPECT_EQ(*store_->GetVersion("full", ""), manifest);
}

TEST_F(StoreTest, LoadedWeightsAreAlignedAndOutliveTheStore) {
  Publish("net", 1, 1);
  const auto loaded = store_->Load("net", "latest");
  ASSERT_TRUE(store_->DeleteModel("net").ok());
  ASSERT_TRUE(store_->Gc().ok());
  store_.reset();
  EXPECT_TRUE(SameWeights(loaded->weights, NetworkWeights(1, 1)));
  for (const auto& [name, tensor] : loaded->weights) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.bytes().data()) % 64, 0u) << name;
  }
}

TEST_F(StoreTest, AFineTunedHeadCostsTwoTensors) {
  const auto base = store_->Publish({.model = "base"}, NetworkWeights(1, 1));
  EXPECT_EQ(base->new_tensors, 8);
  const auto tuned = store_->Publish({.model = "tuned"}, NetworkWeights(1, 2));
  EXPECT_EQ(tuned->new_tensors, 2);
  EXPECT_EQ(tuned->new_bytes, (10u + 64u) * 4u);
  const auto again = store_->Publish({.model = "tuned"}, NetworkWeights(1, 2));
  EXPECT_EQ(again->new_tensors, 0);
  EXPECT_EQ(again->digest, tuned->digest);
  EXPECT_TRUE(SameWeights(store_->Load("tuned", "2")->weights, NetworkWeights(1, 2)));
}

TEST_F(StoreTest, EqualTensorsWithinAVersionAreKeptOnce) {
  const TensorMap weights = {{"a", RandomTensor(1, 9)}, {"b", RandomTensor(1, 9)}};
  EXPECT_EQ(store_->Publish({.model = "twins"}, weights)->new_tensors, 1);
  EXPECT_TRUE(SameWeights(store_->Load("twins", "")->weights, weights));
}

TEST_F(StoreTest, AVersionWithoutWeightsIsLegal) {
  EXPECT_EQ(store_->Publish({.model = "empty"}, {})->version, 1);
  EXPECT_TRUE(store_->Load("empty", "")->weights.empty());
}

TEST_F(StoreTest, LatestFollowsAndStableStays) {
  EXPECT_EQ(Publish("net", 1, 1), 1);
  EXPECT_EQ(Publish("net", 1, 2), 2);
  EXPECT_EQ(*store_->Resolve("net", "latest"), 2);
  EXPECT_EQ(*store_->Resolve("net", "stable"), 1);
  EXPECT_EQ(*store_->Resolve("net", ""), 1);
  EXPECT_EQ(*store_->SetAlias("net", "stable", 2), 1);
  EXPECT_EQ(*store_->Resolve("net", ""), 2);
  EXPECT_EQ(*store_->DeleteAlias("net", "stable"), 2);
  EXPECT_EQ(*store_->Resolve("net", ""), 2);  // latest, for want of stable
  Publish("net", 1, 3);
  EXPECT_TRUE(absl::IsNotFound(store_->Resolve("net", "stable").status()));
}

TEST_F(StoreTest, CheckpointsAreServableButNeverLatest) {
  Publish("net", 1, 1, VersionKind::kCheckpoint);
  EXPECT_TRUE(absl::IsNotFound(store_->Resolve("net", "").status()));
  EXPECT_TRUE(absl::IsNotFound(store_->Resolve("net", "latest").status()));
  EXPECT_TRUE(store_->Load("net", "v1").ok());
  Publish("net", 1, 2);
  Publish("net", 1, 3, VersionKind::kCheckpoint);
  EXPECT_EQ(*store_->Resolve("net", "latest"), 2);
  EXPECT_EQ(*store_->Resolve("net", "stable"), 2);
  EXPECT_EQ(store_->GetVersion("net", "3")->kind, VersionKind::kCheckpoint);
}

TEST_F(StoreTest, AliasesMoveOnlyFromWhatIsExpected) {
  Publish("net", 1, 1);
  Publish("net", 1, 2);
  EXPECT_EQ(*store_->SetAlias("net", "canary", 1, 0), 0);
  EXPECT_TRUE(absl::IsAborted(store_->SetAlias("net", "canary", 2, 0).status()));
  EXPECT_TRUE(absl::IsAborted(store_->SetAlias("net", "canary", 2, 2).status()));
  EXPECT_EQ(*store_->Resolve("net", "canary"), 1);
  EXPECT_EQ(*store_->SetAlias("net", "canary", 2, 1), 1);
  EXPECT_TRUE(absl::IsAborted(store_->DeleteAlias("net", "canary", 1).status()));
  EXPECT_EQ(*store_->DeleteAlias("net", "canary", 2), 2);
  EXPECT_TRUE(absl::IsNotFound(store_->DeleteAlias("net", "canary").status()));
  EXPECT_TRUE(absl::IsNotFound(store_->SetAlias("net", "canary", 9).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->SetAlias("net", "latest", 1).status()));
}

TEST_F(StoreTest, PublishMovesAliasesInTheSameTransaction) {
  Publish("net", 1, 1);
  ASSERT_TRUE(
      store_->Publish({.model = "net", .aliases = {"stable", "canary"}}, NetworkWeights(1, 2))
          .ok());
  EXPECT_EQ(*store_->Resolve("net", "stable"), 2);
  EXPECT_EQ(*store_->Resolve("net", "canary"), 2);
}

TEST_F(StoreTest, DeletedVersionsAreGoneAndTheirNumbersToo) {
  Publish("net", 1, 1);
  Publish("net", 1, 2);
  const absl::Status refused = store_->DeleteVersion("net", 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("stable"));
  EXPECT_TRUE(store_->DeleteVersion("net", 2).ok());  // `latest` does not hold it
  EXPECT_EQ(*store_->Resolve("net", "latest"), 1);
  EXPECT_EQ(Publish("net", 1, 3), 3);
  EXPECT_TRUE(store_->DeleteVersion("net", 1, true).ok());
  EXPECT_TRUE(absl::IsNotFound(store_->Load("net", "1").status()));
  EXPECT_TRUE(absl::IsNotFound(store_->Load("net", "stable").status()));
  ASSERT_TRUE(store_->DeleteModel("net").ok());
  EXPECT_TRUE(store_->ListModels()->empty());
  EXPECT_TRUE(absl::IsNotFound(store_->ListVersions("net").status()));
  EXPECT_TRUE(absl::IsNotFound(store_->DeleteModel("net")));
  EXPECT_EQ(Publish("net", 1, 1), 4);
  EXPECT_EQ(*store_->Resolve("net", "stable"), 4);
}

TEST_F(StoreTest, Lists) {
  Publish("b", 1, 1);
  Publish("a", 1, 2);
  Publish("a", 1, 3);
  const auto models = store_->ListModels();
  ASSERT_EQ(models->size(), 2u);
  EXPECT_EQ((*models)[0].name, "a");
  EXPECT_EQ((*models)[0].versions, 2);
  EXPECT_THAT((*models)[0].aliases, ElementsAre(Pair("latest", 2), Pair("stable", 1)));
  const auto versions = store_->ListVersions("a");
  ASSERT_EQ(versions->size(), 2u);
  EXPECT_THAT((*versions)[0].aliases, ElementsAre("stable"));
  EXPECT_THAT((*versions)[1].aliases, ElementsAre("latest"));
  EXPECT_EQ((*versions)[1].tensors, 8);
  EXPECT_EQ((*versions)[1].bytes, (6u * 192u + 10u + 64u) * 4u);
}

TEST_F(StoreTest, RefusesWhatItCannotKeep) {
  const TensorMap weights = NetworkWeights(1, 1);
  const auto refused = [&](const NewVersion& version, const TensorMap& tensors) {
    const auto published = store_->Publish(version, tensors);
    return absl::IsInvalidArgument(published.status());
  };
  EXPECT_TRUE(refused({.model = "../etc"}, weights));
  EXPECT_TRUE(refused({.model = "m", .network = "\xff"}, weights));
  EXPECT_TRUE(refused({.model = "m", .labels = {"\xff"}}, weights));
  EXPECT_TRUE(refused({.model = "m", .metrics = {{"loss", NAN}}}, weights));
  EXPECT_TRUE(refused({.model = "m", .aliases = {"latest"}}, weights));
  EXPECT_TRUE(refused({.model = "m"}, {{"", RandomTensor(1, 1)}}));
  EXPECT_TRUE(refused({.model = "m"}, {{std::string("a\0", 2), RandomTensor(1, 1)}}));
  EXPECT_TRUE(store_->ListModels()->empty());
  EXPECT_TRUE(std::filesystem::is_empty(root_ + "/packs"));
}

TEST_F(StoreTest, SaysWhatIsNotThere) {
  Publish("net", 1, 1);
  EXPECT_THAT(store_->Load("nat", "").status().ToString(), HasSubstr("no model nat"));
  EXPECT_THAT(store_->Load("net", "2").status().ToString(), HasSubstr("no version 2"));
  EXPECT_THAT(store_->Load("net", "canary").status().ToString(), HasSubstr("no alias canary"));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Load("net", "0").status()));
}

TEST_F(StoreTest, OneOpensAtATime) {
  const auto second = Store::Open(FileSystem::Native(), root_);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_THAT(second.status().ToString(), HasSubstr(fmt::format("process {}", ::getpid())));
  Reopen();  // closing lets go
}

TEST_F(StoreTest, RefusesNewerAndForeignDirectories) {
  store_.reset();
  WriteFile(root_ + "/FORMAT", "zood store, layout 2\n");
  const auto newer = Store::Open(FileSystem::Native(), root_);
  EXPECT_TRUE(absl::IsFailedPrecondition(newer.status())) << newer.status();
  WriteFile(root_ + "/FORMAT", "rubbish");
  EXPECT_TRUE(absl::IsDataLoss(Store::Open(FileSystem::Native(), root_).status()));
  const std::string photos = scratch_.path() + "/photos";
  std::filesystem::create_directories(photos);
  WriteFile(photos + "/cat.jpg", "meow");
  const auto foreign = Store::Open(FileSystem::Native(), photos);
  EXPECT_TRUE(absl::IsFailedPrecondition(foreign.status())) << foreign.status();
  EXPECT_THAT(foreign.status().ToString(), HasSubstr("cat.jpg"));
  const auto absent = Store::Open(FileSystem::Native(), scratch_.path() + "/no", {.create = false});
  EXPECT_TRUE(absl::IsNotFound(absent.status()));
  EXPECT_FALSE(std::filesystem::exists(scratch_.path() + "/no"));
}

TEST_F(StoreTest, OpeningRemovesWhatADeadPublisherWasWriting) {
  store_.reset();
  WriteFile(root_ + "/packs/tmp-0", "half a pack");
  store_ = OpenStore(root_);
  EXPECT_TRUE(std::filesystem::is_empty(root_ + "/packs"));
}

TEST_F(StoreTest, NeverReplacesALostCatalogueOrFormat) {
  Publish("net", 1, 1);
  store_.reset();
  std::filesystem::rename(root_ + "/catalogue.db", root_ + "/aside");
  EXPECT_TRUE(absl::IsDataLoss(Store::Open(FileSystem::Native(), root_).status()));
  std::filesystem::rename(root_ + "/aside", root_ + "/catalogue.db");
  std::filesystem::remove(root_ + "/FORMAT");
  EXPECT_TRUE(absl::IsFailedPrecondition(Store::Open(FileSystem::Native(), root_).status()));
  EXPECT_TRUE(std::filesystem::exists(OnlyPack(root_)));
}

TEST_F(StoreTest, ACatalogueThatIsNoneIsDataLoss) {
  store_.reset();
  WriteFile(root_ + "/catalogue.db", std::string(8192, 'x'));
  EXPECT_TRUE(absl::IsDataLoss(Store::Open(FileSystem::Native(), root_).status()));
}

// The weights lie in a file that somebody cuts short before they are published.
TEST_F(StoreTest, WeightsWhoseFileBecomesShorterAreNotPublished) {
  const std::string path = scratch_.path() + "/weights";
  WriteFile(path, std::string(1 << 20, 'x'));
  const auto contents = FileSystem::Native().Open(path).value();
  const auto weights = Tensor::View(DType::kFloat32, {1 << 18}, contents->bytes(), contents);
  NewDataset dataset{.name = "data", .classes = {"only"}};
  dataset.items.push_back({.name = "0", .data = *weights});
  std::filesystem::resize_file(path, 4096);
  const absl::Status status = store_->PublishDataset(dataset).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  std::filesystem::resize_file(path, 1 << 20);
  const auto again = FileSystem::Native().Open(path).value();
  const auto halves = Tensor::View(DType::kFloat32, {1 << 18}, again->bytes(), again);
  std::filesystem::resize_file(path, 1 << 19);
  EXPECT_TRUE(absl::IsDataLoss(store_->Publish({.model = "net"}, {{"w", *halves}}).status()));
  EXPECT_TRUE(store_->ListModels()->empty());
  EXPECT_TRUE(store_->ListDatasets()->empty());
  EXPECT_TRUE(std::filesystem::is_empty(scratch_.path() + "/store/packs"));
  EXPECT_TRUE(store_->Publish({.model = "net"}, NetworkWeights(1, 1)).ok());
}

TEST_F(StoreTest, APackThatBecomesShorterWhileItIsReadIsDataLoss) {
  const TensorMap weights = {{"a", RandomTensor(1, 1 << 16)}, {"b", RandomTensor(2, 1 << 16)}};
  ASSERT_TRUE(store_->Publish({.model = "net"}, weights).ok());
  const MappingWatch watch;
  const auto loaded = store_->Load("net", "");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  std::filesystem::resize_file(OnlyPack(scratch_.path() + "/store"), 1 << 17);
  EXPECT_FALSE(SameWeights(loaded->weights, weights));  // and nobody dies of it
  EXPECT_TRUE(absl::IsDataLoss(watch.Check()));
  EXPECT_TRUE(absl::IsDataLoss(store_->Load("net", "").status()));
}

}  // namespace
}  // namespace zood::store
