// Safetensors files: what is written is read, and every way in which a file can be wrong has a
// message.
#include "model/weights/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/philox.h"
#include "model/weights/safetensors_writer.h"
#include "support/scratch_folder.h"

namespace eyrie::model {
namespace {

using test::message_of;

std::string file_of(const std::string& header, std::size_t data_bytes) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i));
  return bytes + header + std::string(data_bytes, 'A');
}

std::string refusal(const std::string& bytes) {
  // A copy of exactly that size, so that AddressSanitizer sees a byte read too many.
  const std::vector<std::byte> copy(
      reinterpret_cast<const std::byte*>(bytes.data()),
      reinterpret_cast<const std::byte*>(bytes.data()) + bytes.size());
  const std::string message =
      message_of<base::InputError>([&] { const Safetensors file(copy, "some/file"); });
  if (message == "nothing was thrown") return message;
  EXPECT_TRUE(message.starts_with("some/file: not a whole safetensors file: ")) << message;
  EXPECT_LT(message.size(), 600u);
  return message;
}

#define EXPECT_REFUSED(bytes, text)                              \
  do {                                                           \
    const std::string message = refusal(bytes);                  \
    EXPECT_NE(message.find(text), std::string::npos) << message; \
  } while (false)

TEST(Safetensors, ReadsWhatItShould) {
  const std::string bytes = file_of(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[1,2],"data_offsets":[6,14]},)"
      R"("a":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]},)"
      R"("none":{"dtype":"F16","shape":[0,5],"data_offsets":[6,6]},)"
      R"("one":{"dtype":"I64","shape":[],"data_offsets":[14,22]}}   )",
      22);
  const Safetensors file(std::as_bytes(std::span(bytes)), "memory");
  ASSERT_EQ(file.entries().size(), 4u);
  const auto& b = file.entries().at("b");
  EXPECT_EQ(b.shape, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(b.type(), StoredType::kFloat32);
  EXPECT_EQ(file.entries().at("none").count, 0);
  EXPECT_EQ(file.entries().at("one").count, 1);
  std::uint32_t expected_bits = 0x41414141u;
  float expected = 0, got[3] = {};
  std::memcpy(&expected, &expected_bits, 4);
  file.read("b", 1, 1, got);
  EXPECT_EQ(got[0], expected);
  file.read("a", 0, 3, got);
  EXPECT_EQ(got[2], 12.0625f);  // 0x4141
  // Other types than weights have are an error of whoever wants them as weights.
  EXPECT_NE(message_of<base::InputError>([&] {
              file.read("one", 0, 1, got);
            }).find("\"one\" is of dtype I64; weights are F32, BF16 or F16"),
            std::string::npos);
}

TEST(Safetensors, ACutOrHugeHeaderIsRefused) {
  EXPECT_REFUSED("", "shorter than its header length");
  EXPECT_REFUSED("1234567", "shorter than its header length");
  EXPECT_REFUSED(std::string(8, '\0'), "does not start with '{'");
  EXPECT_REFUSED(std::string(8, '\xff') + "{}", "the header claims 18446744073709551615 bytes");
  EXPECT_REFUSED(std::string("\0\0\0\0\0\0\0\x80{}", 10),
                 "the header claims 9223372036854775808 bytes");
  EXPECT_REFUSED(std::string("\x03\0\0\0\0\0\0\0{}", 10), "the header claims 3 bytes");
  EXPECT_REFUSED(file_of(" {}", 0), "does not start with '{'");
  EXPECT_REFUSED(file_of("[]", 0), "does not start with '{'");
  EXPECT_REFUSED(file_of("{", 0), "not JSON (at its byte");
  EXPECT_REFUSED(file_of("{}x", 0), "not JSON");
  EXPECT_REFUSED(file_of("{\"\xff\":{}}", 0), "not JSON");
  EXPECT_REFUSED(file_of("{\"a\":" + std::string(100000, '[') + "}", 0), "nested deeper");
  // The format's limit holds even where the file is long enough.
  std::string large = file_of("{}", 100'000'010);
  const std::uint64_t length = 100'000'001;
  std::memcpy(large.data(), &length, 8);
  EXPECT_REFUSED(large, "100000000 is the most that the format allows");
}

