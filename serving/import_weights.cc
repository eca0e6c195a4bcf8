#include "serving/import_weights.h"

#include <utility>

#include "base/status.h"
#include "checkpoint/caffe_reader.h"
#include "checkpoint/variable_role.h"
#include "models/name_map.h"

namespace zood::serving {

absl::StatusOr<TensorMap> ImportWeights(
    const checkpoint::Reader& reader, const Network& network, const graph::Graph& graph,
    const models::Zoo& zoo, bool prefer_moving_averages,
    const std::function<absl::Status(std::int64_t done, std::int64_t total)>& progress) {
  ZOOD_ASSIGN_OR_RETURN(
      const TensorMap file,
      checkpoint::ReadAll(reader, {.prefer_moving_averages = prefer_moving_averages,
                                   .training_state = false,
                                   .progress = progress}));
  const std::string path = reader.files().empty() ? "the file" : reader.files().front();
  const auto map = [&]() -> absl::StatusOr<models::MappedWeights> {
    if (const auto* named = std::get_if<ZooNetwork>(&network)) {
      ZOOD_ASSIGN_OR_RETURN(const models::Architecture* architecture,
                            zoo.Find(named->architecture));
      return models::MapWeights(*architecture, graph, reader.format(), file);
    }
    if (reader.format() != checkpoint::Format::kCaffe) {
      return InvalidArgument(
          "this is a file of {}, but a network from a .prototxt takes the weights of a .caffemodel",
          checkpoint::Name(reader.format()));
    }
    ZOOD_ASSIGN_OR_RETURN(const models::CaffeNetwork caffe,
                          BuildCaffe(std::get<CaffeNetwork>(network)));
    return caffe.MapWeights(file);
  };
  absl::StatusOr<models::MappedWeights> mapped = map();
  if (!mapped.ok()) return Annotate(mapped.status(), path);
  return std::move(mapped->weights);
}

absl::StatusOr<image::PreprocessSpec> CaffePreprocess(FileSystem& files, const graph::Graph& graph,
                                                      const std::string& mean_path) {
  const Shape& input = graph.input_shape();
  image::PreprocessSpec spec;
  spec.decode = {.channels = static_cast<int>(input[3]), .dct = image::JpegDct::kInteger};
  spec.channel_order = input[3] == 3 ? image::ChannelOrder::kBgr : image::ChannelOrder::kRgb;
  spec.steps.push_back(image::Resize{.height = static_cast<int>(input[1]),
                                     .width = static_cast<int>(input[2]),
                                     .filter = image::ResizeFilter::kPillowBilinear});
  if (mean_path.empty()) return spec;
  ZOOD_ASSIGN_OR_RETURN(const auto contents, files.Open(mean_path));
  ZOOD_ASSIGN_OR_RETURN(const Tensor mean, checkpoint::ReadCaffeMean(contents->bytes(), mean_path));
  if (mean.shape().rank() != 3 || mean.shape()[0] != input[3]) {
    return InvalidArgument("{}: the mean has shape {}, but the network takes {} channels",
                           mean_path, mean.shape().ToString(), input[3]);
  }
  image::Subtract subtract;
  const std::int64_t pixels = mean.shape()[1] * mean.shape()[2];
  for (std::int64_t c = 0; c < mean.shape()[0]; ++c) {
    double sum = 0;
    for (const float value : mean.values<float>().subspan(static_cast<std::size_t>(c * pixels),
                                                          static_cast<std::size_t>(pixels))) {
      sum += value;
    }
    subtract.values.push_back(static_cast<float>(sum / static_cast<double>(pixels)));
  }
  spec.steps.push_back(std::move(subtract));
  return spec;
}

}  // namespace zood::serving
