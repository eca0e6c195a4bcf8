#include "serving/classifier.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <future>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/serving/serving_fixture.h"

namespace zood::serving {
namespace {

double Spread(const std::vector<double>& values) {
  double sum = 0;
  double squares = 0;
  for (const double value : values) {
    sum += value;
    squares += value * value;
  }
  const auto n = static_cast<double>(values.size());
  return std::sqrt(squares / n - sum / n * (sum / n));
}

class ClassifierTest : public ServingTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Open());
    PublishFilled(runtime_->catalogue(), "digits", SmallLeNet());
    for (int i = 0; i < 16; ++i) images_.push_back(SmallImage(i));
  }

  ClassifyRequest Request(int image) {
    return {.model = {"digits", ""},
            .images = {SmallImage(images_[static_cast<std::size_t>(image)])},
            .logits = true};
  }
  absl::Status StatusOf(ClassifyRequest request) {
    return runtime_->classifier().ClassifyAndWait(std::move(request)).status();
  }

  std::vector<std::string> images_;
};

TEST_F(ClassifierTest, AnswersWhatTensorFlowAnswers) {
  std::ifstream file(std::string(ZOOD_TEST_DATA) + "/golden/lenet12.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  for (int i = 0; i < 2; ++i) {
    const auto expected =
        golden["logits_f64"][static_cast<std::size_t>(i)].get<std::vector<double>>();
    const auto result = runtime_->classifier().ClassifyAndWait(Request(i));
    ASSERT_TRUE(result.ok()) << result.status();
    const ImageResult& image = result->images.front();
    ASSERT_EQ(image.logits.size(), expected.size());
    for (std::size_t c = 0; c < expected.size(); ++c) {
      EXPECT_NEAR(image.logits[c], expected[c], 2e-5 * Spread(expected));
    }
    const auto& top5 = golden["top5"][static_cast<std::size_t>(i)];
    ASSERT_EQ(image.classes.size(), 5u);
    for (std::size_t c = 0; c < 5; ++c) EXPECT_EQ(image.classes[c].index, top5[c][0]);
    EXPECT_EQ(image.classes[0].label, std::to_string(image.classes[0].index));
    EXPECT_EQ(result->version, 1);
    EXPECT_EQ(result->digest.size(), 64u);
  }
}

TEST_F(ClassifierTest, JoinedAnswersEqualSoloAnswers) {
  std::vector<std::vector<float>> solo;
  for (int i = 0; i < 16; ++i) {
    solo.push_back(runtime_->classifier().ClassifyAndWait(Request(i))->images.front().logits);
  }
  // One request with all of them: their places are reserved together, so they are joined.
  ClassifyRequest together = Request(0);
  together.images.clear();
  for (const std::string& image : images_) together.images.push_back(SmallImage(image));
  const auto joined = runtime_->classifier().ClassifyAndWait(std::move(together));
  ASSERT_TRUE(joined.ok()) << joined.status();
  int largest = 0;
  for (std::size_t i = 0; i < 16; ++i) {
    largest = std::max(largest, joined->images[i].batch_size);
    const std::vector<double> expected(solo[i].begin(), solo[i].end());
    for (std::size_t c = 0; c < expected.size(); ++c) {
      EXPECT_NEAR(joined->images[i].logits[c], expected[c], 2e-5 * Spread(expected)) << i;
    }
  }
  EXPECT_GT(largest, 1);
}

TEST_F(ClassifierTest, ManyClientsAtOnceEachGetTheirOwnAnswer) {
  std::vector<int> expected;
  for (int i = 0; i < 16; ++i) {
    expected.push_back(
        runtime_->classifier().ClassifyAndWait(Request(i))->images.front().classes[0].index);
  }
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> clients;
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&, i] {
      for (int turn = 0; turn < 20; ++turn) {
        const auto result = runtime_->classifier().ClassifyAndWait(Request(i));
        if (!result.ok() ||
            result->images.front().classes[0].index != expected[static_cast<std::size_t>(i)]) {
          ++wrong;
        }
      }
    });
  }
  clients.clear();
  EXPECT_EQ(wrong, 0);
}

