// The smallest member of each family; zoo_vs_reference_long_test.cc has the others.
#include "tests/engine/zoo_vs_reference.h"

namespace zood::testing {
namespace {

INSTANTIATE_TEST_SUITE_P(
    Families, ZooVsReferenceTest,
    ::testing::Values(At("alexnet_v2", 225, 7), At("alexnet_v2", 230, 101),                    //
                      At("cifarnet", 24, 3), At("cifarnet", 48, 100),                          //
                      At("cifar_resnet20", 24, 3), At("cifar_resnet20", 41, 100),              //
                      At("lenet", 20, 7, 1), At("lenet", 40, 62, 3),                           //
                      At("inception_v1", 96, 5), At("inception_v1", 161, 102),                 //
                      At("inception_v2", 96, 5), At("inception_v2", 161, 102),                 //
                      At("inception_v3", 107, 5), At("inception_v3", 139, 102),                //
                      At("inception_v4", 107, 5), At("inception_v4", 139, 102),                //
                      At("inception_resnet_v2", 107, 5), At("inception_resnet_v2", 139, 102),  //
                      At("mobilenet_v1_025", 96, 5), At("mobilenet_v1_050", 161, 102),         //
                      At("mobilenet_v2_035", 96, 5), At("mobilenet_v2_050", 161, 102),         //
                      At("resnet_v1_50", 96, 5), At("resnet_v1_50", 161, 102),                 //
                      At("resnet_v2_50", 96, 5), At("resnet_v2_50", 161, 102),                 //
                      At("efficientnet_lite0", 96, 5), At("efficientnet_lite0", 161, 102)),
    ZooCaseName);

}  // namespace
}  // namespace zood::testing
