// Writes small .caffemodel files for tests.
#pragma once

#include <string>
#include <string_view>

#include "base/tensor.h"
#include "base/wire_writer.h"

namespace zood::testing {

// A BlobProto: its extents as field 7, its values packed as field 5.
inline std::string CaffeBlob(const Tensor& tensor) {
  std::string dims, values, shape, blob;
  for (const std::int64_t extent : tensor.shape()) {
    AppendVarint(dims, static_cast<std::uint64_t>(extent));
  }
  AppendBytesField(shape, 1, dims);
  values = AsText(std::as_bytes(tensor.values<float>()));
  AppendBytesField(blob, 7, shape);
  AppendBytesField(blob, 5, values);
  return blob;
}

// A NetParameter whose layers have these blobs, named "<layer>/<index>" from 0 on.
inline std::string CaffeModel(const TensorMap& blobs) {
  std::string net, layer, name;
  const auto end_layer = [&] {
    if (!name.empty()) AppendBytesField(net, 100, layer);
    layer.clear();
  };
  for (const auto& [blob, tensor] : blobs) {
    const std::string of(blob.substr(0, blob.rfind('/')));
    if (of != name) {
      end_layer();
      name = of;
      AppendBytesField(layer, 1, name);
      AppendBytesField(layer, 2, "InnerProduct");
    }
    AppendBytesField(layer, 7, CaffeBlob(tensor));
  }
  end_layer();
  return net;
}

}  // namespace zood::testing
