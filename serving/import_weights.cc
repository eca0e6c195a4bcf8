#include "serving/import_weights.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/status.h"
#include "checkpoint/caffe_reader.h"
#include "checkpoint/variable_role.h"

namespace zood::serving {
namespace {

// At most five of `names`, and how many more there are.
std::string Some(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 5); ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > 5) text += fmt::format(" and {} more", names.size() - 5);
  return text;
}

}  // namespace

absl::StatusOr<TensorMap> ImportWeights(
    const checkpoint::Reader& reader, const Network&, const graph::Graph& graph,
    const models::Zoo&, bool prefer_moving_averages,
    const std::function<void(std::int64_t done, std::int64_t total)>& progress) {
  const auto total = static_cast<std::int64_t>(graph.variables().size());
  progress(0, total);
  ZOOD_ASSIGN_OR_RETURN(
      TensorMap weights,
      checkpoint::ReadAll(reader, {.prefer_moving_averages = prefer_moving_averages,
                                   .training_state = false}));
  std::vector<std::string> extra;
  for (auto& [name, tensor] : weights) {
    const auto known = std::ranges::find(graph.variables(), name, &graph::Variable::name);
    if (known == graph.variables().end()) extra.push_back(name);
  }
  const std::string file = reader.files().empty() ? "the file" : reader.files().front();
  if (absl::Status status = graph.CheckWeights(weights); !status.ok()) {
    return Annotate(status, file);
  }
  if (!extra.empty()) {
    return InvalidArgument("{}: the network has no variables {}; is it the right architecture?",
                           file, Some(extra));
  }
  progress(total, total);
  return weights;
}

absl::StatusOr<image::PreprocessSpec> CaffePreprocess(FileSystem& files, const graph::Graph& graph,
                                                      const std::string& mean_path) {
  const Shape& input = graph.input_shape();
  image::PreprocessSpec spec;
  spec.decode = {.channels = static_cast<int>(input[3]), .dct = image::JpegDct::kInteger};
  spec.channel_order =
      input[3] == 3 ? image::ChannelOrder::kBgr : image::ChannelOrder::kRgb;
  spec.steps.push_back(image::Resize{.height = static_cast<int>(input[1]),
                                     .width = static_cast<int>(input[2]),
                                     .filter = image::ResizeFilter::kPillowBilinear});
  if (mean_path.empty()) return spec;
  ZOOD_ASSIGN_OR_RETURN(const auto contents, files.Open(mean_path));
  ZOOD_ASSIGN_OR_RETURN(const Tensor mean,
                        checkpoint::ReadCaffeMean(contents->bytes(), mean_path));
  if (mean.shape().rank() != 3 || mean.shape()[0] != input[3]) {
    return InvalidArgument("{}: the mean has shape {}, but the network takes {} channels",
                           mean_path, mean.shape().ToString(), input[3]);
  }
  image::Subtract subtract;
  const std::int64_t pixels = mean.shape()[1] * mean.shape()[2];
  for (std::int64_t c = 0; c < mean.shape()[0]; ++c) {
    double sum = 0;
    for (const float value : mean.values<float>().subspan(
             static_cast<std::size_t>(c * pixels), static_cast<std::size_t>(pixels))) {
      sum += value;
    }
    subtract.values.push_back(static_cast<float>(sum / static_cast<double>(pixels)));
  }
  spec.steps.push_back(std::move(subtract));
  return spec;
}

}  // namespace zood::serving
