// What layers of data say of the images that they feed.
#include <cmath>

#include "base/status.h"
#include "netdef/caffe/parameters.h"

namespace zood::netdef {
namespace {

namespace pb = formats::caffe;

// Old files have these fields in the parameters of Data, ImageData and WindowData; a
// transform_param says the same since 2014.
template <typename Old>
void AddOldTransform(const Old& old, CaffeTransform& transform) {
  if (!transform.empty()) return;
  if (old.has_scale()) transform.scale = old.scale();
  transform.mirror = old.mirror();
  transform.crop_size = old.crop_size();
  transform.mean_file = old.mean_file();
}

absl::Status CheckTransform(const CaffeTransform& transform) {
  if (transform.scale && !std::isfinite(*transform.scale)) {
    return InvalidArgument("scale is {}, not a finite number", *transform.scale);
  }
  for (const float value : transform.mean_values) {
    if (!std::isfinite(value))
      return InvalidArgument("mean_value is {}, not a finite number", value);
  }
  if (transform.crop_size > kLargestCaffeNumber) {
    return InvalidArgument("crop_size is {}; it must be between 0 and {}", transform.crop_size,
                           kLargestCaffeNumber);
  }
  return absl::OkStatus();
}

void AddDummyShape(const pb::DummyDataParameter& dummy, CaffeData& data) {
  constexpr int kRank = 4;
  if (dummy.shape_size() > 0 && dummy.shape(0).dim_size() == kRank) {
    data.channels = dummy.shape(0).dim(1);
    data.height = dummy.shape(0).dim(2);
    data.width = dummy.shape(0).dim(3);
  } else if (dummy.channels_size() > 0 && dummy.height_size() > 0 && dummy.width_size() > 0) {
    data.channels = dummy.channels(0);
    data.height = dummy.height(0);
    data.width = dummy.width(0);
  }
}

}  // namespace

absl::StatusOr<CaffeTransform> ResolveCaffeTransform(const pb::LayerParameter& layer) {
  const pb::TransformationParameter& from = layer.transform_param();
  CaffeTransform to = {.mirror = from.mirror(),
                       .crop_size = from.crop_size(),
                       .mean_values = {from.mean_value().begin(), from.mean_value().end()},
                       .mean_file = from.mean_file()};
  if (from.has_scale()) to.scale = from.scale();
  if (layer.has_data_param()) AddOldTransform(layer.data_param(), to);
  if (layer.has_image_data_param()) AddOldTransform(layer.image_data_param(), to);
  if (layer.has_window_data_param()) AddOldTransform(layer.window_data_param(), to);
  if (from.force_color() || layer.data_param().force_encoded_color()) to.forced_channels = 3;
  if (from.force_gray()) to.forced_channels = 1;
  ZOOD_RETURN_IF_ERROR(CheckTransform(to));
  return to;
}

absl::StatusOr<CaffeData> ResolveCaffeData(const pb::LayerParameter& layer) {
  CaffeData data;
  ZOOD_ASSIGN_OR_RETURN(data.transform, ResolveCaffeTransform(layer));
  if (layer.has_memory_data_param()) {
    const pb::MemoryDataParameter& memory = layer.memory_data_param();
    data.channels = memory.channels();
    data.height = memory.height();
    data.width = memory.width();
  } else if (layer.has_image_data_param()) {
    const pb::ImageDataParameter& image = layer.image_data_param();
    data.channels = image.has_is_color() && !image.is_color() ? 1 : 3;
    data.height = image.new_height();
    data.width = image.new_width();
  } else if (layer.has_dummy_data_param()) {
    AddDummyShape(layer.dummy_data_param(), data);
  }
  if (data.transform.forced_channels > 0) data.channels = data.transform.forced_channels;
  // A mean for each channel counts them.
  constexpr std::size_t kColors = 3;
  if (data.channels == 0 && data.transform.mean_values.size() == kColors) data.channels = kColors;
  return data;
}

}  // namespace zood::netdef
