// Datasets: what goes in comes out, each content is kept once, and nothing else touches them.
#include "store/dataset.h"

#include "store/sqlite/sqlite.h"
#include "store_testing.h"

namespace zood::store {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::uint64_t PackBytes(const std::string& root) {
  std::uint64_t sum = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root + "/packs")) {
    sum += entry.file_size();
  }
  return sum;
}

class DatasetTest : public ::testing::Test {
 protected:
  absl::StatusOr<PublishedDataset> Publish(const std::string& name, std::uint64_t seed,
                                           int items = 12) {
    return store_->PublishDataset(Photos(name, seed, items));
  }
  void Reopen() {
    store_.reset();
    store_ = OpenStore(root_);
  }
  void Tamper(const std::string& sql) {
    store_.reset();
    {
      const auto database = Database::Open(root_ + "/catalogue.db", "").value();
      ASSERT_TRUE(database->Execute("PRAGMA foreign_keys = OFF;" + sql).ok());
    }
    store_ = OpenStore(root_);
  }

  ScratchDirectory scratch_;
  std::string root_ = scratch_.path() + "/store";
  std::unique_ptr<Store> store_ = OpenStore(root_);
};

TEST_F(DatasetTest, ComesBackAsItWasPublished) {
  NewDataset dataset = Photos("flowers", 1, 12);
  dataset.provenance = {.sources = {{.uri = "flowers.zip",
                                     .sha256 = std::string(64, 'a'),
                                     .bytes = 99,
                                     .format = "zip"}},
                        .build = "0.2.0",
                        .note = "from the garden"};
  dataset.problems = {{.item = "rose/3.gif", .reason = "not a JPEG, PNG or BMP"}};
  dataset.warnings = {"class tulip has one photo to train on"};
  dataset.problem_count = 7;
  const auto published = store_->PublishDataset(dataset);
  ASSERT_TRUE(published.ok()) << published.status();
  EXPECT_TRUE(published->created);
  EXPECT_EQ(published->new_items, 12);
  Reopen();

  const auto loaded = store_->LoadDataset("flowers", {.verify_digests = true});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE(SameItems(loaded->items, dataset.items));
  const DatasetManifest& manifest = loaded->manifest;
  EXPECT_EQ(manifest.classes, dataset.classes);
  EXPECT_EQ(manifest.provenance, dataset.provenance);
  EXPECT_EQ(manifest.problems, dataset.problems);
  EXPECT_EQ(manifest.warnings, dataset.warnings);
  EXPECT_THAT(manifest.summary.items, ElementsAre(8, 3, 1));
  EXPECT_THAT(manifest.class_items,
              ElementsAre(SplitCounts{3, 0, 1}, SplitCounts{3, 1, 0}, SplitCounts{2, 2, 0}));
  EXPECT_EQ(manifest.summary.item_count(), 12);
  EXPECT_EQ(manifest.summary.problem_count, 7);
  EXPECT_EQ(manifest.summary.bytes, published->new_bytes);
  EXPECT_EQ(manifest.summary.digest, published->summary.digest);
  EXPECT_EQ(manifest.summary.note, "from the garden");

  const auto described = store_->GetDataset("flowers");
  EXPECT_EQ(described->class_items, manifest.class_items);
  const auto list = store_->ListDatasets();
  ASSERT_EQ(list->size(), 1u);
  EXPECT_EQ((*list)[0].classes, 3);
  EXPECT_EQ((*list)[0].item_count(), 12);
}

TEST_F(DatasetTest, SharesContentWithOtherDatasetsVersionsAndItself) {
  ASSERT_TRUE(Publish("a", 1).ok());
  NewDataset b = Photos("b", 1, 12);
  b.items.push_back(b.items[0]);  // the same photo twice
  b.items.push_back({.name = "new", .data = Photos("", 2, 1).items[0].data});
  const auto published = store_->PublishDataset(b);
  EXPECT_EQ(published->new_items, 1);
  EXPECT_EQ(store_->LoadDataset("b")->items.size(), 14u);
  const auto version = store_->Publish({.model = "net"}, {{"photo", b.items[0].data}});
  EXPECT_EQ(version->new_tensors, 0);
}

TEST_F(DatasetTest, ANameIsGivenOnce) {
  const auto first = Publish("a", 1);
  const auto again = Publish("a", 1);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->summary.digest, first->summary.digest);
  EXPECT_EQ(again->new_items, 0);
  const std::uint64_t before = PackBytes(root_);
  const auto other = Publish("a", 2);
  EXPECT_TRUE(absl::IsAlreadyExists(other.status()));
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("choose another name"));
  EXPECT_EQ(PackBytes(root_), before);
  ASSERT_TRUE(store_->DeleteDataset("a").ok());
  EXPECT_TRUE(Publish("a", 2).ok());
}

TEST_F(DatasetTest, TheDigestIsOfEverythingThatMattersAndOfNothingElse) {
  const std::string digest = Publish("a", 1)->summary.digest;
  EXPECT_EQ(Publish("b", 1)->summary.digest, digest);
  std::vector<NewDataset> others(5, Photos("", 1, 12));
  others[0].classes[1] += "s";
  others[1].items[2].name += "x";
  others[2].items[2].label = 0;
  others[3].items[2].split = Split::kTest;
  others[4].items[2].data = others[4].items[3].data;
  for (std::size_t i = 0; i < others.size(); ++i) {
    others[i].name = "other" + std::to_string(i);
    EXPECT_NE(store_->PublishDataset(others[i])->summary.digest, digest) << i;
  }
}

