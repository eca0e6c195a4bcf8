#include "store/packs/tensor_codec.h"

#include "store_testing.h"

namespace zood::store {
namespace {

TEST(TensorCodecTest, DigestIsTheDocumentedOne) {
  // printf 'zood tensor 1\n\x01\x02\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0' and the
  // floats 1 and -2, through sha256sum.
  const Tensor tensor = Tensor::FromVector<float>({1, 2}, {1.0f, -2.0f}).value();
  EXPECT_EQ(EncodeTensor(tensor)->ref.digest,
            "81e054a17a5b99022b03a46c502414de1f71236467082bfc32230f99c780c178");
}

TEST(TensorCodecTest, DtypeShapeAndElementsAllCount) {
  const auto digest = [](const Tensor& tensor) { return EncodeTensor(tensor)->ref.digest; };
  const std::string base = digest(Tensor::FromVector<std::int32_t>({4}, {0, 0, 0, 0}).value());
  EXPECT_NE(base, digest(Tensor::FromVector<std::uint32_t>({4}, {0, 0, 0, 0}).value()));
  EXPECT_NE(base, digest(Tensor::FromVector<std::int32_t>({2, 2}, {0, 0, 0, 0}).value()));
  EXPECT_NE(base, digest(Tensor::FromVector<std::int32_t>({4}, {0, 0, 0, 1}).value()));
  EXPECT_EQ(base, digest(Tensor::FromVector<std::int32_t>({4}, {0, 0, 0, 0}).value()));
  // Where strings are cut counts, too.
  EXPECT_NE(digest(Tensor::Strings({2}, {"ab", "c"}).value()),
            digest(Tensor::Strings({2}, {"a", "bc"}).value()));
}

TEST(TensorCodecTest, StringsRoundTrip) {
  const Tensor tensor =
      Tensor::Strings({2, 2}, {"", std::string("a\0b", 3), std::string(1000, 'x'), "z"}).value();
  const auto encoded = EncodeTensor(tensor);
  ASSERT_TRUE(encoded.ok());
  const auto decoded = DecodeTensor(encoded->ref, encoded->bytes, nullptr);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_TRUE(SameTensor(*decoded, tensor));
}

TEST(TensorCodecTest, DamagedStringsAreDataLoss) {
  const auto encoded = EncodeTensor(Tensor::Strings({2}, {"one", "two"}).value());
  TensorRef ref = encoded->ref;
  for (std::size_t size = 0; size < encoded->bytes.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeTensor(ref, encoded->bytes.first(size), nullptr).status()));
  }
  ref.shape = {std::int64_t{1} << 62};
  EXPECT_TRUE(absl::IsDataLoss(DecodeTensor(ref, encoded->bytes, nullptr).status()));
  std::string huge(encoded->bytes.size(), '\xff');
  ref.shape = {2};
  EXPECT_TRUE(
      absl::IsDataLoss(DecodeTensor(ref, std::as_bytes(std::span(huge)), nullptr).status()));
}

TEST(TensorCodecTest, RefusesAbsurdRanks) {
  const Shape shape(std::vector<std::int64_t>(65, 1));
  const Tensor tensor = Tensor::FromVector<float>(shape, {1.0f}).value();
  EXPECT_TRUE(absl::IsInvalidArgument(EncodeTensor(tensor).status()));
}

}  // namespace
}  // namespace zood::store