TEST_F(ClassifierTest, DeliversEndPointsAndKeepsFewPrograms) {
  ClassifyRequest request = Request(0);
  request.end_points = {"pool1", "conv1"};
  const auto result = runtime_->classifier().ClassifyAndWait(request);
  ASSERT_TRUE(result.ok()) << result.status();
  const ImageResult& image = result->images.front();
  ASSERT_EQ(image.end_points.size(), 2u);
  EXPECT_EQ(image.end_points[0].shape(), (Shape{6, 6, 32}));
  EXPECT_EQ(image.end_points[1].shape(), (Shape{12, 12, 32}));
  // A pool is the maximum of four.
  const auto pool = image.end_points[0].values<float>();
  const auto conv = image.end_points[1].values<float>();
  EXPECT_EQ(pool[0], std::max({conv[0], conv[32], conv[12 * 32], conv[13 * 32]}));
  EXPECT_EQ(image.logits, runtime_->classifier().ClassifyAndWait(Request(0))->images[0].logits);

  request.end_points = {"nonsense"};
  EXPECT_EQ(StatusOf(request).code(), absl::StatusCode::kNotFound);
}

TEST_F(ClassifierTest, AnAnswerThatNoMessageCanHoldIsRefusedBeforeItIsComputed) {
  runtime::RuntimeOptions options = Options();
  options.classifier.max_answer_bytes = 64 << 10;
  runtime_.reset();
  ASSERT_NO_FATAL_FAILURE(Open(std::move(options)));
  ClassifyRequest request = Request(0);
  request.end_points = {"conv1"};  // 18 KiB an image
  request.images.assign(3, SmallImage(images_[0]));
  EXPECT_TRUE(StatusOf(request).ok()) << StatusOf(request);
  request.images.assign(4, SmallImage(images_[0]));
  const absl::Status status = StatusOf(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("18.3 KiB for each of 4 images"), std::string::npos) << status;
  EXPECT_NE(status.message().find("64.0 KiB"), std::string::npos) << status;
  EXPECT_EQ(runtime_->manager().Status("digits", 1).queue.images, 3) << "only the first request's";
}

// Of 24 bits; `side` is a multiple of four.
std::string Bmp(std::uint32_t side) {
  std::string bytes(54 + std::size_t{3} * side * side, '\x40');
  const auto put = [&](std::size_t at, std::uint32_t value) {
    std::memcpy(bytes.data() + at, &value, sizeof(value));
  };
  std::memset(bytes.data(), 0, 54);
  std::memcpy(bytes.data(), "BM", 2);
  put(2, static_cast<std::uint32_t>(bytes.size()));
  put(10, 54);
  put(14, 40);
  put(18, side);
  put(22, side);
  put(26, 1 | 24 << 16);
  return bytes;
}