TEST_F(DatasetTest, RefusesWhatItCannotKeep) {
  const auto message = [&](const auto& change) {
    NewDataset dataset = Photos("a", 1, 4);
    change(dataset);
    const absl::Status status = store_->PublishDataset(dataset).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(message([](NewDataset& d) { d.name = "A b"; }), HasSubstr("dataset name \"A b\""));
  EXPECT_THAT(message([](NewDataset& d) { d.items[2].label = 3; }),
              HasSubstr("item 2 (photo-2) has label 3; there are 3 classes"));
  EXPECT_THAT(message([](NewDataset& d) { d.items[1].label = -1; }), HasSubstr("label -1"));
  EXPECT_THAT(message([](NewDataset& d) { d.items[1].name = "\xff"; }),
              HasSubstr("item 1: its name is not UTF-8"));
  EXPECT_THAT(message([](NewDataset& d) { d.items[1].split = static_cast<Split>(3); }),
              HasSubstr("no split"));
  EXPECT_THAT(message([](NewDataset& d) { d.problems.resize(2); }),
              HasSubstr("problem_count is 0"));
  EXPECT_THAT(message([](NewDataset& d) {
                d.problems.resize(1);
                d.problem_count = 1;
              }),
              HasSubstr("names no item"));
  EXPECT_THAT(message([](NewDataset& d) { d.warnings = {"\xff"}; }), HasSubstr("a warning"));
  EXPECT_THAT(*store_->ListDatasets(), IsEmpty());
  EXPECT_TRUE(absl::IsNotFound(store_->LoadDataset("a").status()));
  EXPECT_TRUE(absl::IsNotFound(store_->GetDataset("a").status()));
  EXPECT_TRUE(absl::IsNotFound(store_->DeleteDataset("a")));
}

TEST_F(DatasetTest, MayBeEmpty) {
  ASSERT_TRUE(store_->PublishDataset({.name = "none"}).ok());
  EXPECT_THAT(store_->LoadDataset("none")->items, IsEmpty());
  EXPECT_TRUE(store_->Fsck()->clean());
}

TEST_F(DatasetTest, WhatWasLoadedOutlivesDeletionGcAndStore) {
  const NewDataset dataset = Photos("a", 1, 12);
  ASSERT_TRUE(store_->PublishDataset(dataset).ok());
  const auto loaded = store_->LoadDataset("a");
  ASSERT_TRUE(store_->DeleteDataset("a").ok());
  EXPECT_EQ(store_->Gc()->packs_removed, 1);
  store_.reset();
  EXPECT_TRUE(SameItems(loaded->items, dataset.items));
}

TEST_F(DatasetTest, GcKeepsWhatDatasetsUseAndGivesBackTheRest) {
  ASSERT_TRUE(Publish("a", 1).ok());
  ASSERT_TRUE(Publish("b", 2, 40).ok());
  NewDataset part = Photos("part", 2, 3);
  ASSERT_TRUE(store_->PublishDataset(part).ok());
  EXPECT_EQ(store_->Gc()->tensors_forgotten, 0);
  ASSERT_TRUE(store_->DeleteDataset("b").ok());
  const auto report = store_->Gc();
  EXPECT_EQ(report->tensors_forgotten, 37);
  EXPECT_EQ(report->packs_rewritten, 1);
  EXPECT_TRUE(SameItems(store_->LoadDataset("part", {.verify_digests = true})->items, part.items));
  EXPECT_TRUE(SameItems(store_->LoadDataset("a", {.verify_digests = true})->items,
                        Photos("a", 1, 12).items));
  EXPECT_THAT(store_->Fsck()->damage, IsEmpty());
  EXPECT_THAT(store_->Fsck()->garbage, IsEmpty());
  EXPECT_EQ(store_->Fsck()->datasets, 2);
}

TEST_F(DatasetTest, FsckFindsADamagedDataset) {
  ASSERT_TRUE(Publish("a", 1).ok());
  Tamper("UPDATE dataset_items SET label = 2 WHERE position = 0");
  EXPECT_THAT(store_->Fsck()->damage,
              ElementsAre(HasSubstr("dataset a has digest"), HasSubstr("miscounts")));
  Tamper("UPDATE dataset_items SET label = 0 WHERE position = 0");
  EXPECT_TRUE(store_->Fsck()->clean());
  Tamper("UPDATE datasets SET bytes = bytes + 1");
  EXPECT_THAT(store_->Fsck()->damage, ElementsAre(HasSubstr("dataset a says 12 items")));
  Tamper("UPDATE datasets SET bytes = bytes - 1; DELETE FROM tensors WHERE id = 3");
  EXPECT_THAT(store_->Fsck()->damage, Contains(HasSubstr("dataset a: item 2 (photo-2) is in no")));
  EXPECT_TRUE(absl::IsDataLoss(store_->LoadDataset("a").status()));
  EXPECT_THAT(store_->GetDataset("a").status().ToString(), Not(HasSubstr("DATA_LOSS")));
}

TEST_F(DatasetTest, PublishingAgainHealsALostPack) {
  ASSERT_TRUE(Publish("a", 1).ok());
  std::filesystem::remove(OnlyPack(root_));
  EXPECT_THAT(store_->LoadDataset("a").status().ToString(), HasSubstr("is missing; run fsck"));
  const auto again = Publish("a", 1);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->new_items, 12);
  EXPECT_TRUE(store_->Fsck()->clean());
  EXPECT_TRUE(SameItems(store_->LoadDataset("a")->items, Photos("a", 1, 12).items));
}

}  // namespace
}  // namespace zood::store
