// HDF5 files: everything that is written is read back, equal writes are equal bytes, damage of
// every byte of the structure is noticed, and a fault under any operation leaves nothing behind.
#include "base/hdf5_file.h"

#include <gtest/gtest.h>
#include <hdf5.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include <fmt/format.h>

#include "support/scratch_folder.h"

namespace eyrie::base {
namespace {

using test::message_of;
using test::ScratchFolder;

constexpr const char* kAdvice = "build it again";

std::size_t entries_in(const Path& directory) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(directory), {}));
}

template <class T>
std::vector<T> numbers(std::size_t count) {
  std::vector<T> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<T>(i * 31 + 7);
  return values;
}

void write_sample(const Path& path) {
  Hdf5Writer writer(path);
  writer.set_attribute("", "format", std::string("sample"));
  writer.set_attribute("", "version", std::int64_t{1});
  writer.set_attribute("", "share", 0.25);
  writer.set_attribute("", "places", std::vector<std::int64_t>{3, -1, 4});
  writer.set_attribute("", "tasks", std::vector<std::string>{"mmlu", "", "piqa_ü"});
  writer.set_attribute("", "no_places", std::vector<std::int64_t>{});
  writer.set_attribute("", "no_tasks", std::vector<std::string>{});
  writer.set_attribute("", "empty", std::string());
  writer.write("odd", numbers<std::uint8_t>(13));
  const std::vector<float> matrix = numbers<float>(15);
  writer.write("matrix", {5, 3}, std::span<const float>(matrix));
  writer.set_attribute("matrix", "tensor", std::string("blocks.0.w"));
  writer.set_attribute("matrix", "start", std::vector<std::int64_t>{0, 1});
  writer.write("large", numbers<std::uint16_t>(100'001));
  writer.write("empty", std::vector<std::int64_t>{});
  writer.commit();
}

TEST(Hdf5, ReadsBackEveryType) {
  ScratchFolder folder;
  {
    Hdf5Writer writer(folder / "a.h5");
    writer.write("f", numbers<float>(5));
    writer.write("i32", numbers<std::int32_t>(6));
    writer.write("i64", numbers<std::int64_t>(7));
    writer.write("u8", numbers<std::uint8_t>(8));
    writer.write("u16", numbers<std::uint16_t>(9));
    writer.write("u32", numbers<std::uint32_t>(10));
    writer.write("u64", numbers<std::uint64_t>(11));
    const std::int64_t one[] = {42};
    writer.write("scalar", {}, std::span<const std::int64_t>(one));
    writer.commit();
  }
  const Hdf5Reader reader(folder / "a.h5", kAdvice);
  EXPECT_EQ(reader.list(),
            (std::vector<std::string>{"f", "i32", "i64", "scalar", "u16", "u32", "u64", "u8"}));
  EXPECT_EQ(reader.read<float>("f"), numbers<float>(5));
  EXPECT_EQ(reader.read<std::int32_t>("i32"), numbers<std::int32_t>(6));
  EXPECT_EQ(reader.read<std::int64_t>("i64"), numbers<std::int64_t>(7));
  EXPECT_EQ(reader.read<std::uint8_t>("u8"), numbers<std::uint8_t>(8));
  EXPECT_EQ(reader.read<std::uint16_t>("u16"), numbers<std::uint16_t>(9));
  EXPECT_EQ(reader.read<std::uint32_t>("u32"), numbers<std::uint32_t>(10));
  EXPECT_EQ(reader.read<std::uint64_t>("u64"), numbers<std::uint64_t>(11));
  EXPECT_EQ(reader.read<std::int64_t>("scalar"), std::vector<std::int64_t>{42});
  EXPECT_TRUE(reader.shape("scalar").empty());
}

TEST(Hdf5, ReadsBackShapesAttributesAndParts) {
  ScratchFolder folder;
  write_sample(folder / "a.h5");
  EXPECT_EQ(entries_in(folder.path()), 1u);
  const Hdf5Reader reader(folder / "a.h5", kAdvice);
  EXPECT_EQ(reader.list(), (std::vector<std::string>{"empty", "large", "matrix", "odd"}));
  EXPECT_TRUE(reader.has("odd"));
  EXPECT_FALSE(reader.has("even"));
  EXPECT_EQ(reader.shape("matrix"), (Hdf5Shape{5, 3}));
  EXPECT_EQ(reader.type("large"), Hdf5Type::kUint16);
  EXPECT_EQ(reader.count("empty"), 0);
  EXPECT_TRUE(reader.read<std::int64_t>("empty").empty());
  EXPECT_EQ(reader.read_rows<float>("matrix", 1, 2),
            (std::vector<float>{100, 131, 162, 193, 224, 255}));
  EXPECT_TRUE(reader.read_rows<float>("matrix", 5, 0).empty());
  std::vector<std::uint16_t> part(3);
  reader.read("large", 99'998, std::span(part));
  EXPECT_EQ(part[2], static_cast<std::uint16_t>(100'000 * 31 + 7));
  EXPECT_EQ(reader.attribute<std::string>("", "format"), "sample");
  EXPECT_EQ(reader.attribute<std::int64_t>("", "version"), 1);
  EXPECT_EQ(reader.attribute<double>("", "share"), 0.25);
  EXPECT_EQ(reader.attribute<std::vector<std::int64_t>>("", "places"),
            (std::vector<std::int64_t>{3, -1, 4}));
  EXPECT_EQ(reader.attribute<std::vector<std::string>>("", "tasks"),
            (std::vector<std::string>{"mmlu", "", "piqa_ü"}));
  EXPECT_TRUE(reader.attribute<std::vector<std::int64_t>>("", "no_places").empty());
  EXPECT_TRUE(reader.attribute<std::vector<std::string>>("", "no_tasks").empty());
  EXPECT_EQ(reader.attribute<std::string>("", "empty"), "");
  EXPECT_EQ(reader.attribute<std::string>("matrix", "tensor"), "blocks.0.w");
  EXPECT_TRUE(reader.has_attribute("matrix", "start"));
  EXPECT_FALSE(reader.has_attribute("odd", "start"));
}

TEST(Hdf5, DataIsAlignedAndMaps) {
  ScratchFolder folder;
  write_sample(folder / "a.h5");
  const Hdf5Reader reader(folder / "a.h5", kAdvice);
  const MappedFile map(folder / "a.h5");
  for (const char* name : {"odd", "matrix", "large"}) {
    EXPECT_EQ(reader.offset(name) % 64, 0u) << name;
  }
  const auto large = numbers<std::uint16_t>(100'001);
  EXPECT_EQ(std::memcmp(map.bytes().data() + reader.offset("large"), large.data(), 200'002), 0);
}

TEST(Hdf5, WritesInPieces) {
  ScratchFolder folder;
  const auto all = numbers<std::uint32_t>(1000);
  Hdf5Writer writer(folder / "a.h5");
  writer.create("tokens", Hdf5Type::kUint32, {1000});
  writer.create("between", Hdf5Type::kUint8, {3});
  for (std::int64_t at : {700, 0, 300}) {
    const std::size_t count = at == 700 ? 300 : at == 0 ? 300 : 400;
    writer.write_slice("tokens", at, std::span(all).subspan(static_cast<std::size_t>(at), count));
  }
  writer.write_slice("between", 0, std::span<const std::uint8_t>(numbers<std::uint8_t>(3)));
  writer.commit();
  EXPECT_EQ(Hdf5Reader(folder / "a.h5", kAdvice).read<std::uint32_t>("tokens"), all);
}

TEST(Hdf5, OtherProgramsReadIt) {
  // The HDF5 library by itself, with its own driver: the file is a plain HDF5 file.
  ScratchFolder folder;
  write_sample(folder / "a.h5");
  const hid_t file = H5Fopen((folder / "a.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  const hid_t set = H5Dopen2(file, "matrix", H5P_DEFAULT);
  ASSERT_GE(set, 0);
  std::vector<double> values(15);
  EXPECT_GE(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  EXPECT_EQ(values[14], 14 * 31 + 7);
  H5Dclose(set);
  H5Fclose(file);
}

TEST(Hdf5, EqualWritesAreEqualBytes) {
  ScratchFolder folder;
  write_sample(folder / "a.h5");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // times in HDF5 are of seconds
  write_sample(folder / "b.h5");
  EXPECT_EQ(read_file(folder / "a.h5"), read_file(folder / "b.h5"));
}

TEST(Hdf5, ManyDataSetsWithManyAttributes) {
  ScratchFolder folder;
  {
    Hdf5Writer writer(folder / "a.h5");
    for (int i = 0; i < 400; ++i) {
      const std::string name = fmt::format("piece-{:04d}", i);
      writer.write(name, numbers<float>(static_cast<std::size_t>(i % 7)));
      for (int a = 0; a < 12; ++a) {
        writer.set_attribute(name, fmt::format("attribute-{}", a), std::int64_t{i * a});
      }
    }
    writer.commit();
  }
  const Hdf5Reader reader(folder / "a.h5", kAdvice);
  EXPECT_EQ(reader.list().size(), 400u);
  EXPECT_EQ(reader.attribute<std::int64_t>("piece-0399", "attribute-11"), 399 * 11);
  EXPECT_EQ(reader.read<float>("piece-0006"), numbers<float>(6));
}

TEST(Hdf5, WithoutCommitNothingStays) {
  ScratchFolder folder;
  {
    Hdf5Writer writer(folder / "a.h5");
    writer.write("x", numbers<float>(100));
    Hdf5Writer moved = std::move(writer);
    EXPECT_EQ(entries_in(folder.path()), 1u);
  }
  EXPECT_EQ(entries_in(folder.path()), 0u);
}

TEST(Hdf5, AttributeThatIsTooLargeIsRefused) {
  ScratchFolder folder;
  Hdf5Writer writer(folder / "a.h5");
  writer.set_attribute("", "fits", std::string(60'000, 'x'));
  EXPECT_NE(message_of<Error>([&] {
              writer.set_attribute("", "config", std::string(60'001, 'x'));
            }).find("attribute config has 60001 bytes"),
            std::string::npos);
  writer.commit();
  EXPECT_EQ(Hdf5Reader(folder / "a.h5", kAdvice).attribute<std::string>("", "fits").size(),
            60'000u);
}

TEST(Hdf5, WrongQuestionsNameFileAndDataSet) {
  ScratchFolder folder;
  write_sample(folder / "a.h5");
  const Hdf5Reader reader(folder / "a.h5", kAdvice);
  const std::string path = (folder / "a.h5").string();
  EXPECT_EQ(message_of<InputError>([&] { reader.read<float>("none"); }),
            path + ": data set none: is not in the file; build it again");
  EXPECT_EQ(message_of<InputError>([&] { reader.read<float>("large"); }),
            path + ": data set large: is of uint16, not float32; build it again");
  EXPECT_EQ(message_of<InputError>([&] { reader.attribute<std::string>("matrix", "x"); }),
            path + ": data set matrix: attribute x is missing; build it again");
  EXPECT_EQ(message_of<InputError>([&] { reader.attribute<double>("", "version"); }),
            path + ": attribute version has another type; build it again");
}

TEST(Hdf5, EveryTruncationIsRefused) {
  ScratchFolder folder;
  write_sample(folder / "a.h5");
  const std::string whole = read_file(folder / "a.h5");
  testing::internal::CaptureStderr();
  for (std::size_t length = 0; length < whole.size(); length += length < 3000 ? 7 : 4999) {
    write_file(folder / "b.h5", whole.substr(0, length));
    const std::string message =
        message_of<InputError>([&] { Hdf5Reader(folder / "b.h5", kAdvice); });
    EXPECT_NE(message.find("b.h5: the file is cut off, damaged, or not one of Eyrie's"),
              std::string::npos)
        << length << ": " << message;
    EXPECT_TRUE(message.ends_with("; build it again"));
  }
  // HDF5 has nothing to say of its own.
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Hdf5, EveryFlippedByteOfTheStructureIsRefused) {
  ScratchFolder folder;
  write_sample(folder / "a.h5");
  const Hdf5Reader reader(folder / "a.h5", kAdvice);
  const std::string whole = read_file(folder / "a.h5");
  auto is_data = [&](std::size_t at) {
    for (const std::string& name : reader.list()) {
      const std::size_t bytes =
          static_cast<std::size_t>(reader.count(name)) * size_of(reader.type(name));
      if (at >= reader.offset(name) && at < reader.offset(name) + bytes) return true;
    }
    return false;
  };
  std::size_t structure = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    if (is_data(at)) continue;
    ++structure;
    test::flip_bit(folder / "a.h5", at, at % 8);
    EXPECT_THROW(Hdf5Reader(folder / "a.h5", kAdvice), InputError) << at;
    test::flip_bit(folder / "a.h5", at, at % 8);
  }
  EXPECT_GT(structure, 2000u);
}

TEST(Hdf5, ForeignAndMissingFilesAreRefused) {
  ScratchFolder folder;
  const hid_t file =
      H5Fcreate((folder / "foreign.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
  EXPECT_THROW(Hdf5Reader(folder / "foreign.h5", kAdvice), InputError);
  EXPECT_NE(
      message_of<InputError>([&] { Hdf5Reader(folder / "none.h5", kAdvice); }).find("none.h5"),
      std::string::npos);
}

TEST(Hdf5, FaultUnderEveryOperationLeavesNothingAndWorksAgain) {
  ScratchFolder folder;
  int count = 0;
  set_fault_hook([&](std::string_view, const Path&) { return ++count, 0; });
  write_sample(folder / "a.h5");
  set_fault_hook(nullptr);
  const std::string whole = read_file(folder / "a.h5");
  const int operations = count;
  ASSERT_GT(operations, 8);
  remove_tree(folder / "a.h5");
  for (const int error : {ENOSPC, EIO, kShortWrite}) {
    for (int at = 0; at < operations; ++at) {
      // From this operation on everything fails, as on a full disk; or only this one.
      for (const bool and_later : {false, true}) {
        int now = 0;
        set_fault_hook([&](std::string_view, const Path&) {
          const int mine = now++;
          return mine == at || (and_later && mine > at) ? error : 0;
        });
        const std::string message = message_of<Error>([&] { write_sample(folder / "a.h5"); });
        set_fault_hook(nullptr);
        EXPECT_NE(message.find(error == ENOSPC ? "no space left" : "Input/output error"),
                  std::string::npos)
            << at << ": " << message;
        if (at < operations - 1) {
          EXPECT_EQ(entries_in(folder.path()), 0u) << at;
        } else {
          // Only the sync of the folder failed: the file is there, and whole.
          EXPECT_EQ(read_file(folder / "a.h5"), whole);
          remove_tree(folder / "a.h5");
        }
      }
    }
  }
  write_sample(folder / "a.h5");
  EXPECT_EQ(read_file(folder / "a.h5"), whole);
}

TEST(Hdf5, ThreadsWriteAndReadTheirOwnFiles) {
  ScratchFolder folder;
  write_sample(folder / "expected.h5");
  const std::string expected = read_file(folder / "expected.h5");
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const Path path = folder / fmt::format("{}.h5", t);
        write_sample(path);
        wrong[t] += read_file(path) != expected;
        wrong[t] += Hdf5Reader(path, kAdvice).read<float>("matrix") != numbers<float>(15);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const int count : wrong) EXPECT_EQ(count, 0);
}

TEST(Hdf5DeathTest, WrongUseIsABrokenInvariant) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  ScratchFolder folder;
  Hdf5Writer writer(folder / "a.h5");
  writer.create("x", Hdf5Type::kFloat32, {4});
  EXPECT_DEATH(writer.commit(), "not all of x was written");
  EXPECT_DEATH(writer.create("x", Hdf5Type::kFloat32, {4}), "there already: x");
  EXPECT_DEATH(writer.create("a/b", Hdf5Type::kFloat32, {4}), "has a slash");
  EXPECT_DEATH(writer.create("y", Hdf5Type::kFloat32, {-1}), "impossible shape");
  EXPECT_DEATH(writer.create("y", Hdf5Type::kFloat32, {1ll << 40, 1ll << 40}), "impossible shape");
  EXPECT_DEATH(writer.write_slice("x", 2, std::span<const float>(numbers<float>(3))),
               "outside of x");
}

}  // namespace
}  // namespace eyrie::base
