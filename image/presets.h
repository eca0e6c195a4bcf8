// The evaluation preprocessing of published networks, for an input of size x size pixels.
// Sources: tensorflow/models research/slim/preprocessing, Caffe's ImageNet scripts, torchvision's
// reference presets, EfficientNet-Lite's preprocessing.
#pragma once

#include <array>

#include "image/preprocess.h"

namespace zood::image {

// slim's vgg_preprocessing (VGG, ResNet v1, AlexNet, OverFeat): shorter side to 256 as the legacy
// bilinear resize does it, central crop, minus the mean (123.68, 116.78, 103.94); RGB. Sizes over
// 256 keep the ratio 256 / 224 of the published networks.
PreprocessSpec VggEval(int size);

// slim's inception_preprocessing (Inception, MobileNet, ResNet v2): x / 255, central crop of
// `central_fraction` of each side, legacy bilinear resize without keeping the aspect, to [-1, 1].
PreprocessSpec InceptionEval(int size, double central_fraction = 0.875);

// slim's cifarnet_preprocessing: crop or pad, then per-image standardization.
PreprocessSpec CifarnetEval(int size);

// slim's lenet_preprocessing: crop or pad, (x - 128) / 128; gray unless set otherwise.
PreprocessSpec LenetEval(int size, int channels = 1);

// Caffe's ImageNet networks: resized to a square of 256 / 224 x size whatever the aspect (Pillow's
// bilinear), central crop, BGR minus `mean_bgr`.
PreprocessSpec CaffeEval(int size, const std::array<float, 3>& mean_bgr = {104, 117, 123});

// ImageNet's channel statistics in [0, 1], RGB, as torchvision uses them.
inline constexpr std::array<float, 3> kTorchvisionMean = {0.485f, 0.456f, 0.406f};
inline constexpr std::array<float, 3> kTorchvisionStddev = {0.229f, 0.224f, 0.225f};

// torchvision's classification preset on Pillow images: shorter side to `resize`, central crop,
// x / 255, minus mean, over deviation.
PreprocessSpec TorchvisionEval(int size, int resize,
                               const std::array<float, 3>& mean = kTorchvisionMean,
                               const std::array<float, 3>& stddev = kTorchvisionStddev);

// EfficientNet-Lite: central square of 0.875 x the shorter side, bicubic, (x - 127) / 128.
PreprocessSpec EfficientNetLiteEval(int size);

// CIFAR ResNets of PyTorch on photos: box filter to size x size, x / 255, torchvision's statistics.
PreprocessSpec CifarResnetEval(int size);

}  // namespace zood::image