TEST(Safetensors, NumbersThatDoNotFitAreRefused) {
  const auto with = [](const std::string& shape, const std::string& offsets) {
    return file_of(
        R"({"a":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}", 8);
  };
  EXPECT_EQ(refusal(with("[2]", "[0,8]")), "nothing was thrown");
  EXPECT_REFUSED(with("[9223372036854775808]", "[0,8]"), "a whole number below 2^63");
  EXPECT_REFUSED(with("[18446744073709551615]", "[0,8]"), "a whole number below 2^63");
  EXPECT_REFUSED(with("[18446744073709551616]", "[0,8]"), "a whole number below 2^63");
  EXPECT_REFUSED(with("[9223372036854775807]", "[0,8]"), "2^63 bytes or more");
  EXPECT_REFUSED(with("[4294967296,4294967296]", "[0,8]"), "2^63 bytes or more");
  EXPECT_REFUSED(with("[4611686018427387905]", "[0,8]"),
                 "2^63 bytes or more");  // 4 · it wraps to 4
  EXPECT_REFUSED(with("[2305843009213693951]", "[0,8]"), "its dtype and shape need");
  EXPECT_REFUSED(with("[-2]", "[0,8]"), "has -2, where a whole number");
  EXPECT_REFUSED(with("[2.0]", "[0,8]"), "has 2.0, where a whole number");
  EXPECT_REFUSED(with("[\"2\"]", "[0,8]"), "where a whole number");
  EXPECT_REFUSED(with("2", "[0,8]"), "shape is no list");
  EXPECT_REFUSED(with("[[2]]", "[0,8]"), "nested deeper");
  EXPECT_REFUSED(with("[3]", "[0,8]"), "its dtype and shape need 12");
  EXPECT_REFUSED(with("[3]", "[0,12]"), "lies at bytes 0 to 12, the data has 8");
  EXPECT_REFUSED(with("[2]", "[8,0]"), "lies at bytes 8 to 0");
  EXPECT_REFUSED(with("[2]", "[9223372036854775800,9223372036854775807]"), "the data has 8");
  EXPECT_REFUSED(with("[2]", "[0,18446744073709551615]"), "a whole number below 2^63");
  EXPECT_REFUSED(with("[2]", "[-8,0]"), "a whole number below 2^63");
  EXPECT_REFUSED(with("[2]", "[0,8.5]"), "a whole number below 2^63");
  EXPECT_REFUSED(with("[2]", "[0,8,8]"), "no two data_offsets");
  EXPECT_REFUSED(with("[2]", "8"), "no two data_offsets");
}

TEST(Safetensors, TensorsMustCoverTheDataOnce) {
  const auto two = [](const std::string& a, const std::string& b, std::size_t data) {
    return file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + a +
                       R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":)" + b + "}}",
                   data);
  };
  EXPECT_EQ(refusal(two("[8,16]", "[0,8]", 16)), "nothing was thrown");
  EXPECT_REFUSED(two("[0,8]", "[4,12]", 12), "\"b\" begins at byte 4, inside of the one before");
  EXPECT_REFUSED(two("[0,8]", "[0,8]", 8), "inside of the one before");
  EXPECT_REFUSED(two("[0,8]", "[9,17]", 17), "no tensor has the bytes 8 to 9, before tensor \"b\"");
  EXPECT_REFUSED(two("[1,9]", "[9,17]", 17), "no tensor has the bytes 0 to 1");
  EXPECT_REFUSED(two("[0,8]", "[8,16]", 20), "the tensors end at byte 16, the data has 20");
  EXPECT_REFUSED(two("[0,8]", "[8,16]", 15), "lies at bytes 8 to 16, the data has 15");
  EXPECT_REFUSED(file_of("{}", 1), "the tensors end at byte 0, the data has 1");
  EXPECT_EQ(refusal(file_of("{}", 0)), "nothing was thrown");
}

