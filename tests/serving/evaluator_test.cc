#include "serving/evaluator.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <future>

#include "tests/serving/serving_fixture.h"

namespace zood::serving {
namespace {

namespace fs = std::filesystem;

std::string BigEndian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

std::string IdxHeader(std::vector<std::uint32_t> extents) {
  std::string bytes("\0\0\x08", 3);
  bytes += static_cast<char>(extents.size());
  for (const std::uint32_t extent : extents) bytes += BigEndian(extent);
  return bytes;
}

TEST(EvaluationReportTest, CountsByHand) {
  EvaluationReport report;
  report.classes.resize(6);
  report.confusion.resize(36);
  const std::vector<float> logits = {0, 5, 4, 3, 2, 1};  // worst: class 0
  report.Count(logits, 1);
  report.Count(logits, 5);
  report.Count(logits, 0);
  report.Count(logits, -1);  // a label without a class
  EXPECT_EQ(report.images, 4);
  EXPECT_EQ(report.top1_correct, 1);
  EXPECT_EQ(report.top5_correct, 2);
  EXPECT_EQ(report.classes[1].answered, 4);
  EXPECT_EQ(report.classes[5].images, 1);
  EXPECT_EQ(report.classes[5].top5_correct, 1);
  EXPECT_EQ(report.confusion[5 * 6 + 1], 1);
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit);
  EXPECT_NEAR(report.loss_sum, 3 * std::log(sum) - 5 - 1 - 0, 1e-9);
}

class EvaluatorTest : public ServingTest {
 protected:
  static constexpr int kImages = 40;

  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Open());
    PublishFilled(runtime_->catalogue(), "digits", SmallLeNet());
    std::string pixels = IdxHeader({kImages, 12, 12});
    std::string labels = IdxHeader({kImages});
    for (int i = 0; i < kImages; ++i) {
      pixels += SmallImage(i);
      labels += static_cast<char>(i % 10);
    }
    Write("images", pixels);
    Write("labels", labels);
    gzFile zipped = gzopen(Path("images.gz").c_str(), "wb");
    gzwrite(zipped, pixels.data(), static_cast<unsigned>(pixels.size()));
    gzclose(zipped);
  }

  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }
  void Write(const std::string& name, const std::string& bytes) {
    std::ofstream(Path(name), std::ios::binary) << bytes;
  }
  absl::StatusOr<EvaluationReport> Run(EvaluationRequest request, const ImagesFactory& images) {
    request.model = {"digits", ""};
    return Evaluate(runtime_->manager(), runtime_->classifier(), request, images,
                    [](const EvaluationProgress&) {});
  }
  ImagesFactory Idx(const std::string& images, const std::string& labels) {
    return [=, this](const Servable&) { return dataset::OpenIdx(Path(images), Path(labels), {}); };
  }

  std::vector<int> Answers() {
    std::vector<int> answers;
    for (int i = 0; i < kImages; ++i) {
      const std::string image = SmallImage(i);
      answers.push_back(
          runtime_->classifier()
              .ClassifyAndWait({.model = {"digits", ""}, .images = {SmallImage(image)}})
              ->images[0]
              .classes[0]
              .index);
    }
    return answers;
  }
};

TEST_F(EvaluatorTest, CountsWhatClassifyAnswers) {
  const std::vector<int> answers = Answers();
  std::int64_t correct = 0;
  std::vector<std::int64_t> confusion(100);
  for (int i = 0; i < kImages; ++i) {
    correct += answers[static_cast<std::size_t>(i)] == i % 10;
    ++confusion[static_cast<std::size_t>(i % 10 * 10 + answers[static_cast<std::size_t>(i)])];
  }
  for (const char* images : {"images", "images.gz"}) {
    const auto report = Run({}, Idx(images, "labels"));
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->images, kImages);
    EXPECT_EQ(report->top1_correct, correct);
    EXPECT_EQ(report->confusion, confusion);
    EXPECT_GE(report->top5_correct, report->top1_correct);
  }
}

