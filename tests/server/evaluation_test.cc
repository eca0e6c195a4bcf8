#include "tests/server/server_fixture.h"

namespace zood::server {
namespace {

using ::testing::HasSubstr;

class EvaluationTest : public ServerTest {
 protected:
  static constexpr int kImages = 30;

  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_NO_FATAL_FAILURE(ImportLeNet());
    std::string images("\0\0\x08\x03\0\0\0\x1e\0\0\0\x0c\0\0\0\x0c", 16);
    std::string labels("\0\0\x08\x01\0\0\0\x1e", 8);
    for (int i = 0; i < kImages; ++i) {
      const auto pixels = zood::testing::ImageU8(i, 12, 12, 1);
      images.append(pixels.begin(), pixels.end());
      labels += static_cast<char>(i % 10);
    }
    std::ofstream(directory_ + "/images", std::ios::binary) << images;
    std::ofstream(directory_ + "/labels", std::ios::binary) << labels;
  }

  struct Result {
    grpc::Status status;
    v1::EvaluationReport report;
  };
  template <typename Stream>
  static Result Finish(Stream& stream) {
    Result result;
    v1::EvaluateResponse response;
    while (stream.Read(&response)) {
      if (response.has_report()) result.report = response.report();
    }
    result.status = stream.Finish();
    return result;
  }
  Result Evaluate(const std::string& images, const std::string& labels) {
    grpc::ClientContext context;
    v1::EvaluateRequest request;
    request.mutable_spec()->mutable_model()->set_name("digits");
    request.mutable_idx()->set_images(images);
    request.mutable_idx()->set_labels(labels);
    return Finish(*evaluation_->Evaluate(&context, request));
  }
};

TEST_F(EvaluationTest, FilesAndStreamGiveTheSameReport) {
  const Result from_files = Evaluate("images", "labels");
  ASSERT_TRUE(from_files.status.ok()) << from_files.status.error_message();
  EXPECT_EQ(from_files.report.images(), kImages);
  EXPECT_EQ(from_files.report.confusion_size(), 100);
  EXPECT_EQ(from_files.report.classes_size(), 10);
  EXPECT_GT(from_files.report.mean_loss(), 0);

  grpc::ClientContext context;
  const auto stream = evaluation_->EvaluateStream(&context);
  v1::EvaluateStreamRequest message;
  message.mutable_spec()->mutable_model()->set_name("digits");
  stream->Write(message);
  for (int i = 0; i < kImages;) {
    message.mutable_images()->Clear();
    for (int n = 0; n < 7 && i < kImages; ++n, ++i) {
      v1::LabeledImage* image = message.mutable_images()->add_images();
      AddImage(image->mutable_image(), i);
      image->set_index(i % 10);
    }
    stream->Write(message);
  }
  message.mutable_end()->set_images(kImages);
  stream->Write(message);
  stream->WritesDone();
  Result streamed = Finish(*stream);
  ASSERT_TRUE(streamed.status.ok()) << streamed.status.error_message();
  EXPECT_EQ(streamed.report.top1_correct(), from_files.report.top1_correct());
  EXPECT_EQ(streamed.report.top5_correct(), from_files.report.top5_correct());
  EXPECT_NEAR(streamed.report.mean_loss(), from_files.report.mean_loss(), 1e-5);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(streamed.report.confusion(i), from_files.report.confusion(i));
  }
}

// An image of the generator as a BMP file of 24 bits.
std::string Bmp(int index) {
  const auto little = [](std::uint32_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
    return text;
  };
  constexpr int kSide = 12;
  std::string file = "BM" + little(54 + kSide * kSide * 3, 4) + little(0, 4) + little(54, 4);
  file += little(40, 4) + little(kSide, 4) + little(kSide, 4) + little(1, 2) + little(24, 2) +
          std::string(24, '\0');
  for (const std::uint8_t gray : zood::testing::ImageU8(index, kSide, kSide, 1)) {
    file.append(3, static_cast<char>(gray));
  }
  return file;
}

TEST_F(EvaluationTest, AFolderOfImagesIsCountedAsClassifyAnswers) {
  int correct = 0;
  for (int i = 0; i < kImages; ++i) {
    v1::ClassifyRequest request;
    request.mutable_model()->set_name("digits");
    request.add_images()->set_encoded(Bmp(i));
    v1::ClassifyResponse response;
    const grpc::Status status = Classify(request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    correct += response.results(0).classes(0).index() == i % 10;
    const std::string folder =
        directory_ + "/photos/" + std::to_string(i % 10) + (i % 2 == 0 ? "" : "/below");
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/" + std::to_string(i) + ".bmp", std::ios::binary) << Bmp(i);
  }
  const auto evaluate = [&](const std::string& folder, bool skip) {
    grpc::ClientContext context;
    v1::EvaluateRequest request;
    request.mutable_spec()->mutable_model()->set_name("digits");
    request.mutable_spec()->set_skip_bad_images(skip);
    request.set_image_folder(folder);
    return Finish(*evaluation_->Evaluate(&context, request));
  };
  const Result result = evaluate("photos", false);
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.report.images(), kImages);
  EXPECT_EQ(result.report.top1_correct(), correct);

  std::filesystem::create_directories(directory_ + "/photos/cat");
  std::ofstream(directory_ + "/photos/cat/a.bmp", std::ios::binary) << Bmp(0);
  const Result strict = evaluate("photos", false);
  EXPECT_EQ(strict.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(strict.status.error_message(), HasSubstr("has no class 'cat'"));
  const Result lax = evaluate("photos", true);
  EXPECT_EQ(lax.report.images(), kImages);
  EXPECT_EQ(lax.report.bad_images(), 1);
  EXPECT_EQ(evaluate("/etc", false).status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(EvaluationTest, BadRequestsSayWhatIsWrong) {
  EXPECT_EQ(Evaluate("images", "/etc/hostname").status.error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(Evaluate("labels", "labels").status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Evaluate("none", "labels").status.error_code(), grpc::StatusCode::NOT_FOUND);
  grpc::ClientContext context;
  v1::EvaluateRequest empty;
  empty.mutable_spec()->mutable_model()->set_name("digits");
  const Result result = Finish(*evaluation_->Evaluate(&context, empty));
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(result.status.error_message(), HasSubstr("dataset"));
}

}  // namespace
}  // namespace zood::server
