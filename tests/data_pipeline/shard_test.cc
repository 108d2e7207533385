#include "data_pipeline/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/error.h"
#include "base/hdf5_file.h"
#include "support/scratch_folder.h"

namespace eyrie::data_pipeline {
namespace {

using test::message_of;
using testing::AllOf;
using testing::HasSubstr;

ShardInfo info_of(std::int64_t vocabulary) {
  return {"web",
          3,
          vocabulary,
          1,
          2,
          "0123456789abcdef",
          {"mmlu", "piqa"},
          "ngram",
          "fedcba9876543210",
          {"utf8"},
          "b"};
}

ShardDocuments documents_of(std::initializer_list<int> lengths, std::int64_t vocabulary) {
  ShardDocuments documents;
  std::int64_t next = 0;
  for (const int length : lengths) {
    std::vector<std::int32_t> ids;
    for (int i = 0; i < length; ++i)
      ids.push_back(static_cast<std::int32_t>(next++ * 7919 % vocabulary));
    documents.add(ids, 0.25f * static_cast<float>(documents.documents()), 1000 + length,
                  length % 2 == 1);
  }
  return documents;
}

TEST(Shard, GivesBackWhatWasWritten) {
  test::ScratchFolder folder;
  // Lengths of none, one and more than a checksum's run; both widths of tokens.
  for (const std::int64_t vocabulary : {8192, 65536, 65537, 256000}) {
    const ShardDocuments documents = documents_of({5, 0, 1, 70000, 2, 0}, vocabulary);
    const base::Path path = folder / "web-00003.h5";
    const std::string content = write_shard(path, info_of(vocabulary), documents);
    const Shard shard(path);
    EXPECT_EQ(shard.content(), content);
    EXPECT_EQ(shard.info().source, "web");
    EXPECT_EQ(shard.info().index, 3);
    EXPECT_EQ(shard.info().screened_tasks, (std::vector<std::string>{"mmlu", "piqa"}));
    EXPECT_EQ(shard.info().filters, std::vector<std::string>{"utf8"});
    EXPECT_EQ(shard.info().tokenizer_hash, "0123456789abcdef");
    EXPECT_EQ(shard.documents(), 6);
    EXPECT_EQ(shard.tokens(), 70008);
    std::vector<std::int32_t> all(70008);
    shard.read(0, all);
    EXPECT_EQ(all, documents.tokens);
    for (std::int64_t d = 0; d < 6; ++d) {
      EXPECT_EQ(shard.offset(d + 1), documents.offsets[d + 1]);
      EXPECT_EQ(shard.quality(d), documents.quality[d]);
      EXPECT_EQ(shard.hash(d), documents.hash[d]);
      EXPECT_EQ(shard.validation(d), documents.validation[d] == 1);
    }
    shard.verify();
    const base::Hdf5Reader reader(path, "");
    EXPECT_EQ(reader.type("tokens"),
              vocabulary <= 65536 ? base::Hdf5Type::kUint16 : base::Hdf5Type::kUint32);
    EXPECT_EQ(reader.count("checksums"), 2);
  }
}

TEST(Shard, EqualContentGivesEqualBytes) {
  test::ScratchFolder folder;
  write_shard(folder / "a.h5", info_of(100), documents_of({5, 9}, 100));
  write_shard(folder / "b.h5", info_of(100), documents_of({5, 9}, 100));
  EXPECT_EQ(base::read_file(folder / "a.h5"), base::read_file(folder / "b.h5"));
}

TEST(Shard, RefusesCutFilesAtAnyLength) {
  test::ScratchFolder folder;
  write_shard(folder / "whole.h5", info_of(100), documents_of({500, 900, 3}, 100));
  const std::string whole = base::read_file(folder / "whole.h5");
  for (const std::size_t kept :
       {std::size_t{0}, std::size_t{7}, whole.size() / 4, whole.size() / 2, whole.size() - 1}) {
    base::write_file(folder / "cut.h5", whole.substr(0, kept));
    EXPECT_THAT(message_of<base::InputError>([&] { Shard shard(folder / "cut.h5"); }),
                AllOf(HasSubstr("cut.h5"), HasSubstr("build the shards again")))
        << kept;
  }
}

TEST(Shard, AFlippedByteIsFoundOrHarmless) {
  test::ScratchFolder folder;
  const ShardDocuments documents = documents_of({500, 900, 3}, 100);
  write_shard(folder / "whole.h5", info_of(100), documents);
  const std::string whole = base::read_file(folder / "whole.h5");
  int found = 0, harmless = 0;
  for (std::size_t at = 0; at < whole.size(); at += 61) {
    std::string damaged = whole;
    damaged[at] ^= 0x10;
    base::write_file(folder / "damaged.h5", damaged);
    try {
      const Shard shard(folder / "damaged.h5");
      shard.verify();
      std::vector<std::int32_t> all(documents.tokens.size());
      shard.read(0, all);
      EXPECT_EQ(all, documents.tokens) << at;  // a byte that holds nothing: padding
      ++harmless;
    } catch (const base::InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("damaged.h5"));
      ++found;
    }
  }
  EXPECT_GT(found, 4 * harmless);
}

TEST(Shard, TokenDamageIsNamed) {
  test::ScratchFolder folder;
  ShardDocuments documents = documents_of({200000}, 8192);
  write_shard(folder / "s.h5", info_of(8192), documents);
  const std::uint64_t offset = base::Hdf5Reader(folder / "s.h5", "").offset("tokens");
  std::string bytes = base::read_file(folder / "s.h5");
  bytes[offset + 2 * 70000] ^= 1;          // another id of the vocabulary
  bytes[offset + 2 * 150000 + 1] ^= 0x40;  // an id beyond it
  base::write_file(folder / "s.h5", bytes);
  const Shard shard(folder / "s.h5");
  EXPECT_THAT(message_of<base::InputError>([&] { shard.verify(); }),
              AllOf(HasSubstr("s.h5"), HasSubstr("tokens 65536 to 131071 are damaged")));
  std::vector<std::int32_t> ids(10);
  shard.read(69995, ids);
  EXPECT_THAT(message_of<base::InputError>([&] { shard.read(149995, ids); }),
              AllOf(HasSubstr("s.h5"), HasSubstr("token 150000, in document 0, has id"),
                    HasSubstr("8192")));
}

// A shard whose checksums are right and whose tables say what cannot be.
TEST(Shard, RefusesTablesThatPointElsewhere) {
  test::ScratchFolder folder;
  const auto message = [&](const std::function<void(ShardInfo&, ShardDocuments&)>& change) {
    ShardInfo info = info_of(100);
    ShardDocuments documents = documents_of({5, 9, 3}, 100);
    change(info, documents);
    write_shard(folder / "s.h5", info, documents);
    return message_of<base::InputError>([&] { Shard shard(folder / "s.h5"); });
  };
  EXPECT_THAT(message([](auto&, auto& d) { d.offsets[1] = 16; }),
              AllOf(HasSubstr("s.h5"), HasSubstr("document 1 is of the tokens 16 to 14")));
  EXPECT_THAT(message([](auto&, auto& d) { d.offsets[1] = -4; }), HasSubstr("document 0"));
  EXPECT_THAT(message([](auto&, auto& d) { d.offsets[1] = std::int64_t{1} << 60; }),
              HasSubstr("document 1"));
  EXPECT_THAT(message([](auto&, auto& d) { d.offsets.back() = 1000; }), HasSubstr("offsets"));
  EXPECT_THAT(message([](auto&, auto& d) { d.offsets.front() = -1; }), HasSubstr("offsets"));
  EXPECT_THAT(message([](auto&, auto& d) { d.quality[2] = std::nanf(""); }),
              HasSubstr("document 2 has the quality nan"));
  EXPECT_THAT(message([](auto& i, auto&) { i.bos = -1; }), HasSubstr("bos is -1"));
  EXPECT_THAT(message([](auto& i, auto&) { i.eos = 100; }), HasSubstr("eos is 100"));
}

TEST(Shard, RefusesOtherFilesAndVersions) {
  test::ScratchFolder folder;
  base::write_file(folder / "text.h5", "not HDF5 at all");
  EXPECT_THAT(message_of<base::InputError>([&] { Shard shard(folder / "text.h5"); }),
              HasSubstr("text.h5"));
  EXPECT_THAT(message_of<base::InputError>([&] { Shard shard(folder / "absent.h5"); }),
              HasSubstr("absent.h5"));
  for (const std::int64_t version : {1, 2}) {
    base::Hdf5Writer writer(folder / "other.h5");
    writer.write("tokens", std::vector<std::uint16_t>{1});
    writer.set_attribute("", "format",
                         std::string(version == 1 ? "eyrie-checkpoint" : "eyrie-shard"));
    writer.set_attribute("", "version", version);
    writer.commit();
    EXPECT_THAT(message_of<base::InputError>([&] { Shard shard(folder / "other.h5"); }),
                HasSubstr(version == 1 ? "not a shard" : "version 2 of the format"));
  }
}

TEST(ShardDocuments, AppendKeepsDocuments) {
  ShardDocuments a = documents_of({3, 0, 4}, 50);
  const ShardDocuments b = documents_of({2, 5}, 50);
  a.append(b);
  a.append(ShardDocuments{});
  EXPECT_EQ(a.documents(), 5);
  EXPECT_EQ(a.offsets, (std::vector<std::int64_t>{0, 3, 3, 7, 9, 14}));
}

}  // namespace
}  // namespace eyrie::data_pipeline