TEST_F(EvaluatorTest, TheLabelsOffsetIsAddedToAnswers) {
  const std::vector<int> answers = Answers();
  std::int64_t correct = 0;
  for (int i = 0; i < kImages; ++i) correct += answers[static_cast<std::size_t>(i)] + 1 == i % 10;
  const auto report = Run({.labels_offset = 1}, Idx("images", "labels"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->images, kImages);
  EXPECT_EQ(report->top1_correct, correct);
}

TEST_F(EvaluatorTest, StopsAtTheNumberAskedForAndWhenTheCallerGoes) {
  EXPECT_EQ(Run({.max_images = 7}, Idx("images", "labels"))->images, 7);
  EXPECT_EQ(Run({.cancelled = [] { return true; }}, Idx("images", "labels")).status().code(),
            absl::StatusCode::kCancelled);
}

TEST_F(EvaluatorTest, FoldersAreClasses) {
  // The images are no files of a known format: what counts here is which label each would have.
  for (const char* name : {"cat", "10/inner/deep", "2", "empty"}) {
    fs::create_directories(Path("folders/" + std::string(name)));
  }
  Write("folders/cat/b.png", "");
  Write("folders/cat/.hidden", "x");
  Write("folders/10/inner/deep/a.png", "x");
  Write("folders/2/a.png", "x");
  Write("folders/readme.txt", "x");
  fs::create_symlink(Path("images"), Path("folders/2/link.png"));
  auto images = dataset::OpenImageFolder(Path("folders"));
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ((*images)->total(), 3);
  std::vector<std::variant<std::int64_t, std::string>> found;
  while (auto image = *(*images)->Next()) found.push_back(image->label);
  EXPECT_EQ(found, (std::vector<std::variant<std::int64_t, std::string>>{"10", "2", "cat"}));

  const auto folder = [&](const Servable&) { return dataset::OpenImageFolder(Path("folders")); };
  const auto strict = Run({}, folder);
  EXPECT_EQ(strict.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(strict.status().message().find("folders/"), std::string::npos) << strict.status();
  const auto lax = Run({.skip_bad_images = true}, folder);
  ASSERT_TRUE(lax.ok()) << lax.status();
  EXPECT_EQ(lax->bad_images, 3);
  EXPECT_EQ(lax->images, 0);
  std::string errors;
  for (const BadImage& bad : lax->first_bad_images) errors += bad.error + "\n";
  EXPECT_NE(errors.find("has no class 'cat'"), std::string::npos) << errors;
  EXPECT_NE(errors.find("label 10 is not one of the 10 classes"), std::string::npos) << errors;
}

// A folder's name, a dataset's class and a label that a client sends are found by the same rule.
TEST_F(EvaluatorTest, NamesAreLabelsIdsOrNumbers) {
  const std::vector<std::string> labels = {
      "caf\xc3\xa9", "n02123045 tabby", "3", "b", "c", "d", "e", "f", "g", "h"};
  PublishFilled(runtime_->catalogue(), "named", SmallLeNet(), {}, labels);
  const std::vector<std::pair<std::string, std::size_t>> expected = {
      {"cafe\xcc\x81", 0}, {"n02123045", 1}, {"n02123045 tabby", 1}, {"3", 2}, {"9", 9}, {"h", 9}};
  dataset::Dataset dataset;
  const std::string image = SmallImage(0);
  for (const auto& [name, index] : expected) {
    std::vector<std::uint8_t> pixels(image.begin(), image.end());
    dataset.items.push_back({.name = name,
                             .label = static_cast<std::int32_t>(dataset.classes.size()),
                             .image = *Tensor::FromVector({12, 12, 1}, std::move(pixels))});
    dataset.classes.push_back(name);
  }
  const auto report = Evaluate(
      runtime_->manager(), runtime_->classifier(), {.model = {"named", ""}},
      [&](const Servable&) -> absl::StatusOr<std::unique_ptr<dataset::LabeledImages>> {
        return dataset::ImagesOf(dataset, /*by_index=*/false);
      },
      [](const EvaluationProgress&) {});
  ASSERT_TRUE(report.ok()) << report.status();
  std::vector<std::int64_t> images;
  for (const ClassCounts& counts : report->classes) images.push_back(counts.images);
  EXPECT_EQ(images, (std::vector<std::int64_t>{1, 2, 1, 0, 0, 0, 0, 0, 0, 2}));
}

// Whoever can write into an allowed directory must not lead the daemon out of it after the path
// was judged.
TEST_F(EvaluatorTest, NoLinkLeadsToADataset) {
  fs::create_directories(Path("real/1"));
  Write("real/1/a.png", "x");
  fs::copy(Path("images"), Path("real/images"));
  fs::copy(Path("labels"), Path("real/labels"));
  ASSERT_TRUE(dataset::OpenImageFolder(Path("real")).ok());
  ASSERT_TRUE(dataset::OpenIdx(Path("real/images"), Path("real/labels"), {}).ok());
  fs::create_directory_symlink(Path("real"), Path("link"));
  EXPECT_FALSE(dataset::OpenImageFolder(Path("link")).ok());
  EXPECT_FALSE(dataset::OpenIdx(Path("link/images"), Path("real/labels"), {}).ok());
  EXPECT_FALSE(dataset::OpenIdx(Path("real/images"), Path("link/labels"), {}).ok());
}

// Tells of answers.
class Requests final : public Observer {
 public:
  void OnRequest(const RequestRecord& record) override {
    MutexLock lock(mutex_);
    background_ = record.background;
    refused_ += record.status.code() == absl::StatusCode::kResourceExhausted;
    changed_.NotifyAll();
  }
  void WaitUntilRefused() {
    MutexLock lock(mutex_);
    while (refused_ == 0) changed_.Wait(mutex_);
  }
  bool background() {
    MutexLock lock(mutex_);
    return background_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  int refused_ = 0;
  bool background_ = false;
};

TEST_F(EvaluatorTest, WaitsWhileInteractiveRequestsFillTheQueue) {
  runtime_.reset();
  runtime::RuntimeOptions options = Options();
  options.servable.queue_capacity = 4;
  ASSERT_NO_FATAL_FAILURE(Open(std::move(options)));
  Requests requests;
  Classifier classifier(runtime_->manager(), requests, {});
  const auto servable =
      runtime_->manager().AcquireAndWait({"digits", ""}, Clock::time_point::max());
  BatchQueue& queue = (*servable)->FindProgram({})->queue();
  ASSERT_TRUE(queue.Reserve(4).ok());
  auto report = std::async(std::launch::async, [&] {
    return Evaluate(runtime_->manager(), classifier, {.model = {"digits", ""}},
                    Idx("images", "labels"), [](const EvaluationProgress&) {});
  });
  requests.WaitUntilRefused();
  EXPECT_TRUE(requests.background());
  queue.Release(4);
  const auto result = report.get();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->images, kImages);
}

TEST_F(EvaluatorTest, ManyClassesAreCountedWithoutAConfusionMatrix) {
  PublishFilled(runtime_->catalogue(), "digits", SmallLeNet(kMaxConfusionClasses + 1), {"stable"});
  const auto report = Run({}, Idx("images", "labels"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->images, kImages);
  EXPECT_EQ(report->classes.size(), static_cast<std::size_t>(kMaxConfusionClasses + 1));
  EXPECT_TRUE(report->confusion.empty());
}

TEST_F(EvaluatorTest, BadDatasetsSayWhatIsWrong) {
  Write("short", IdxHeader({kImages, 12, 12}) + "few bytes");
  Write("text", "label,image\n");
  Write("huge", IdxHeader({1, 0xffffffff, 0xffffffff}));
  Write("one", IdxHeader({1}) + '\0');
  Write("many", IdxHeader({kImages + 1}));
  Write("outside", IdxHeader({kImages}) + std::string(kImages, '\x63'));
  struct Case {
    const char* images;
    const char* labels;
    absl::StatusCode code;
    const char* words;
  };
  for (const Case& c :
       {Case{"short", "labels", absl::StatusCode::kDataLoss, "short"},
        Case{"text", "labels", absl::StatusCode::kInvalidArgument, "text"},
        Case{"huge", "one", absl::StatusCode::kInvalidArgument, "huge"},
        Case{"images", "many", absl::StatusCode::kInvalidArgument, "[41]"},
        Case{"images", "images", absl::StatusCode::kInvalidArgument, "images"},
        Case{"images", "none", absl::StatusCode::kNotFound, "none"},
        Case{"images", "outside", absl::StatusCode::kInvalidArgument, "label 99"}}) {
    const absl::Status status = Run({}, Idx(c.images, c.labels)).status();
    EXPECT_EQ(status.code(), c.code) << c.images << " " << c.labels << ": " << status;
    EXPECT_NE(status.message().find(c.words), std::string::npos) << status;
  }
  EXPECT_EQ(dataset::OpenImageFolder(Path("nowhere")).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace zood::serving
