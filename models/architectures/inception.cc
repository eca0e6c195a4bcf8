// The Inception networks as published in slim.
#include <utility>

#include "models/architectures/families.h"
#include "models/architectures/inception_common.h"
#include "models/architectures/preprocessing.h"

namespace zood::models {

std::vector<Architecture> InceptionFamily() {
  const auto entry = [](Architecture network) {
    network.family = "Inception";
    network.labels = LabelSet::kImageNetWithBackground;
    network.preprocess = InceptionPreprocessing;
    return network;
  };
  return {
      entry({.name = "inception_v1",
             .description = "Inception v1, known as GoogLeNet (2014), with batch normalization. "
                            "Small and fast.",
             .scope = "InceptionV1",
             .defaults = {.num_classes = 1001, .height = 224, .width = 224},
             .published = {{"inception_v1_2016_08_28.tar.gz", 69.8, 89.6}},
             .head_scopes = {"InceptionV1/Logits"},
             .build = inception::InceptionV1}),
      entry({.name = "inception_v2",
             .description = "Inception v2 (2015), the network that introduced batch normalization. "
                            "Small and fast.",
             .scope = "InceptionV2",
             .defaults = {.num_classes = 1001, .height = 224, .width = 224},
             .published = {{"inception_v2_2016_08_28.tar.gz", 73.9, 91.8}},
             .head_scopes = {"InceptionV2/Logits"},
             .build = inception::InceptionV2}),
      entry({.name = "inception_v3",
             .description = "Inception v3 (2015), of factorized convolutions. Accurate for its "
                            "size; much used as a base for fine-tuning.",
             .scope = "InceptionV3",
             .defaults = {.num_classes = 1001, .height = 299, .width = 299},
             .published = {{"inception_v3_2016_08_28.tar.gz", 78.0, 93.9}},
             .head_scopes = {"InceptionV3/Logits", "InceptionV3/AuxLogits"},
             .build = inception::InceptionV3}),
      entry({.name = "inception_v4",
             .description = "Inception v4 (2016), deeper and more uniform than v3. Accurate and "
                            "slow.",
             .scope = "InceptionV4",
             .defaults = {.num_classes = 1001, .height = 299, .width = 299},
             .published = {{"inception_v4_2016_09_09.tar.gz", 80.2, 95.2}},
             .head_scopes = {"InceptionV4/Logits", "InceptionV4/AuxLogits"},
             .build = inception::InceptionV4}),
      entry({.name = "inception_resnet_v2",
             .description = "Inception-ResNet-v2 (2016), Inception blocks with residual "
                            "connections. Accurate and slow.",
             .scope = "InceptionResnetV2",
             .defaults = {.num_classes = 1001, .height = 299, .width = 299},
             .published = {{"inception_resnet_v2_2016_08_30.tar.gz", 80.4, 95.3}},
             .head_scopes = {"InceptionResnetV2/Logits", "InceptionResnetV2/AuxLogits"},
             .build = inception::InceptionResnetV2}),
  };
}

}  // namespace zood::models
