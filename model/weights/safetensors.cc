// Reading safetensors.
#include "model/weights/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"

namespace eyrie::model {
namespace {

using nlohmann::json;

constexpr std::uint64_t kLargestHeader = 100'000'000;  // as the format's own library allows
constexpr int kDeepest = 3;  // the object, a tensor's object, a list in it

struct TypeSize {
  const char* name;
  std::uint64_t bytes;
};
constexpr TypeSize kTypes[] = {{"F32", 4},  {"BF16", 2},    {"F16", 2},    {"F64", 8},
                               {"I64", 8},  {"I32", 4},     {"I16", 2},    {"I8", 1},
                               {"U64", 8},  {"U32", 4},     {"U16", 2},    {"U8", 1},
                               {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};

// A name from the file, escaped and shortened for a message.
std::string shown(const std::string& name) {
  constexpr std::size_t kLongest = 120;
  std::string text = json(name).dump(-1, ' ', true);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "…\"";
  return text;
}

struct Failure {
  std::string place;
  base::InputError operator()(const std::string& why) const {
    return base::InputError(fmt::format("{}: not a whole safetensors file: {}", place, why));
  }
};

// Parses the header as JSON. Fails if an object has a key twice or anything is nested deeper than
// in the format.
json parse_header(std::string_view text, const Failure& fail) {
  // Blanks may follow the object, nothing may come before it.
  if (text.empty() || text.front() != '{') throw fail("the header does not start with '{'");
  std::vector<std::set<std::string>> keys(kDeepest + 1);
  const auto look = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth >= kDeepest &&
        (event == json::parse_event_t::object_start || event == json::parse_event_t::array_start)) {
      throw fail("the header is nested deeper than any of the format");
    }
    const auto level = static_cast<std::size_t>(depth);
    if (event == json::parse_event_t::object_start) keys[level + 1].clear();
    if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys[level].insert(key).second)
        throw fail(fmt::format("{} is there twice in the header", shown(key)));
    }
    return true;
  };
  try {
    return json::parse(text, look);
  } catch (const json::parse_error& error) {
    throw fail(fmt::format("the header is not JSON (at its byte {})", error.byte));
  } catch (const json::exception&) {
    throw fail("the header is not JSON");
  }
}

void check_metadata(const json& metadata, const Failure& fail) {
  bool right = metadata.is_object();
  if (right) {
    for (const auto& [key, value] : metadata.items()) right = right && value.is_string();
  }
  if (!right) throw fail("__metadata__ is not an object of texts");
}

std::uint64_t element_size(const std::string& dtype, const std::string& name, const Failure& fail) {
  for (const TypeSize& type : kTypes) {
    if (dtype == type.name) return type.bytes;
  }
  throw fail(fmt::format("tensor {} is of dtype {}, which is not known", name, shown(dtype)));
}

// A whole number from 0 to 2^63 - 1.
std::int64_t whole(const json& value, const std::string& what, const Failure& fail) {
  if (!value.is_number_unsigned() ||
      value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
    std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 40);
    throw fail(fmt::format("{} has {}, where a whole number below 2^63 belongs", what, text));
  }
  return value.get<std::int64_t>();
}

// Reads one tensor of the header; `begin` still counts from the start of the data.
SafetensorsEntry read_entry(const std::string& key, const json& value, std::uint64_t data_size,
                            const Failure& fail) {
  const std::string name = shown(key);
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    if (!value.is_object() || !value.contains(field))
      throw fail(fmt::format("tensor {} has no {}", name, field));
  }
  if (!value["dtype"].is_string()) throw fail(fmt::format("tensor {}: dtype is no text", name));
  SafetensorsEntry entry;
  entry.dtype = value["dtype"].get<std::string>();
  if (!value["shape"].is_array()) throw fail(fmt::format("tensor {}: shape is no list", name));
  std::int64_t bytes = static_cast<std::int64_t>(element_size(entry.dtype, name, fail));
  entry.count = 1;
  for (const json& size : value["shape"]) {
    const std::int64_t extent = whole(size, fmt::format("tensor {}: shape", name), fail);
    if (__builtin_mul_overflow(bytes, extent, &bytes))
      throw fail(fmt::format("tensor {}: its shape makes 2^63 bytes or more", name));
    entry.count *= extent;
    entry.shape.push_back(extent);
  }
  const json& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2)
    throw fail(fmt::format("tensor {} has no two data_offsets", name));
  const std::string what = fmt::format("tensor {}: data_offsets", name);
  const std::int64_t begin = whole(offsets[0], what, fail), end = whole(offsets[1], what, fail);
  if (begin > end || static_cast<std::uint64_t>(end) > data_size) {
    throw fail(fmt::format("tensor {} lies at bytes {} to {}, the data has {}", name, begin, end,
                           data_size));
  }
  if (end - begin != bytes) {
    throw fail(fmt::format("tensor {} lies at bytes {} to {}, its dtype and shape need {}", name,
                           begin, end, bytes));
  }
  entry.begin = static_cast<std::uint64_t>(begin);
  return entry;
}

