#include "server/zood_v1/convert.h"

#include <gtest/gtest.h>

#include "models/zoo.h"
#include "server/log.h"
#include "server/zood_v1/convert_fine_tuning.h"
#include "server/zood_v1/status.h"

namespace zood::server {
namespace {

// 90 pictures in batches of 16: slim's decay_steps = int(5.625 * epochs).
TEST(ConvertTest, EpochsOfALearningRateAreRoundedDown) {
  v1::LearningRate message;
  v1::LearningRate::Decay* decay = message.mutable_exponential();
  decay->set_learning_rate(1);
  decay->set_decay_rate(0.5f);
  decay->set_staircase(true);
  const auto first_drop = [&](double epochs) {
    decay->mutable_decay_length()->set_epochs(epochs);
    const auto schedule = ToSchedule(message, {.steps = 100, .steps_per_epoch = 5.625});
    EXPECT_TRUE(schedule.ok()) << schedule.status();
    std::int64_t step = 0;
    while (step < 100 && (*schedule)->LearningRate(step) == 1) ++step;
    return step;
  };
  EXPECT_EQ(first_drop(1), 5);
  EXPECT_EQ(first_drop(2), 11);
  EXPECT_EQ(first_drop(8), 45);
  EXPECT_EQ(first_drop(0.1), 1) << "a decay takes a step at least";
}

TEST(ConvertTest, EveryPreprocessingOfTheZooSurvivesTheWire) {
  const models::Zoo zoo = models::Zoo::Standard();
  for (const models::Architecture* architecture : zoo.List()) {
    const image::PreprocessSpec spec = architecture->preprocess(architecture->defaults);
    v1::Preprocessing message;
    ToProto(spec, &message);
    const auto back = ToPreprocessSpec(message);
    ASSERT_TRUE(back.ok()) << architecture->name << ": " << back.status();
    EXPECT_EQ(*back, spec) << architecture->name;
  }
}

TEST(ConvertTest, EveryStepSurvivesTheWire) {
  image::PreprocessSpec spec;
  spec.decode = {.channels = 3, .dct = image::JpegDct::kInteger, .fancy_upsampling = false};
  spec.channel_order = image::ChannelOrder::kBgr;
  spec.steps = {image::CentralSquare{0.75},
                image::ResizeShorterSide{300, image::ResizeFilter::kPillowLanczos,
                                         image::SideRounding::kTruncate},
                image::Resize{280, 290, image::ResizeFilter::kPillowBox},
                image::CentralCropFraction{0.875},
                image::CentralCrop{230, 231, image::CropRounding::kNearestEven},
                image::CropOrPad{224, 225, 0.5f},
                image::Subtract{{1, 2, 3}},
                image::Multiply{{0.5f}},
                image::Divide{{4}},
                image::Standardize{}};
  v1::Preprocessing message;
  ToProto(spec, &message);
  const auto back = ToPreprocessSpec(message);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, spec);
}

TEST(ConvertTest, StatusesKeepCodeAndMessage) {
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  const grpc::Status status = ToGrpc(absl::DataLossError("bytes are gone"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(status.error_message(), "bytes are gone");
  EXPECT_LT(ToGrpc(absl::InternalError(std::string(100'000, 'x'))).error_message().size(), 5000u);
}

TEST(ConvertTest, DeadlinesThatAreNoneStayNone) {
  EXPECT_EQ(SteadyDeadline(std::chrono::system_clock::time_point::max()),
            serving::Clock::time_point::max());
  const auto soon = SteadyDeadline(std::chrono::system_clock::now() + std::chrono::hours(1));
  EXPECT_GT(soon, serving::Clock::now() + std::chrono::minutes(59));
  EXPECT_LT(SteadyDeadline(std::chrono::system_clock::now() - std::chrono::hours(1)),
            serving::Clock::now());
}

TEST(LogTest, LevelsAndFormatsAreChecked) {
  EXPECT_TRUE(Log::Create("info", "json").ok());
  EXPECT_EQ(Log::Create("loud", "json").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Log::Create("info", "xml").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace zood::server
