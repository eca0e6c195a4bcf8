// Each operation by itself, over channels and sizes that do not fill vectors: a failure here names
// the operation.
#include <gtest/gtest.h>

#include <functional>

#include "graph/net.h"
#include "tests/engine/engine_vs_reference.h"
#include "tests/engine/random_graph.h"
#include "tests/support/status_testing.h"

namespace zood::testing {
namespace {

using graph::Net;
using graph::Padding2d;
using graph::Size2d;
using graph::Value;

using Layer = std::function<Value(Net& net, Value x)>;

// The layer on the network's input, and on what a convolution left; its result is an end point and,
// flattened, the logits.
void ExpectLayerAgrees(const Layer& layer) {
  for (const int channels : {1, 3, 16, 17}) {
    for (const Size2d size : {Size2d{7, 9}, Size2d{8, 5}, Size2d{16, 16}}) {
      for (const bool after_convolution : {false, true}) {
        SCOPED_TRACE(std::to_string(size.height) + "x" + std::to_string(size.width) + "x" +
                     std::to_string(channels) + (after_convolution ? " after a convolution" : ""));
        Net net({.height = size.height, .width = size.width, .channels = channels});
        Value x = net.input();
        if (after_convolution) {
          x = net.Conv2d(x, channels, {3, 3}, {.activation = nullptr, .scope = "before"});
          net.EndPoint("before", x);
        }
        x = layer(net, x);
        net.EndPoint("layer", x);
        ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(net.Flatten(x)));
        std::vector<std::string> end_points = {"layer"};
        if (after_convolution) end_points.push_back("before");
        ExpectEngineAgrees(
            graph, {.batches = {1, 3}, .compiled_batches = {1, 4}, .end_points = end_points});
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

graph::Conv2dArgs Plain() { return {.activation = nullptr, .scope = "c"}; }

TEST(SingleOp, ConvKernelsAndOutputs) {
  for (const int out : {1, 3, 8, 17, 64}) {
    for (const Size2d kernel : {Size2d{1, 1}, Size2d{3, 3}, Size2d{1, 5}, Size2d{5, 2}}) {
      SCOPED_TRACE(out);
      ExpectLayerAgrees([&](Net& net, Value x) { return net.Conv2d(x, out, kernel, Plain()); });
    }
  }
}

TEST(SingleOp, ConvStrides) {
  for (const Size2d stride : {Size2d{2, 2}, Size2d{1, 3}, Size2d{4, 2}}) {
    ExpectLayerAgrees([&](Net& net, Value x) {
      auto args = Plain();
      args.stride = stride;
      return net.Conv2d(x, 5, {3, 3}, args);
    });
    ExpectLayerAgrees([&](Net& net, Value x) {  // a stride beyond the kernel
      auto args = Plain();
      args.stride = stride;
      return net.Conv2d(x, 5, {1, 1}, args);
    });
  }
}

TEST(SingleOp, ConvDilation) {
  for (const Size2d rate : {Size2d{2, 2}, Size2d{1, 3}, Size2d{3, 1}}) {
    ExpectLayerAgrees([&](Net& net, Value x) {
      auto args = Plain();
      args.rate = rate;
      return net.Conv2d(x, 6, {3, 3}, args);
    });
  }
}

TEST(SingleOp, ConvAsymmetricPadding) {
  for (const Padding2d padding :
       {Padding2d{0, 1, 2, 0}, Padding2d{3, 0, 0, 4}, Padding2d{5, 6, 7, 8}}) {
    ExpectLayerAgrees([&](Net& net, Value x) {
      auto args = Plain();
      args.padding = padding;
      return net.Conv2d(x, 9, {3, 3}, args);
    });
  }
}

TEST(SingleOp, ConvWithoutBiases) {
  ExpectLayerAgrees([](Net& net, Value x) {
    auto args = Plain();
    args.biases_initializer = nullptr;
    return net.Conv2d(x, 7, {3, 3}, args);
  });
}

TEST(SingleOp, ConvGroups) {
  ExpectLayerAgrees([](Net& net, Value x) {
    const Value wide = net.Conv2d(x, 12, {1, 1}, {.scope = "wide"});
    auto args = Plain();
    args.groups = 3;
    return net.Conv2d(wide, 6, {3, 3}, args);
  });
}

TEST(SingleOp, ConvDepthwise) {
  for (const int multiplier : {1, 2, 3}) {
    for (const Size2d stride : {Size2d{1, 1}, Size2d{2, 2}}) {
      ExpectLayerAgrees([&](Net& net, Value x) {
        return net.SeparableConv2d(x, 0, {3, 3}, multiplier,
                                   {.stride = stride, .activation = nullptr, .scope = "c"});
      });
    }
  }
}

TEST(SingleOp, ConvBatchNormActivationAndResidual) {
  for (const auto& activation :
       {graph::Relu(), graph::Relu6(), graph::LeakyRelu(0.2f), graph::Elu(), graph::Tanh(),
        graph::Sigmoid(), graph::Linear(2, 1), Softsign()}) {
    SCOPED_TRACE(activation->name());
    ExpectLayerAgrees([&](Net& net, Value x) {
      const Value y = net.Conv2d(x, x.channels(), {3, 3},
                                 {.activation = activation,
                                  .normalizer = graph::BatchNorm({.scale = true}),
                                  .scope = "c"});
      return net.Apply(net.Add(x, y, 0.17f), activation);
    });
  }
}

TEST(SingleOp, FullyConnected) {
  for (const int out : {1, 10, 33}) {
    ExpectLayerAgrees([&](Net& net, Value x) {
      return net.FullyConnected(net.Flatten(x), out, {.activation = nullptr, .scope = "f"});
    });
  }
}

TEST(SingleOp, BatchNorm) {
  for (const bool center : {false, true}) {
    for (const bool scale : {false, true}) {
      ExpectLayerAgrees([&](Net& net, Value x) {
        return net.BatchNorm(x, {.center = center, .scale = scale, .activation = graph::Relu()});
      });
    }
  }
}

TEST(SingleOp, Scale) {
  for (const bool beta : {false, true}) {
    ExpectLayerAgrees([&](Net& net, Value x) { return net.Scale(x, beta, "s"); });
  }
}

TEST(SingleOp, Activations) {
  for (const auto& activation :
       {graph::Relu(), graph::Relu6(), graph::LeakyRelu(0.2f), graph::Elu(), graph::Tanh(),
        graph::Sigmoid(), graph::Linear(2, 1), Softsign()}) {
    SCOPED_TRACE(activation->name());
    ExpectLayerAgrees([&](Net& net, Value x) { return net.Apply(x, activation); });
  }
}

TEST(SingleOp, Prelu) {
  ExpectLayerAgrees([](Net& net, Value x) { return net.Prelu(x, graph::Zeros(), "p"); });
}

TEST(SingleOp, Pools) {
  for (const Size2d window : {Size2d{2, 2}, Size2d{3, 3}, Size2d{1, 4}}) {
    for (const Size2d stride : {Size2d{1, 1}, Size2d{2, 2}, Size2d{3, 1}}) {
      for (const graph::Padding& padding :
           std::initializer_list<graph::Padding>{graph::kSame, graph::kValid, graph::kFixed}) {
        const graph::Pool2dArgs args{.stride = stride, .padding = padding, .scope = "p"};
        ExpectLayerAgrees([&](Net& net, Value x) { return net.MaxPool2d(x, window, args); });
        ExpectLayerAgrees([&](Net& net, Value x) { return net.AvgPool2d(x, window, args); });
      }
    }
  }
}

TEST(SingleOp, PoolsOfCaffe) {
  // Kernel 3, stride 2, padding 1: what counts and what overhangs changes with the size.
  for (const int counted : {0, 1, 2}) {
    const graph::Pool2dArgs args{.stride = Size2d{2, 2},
                                 .padding = Padding2d{1, 2, 1, 2},
                                 .divisor = graph::PoolOp::Divisor::kPadded,
                                 .counted_bottom = counted,
                                 .counted_right = counted,
                                 .scope = "p"};
    ExpectLayerAgrees([&](Net& net, Value x) { return net.AvgPool2d(x, {3, 3}, args); });
    ExpectLayerAgrees([&](Net& net, Value x) { return net.MaxPool2d(x, {3, 3}, args); });
  }
}

TEST(SingleOp, GlobalPool) {
  ExpectLayerAgrees([](Net& net, Value x) { return net.GlobalAvgPool(x); });
}

TEST(SingleOp, Lrn) {
  for (const int radius : {1, 4, 20}) {
    for (const float beta : {0.5f, 0.75f}) {
      ExpectLayerAgrees([&](Net& net, Value x) {
        return net.Lrn(x, {.radius = radius, .bias = 1.5f, .alpha = 0.3f, .beta = beta});
      });
    }
  }
}

TEST(SingleOp, Eltwise) {
  using Kind = graph::EltwiseOp::Kind;
  for (const Kind kind : {Kind::kSum, Kind::kProduct, Kind::kMax}) {
    ExpectLayerAgrees([&](Net& net, Value x) {
      const Value y = net.Apply(x, graph::Tanh());
      const Value z = net.Conv2d(x, x.channels(), {1, 1}, Plain());
      return net.Eltwise({.kind = kind}, {x, y, z, x});
    });
  }
  ExpectLayerAgrees([&](Net& net, Value x) {
    const Value y = net.Conv2d(x, x.channels(), {1, 1}, Plain());
    return net.Eltwise({.kind = Kind::kSum, .coefficients = {-2, 0.5f}}, {y, x});
  });
}

TEST(SingleOp, Concat) {
  ExpectLayerAgrees([](Net& net, Value x) {
    const Value one = net.Conv2d(x, 1, {1, 1}, {.scope = "one"});
    const Value odd = net.Conv2d(x, 13, {3, 3}, {.scope = "odd"});
    const Value even = net.Conv2d(x, 16, {3, 3}, {.scope = "even"});
    // Within another, and read by others too.
    const Value inner = net.Concat({one, odd});
    const Value y = net.Concat({inner, x, even, odd});
    return net.Concat({y, net.Conv2d(inner, 4, {1, 1}, {.scope = "reader"})});
  });
}

TEST(SingleOp, ConcatOfOneAndOfVectors) {
  ExpectLayerAgrees([](Net& net, Value x) { return net.Concat({x}); });
  ExpectLayerAgrees([](Net& net, Value x) {
    const Value v = net.FullyConnected(net.Flatten(x), 3, {.scope = "f"});
    return net.Concat({v, net.FullyConnected(v, 5, {.scope = "g"}), v});
  });
}

TEST(SingleOp, PadChannels) {
  ExpectLayerAgrees([](Net& net, Value x) { return net.PadChannels(x, 2, 5); });
  ExpectLayerAgrees([](Net& net, Value x) {  // as CIFAR ResNets do: every second pixel, padded
    const Value y = net.Conv2d(x, x.channels() + 8, {3, 3},
                               {.stride = Size2d{2, 2}, .activation = nullptr, .scope = "c"});
    const Value shortcut = net.MaxPool2d(x, {1, 1}, {.stride = Size2d{2, 2}});
    return net.Apply(net.Add(y, net.PadChannels(shortcut, 4, 4)), graph::Relu());
  });
}

TEST(SingleOp, SlicesOfChannels) {
  // Images of one channel have none to spare.
  const auto wide = [](Net& net, Value x) { return net.Conv2d(x, 5, {1, 1}, Plain()); };
  ExpectLayerAgrees([&](Net& net, Value x) { return net.PadChannels(wide(net, x), -1, 0); });
  ExpectLayerAgrees([&](Net& net, Value x) { return net.PadChannels(wide(net, x), 0, -4); });
  ExpectLayerAgrees([&](Net& net, Value x) {  // in another order, each read once more
    const Value v = wide(net, x);
    const Value first = net.PadChannels(v, 0, -2);
    const Value rest = net.PadChannels(v, -3, 0);
    return net.Concat({rest, first, net.Apply(rest, graph::Relu())});
  });
  ExpectLayerAgrees([](Net& net, Value x) {
    const Value v = net.FullyConnected(net.Flatten(x), 7, {.scope = "f"});
    return net.Add(net.PadChannels(v, -3, 0), net.PadChannels(v, 0, -3));
  });
}

TEST(SingleOp, DropoutReshapeSoftmax) {
  ExpectLayerAgrees([](Net& net, Value x) { return net.Dropout(x); });
  ExpectLayerAgrees(
      [](Net& net, Value x) { return net.Reshape(x, {x.width(), x.height(), x.channels()}); });
  ExpectLayerAgrees([](Net& net, Value x) { return net.Softmax(x); });
  ExpectLayerAgrees([](Net& net, Value x) { return net.Softmax(net.Flatten(x)); });
}

// A reshape is only another name for memory: what reads it must see its shape and not the one of
// the value behind it.
TEST(SingleOp, AfterAReshapeThatChangesTheChannels) {
  const auto turned = [](Net& net, Value x) {
    return net.Reshape(x, {x.width(), x.channels(), x.height()});
  };
  const std::vector<Layer> layers = {
      [](Net& net, Value x) { return net.Softmax(x); },
      [](Net& net, Value x) { return net.BatchNorm(x); },
      [](Net& net, Value x) { return net.Scale(x, true, "s"); },
      [](Net& net, Value x) { return net.Prelu(x, graph::Zeros(), "p"); },
      [](Net& net, Value x) { return net.Lrn(x, {.radius = 1}); },
      [](Net& net, Value x) { return net.PadChannels(x, 1, 2); },
      [](Net& net, Value x) { return net.Apply(x, Softsign()); },
      [](Net& net, Value x) { return net.GlobalAvgPool(x); },
      [](Net& net, Value x) { return net.MaxPool2d(x, {1, 1}, {.stride = Size2d{2, 2}}); },
      [](Net& net, Value x) { return net.Conv2d(x, 5, {1, 1}, Plain()); },
      [](Net& net, Value x) {
        return net.Add(x, net.Conv2d(x, x.channels(), {1, 1}, Plain()), 0.5f);
      },
  };
  for (std::size_t i = 0; i < layers.size(); ++i) {
    SCOPED_TRACE("layer " + std::to_string(i));
    ExpectLayerAgrees([&](Net& net, Value x) { return layers[i](net, turned(net, x)); });
  }
  ExpectLayerAgrees([&](Net& net, Value x) {  // of what could be written into the concatenation
    const Value pooled =
        net.MaxPool2d(x, {2, 2}, {.stride = Size2d{1, 1}, .padding = graph::kSame});
    const Value a = turned(net, pooled);
    return net.Concat(
        {a, net.Conv2d(a, 3, {1, 1}, Plain()),
         net.Reshape(net.Apply(x, graph::Relu()), {x.width(), x.channels(), x.height()})});
  });
  ExpectLayerAgrees([&](Net& net, Value x) {  // a residual under another shape
    const Value a = net.Conv2d(x, 3 * x.height(), {1, 1}, {.scope = "a"});
    const Value b = net.Reshape(a, {3 * x.height(), x.width(), x.height()});
    return net.Add(b, net.Conv2d(net.Dropout(b), x.height(), {3, 3}, Plain()));
  });
}

TEST(SingleOp, TheInputItselfIsAnEndPoint) {
  Net net({.height = 4, .width = 5, .channels = 3});
  net.EndPoint("input", net.input());
  const Value y = net.Conv2d(net.input(), 2, {3, 3}, Plain());
  net.EndPoint("twice", y);
  net.EndPoint("again", y);
  ASSERT_OK_AND_ASSIGN(const auto graph, net.Finish(net.Flatten(y)));
  ExpectEngineAgrees(graph, {.end_points = {"input", "twice", "again"}});
}

}  // namespace
}  // namespace zood::testing