std::uint64_t bytes_of(const SafetensorsEntry& entry) {
  for (const TypeSize& type : kTypes) {
    if (entry.dtype == type.name) return static_cast<std::uint64_t>(entry.count) * type.bytes;
  }
  return 0;
}

// Checks that the tensors cover the data exactly: no overlaps, no bytes between them or at the end.
void check_cover(const std::map<std::string, SafetensorsEntry>& entries, std::uint64_t data_size,
                 const Failure& fail) {
  struct Range {
    std::uint64_t begin, end;
    const std::string* name;
  };
  std::vector<Range> ranges;
  for (const auto& [name, entry] : entries)
    ranges.push_back({entry.begin, entry.begin + bytes_of(entry), &name});
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t at = 0;
  for (const Range& range : ranges) {
    if (range.begin < at) {
      throw fail(fmt::format("tensor {} begins at byte {}, inside of the one before it",
                             shown(*range.name), range.begin));
    }
    if (range.begin > at) {
      throw fail(fmt::format("no tensor has the bytes {} to {}, before tensor {}", at, range.begin,
                             shown(*range.name)));
    }
    at = range.end;
  }
  if (at != data_size) {
    throw fail(fmt::format("the tensors end at byte {}, the data has {}", at, data_size));
  }
}

}  // namespace

std::optional<StoredType> SafetensorsEntry::type() const {
  for (const StoredType type :
       {StoredType::kFloat32, StoredType::kBFloat16, StoredType::kFloat16}) {
    if (dtype == safetensors_name_of(type)) return type;
  }
  return std::nullopt;
}

Safetensors::Safetensors(const base::Path& path)
    : place_(path.string()), file_(base::File::open(path)) {
  open(file_->size());
}

Safetensors::Safetensors(std::span<const std::byte> bytes, std::string place)
    : place_(std::move(place)), memory_(bytes) {
  open(bytes.size());
}

void Safetensors::read_bytes(std::uint64_t offset, std::span<std::byte> out) const {
  if (file_) return file_->read_at(out, offset);
  if (!out.empty()) std::memcpy(out.data(), memory_.data() + offset, out.size());
}

void Safetensors::open(std::uint64_t size) {
  const Failure fail{place_};
  if (size < 8) throw fail("it is shorter than its header length");
  std::byte first[8];
  read_bytes(0, first);
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | std::to_integer<std::uint64_t>(first[i]);
  if (length > size - 8) {
    throw fail(fmt::format("the header claims {} bytes, the file has {}", length, size));
  }
  if (length > kLargestHeader) {
    throw fail(fmt::format("the header claims {} bytes; {} is the most that the format allows",
                           length, kLargestHeader));
  }
  std::string text(length, '\0');
  read_bytes(8, std::as_writable_bytes(std::span(text)));
  const std::uint64_t data_size = size - 8 - length;
  const json header = parse_header(text, fail);
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      check_metadata(value, fail);
    } else {
      entries_.emplace(name, read_entry(name, value, data_size, fail));
    }
  }
  check_cover(entries_, data_size, fail);
  for (auto& [name, entry] : entries_) entry.begin += 8 + length;
}

void Safetensors::read(const std::string& name, std::int64_t first, std::int64_t count,
                       float* out) const {
  const auto found = entries_.find(name);
  EYRIE_CHECK(found != entries_.end(), "no tensor " + name);
  const SafetensorsEntry& entry = found->second;
  EYRIE_CHECK(first >= 0 && count >= 0 && first <= entry.count - count,
              "elements outside of tensor " + name);
  const auto type = entry.type();
  if (!type) {
    throw base::InputError(fmt::format("{}: tensor {} is of dtype {}; weights are F32, BF16 or F16",
                                       place_, shown(name), entry.dtype));
  }
  const std::int64_t size = size_of(*type);
  const auto offset = entry.begin + static_cast<std::uint64_t>(first * size);
  if (*type == StoredType::kFloat32) {
    return read_bytes(offset,
                      std::as_writable_bytes(std::span(out, static_cast<std::size_t>(count))));
  }
  constexpr std::int64_t kPieceElements = std::int64_t{1} << 22;
  std::vector<std::byte> piece;
  for (std::int64_t done = 0; done < count; done += kPieceElements) {
    const std::int64_t elements = std::min(kPieceElements, count - done);
    piece.resize(static_cast<std::size_t>(elements * size));
    read_bytes(offset + static_cast<std::uint64_t>(done * size), piece);
    widen(*type, piece.data(), elements, out + done);
  }
}

}  // namespace eyrie::model
