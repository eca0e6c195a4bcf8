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
      AddPicture(image->mutable_image(), i);
      image->set_index(i % 10);
    }
    stream->Write(message);
  }
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