// One client's heap of large images costs another one's photo no more than the image that is being
// decoded when it comes.
TEST_F(ClassifierTest, APhotoDoesNotWaitForAnotherClientsHeap) {
  ASSERT_TRUE(StatusOf(Request(0)).ok());
  const std::string large = Bmp(2000);
  std::promise<void> photo_is_queued;
  std::promise<void> decoding;
  std::atomic<bool> held = false;
  std::atomic<bool> heap_is_done = false;
  ClassifyRequest heap = Request(0);
  heap.images.assign(48, dataset::EncodedImage{large});
  heap.cancelled = [&] {
    char name[16] = {};
    pthread_getname_np(pthread_self(), name, sizeof(name));
    if (std::string(name) != "zood-decoder" || held.exchange(true)) return false;
    decoding.set_value();
    photo_is_queued.get_future().wait();
    return false;
  };
  std::promise<absl::Status> heap_status;
  runtime_->classifier().Classify(std::move(heap), [&](absl::StatusOr<ClassifyResult> result) {
    heap_is_done = true;
    heap_status.set_value(result.status());
  });
  decoding.get_future().wait();
  std::promise<bool> photo;
  const std::string small = Bmp(16);
  ClassifyRequest request = Request(0);
  request.images = {dataset::EncodedImage{small}};
  runtime_->classifier().Classify(std::move(request), [&](absl::StatusOr<ClassifyResult> result) {
    EXPECT_TRUE(result.ok()) << result.status();
    photo.set_value(!heap_is_done);
  });
  photo_is_queued.set_value();
  EXPECT_TRUE(photo.get_future().get()) << "the photo waited for all of the heap";
  const absl::Status status = heap_status.get_future().get();
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(ClassifierTest, TheImagesOfARequestShareABudgetOfPixels) {
  runtime::RuntimeOptions options = Options();
  options.classifier.max_pixels_per_request = 3 * 16 * 16;
  runtime_.reset();
  ASSERT_NO_FATAL_FAILURE(Open(std::move(options)));
  const std::string image = Bmp(16);
  ClassifyRequest request = Request(0);
  request.images.assign(3, dataset::EncodedImage{image});
  EXPECT_TRUE(StatusOf(request).ok()) << StatusOf(request);
  request.images.assign(4, dataset::EncodedImage{image});
  const absl::Status status = StatusOf(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("--max-request-pixels"), std::string::npos) << status;
}

TEST_F(ClassifierTest, TheImagesOfARequestShareABudgetOfTime) {
  runtime::RuntimeOptions options = Options();
  options.classifier.max_decode_time = std::chrono::nanoseconds(1);
  runtime_.reset();
  ASSERT_NO_FATAL_FAILURE(Open(std::move(options)));
  const std::string image = Bmp(16);
  ClassifyRequest request = Request(0);
  request.images.assign(2, dataset::EncodedImage{image});
  EXPECT_EQ(StatusOf(request).code(), absl::StatusCode::kInvalidArgument);
}

// Held against what models use, before a byte of it is taken.
TEST_F(ClassifierTest, DecodingIsRefusedWhereModelsLeaveNoMemory) {
  runtime::RuntimeOptions options = Options();
  options.memory_budget = std::uint64_t{128} << 20;
  runtime_.reset();
  ASSERT_NO_FATAL_FAILURE(Open(std::move(options)));
  ASSERT_TRUE(StatusOf(Request(0)).ok());
  const std::string large = Bmp(4000);
  ClassifyRequest request = Request(0);
  request.images = {dataset::EncodedImage{large}};
  MemoryBudget& budget = runtime_->budget();
  {
    const auto claim = budget.Claim(budget.left(), "the test");
    ASSERT_TRUE(claim.ok());
    EXPECT_EQ(StatusOf(request).code(), absl::StatusCode::kResourceExhausted);
    EXPECT_TRUE(StatusOf(Request(0)).ok());
  }
  const std::uint64_t before = budget.used();
  EXPECT_TRUE(StatusOf(request).ok()) << StatusOf(request);
  EXPECT_EQ(budget.used(), before) << "given back";
}

TEST_F(ClassifierTest, ImagesOfEveryProgramAreCounted) {
  ClassifyRequest request = Request(0);
  const std::vector<std::vector<std::string>> end_points = {
      {}, {"conv1"}, {"pool1"}, {"conv2"}, {"pool2"}, {"conv1", "pool1"}, {"conv1"}};
  for (const auto& names : end_points) {  // more than are kept
    request.end_points = names;
    ASSERT_TRUE(StatusOf(request).ok()) << StatusOf(request);
  }
  EXPECT_EQ(runtime_->manager().Status("digits", 1).queue.images, 7);
  EXPECT_EQ(runtime_->manager().Status("digits", 1).queue.batches, 7);
  EXPECT_EQ(runtime_->manager().Status("digits", 1).queue.waiting, 0);
}

TEST_F(ClassifierTest, NothingIsCompiledForACallerWhoHasGone) {
  ASSERT_TRUE(StatusOf(Request(0)).ok());
  ClassifyRequest request = Request(0);
  request.end_points = {"conv1"};
  // There while the model is looked up, gone when the compiler's turn comes.
  auto asked = std::make_shared<std::atomic<int>>(0);
  request.cancelled = [asked] { return ++*asked > 1; };
  EXPECT_EQ(StatusOf(std::move(request)).code(), absl::StatusCode::kCancelled);
  const auto servable =
      runtime_->manager().AcquireAndWait({"digits", ""}, Clock::time_point::max());
  ASSERT_TRUE(servable.ok());
  EXPECT_EQ((*servable)->FindProgram({"conv1"}), nullptr);
}

TEST_F(ClassifierTest, EveryBatchSizeIsWarmBeforeTheFirstRequest) {
  const auto servable =
      runtime_->manager().AcquireAndWait({"digits", ""}, Clock::time_point::max());
  ASSERT_TRUE(servable.ok());
  const auto program = (*servable)->FindProgram({});
  for (const int batch : program->batch_sizes()) EXPECT_EQ(program->runs(batch), 1) << batch;
}

TEST_F(ClassifierTest, PreprocessedInputIsTakenAsItIs) {
  std::vector<float> values;
  for (const char pixel : images_[0]) {
    values.push_back((static_cast<float>(static_cast<unsigned char>(pixel)) - 128.0f) / 128.0f);
  }
  const std::string bytes(reinterpret_cast<const char*>(values.data()), values.size() * 4);
  ClassifyRequest request = Request(0);
  request.images = {dataset::NetworkInput{bytes, Shape{12, 12, 1}}};
  EXPECT_EQ(runtime_->classifier().ClassifyAndWait(request)->images[0].logits,
            runtime_->classifier().ClassifyAndWait(Request(0))->images[0].logits);
}

TEST_F(ClassifierTest, BadRequestsSayWhatIsWrong) {
  const std::string nan(12 * 12 * 4, '\xff');
  struct Case {
    const char* name;
    std::function<void(ClassifyRequest&)> spoil;
    absl::StatusCode code;
    const char* words;
  };
  const std::vector<Case> cases = {
      {"no image", [](auto& r) { r.images.clear(); }, absl::StatusCode::kInvalidArgument,
       "holds no image"},
      {"unknown model", [](auto& r) { r.model.model = "cats"; }, absl::StatusCode::kNotFound,
       "no model 'cats'"},
      {"unknown version", [](auto& r) { r.model.selector = "9"; }, absl::StatusCode::kNotFound,
       "no version 9"},
      {"no image", [](auto& r) { r.images.push_back(dataset::EncodedImage{"GIF89a"}); },
       absl::StatusCode::kInvalidArgument, "image 1"},
      {"empty file", [](auto& r) { r.images = {dataset::EncodedImage{""}}; },
       absl::StatusCode::kInvalidArgument, "image 0"},
      {"shape", [&](auto& r) { r.images = {dataset::NetworkInput{nan, Shape{12, 12, 3}}}; },
       absl::StatusCode::kInvalidArgument, "[12,12,3]; the network takes [12,12,1]"},
      {"bytes", [&](auto& r) { r.images = {dataset::PixelImage{"abc", Shape{12, 12, 1}}}; },
       absl::StatusCode::kInvalidArgument, "3 bytes"},
      {"overflow",
       [&](auto& r) {
         r.images = {
             dataset::PixelImage{"", Shape{std::int64_t{1} << 40, std::int64_t{1} << 40, 3}}};
       },
       absl::StatusCode::kInvalidArgument, "image 0"},
      {"negative", [&](auto& r) { r.images = {dataset::PixelImage{"", Shape{-1, -1, 1}}}; },
       absl::StatusCode::kInvalidArgument, "image 0"},
      {"not a number", [&](auto& r) { r.images = {dataset::NetworkInput{nan, Shape{12, 12, 1}}}; },
       absl::StatusCode::kInvalidArgument, "not finite"},
      {"top_k", [](auto& r) { r.top_k = -1; }, absl::StatusCode::kInvalidArgument, "top_k"},
      {"threshold", [](auto& r) { r.threshold = std::nanf(""); },
       absl::StatusCode::kInvalidArgument, "threshold"},
      {"deadline", [](auto& r) { r.deadline = Clock::now() - std::chrono::seconds(1); },
       absl::StatusCode::kDeadlineExceeded, "deadline"},
      {"cancelled", [](auto& r) { r.cancelled = [] { return true; }; },
       absl::StatusCode::kCancelled, ""},
  };
  for (const Case& c : cases) {
    ClassifyRequest request = Request(0);
    c.spoil(request);
    const absl::Status status = StatusOf(std::move(request));
    EXPECT_EQ(status.code(), c.code) << c.name << ": " << status;
    EXPECT_NE(status.message().find(c.words), std::string::npos) << c.name << ": " << status;
  }
  EXPECT_TRUE(StatusOf(Request(0)).ok()) << "and the model serves on";
}

// One image of each kind that has no answer, among good ones.
TEST_F(ClassifierTest, AnImageWithoutAnAnswerCostsTheOthersNothing) {
  const std::string nan(12 * 12 * 4, '\xff');
  const auto good = [&](std::size_t i) { return SmallImage(images_[i]); };
  ClassifyRequest request = Request(0);
  request.outcome_per_image = true;
  request.images = {good(0),
                    dataset::EncodedImage{"GIF89a"},
                    good(1),
                    dataset::EncodedImage{""},
                    dataset::PixelImage{"abc", Shape{12, 12, 1}},
                    dataset::NetworkInput{nan, Shape{12, 12, 1}},
                    dataset::NetworkInput{nan, Shape{12, 12, 3}},
                    absl::InvalidArgumentError("the image is empty"),
                    good(2)};
  const auto result = runtime_->classifier().ClassifyAndWait(request);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->images.size(), request.images.size());
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}, std::size_t{8}}) {
    EXPECT_TRUE(result->images[i].error.ok()) << i << result->images[i].error;
    EXPECT_EQ(result->images[i].classes.size(), 5u) << i;
  }
  EXPECT_EQ(result->images[2].logits,
            runtime_->classifier().ClassifyAndWait(Request(1))->images[0].logits);
  for (const std::size_t i : {1, 3, 4, 5, 6, 7}) {
    EXPECT_EQ(result->images[i].error.code(), absl::StatusCode::kInvalidArgument) << i;
    EXPECT_FALSE(result->images[i].error.message().empty()) << i;
    EXPECT_TRUE(result->images[i].classes.empty()) << i;
  }
  EXPECT_EQ(result->images[7].error.message(), "the image is empty");

  request.images.assign(2, dataset::EncodedImage{"%PDF-1.7"});
  const auto none = runtime_->classifier().ClassifyAndWait(request);
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_FALSE(none->images[1].error.ok());
  // What is wrong with the request stays an error of the request.
  request.end_points = {"nonsense"};
  EXPECT_EQ(StatusOf(request).code(), absl::StatusCode::kNotFound);
  request.end_points.clear();
  request.cancelled = [] { return true; };
  EXPECT_EQ(StatusOf(request).code(), absl::StatusCode::kCancelled);
}

// However small the threshold, the answer's bound counts every class that may reach it.
TEST_F(ClassifierTest, ATinyThresholdBoundsNoAnswer) {
  runtime::RuntimeOptions options = Options();
  options.classifier.max_answer_bytes = 512;  // ten classes have more
  runtime_.reset();
  ASSERT_NO_FATAL_FAILURE(Open(std::move(options)));
  ClassifyRequest request = Request(0);
  request.logits = false;
  request.top_k = 10;
  const std::size_t each = 64 + 10 * 32;
  request.images.assign(512 / each + 1, SmallImage(images_[0]));
  for (const float threshold : {0.0f, 1e-20f, 1e-38f, std::numeric_limits<float>::denorm_min(),
                                std::numeric_limits<float>::min(), 1e-7f}) {
    request.threshold = threshold;
    EXPECT_EQ(StatusOf(request).code(), absl::StatusCode::kInvalidArgument) << threshold;
  }
  request.threshold = 0.5f;  // three classes at most
  EXPECT_TRUE(StatusOf(request).ok()) << StatusOf(request);
}

}  // namespace
}  // namespace zood::serving
