#include "server/zood_v1/convert.h"

#include <gtest/gtest.h>

#include "models/zoo.h"
#include "server/log.h"
#include "server/zood_v1/convert_fine_tuning.h"
#include "server/zood_v1/status.h"

namespace zood::server {
namespace {

// 90 images in batches of 16: slim's decay_steps = int(5.625 * epochs).
TEST(ConvertTest, EpochsOfALearningRateAreRoundedDown) {
  v1::LearningRate message;
  v1::LearningRate::Decay* decay = message.mutable_exponential();
  decay->set_learning_rate(1);
  decay->set_decay_rate(0.5f);
  decay->set_staircase(true);
  const auto first_drop = [&](double epochs) {
    decay->mutable_decay_length()->set_epochs(epochs);
    v1::JobSpec spec;
    *spec.mutable_learning_rate() = message;
    const auto converted = ToJobSpec(spec);
    EXPECT_TRUE(converted.ok()) << converted.status();
    const auto schedule = jobs::MakeSchedule(converted->training.learning_rate,
                                             {.steps = 100, .steps_per_epoch = 5.625});
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
  spec.decode = {
      .channels = 3, .dct = image::JpegDct::kInteger, .fancy_upsampling = false, .upright = true};
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

// The names of the API are those of the stored form; that reflection finds all is seen above.
template <typename E>
void ExpectValues(const google::protobuf::EnumDescriptor& descriptor, E) {
  const auto names = NamesOf(E{});
  ASSERT_EQ(descriptor.value_count(), static_cast<int>(names.size()) + 1);
  for (int i = 0; i < static_cast<int>(names.size()); ++i) {
    std::string name = names[static_cast<std::size_t>(i)];
    for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    EXPECT_TRUE(descriptor.FindValueByNumber(i + 1)->name().ends_with(name)) << name;
  }
}

TEST(ConvertTest, ValuesOfPreprocessingAreNamedAsInTheStore) {
  ExpectValues(*v1::JpegDct_descriptor(), image::JpegDct());
  ExpectValues(*v1::ChannelOrder_descriptor(), image::ChannelOrder());
  ExpectValues(*v1::ResizeFilter_descriptor(), image::ResizeFilter());
  ExpectValues(*v1::PreprocessStep::ResizeShorterSide::Rounding_descriptor(),
               image::SideRounding());
  ExpectValues(*v1::PreprocessStep::CentralCrop::Rounding_descriptor(), image::CropRounding());
}

TEST(ConvertTest, PreprocessingThatCannotWorkIsRefused) {
  v1::Preprocessing message;
  EXPECT_FALSE(ToPreprocessSpec(message).ok()) << "no step";
  message.add_steps();
  EXPECT_FALSE(ToPreprocessSpec(message).ok()) << "an empty step";
  auto* resize = message.mutable_steps(0)->mutable_resize();
  resize->set_height(8);
  resize->set_width(8);
  EXPECT_TRUE(ToPreprocessSpec(message).ok());
  resize->set_filter(static_cast<v1::ResizeFilter>(99));
  EXPECT_NE(ToPreprocessSpec(message).status().message().find("filter: 99"), std::string::npos);
  resize->clear_filter();
  message.set_jpeg_dct(static_cast<v1::JpegDct>(-1));
  EXPECT_FALSE(ToPreprocessSpec(message).ok());
  message.clear_jpeg_dct();
  for (int i = 0; i < 64; ++i) *message.add_steps() = message.steps(0);
  EXPECT_NE(ToPreprocessSpec(message).status().message().find("65 steps"), std::string::npos);
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
