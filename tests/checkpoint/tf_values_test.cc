// Slices, strings and TensorProtos: how single values of TensorFlow's checkpoints are stored.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/wire_writer.h"
#include "checkpoint/tensorflow/slice.h"
#include "checkpoint/tensorflow/strings.h"
#include "checkpoint/tensorflow/tensor_proto.h"
#include "tests/support/status_testing.h"

namespace zood::checkpoint {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string Bytes(std::initializer_list<int> bytes) {
  std::string text;
  for (const int byte : bytes) text += static_cast<char>(byte);
  return text;
}

TEST(SliceTest, EncodesNamesAsTensorFlowDoes) {
  EXPECT_EQ(EncodeTensorNameSlice("p/cols", {{0, 4}, {3, 2}}),
            Bytes({0}) + "p/cols" + Bytes({0, 1, 1, 2, 0x80, 0x84, 0x83, 0x82}));
  EXPECT_EQ(EncodeTensorNameSlice("p", {{}, {}}),
            Bytes({0, 'p', 0, 1, 1, 2, 0x80, 0x7f, 0x80, 0x7f}));
  EXPECT_EQ(EncodeTensorNameSlice(Bytes({'a', 0, 0xff}), {}),
            Bytes({0, 'a', 0, 0xff, 0xff, 0, 0, 1, 0}));
}

// n bytes hold 7n - 1 bits, from the encoding's definition.
TEST(SliceTest, EncodesLongNumbersInOrder) {
  const auto encode = [](std::int64_t start) {
    return EncodeTensorNameSlice("", {{start, 0}}).substr(5);
  };
  EXPECT_EQ(encode(63), Bytes({0xbf, 0x80}));
  EXPECT_EQ(encode(64), Bytes({0xc0, 0x40, 0x80}));
  EXPECT_EQ(encode(8191), Bytes({0xdf, 0xff, 0x80}));
  EXPECT_EQ(encode(8192), Bytes({0xe0, 0x20, 0x00, 0x80}));
  EXPECT_EQ(encode(-64), Bytes({0x40, 0x80}));
  EXPECT_EQ(encode(-65), Bytes({0x3f, 0xbf, 0x80}));
  std::string previous;
  for (const std::int64_t start :
       {INT64_MIN, -(std::int64_t{1} << 62), std::int64_t{-65}, std::int64_t{0},
        (std::int64_t{1} << 55) - 1, std::int64_t{1} << 55, std::int64_t{1} << 62, INT64_MAX}) {
    EXPECT_LT(previous, encode(start)) << start;
    previous = encode(start);
  }
  EXPECT_EQ(encode(INT64_MAX),
            Bytes({0xff, 0xc0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80}));
}

TEST(SliceTest, RefusesSlicesOutsideOfTheShape) {
  EXPECT_TRUE(ResolveSlice({4, 9}, {{}, {3, 6}}).ok());
  for (const Slice& slice : {Slice{{}}, Slice{{}, {3, 7}}, Slice{{}, {-1, 2}},
                             Slice{{}, {INT64_MAX, 2}}, Slice{{}, {1, INT64_MAX}}}) {
    EXPECT_EQ(ResolveSlice({4, 9}, slice).status().code(), absl::StatusCode::kDataLoss);
  }
}

// Numbers the elements of the whole, and hands out slices of it.
absl::StatusOr<Tensor> Assemble(const Shape& shape, const std::vector<Slice>& slices) {
  return AssembleSlices(
      DType::kInt32, shape, slices,
      [&](std::size_t i, const Shape& part) -> absl::StatusOr<Tensor> {
        std::vector<std::int32_t> values;
        const Slice slice = *ResolveSlice(shape, slices[i]);
        for (std::int32_t at = 0; at < shape.num_elements(); ++at) {
          bool inside = true;
          for (std::int64_t axis = shape.rank() - 1, rest = at; axis >= 0; --axis) {
            const std::int64_t index = rest % shape[static_cast<int>(axis)];
            rest /= shape[static_cast<int>(axis)];
            const Extent& extent = slice[static_cast<std::size_t>(axis)];
            inside &= index >= extent.start && index < extent.start + extent.length;
          }
          if (inside) values.push_back(at);
        }
        return Tensor::FromVector(part, std::move(values));
      });
}

TEST(SliceTest, AssemblesAnyTiling) {
  const std::vector<std::vector<Slice>> tilings = {
      {{{}, {}, {}}},
      {{{0, 1}, {}, {}}, {{1, 3}, {}, {}}},
      {{{}, {0, 2}, {}}, {{}, {2, 1}, {}}},
      {{{}, {}, {0, 2}}, {{}, {}, {2, 3}}},
      {{{0, 2}, {0, 1}, {}}, {{0, 2}, {1, 2}, {0, 4}}, {{0, 2}, {1, 2}, {4, 1}}, {{2, 2}, {}, {}}}};
  for (const auto& slices : tilings) {
    ASSERT_OK_AND_ASSIGN(const auto tensor, Assemble({4, 3, 5}, slices));
    for (std::int32_t i = 0; i < 60; ++i) EXPECT_EQ(tensor.values<std::int32_t>()[i], i);
  }
  EXPECT_TRUE(Assemble({0, 3}, {{{}, {0, 1}}, {{}, {1, 2}}}).ok());
}

TEST(SliceTest, RefusesGapsAndOverlaps) {
  EXPECT_THAT(std::string(Assemble({4}, {{{0, 2}}}).status().message()), HasSubstr("fewer"));
  EXPECT_THAT(std::string(Assemble({4}, {}).status().message()), HasSubstr("fewer"));
  EXPECT_THAT(std::string(Assemble({4}, {{{}}, {{0, 1}}}).status().message()), HasSubstr("more"));
  EXPECT_THAT(std::string(Assemble({4}, {{{0, 3}}, {{0, 1}}}).status().message()),
              HasSubstr("overlap"));
}

TEST(SliceTest, AssemblesStrings) {
  const auto tensor = AssembleSlices(
      DType::kString, {2, 2}, std::vector<Slice>{{{}, {1, 1}}, {{}, {0, 1}}},
      [](std::size_t i, const Shape& shape) {
        return i == 0 ? Tensor::Strings(shape, {"b", "d"}) : Tensor::Strings(shape, {"a", "c"});
      });
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  EXPECT_THAT(tensor->strings(), ElementsAre("a", "b", "c", "d"));
}

TEST(StringsTest, RoundTripsAndRefusesDamage) {
  const std::vector<std::string> strings = {"", "abc", std::string(300, 'x')};
  const EncodedStrings encoded = EncodeStrings(strings);
  const auto decode = [&](const std::string& bytes, const Shape& shape = {3},
                          std::uint64_t budget = 1000) {
    return DecodeStrings(AsBytes(bytes), encoded.masked_crc, shape, budget);
  };
  ASSERT_OK_AND_ASSIGN(const auto tensor, decode(encoded.bytes));
  EXPECT_THAT(tensor.strings(), testing::ElementsAreArray(strings));
  for (std::size_t i = 0; i < encoded.bytes.size(); ++i) {
    std::string flipped = encoded.bytes;
    flipped[i] ^= 0x10;
    EXPECT_EQ(decode(flipped).status().code(), absl::StatusCode::kDataLoss) << i;
    EXPECT_EQ(decode(encoded.bytes.substr(0, i)).status().code(), absl::StatusCode::kDataLoss) << i;
  }
  EXPECT_EQ(decode(encoded.bytes, {1 << 30}).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(decode(encoded.bytes, {3}, 400).status().code(), absl::StatusCode::kResourceExhausted);
}

absl::StatusOr<Tensor> Decode(const std::string& proto, DType dtype, const Shape& shape) {
  return DecodeTensorProto(AsBytes(proto), dtype, shape, nullptr, 1000);
}

TEST(TensorProtoTest, TakesPackedAndSingleValuesMixed) {
  std::string proto;
  const float one = 1, two[] = {2, 3};
  AppendBytesField(proto, 5, AsText(std::as_bytes(std::span(two))));
  AppendFixed32Field(proto, 5, std::bit_cast<std::uint32_t>(one));
  ASSERT_OK_AND_ASSIGN(const auto floats, Decode(proto, DType::kFloat32, {3}));
  EXPECT_THAT(floats.values<float>(), ElementsAre(2, 3, 1));

  std::string ints;
  AppendVarintField(ints, 7, 5);
  AppendBytesField(ints, 7, Bytes({1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}));
  ASSERT_OK_AND_ASSIGN(const auto signed_bytes, Decode(ints, DType::kInt8, {3}));
  EXPECT_THAT(signed_bytes.values<std::int8_t>(), ElementsAre(5, 1, -1));
  EXPECT_EQ(Decode(ints, DType::kUInt8, {3}).status().code(), absl::StatusCode::kDataLoss);
}

TEST(TensorProtoTest, TakesRawContent) {
  std::string proto;
  AppendBytesField(proto, 4, Bytes({1, 0, 2, 0}));
  ASSERT_OK_AND_ASSIGN(const auto tensor, Decode(proto, DType::kUInt16, {2}));
  EXPECT_THAT(tensor.values<std::uint16_t>(), ElementsAre(1, 2));
  EXPECT_EQ(Decode(proto, DType::kUInt16, {3}).status().code(), absl::StatusCode::kDataLoss);
}

TEST(TensorProtoTest, TakesTheTypesThatTensorFlowsV1WriterRefuses) {
  std::string bfloat16, uint32, uint64;
  AppendBytesField(bfloat16, 13, Bytes({0x80, 0x7f, 0x80, 0x80, 0x02}));
  EXPECT_THAT(Decode(bfloat16, DType::kBFloat16, {2})->values<std::uint16_t>(),
              ElementsAre(0x3f80, 0x8000));
  AppendVarintField(uint32, 16, 0xffffffff);
  EXPECT_THAT(Decode(uint32, DType::kUInt32, {})->values<std::uint32_t>(), ElementsAre(0xffffffff));
  AppendVarintField(uint64, 17, ~std::uint64_t{0});
  EXPECT_THAT(Decode(uint64, DType::kUInt64, {})->values<std::uint64_t>(),
              ElementsAre(~std::uint64_t{0}));
}

TEST(TensorProtoTest, RefusesAnotherNumberOfElements) {
  std::string proto;
  AppendBytesField(proto, 5, std::string(8, '\0'));
  EXPECT_TRUE(Decode(proto, DType::kFloat32, {2}).ok());
  for (const std::int64_t count : {0, 1, 3, 1 << 30}) {
    EXPECT_EQ(Decode(proto, DType::kFloat32, {count}).status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(Decode(proto, DType::kInt64, {count + 1}).status().code(),
              absl::StatusCode::kDataLoss);
    EXPECT_EQ(Decode(proto, DType::kString, {count + 1}).status().code(),
              absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(Decode(proto + "\x0a\x05", DType::kFloat32, {2}).status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace zood::checkpoint
