// The larger members of each family, and VGG and OverFeat, whose size is what it is.
#include "tests/engine/zoo_vs_reference.h"

namespace zood::testing {
namespace {

INSTANTIATE_TEST_SUITE_P(
    LargeFamilies, ZooVsReferenceTest,
    ::testing::Values(At("overfeat", 235, 7), At("overfeat", 240, 101),                 //
                      At("vgg_a", 225, 7), At("vgg_a", 255, 101),                       //
                      At("vgg_16", 225, 7), At("vgg_16", 240, 101),                     //
                      At("vgg_19", 225, 7), At("vgg_19", 240, 101),                     //
                      At("resnet_v1_101", 128, 7), At("resnet_v1_152", 128, 7),         //
                      At("resnet_v1_200", 128, 7), At("resnet_v2_101", 128, 7),         //
                      At("resnet_v2_152", 128, 7), At("resnet_v2_200", 128, 7),         //
                      At("mobilenet_v1_075", 128, 7), At("mobilenet_v1_100", 192, 11),  //
                      At("mobilenet_v2_075", 128, 7), At("mobilenet_v2_100", 192, 11),  //
                      At("mobilenet_v2_130", 128, 7), At("mobilenet_v2_140", 192, 11),  //
                      At("inception_v3", 321, 11), At("inception_v4", 321, 11),         //
                      At("inception_resnet_v2", 321, 11)),
    ZooCaseName);

}  // namespace
}  // namespace zood::testing