TEST(Safetensors, OtherFaultsOfTheHeaderAreRefused) {
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  EXPECT_REFUSED(file_of("{" + a + "," + a + "}", 8), "\"a\" is there twice");
  EXPECT_REFUSED(file_of(R"({"a":{"dtype":"F32","dtype":"F32"}})", 8), "\"dtype\" is there twice");
  EXPECT_REFUSED(file_of(R"({"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", 8),
                 "tensor \"a\" is of dtype \"F33\", which is not known");
  EXPECT_REFUSED(file_of(R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", 8),
                 "dtype is no text");
  EXPECT_REFUSED(file_of(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8), "\"a\" has no dtype");
  EXPECT_REFUSED(file_of(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8), "has no shape");
  EXPECT_REFUSED(file_of(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "has no data_offsets");
  EXPECT_REFUSED(file_of(R"({"a":3})", 0), "\"a\" has no dtype");
  EXPECT_REFUSED(file_of(R"({"__metadata__":{"x":1}})", 0), "__metadata__ is not an object");
  EXPECT_REFUSED(file_of(R"({"__metadata__":[]})", 0), "__metadata__ is not an object");
  EXPECT_REFUSED(file_of("{\"" + std::string(100000, 'n') + "\":3}", 0), "…");
}

TEST(Safetensors, WhatIsWrittenIsReadBitForBit) {
  const test::ScratchFolder scratch;
  // Every 16-bit pattern, and random 32-bit ones: infinities, NaNs and subnormal numbers too.
  std::vector<float> all(65536);
  for (const StoredType type : {StoredType::kBFloat16, StoredType::kFloat16}) {
    std::vector<std::uint16_t> bits(65536);
    for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
    widen(type, reinterpret_cast<const std::byte*>(bits.data()), 65536, all.data());
    std::vector<std::uint16_t> back(65536);
    EXPECT_TRUE(narrow(type, all.data(), 65536, reinterpret_cast<std::byte*>(back.data())));
    EXPECT_EQ(back, bits) << name_of(type);
  }
  const base::Philox random(1, "bits");
  std::vector<float> values(1000);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint32_t bits = random.block(i)[0];
    std::memcpy(&values[i], &bits, 4);
  }
  const base::Path path = scratch / "out.safetensors";
  {
    SafetensorsWriter writer(path, {{"w", StoredType::kFloat32, {10, 100}},
                                    {"nothing", StoredType::kFloat32, {0}},
                                    {"h", StoredType::kFloat16, {65536}}});
    for (std::int64_t i = 0; i < 1000; i += 250) writer.append(values.data() + i, 250);
    EXPECT_FALSE(std::filesystem::exists(path));
    writer.append(all.data(), 65536);
    writer.commit();
  }
  const Safetensors file(path);
  std::vector<float> got(1000);
  file.read("w", 0, 1000, got.data());
  EXPECT_EQ(std::memcmp(got.data(), values.data(), 4000), 0);
  got.resize(65536);
  file.read("h", 0, 65536, got.data());
  EXPECT_EQ(std::memcmp(got.data(), all.data(), 65536 * 4), 0);
  EXPECT_EQ(file.entries().at("w").shape, (std::vector<std::int64_t>{10, 100}));
}

TEST(Safetensors, RoundsToTheNearestAndSaysWhatIsTooLarge) {
  const auto half = [](float value) {
    std::uint16_t bits = 0;
    narrow(StoredType::kFloat16, &value, 1, reinterpret_cast<std::byte*>(&bits));
    float back = 0;
    widen(StoredType::kFloat16, reinterpret_cast<const std::byte*>(&bits), 1, &back);
    return back;
  };
  EXPECT_EQ(half(2049.0f), 2048.0f);  // ties to even
  EXPECT_EQ(half(2051.0f), 2052.0f);
  EXPECT_EQ(half(65519.0f), 65504.0f);
  EXPECT_EQ(half(std::ldexp(3.0f, -25)), std::ldexp(1.0f, -23));  // subnormal, a tie
  EXPECT_EQ(half(std::ldexp(1.0f, -26)), 0.0f);
  EXPECT_TRUE(std::signbit(half(-0.0f)));
  const test::ScratchFolder scratch;
  const float large = 70000.0f;
  SafetensorsWriter writer(scratch / "x", {{"w", StoredType::kFloat16, {1}}});
  EXPECT_NE(message_of<base::InputError>([&] {
              writer.append(&large, 1);
            }).find("tensor w has a value that is too large for fp16"),
            std::string::npos);
}

}  // namespace
}  // namespace eyrie::model
